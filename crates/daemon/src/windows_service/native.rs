//! Running directly under the service control manager.

#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock},
    time::Duration,
};

use windows_service::{
    define_windows_service,
    service::{ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType},
    service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle},
    service_dispatcher,
};

use super::{caught::catch, events::SERVICE_VARIABLE};
use crate::{
    exit,
    shutdown::{Cause, Trigger, from_outside},
};

/// How long a start, and what says nothing of itself, may take.
const HINT: Duration = Duration::from_secs(30);

/// What the service is to do; the exit code.
type Work = Box<dyn FnOnce() -> u8 + Send>;

static WORK: Mutex<Option<(String, PathBuf, Work)>> = Mutex::new(None);
static CURRENT: OnceLock<Mutex<Current>> = OnceLock::new();

struct Current {
    handle: ServiceStatusHandle,
    progress: Progress,
}

define_windows_service!(service_main_of_windows, service_main);

/// Does `work` as the service `name`, on a thread of the service control manager's. What it says goes to `said`. Returns when
/// the service has stopped.
///
/// # Errors
/// The process was not started by the service control manager.
pub(super) fn run(
    name: &str,
    said: &Path,
    work: impl FnOnce() -> u8 + Send + 'static,
) -> Result<(), windows_service::Error> {
    if let Ok(mut place) = WORK.lock() {
        *place = Some((name.to_owned(), said.to_owned(), Box::new(work)));
    }
    service_dispatcher::start(name, service_main_of_windows)
}

fn service_main(_arguments: Vec<OsString>) {
    let Some((name, said, work)) = WORK.lock().ok().and_then(|mut place| place.take()) else { return };
    #[expect(unsafe_code, reason = "the environment is changed before there is any other thread that reads it")]
    // SAFETY: the only other thread of this process waits in the dispatcher.
    unsafe {
        std::env::set_var(SERVICE_VARIABLE, &name);
    }
    // Without it, it works all the same.
    let _ = catch(&said);
    let trigger = from_outside();
    let handler = move |control| heed(control, &trigger);
    let Ok(handle) = service_control_handler::register(&name, handler) else { return };
    let progress = Progress { state: ServiceState::StartPending, checkpoint: 0 };
    let _ = CURRENT.set(Mutex::new(Current { handle, progress }));
    report(ServiceState::StartPending, HINT, ServiceExitCode::NO_ERROR);
    let code = work();
    match code {
        exit::SUCCESS => report(ServiceState::Stopped, Duration::ZERO, ServiceExitCode::NO_ERROR),
        exit::CONFIGURATION => {
            report(ServiceState::Stopped, Duration::ZERO, ServiceExitCode::ServiceSpecific(code.into()));
        }
        // Ending without a word counts as a crash, and has Windows start it again.
        code => end(code),
    }
}

#[expect(clippy::exit, reason = "the service control manager has to see the process end")]
fn end(code: u8) {
    std::process::exit(code.into());
}

fn heed(control: ServiceControl, trigger: &Trigger) -> ServiceControlHandlerResult {
    match control {
        ServiceControl::Stop | ServiceControl::Preshutdown | ServiceControl::Shutdown => {
            report(ServiceState::StopPending, HINT, ServiceExitCode::NO_ERROR);
            trigger.request(Cause::Terminate);
            ServiceControlHandlerResult::NoError
        }
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        _ => ServiceControlHandlerResult::NotImplemented,
    }
}

/// The service works.
pub(crate) fn ready() {
    report(ServiceState::Running, Duration::ZERO, ServiceExitCode::NO_ERROR);
}

/// It is on its way out.
pub(crate) fn stopping() {
    report(ServiceState::StopPending, HINT, ServiceExitCode::NO_ERROR);
}

/// What it does, a start or a stop, takes so much longer.
pub(crate) fn takes_longer(longer: Duration) {
    let state = CURRENT.get().and_then(|current| current.lock().ok().map(|current| current.progress.state));
    if let Some(state @ (ServiceState::StartPending | ServiceState::StopPending)) = state {
        report(state, longer.max(HINT), ServiceExitCode::NO_ERROR);
    }
}

/// Tells the service control manager, if there is one.
fn report(state: ServiceState, hint: Duration, exit_code: ServiceExitCode) {
    let Some(Ok(mut current)) = CURRENT.get().map(Mutex::lock) else { return };
    let Some(status) = current.progress.next(state, hint, exit_code) else { return };
    if let Err(error) = current.handle.set_service_status(status) {
        tracing::debug!(%error, "the service control manager can't be told something");
    }
}

/// How far a service is.
struct Progress {
    state: ServiceState,
    checkpoint: u32,
}

impl Progress {
    /// What is told of a step; nothing if it leads back: what stops doesn't run again, and what has stopped does nothing any more.
    fn next(&mut self, state: ServiceState, hint: Duration, exit_code: ServiceExitCode) -> Option<ServiceStatus> {
        let ends = |state| matches!(state, ServiceState::StopPending | ServiceState::Stopped);
        if self.state == ServiceState::Stopped || (ends(self.state) && !ends(state)) {
            return None;
        }
        let pending = matches!(state, ServiceState::StartPending | ServiceState::StopPending);
        self.checkpoint = if pending && self.state == state { self.checkpoint + 1 } else { 0 };
        self.state = state;
        let stops = ServiceControlAccept::STOP | ServiceControlAccept::PRESHUTDOWN;
        Some(ServiceStatus {
            service_type: ServiceType::OWN_PROCESS,
            current_state: state,
            controls_accepted: if state == ServiceState::Stopped { ServiceControlAccept::empty() } else { stops },
            exit_code,
            checkpoint: self.checkpoint,
            wait_hint: hint,
            process_id: None,
        })
    }
}
