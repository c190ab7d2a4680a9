//! What can go wrong with services.

use std::{io, path::PathBuf, process::ExitStatus};

use super::settings::SettingsError;
use crate::exit;

/// Why something could not be done with a service.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Only administrators may.
    #[error("this needs an administrator: open PowerShell with \"Run as administrator\", and try again")]
    NotAdministrator,
    /// The system doesn't say where programs and their data are.
    #[error("the system does not know its directories for programs (Program Files) and their data (ProgramData)")]
    NoPlaces,
    /// There is no such service.
    #[error("there is no service {0}: install it first")]
    NotInstalled(String),
    /// The data that sets up the service can't be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A file or directory can't be used.
    #[error("{path} can't be {action}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// `read`, `written`, ….
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Windows refused something.
    #[error("the service {service} can't be {action}")]
    Windows {
        /// Which.
        service: String,
        /// What was tried.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A program that was asked something failed.
    #[error("`{call}` failed ({status}): {said}")]
    Call {
        /// The command line.
        call: String,
        /// Its end.
        status: ExitStatus,
        /// What it printed.
        said: String,
    },
    /// It ended when it was to start.
    #[error(
        "the service {service} has ended at once{}: {said}", .code.map(|code| format!(", with exit code {code}")).unwrap_or_default()
    )]
    Ended {
        /// Which.
        service: String,
        /// What its program exited with, if that is known.
        code: Option<u32>,
        /// Why, or where that may be found.
        said: String,
    },
    /// It did not come about in time.
    #[error("the service {service} is not {wanted} after {seconds} s: see {logs}", logs = .logs.display())]
    Late {
        /// Which.
        service: String,
        /// `running`, `stopped`, `ready`.
        wanted: &'static str,
        /// How long was waited.
        seconds: u64,
        /// Where to look.
        logs: PathBuf,
    },
    /// Something is as it must not be.
    #[error("{0}")]
    Refused(String),
}

impl ServiceError {
    /// What the program exits with: as a control script does (LSB), 3 for what does not run, 4 for what is not there.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotInstalled(_) => exit::NOT_INSTALLED,
            Self::Settings(_) => exit::CONFIGURATION,
            Self::Call { status, .. } if status.code() == Some(exit::CONFIGURATION.into()) => exit::CONFIGURATION,
            Self::Ended { code: Some(code), .. } if *code == u32::from(exit::CONFIGURATION) => exit::CONFIGURATION,
            _ => exit::FAILURE,
        }
    }
}

/// Says which file could not be …
pub(super) fn at(path: impl Into<PathBuf>, action: &'static str) -> impl FnOnce(io::Error) -> ServiceError {
    let path = path.into();
    move |source| ServiceError::File { path, action, source }
}
