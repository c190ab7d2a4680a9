//! The service control manager: what it knows of a service, and telling it.

use std::{
    ffi::OsString,
    io,
    thread::sleep,
    time::{Duration, Instant},
};

use windows_registry::LOCAL_MACHINE;
use windows_service::{
    Error,
    service::{Service, ServiceAccess, ServiceExitCode, ServiceStartType, ServiceState, ServiceStatus},
    service_manager::{ServiceManager, ServiceManagerAccess},
};

use super::{error::ServiceError, layout::Layout, nssm, process::Process, settings::StartupType, status, told::Told};
use crate::say::say;

const ACCESS_DENIED: i32 = 5;
const DOES_NOT_EXIST: i32 = 1060;
const TAKES_NOTHING: i32 = 1061;
const NOT_ACTIVE: i32 = 1062;
const IS_REMOVED: i32 = 1072;
const ALREADY_RUNNING: i32 = 1056;
/// What some systems don't know, and what works without.
const NOT_KNOWN: [i32; 2] = [120, 124];

/// How long the process of a service that has stopped may go on.
const END: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(100);
/// NSSM says for a moment even of a program that has ended at once that it runs.
const STEADY: Duration = Duration::from_millis(800);

/// How a service is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    Nssm,
    Native,
}

/// What the service control manager says of a service.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) mode: Mode,
    /// What Windows starts.
    pub(super) command: String,
    pub(super) state: ServiceState,
    pub(super) process: Option<u32>,
    pub(super) exit_code: Option<u32>,
    pub(super) startup_type: StartupType,
    pub(super) account: String,
}

impl Found {
    /// # Errors
    /// It is somebody else's, with a name of ours.
    pub(super) fn check(&self, layout: &Layout) -> Result<(), ServiceError> {
        if layout.is_its_command(&self.command) {
            return Ok(());
        }
        Err(ServiceError::Refused(format!(
            "there is another service {} already, which starts {}: remove it first (sc.exe delete {0})",
            layout.service(),
            self.command
        )))
    }
}

/// The service control manager of this machine.
pub(super) struct Services(ServiceManager);

impl Services {
    /// To look only: anybody may.
    pub(super) fn look() -> Result<Self, ServiceError> {
        Self::open(ServiceManagerAccess::CONNECT)
    }

    /// To change something.
    pub(super) fn change() -> Result<Self, ServiceError> {
        Self::open(ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE)
    }

    fn open(access: ServiceManagerAccess) -> Result<Self, ServiceError> {
        ServiceManager::local_computer(None::<&str>, access).map(Self).map_err(failed("", "reached"))
    }

    fn service(&self, name: &str, access: ServiceAccess) -> Result<Option<Service>, ServiceError> {
        match self.0.open_service(name, access) {
            Ok(service) => Ok(Some(service)),
            Err(error) if code(&error) == Some(DOES_NOT_EXIST) => Ok(None),
            Err(error) => Err(failed(name, "opened")(error)),
        }
    }

    fn needed(&self, name: &str, access: ServiceAccess) -> Result<Service, ServiceError> {
        self.service(name, access)?.ok_or_else(|| ServiceError::NotInstalled(name.to_owned()))
    }

    /// What is known of a service; `None` if there is none.
    pub(super) fn find(&self, name: &str) -> Result<Option<Found>, ServiceError> {
        let Some(service) = self.service(name, ServiceAccess::QUERY_STATUS | ServiceAccess::QUERY_CONFIG)? else {
            return Ok(None);
        };
        let status = service.query_status().map_err(failed(name, "asked"))?;
        let config = service.query_config().map_err(failed(name, "asked"))?;
        let mode = if nssm::is_nssm(&config.executable_path) { Mode::Nssm } else { Mode::Native };
        let startup_type = match config.start_type {
            ServiceStartType::AutoStart if is_delayed(name) => StartupType::DelayedAutomatic,
            ServiceStartType::AutoStart => StartupType::Automatic,
            ServiceStartType::Disabled => StartupType::Disabled,
            _ => StartupType::Manual,
        };
        let exit_code = match status.exit_code {
            ServiceExitCode::ServiceSpecific(code) => Some(code),
            ServiceExitCode::Win32(code) => Some(code).filter(|code| *code != 0 && *code != 1077),
        };
        let account = config.account_name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let process = status.process_id.filter(|process| *process != 0);
        let command = config.executable_path.display().to_string();
        Ok(Some(Found { mode, command, state: status.current_state, process, exit_code, startup_type, account }))
    }

    /// Makes a service, for the program itself.
    pub(super) fn create(&self, told: &Told) -> Result<(), ServiceError> {
        let name = told.info.name.to_string_lossy();
        self.0.create_service(&told.info, ServiceAccess::QUERY_STATUS).map(drop).map_err(failed(&name, "made"))
    }

    /// Tells what Windows keeps of every service.
    pub(super) fn configure(&self, told: Told) -> Result<(), ServiceError> {
        let name = told.info.name.to_string_lossy().into_owned();
        // A restart as an action needs the right to start.
        let access = ServiceAccess::CHANGE_CONFIG | ServiceAccess::START | ServiceAccess::QUERY_CONFIG;
        let service = self.needed(&name, access)?;
        for (action, call) in told.calls() {
            match call(&service) {
                Err(error) if code(&error).is_some_and(|code| NOT_KNOWN.contains(&code)) => {
                    say(format_args!("warning: this system does not know how a service can be {action}"));
                }
                done => done.map_err(failed(&name, action))?,
            }
        }
        Ok(())
    }

    /// Starts it and waits until it runs.
    pub(super) fn start(&self, layout: &Layout, patience: Duration) -> Result<(), ServiceError> {
        let name = layout.service();
        let service = self.needed(&name, ServiceAccess::START | ServiceAccess::STOP | ServiceAccess::QUERY_STATUS)?;
        match state_of(&service, layout)? {
            ServiceState::Running => return Ok(()),
            // NSSM waits before its next try, and does not take a start for an end of that.
            ServiceState::Paused => stop(&service, layout, patience)?,
            ServiceState::StopPending => wait_for(&service, layout, ServiceState::Stopped, "stopped", patience)?,
            _ => {}
        }
        match service.start::<OsString>(&[]) {
            Ok(()) => {}
            Err(error) if code(&error) == Some(ALREADY_RUNNING) => {}
            // To ask for it is allowed: else it could not have been opened so.
            Err(error) if code(&error) == Some(ACCESS_DENIED) => {
                let text = format!("Windows does not start {name}: its account may not run its program");
                return Err(ServiceError::Refused(text));
            }
            Err(error) => return Err(failed(&name, "started")(error)),
        }
        wait_for(&service, layout, ServiceState::Running, "running", patience)?;
        let begin = Instant::now();
        while begin.elapsed() < STEADY {
            has_not_ended(&service.query_status().map_err(failed(&name, "asked"))?, layout)?;
            sleep(LOOK);
        }
        Ok(())
    }

    /// Whether a service that was started runs by now.
    ///
    /// # Errors
    /// It has ended.
    pub(super) fn stays_up(&self, layout: &Layout) -> Result<bool, ServiceError> {
        let name = layout.service();
        let service = self.needed(&name, ServiceAccess::QUERY_STATUS)?;
        let status = service.query_status().map_err(failed(&name, "asked"))?;
        has_not_ended(&status, layout)?;
        Ok(status.current_state == ServiceState::Running)
    }

    /// Stops it and waits until it has, and its process has ended; whether it ran.
    pub(super) fn stop(&self, layout: &Layout, patience: Duration) -> Result<bool, ServiceError> {
        let name = layout.service();
        let service = self.needed(&name, ServiceAccess::STOP | ServiceAccess::QUERY_STATUS)?;
        let status = service.query_status().map_err(failed(&name, "asked"))?;
        if status.current_state == ServiceState::Stopped {
            return Ok(false);
        }
        let process = status.process_id.and_then(Process::open);
        stop(&service, layout, patience)?;
        process.inspect(|process| process.end(END));
        Ok(true)
    }

    /// Removes it. It has to be stopped.
    pub(super) fn delete(&self, name: &str) -> Result<(), ServiceError> {
        match self.needed(name, ServiceAccess::DELETE)?.delete() {
            // Whoever still looks at it keeps it for as long.
            Err(error) if code(&error) == Some(IS_REMOVED) => Ok(()),
            done => done.map_err(failed(name, "removed")),
        }
    }

    /// The names of all services of TaskMessenger.
    pub(super) fn all(&self) -> Result<Vec<String>, ServiceError> {
        let keys = LOCAL_MACHINE
            .open(r"SYSTEM\CurrentControlSet\Services")
            .and_then(|services| Ok(services.keys()?.collect::<Vec<_>>()));
        let keys = keys.map_err(|error| ServiceError::Windows {
            service: "TaskMessenger*".to_owned(),
            action: "looked for",
            source: io::Error::from(error),
        })?;
        let mut names = Vec::new();
        for name in keys.into_iter().filter(|name| name.starts_with("TaskMessenger")) {
            // A key alone is no service.
            if self.find(&name)?.is_some() {
                names.push(name);
            }
        }
        Ok(names)
    }
}

/// Asks it to stop, until it takes that: while it starts or stops it takes nothing.
fn stop(service: &Service, layout: &Layout, patience: Duration) -> Result<(), ServiceError> {
    let begin = Instant::now();
    loop {
        match service.stop() {
            Ok(_) => break,
            Err(error) if code(&error) == Some(NOT_ACTIVE) => return Ok(()),
            Err(error) if code(&error) == Some(TAKES_NOTHING) && begin.elapsed() < patience => {
                if state_of(service, layout)? == ServiceState::StopPending {
                    break;
                }
                sleep(LOOK);
            }
            Err(error) => return Err(failed(&layout.service(), "stopped")(error)),
        }
    }
    wait_for(service, layout, ServiceState::Stopped, "stopped", patience.saturating_sub(begin.elapsed()))
}

fn state_of(service: &Service, layout: &Layout) -> Result<ServiceState, ServiceError> {
    Ok(service.query_status().map_err(failed(&layout.service(), "asked"))?.current_state)
}

fn wait_for(
    service: &Service,
    layout: &Layout,
    state: ServiceState,
    wanted: &'static str,
    patience: Duration,
) -> Result<(), ServiceError> {
    let begin = Instant::now();
    loop {
        let status = service.query_status().map_err(failed(&layout.service(), "asked"))?;
        if status.current_state == state {
            return Ok(());
        }
        if state == ServiceState::Running {
            has_not_ended(&status, layout)?;
        }
        if begin.elapsed() > patience {
            let (service, logs) = (layout.service(), layout.logs());
            return Err(ServiceError::Late { service, wanted, seconds: patience.as_secs(), logs });
        }
        sleep(LOOK);
    }
}

/// Of a service that was started. NSSM pauses one that it is going to start again.
fn has_not_ended(status: &ServiceStatus, layout: &Layout) -> Result<(), ServiceError> {
    if !matches!(status.current_state, ServiceState::Stopped | ServiceState::Paused) {
        return Ok(());
    }
    let (ServiceExitCode::ServiceSpecific(code) | ServiceExitCode::Win32(code)) = status.exit_code;
    // While it pauses a service, NSSM says nothing of how its program has ended.
    let code = Some(code).filter(|_| status.current_state == ServiceState::Stopped);
    let said = status::last_error(layout).unwrap_or_else(|| format!("see {}", layout.logs().display()));
    Err(ServiceError::Ended { service: layout.service(), code, said })
}

fn is_delayed(name: &str) -> bool {
    let key = LOCAL_MACHINE.open(format!(r"SYSTEM\CurrentControlSet\Services\{name}"));
    key.and_then(|key| key.get_u32("DelayedAutostart")).is_ok_and(|value| value == 1)
}

fn code(error: &Error) -> Option<i32> {
    if let Error::Winapi(error) = error { error.raw_os_error() } else { None }
}

fn failed(service: &str, action: &'static str) -> impl FnOnce(Error) -> ServiceError {
    let service = service.to_owned();
    move |error| match error {
        Error::Winapi(source) if source.raw_os_error() == Some(ACCESS_DENIED) => ServiceError::NotAdministrator,
        Error::Winapi(source) => ServiceError::Windows { service, action, source },
        other => ServiceError::Windows { service, action, source: io::Error::other(other) },
    }
}
