//! The process of a service, whose end comes some time after the service has stopped: until then its files are in use.
#![expect(unsafe_code, reason = "the system's own functions")]

use std::time::Duration;

use windows::Win32::{
    Foundation::{CloseHandle, HANDLE, WAIT_TIMEOUT},
    System::Threading::{OpenProcess, PROCESS_SYNCHRONIZE, PROCESS_TERMINATE, TerminateProcess, WaitForSingleObject},
};

/// A process, also when it has ended.
pub(super) struct Process(HANDLE);

impl Process {
    /// `None` if there is none of that number, or if this one may not even wait for it.
    pub(super) fn open(number: u32) -> Option<Self> {
        // Those of other accounts can be waited for where they can't be ended.
        [PROCESS_SYNCHRONIZE | PROCESS_TERMINATE, PROCESS_SYNCHRONIZE]
            .into_iter()
            // SAFETY: the handle is closed when this is dropped.
            .find_map(|access| unsafe { OpenProcess(access, false, number) }.ok())
            .map(Self)
    }

    /// Waits for its end, and ends it if that takes longer: it has nothing to do any more, and its file is in use. (Under Wine
    /// nssm.exe does not notice at times that all its services have stopped.)
    pub(super) fn end(&self, patience: Duration) {
        let milliseconds = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX - 1);
        // SAFETY: the handle is open.
        unsafe {
            let has_ended = WaitForSingleObject(self.0, milliseconds) != WAIT_TIMEOUT;
            if !has_ended && TerminateProcess(self.0, 0).is_ok() {
                WaitForSingleObject(self.0, milliseconds);
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and nobody uses it any more.
        let _ = unsafe { CloseHandle(self.0) };
    }
}
