//! The profile (`C:\Users\NAME`) that Windows makes for an account at its first start, a service's own too.

use std::io;

use windows::{
    Win32::UI::Shell::DeleteProfileW,
    core::{HSTRING, PCWSTR},
};
use windows_registry::LOCAL_MACHINE;

use super::{error::ServiceError, layout::Layout, rights::service_sid};

/// Where Windows keeps whose profile lies where.
const PROFILES: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList";

/// Removes the profile of a service's own account, if it has one.
pub(super) fn remove(layout: &Layout) -> Result<(), ServiceError> {
    let sid = service_sid(&layout.service());
    if LOCAL_MACHINE.open(format!(r"{PROFILES}\{sid}")).is_err() {
        return Ok(());
    }
    #[expect(unsafe_code, reason = "the system's own function")]
    // SAFETY: the text lives until the call returns.
    let removed = unsafe { DeleteProfileW(&HSTRING::from(sid), PCWSTR::null(), PCWSTR::null()) };
    removed.map_err(|error| ServiceError::Windows {
        service: layout.service(),
        action: "freed of its account's profile",
        source: io::Error::from(error),
    })
}
