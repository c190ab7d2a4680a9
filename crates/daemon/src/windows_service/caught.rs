//! What a service without NSSM says outside of its log (errors at its start, panics): it has no console, and so it goes to the
//! same file that NSSM would write.

use std::{fs, io, os::windows::io::IntoRawHandle, path::Path};

use windows::Win32::{
    Foundation::HANDLE,
    System::Console::{STD_ERROR_HANDLE, STD_OUTPUT_HANDLE, SetStdHandle},
};

use super::tree::beside;

/// At a start, a file that is as large is put aside; one is kept.
const LARGE: u64 = 1 << 20;

/// Has all that this process writes to its standard output and errors go to the end of a file from now on.
#[expect(unsafe_code, reason = "the system's own functions")]
pub(super) fn catch(file: &Path) -> io::Result<()> {
    if fs::metadata(file).is_ok_and(|found| found.len() >= LARGE) {
        fs::rename(file, beside(file, "old"))?;
    }
    let file = fs::File::options().create(true).append(true).open(file)?;
    let handle = HANDLE(file.into_raw_handle());
    // SAFETY: the handle stays open as long as this process lives.
    unsafe {
        SetStdHandle(STD_OUTPUT_HANDLE, handle)?;
        SetStdHandle(STD_ERROR_HANDLE, handle)?;
    }
    Ok(())
}
