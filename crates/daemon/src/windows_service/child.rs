//! The program that NSSM has started: Windows knows a service by NSSM's process.
#![expect(unsafe_code, reason = "the system's own functions")]

use std::{ffi::OsString, os::windows::ffi::OsStringExt, path::Path};

use windows::Win32::{
    Foundation::CloseHandle,
    System::Diagnostics::ToolHelp::{
        CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
    },
};

/// The number of the process that runs `program` and was started by another one.
pub(super) fn child_of(parent: u32, program: &Path) -> Option<u32> {
    let mut entry = PROCESSENTRY32W { dwSize: size_of::<PROCESSENTRY32W>() as u32, ..PROCESSENTRY32W::default() };
    // SAFETY: the entry says how large it is, and the handle is open until it is closed.
    unsafe {
        let all = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0).ok()?;
        let mut found = None;
        let mut more = Process32FirstW(all, &raw mut entry).is_ok();
        while more && found.is_none() {
            if entry.th32ParentProcessID == parent && program.file_name() == Some(&name_of(&entry)) {
                found = Some(entry.th32ProcessID);
            }
            more = Process32NextW(all, &raw mut entry).is_ok();
        }
        let _ = CloseHandle(all);
        found
    }
}

fn name_of(entry: &PROCESSENTRY32W) -> OsString {
    let end = entry.szExeFile.iter().position(|unit| *unit == 0).unwrap_or(entry.szExeFile.len());
    OsString::from_wide(&entry.szExeFile[..end])
}
