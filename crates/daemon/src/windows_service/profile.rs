//! The profile (`C:\Users\NAME`) that Windows makes for an account at its first start, a service's own too.

use std::io;

use task_messenger_protocol::patience::{FREE, patiently};
use windows::{
    Win32::{Foundation::WIN32_ERROR, UI::Shell::DeleteProfileW},
    core::{HSTRING, PCWSTR},
};
use windows_registry::LOCAL_MACHINE;

use super::{layout::Layout, rights::service_sid};
use crate::say::say;

/// Where Windows keeps whose profile lies where.
const PROFILES: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList";

/// Removes the profile of a service's own account, if it has one. Windows keeps it in use for a while after the service's end.
pub(super) fn remove(layout: &Layout) {
    let sid = service_sid(&layout.service());
    if LOCAL_MACHINE.open(format!(r"{PROFILES}\{sid}")).is_err() {
        return;
    }
    let sid = HSTRING::from(sid);
    let removed = patiently(FREE, || {
        #[expect(unsafe_code, reason = "the system's own function")]
        // SAFETY: the text lives until the call returns.
        let removed = unsafe { DeleteProfileW(&sid, PCWSTR::null(), PCWSTR::null()) };
        removed.map_err(|error| {
            WIN32_ERROR::from_error(&error)
                .map_or_else(|| error.into(), |error| io::Error::from_raw_os_error(error.0.cast_signed()))
        })
    });
    if let Err(error) = removed {
        say(format_args!(
            "warning: the profile of {} is left, and can be removed after a restart: {error}",
            layout.service()
        ));
    }
}
