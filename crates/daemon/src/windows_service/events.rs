//! The Event Log of Windows: starts, stops and failures of a service, by fixed numbers under its own name.
//!
//! The texts lie in the program itself, where its build script has put [`messages`]; each has one place for what happened.

use windows::{
    Win32::System::EventLog::{
        DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, REPORT_EVENT_TYPE, RegisterEventSourceW,
        ReportEventW,
    },
    core::{HSTRING, PCWSTR},
};
use windows_registry::LOCAL_MACHINE;

use super::{error::ServiceError, layout::Layout, messages};
use crate::exit;

/// The variable that says which service this process is.
pub const SERVICE_VARIABLE: &str = "TASK_MESSENGER_SERVICE";

const SOURCES: &str = r"SYSTEM\CurrentControlSet\Services\EventLog\Application";
/// Information and errors.
const TYPES: u32 = 7;

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It has started and works.
    Started,
    /// It stops because it was asked to.
    Stopping,
    /// Its configuration can't be used, at a start or a reload.
    Configuration,
    /// It ends, or did not start, because something else went wrong.
    Failed,
}

impl Event {
    /// Its number and severity.
    fn number(self) -> (u32, REPORT_EVENT_TYPE) {
        match self {
            Self::Started => (messages::STARTED, EVENTLOG_INFORMATION_TYPE),
            Self::Stopping => (messages::STOPPING, EVENTLOG_INFORMATION_TYPE),
            Self::Configuration => (messages::CONFIGURATION, EVENTLOG_ERROR_TYPE),
            Self::Failed => (messages::FAILED, EVENTLOG_ERROR_TYPE),
        }
    }
}

/// Tells it, if this process is a service. What the Event Log doesn't take is lost: the program's own log has it too.
#[expect(unsafe_code, reason = "the system's own functions")]
pub fn tell(event: Event, text: &str) {
    let Ok(service) = std::env::var(SERVICE_VARIABLE) else { return };
    let (number, kind) = event.number();
    let (service, text) = (HSTRING::from(service), HSTRING::from(text));
    // SAFETY: both texts live until the end of the calls, and the handle is closed once.
    unsafe {
        if let Ok(source) = RegisterEventSourceW(PCWSTR::null(), &service) {
            let _ = ReportEventW(source, kind, 0, number, None, 0, Some(&[PCWSTR(text.as_ptr())]), None);
            let _ = DeregisterEventSource(source);
        }
    }
}

/// Tells of the end of a service that failed.
pub(crate) fn failed(code: u8, text: &str) {
    tell(if code == exit::CONFIGURATION { Event::Configuration } else { Event::Failed }, text);
}

/// Has panics told too, of a service, from now on.
pub(crate) fn watch_panics() {
    if std::env::var_os(SERVICE_VARIABLE).is_none() {
        return;
    }
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(Event::Failed, &format!("it panicked: {panic}"));
        usual(panic);
    }));
}

/// Makes the service known as a source of events whose texts lie in its program.
pub(super) fn register(layout: &Layout) -> Result<(), ServiceError> {
    let set = || {
        let key = LOCAL_MACHINE.create(format!(r"{SOURCES}\{}", layout.service()))?;
        key.set_expand_string("EventMessageFile", layout.program().display().to_string())?;
        key.set_u32("TypesSupported", TYPES)
    };
    set().map_err(|error| refused(layout, "registered as a source of events", error))
}

/// Takes that back.
pub(super) fn forget(layout: &Layout) -> Result<(), ServiceError> {
    let sources = LOCAL_MACHINE.options().read().write().open(SOURCES);
    let sources = sources.map_err(|error| refused(layout, "removed as a source of events", error))?;
    // It may not be there.
    let _ = sources.remove_tree(layout.service());
    Ok(())
}

/// NSSM makes itself known as a source too; that is taken back if it is the one that is removed.
pub(super) fn forget_nssm(layout: &Layout) -> Result<(), ServiceError> {
    let sources = LOCAL_MACHINE.options().read().write().open(SOURCES);
    let sources = sources.map_err(|error| refused(layout, "removed as a source of events", error))?;
    let file = sources.open("nssm").and_then(|source| source.get_string("EventMessageFile"));
    if file.is_ok_and(|file| file.eq_ignore_ascii_case(&layout.nssm().display().to_string())) {
        let _ = sources.remove_tree("nssm");
    }
    Ok(())
}

fn refused(layout: &Layout, action: &'static str, error: impl Into<std::io::Error>) -> ServiceError {
    ServiceError::Windows { service: layout.service(), action, source: error.into() }
}
