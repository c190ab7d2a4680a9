//! Windows' own directories, as the system knows them: its variables can be set by whoever starts a program.
#![expect(unsafe_code, reason = "the system's own functions")]

use std::{ffi::OsString, os::windows::ffi::OsStringExt, path::PathBuf};

use windows::{
    Win32::{
        System::Com::CoTaskMemFree,
        UI::Shell::{FOLDERID_ProgramData, FOLDERID_ProgramFiles, KF_FLAG_DEFAULT, SHGetKnownFolderPath},
    },
    core::GUID,
};

/// What all users' programs keep: `C:\ProgramData`.
pub(crate) fn program_data() -> Option<PathBuf> {
    known(&FOLDERID_ProgramData)
}

/// All users' programs: `C:\Program Files`.
pub(crate) fn program_files() -> Option<PathBuf> {
    known(&FOLDERID_ProgramFiles)
}

fn known(folder: &GUID) -> Option<PathBuf> {
    // SAFETY: the text ends with a zero, is read before it is freed, and is this function's to free.
    unsafe {
        let text = SHGetKnownFolderPath(folder, KF_FLAG_DEFAULT, None).ok()?;
        let path = PathBuf::from(OsString::from_wide(text.as_wide()));
        CoTaskMemFree(Some(text.as_ptr().cast_const().cast()));
        Some(path)
    }
}
