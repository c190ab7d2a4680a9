//! What can go wrong, what to do about it, and the exit code that it means for a program.

use std::sync::Arc;

use task_messenger_protocol::{
    link::LinkError,
    messages::{Code, Reason, Refused},
    secret::NoRandomness,
    template::TemplateError,
};

use crate::JobNumber;

/// Exit codes of programs that are clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// All went well.
    Success = 0,
    /// A task did not succeed.
    TaskFailed = 1,
    /// The request could not be carried out.
    Failure = 2,
    /// The command line makes no sense.
    Usage = 64,
    /// The manager is unavailable.
    Unavailable = 69,
    /// A mistake in TaskMessenger itself.
    Internal = 70,
    /// The credential or configuration can't be used.
    Configuration = 78,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// Why a request was not carried out. Cloning is cheap.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// There is no link to the manager and there will be none.
    #[error("there is no link to the manager")]
    Link {
        /// What ended it, or kept it from coming up.
        source: Arc<LinkError>,
    },
    /// The manager said no.
    #[error("{text}")]
    Refused {
        /// The kind of refusal.
        code: Code,
        /// In the manager's words.
        text: String,
    },
    /// A job that was submitted in part holds other tasks than the ones that are submitted now.
    #[error("job {job} has other tasks than these: the input differs at or before task {tasks}")]
    InputDiffers {
        /// The job.
        job: JobNumber,
        /// How many of its tasks were compared; the difference is among them.
        tasks: u32,
    },
    /// A job that was submitted in part holds more tasks than are submitted now.
    #[error("job {job} has {found} tasks already, more than the {given} of this input")]
    InputShorter {
        /// The job.
        job: JobNumber,
        /// How many tasks it has.
        found: u32,
        /// How many were given now.
        given: u32,
    },
    /// The job was closed with fewer tasks than are submitted now.
    #[error("job {job} was closed with {tasks} tasks and gets no more")]
    JobClosed {
        /// The job.
        job: JobNumber,
        /// How many tasks it has.
        tasks: u32,
    },
    /// A job without tasks can't be submitted.
    #[error("a job needs at least one task")]
    NoTasks,
    /// More tasks than a job can have.
    #[error("a job has at most {} tasks", u32::MAX)]
    TooManyTasks,
    /// A payload is longer than the manager accepts.
    #[error("the payload of task {index} has {length} bytes; the manager accepts at most {limit}")]
    PayloadTooLong {
        /// The task's index in its job.
        index: u32,
        /// The payload's length.
        length: u64,
        /// The manager's limit.
        limit: u64,
    },
    /// A template is not acceptable.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The link was cut while something was carried out that must not be repeated blindly.
    #[error("the link was cut while {what}; whether it was done is not known")]
    Unknown {
        /// What was being done.
        what: &'static str,
    },
    /// The system gave no random numbers for a job's key.
    #[error("a job's key could not be made")]
    NoRandomness {
        /// Why.
        source: Arc<NoRandomness>,
    },
    /// The manager's answer makes no sense.
    #[error("the manager's answer makes no sense: {what}")]
    Nonsense {
        /// What is wrong with it.
        what: &'static str,
    },
}

impl Error {
    /// The exit code of a program that ends because of this.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Link { source } => link_exit_code(source),
            Self::Refused { code: Code::ResourceExhaustedNow | Code::Unavailable, .. } => ExitCode::Unavailable,
            Self::Refused { .. }
            | Self::InputDiffers { .. }
            | Self::InputShorter { .. }
            | Self::JobClosed { .. }
            | Self::Unknown { .. }
            | Self::PayloadTooLong { .. }
            | Self::NoRandomness { .. } => ExitCode::Failure,
            Self::NoTasks | Self::TooManyTasks | Self::Template(_) => ExitCode::Usage,
            Self::Nonsense { .. } => ExitCode::Internal,
        }
    }

    /// What to do next, where there is something to say.
    pub fn advice(&self) -> Option<String> {
        let text = match self {
            Self::Link { source } => return link_advice(source),
            Self::Refused { code: Code::ResourceExhaustedNow, .. } => "try again when the manager has room",
            Self::Refused { code: Code::PermissionDenied, .. } => "log in with an administrator's token",
            Self::InputDiffers { .. } | Self::InputShorter { .. } | Self::JobClosed { .. } => {
                "give the input that this key was first used with, or use another key"
            }
            Self::PayloadTooLong { .. } => "send less, or have the manager's operator raise the limit",
            Self::Unknown { .. } => "look whether it was, and repeat it if not",
            Self::Nonsense { .. } => "please report this with the versions of both programs",
            _ => return None,
        };
        Some(text.to_owned())
    }

    pub(crate) fn from_refused(refused: Refused) -> Self {
        Self::Refused { code: refused.code(), text: refused.text }
    }
}

impl From<LinkError> for Error {
    fn from(source: LinkError) -> Self {
        Self::Link { source: Arc::new(source) }
    }
}

impl From<NoRandomness> for Error {
    fn from(source: NoRandomness) -> Self {
        Self::NoRandomness { source: Arc::new(source) }
    }
}

fn link_exit_code(error: &LinkError) -> ExitCode {
    match error {
        LinkError::NoAddress
        | LinkError::WrongFingerprint { .. }
        | LinkError::UntrustedCertificate { .. }
        | LinkError::OtherStore
        | LinkError::Setup(_)
        | LinkError::Version { .. }
        | LinkError::Goodbye { reason: Reason::Unauthenticated | Reason::Version | Reason::WrongStore, .. } => {
            ExitCode::Configuration
        }
        LinkError::TooLong { .. }
        | LinkError::Frame(_)
        | LinkError::Malformed { .. }
        | LinkError::Unexpected { .. }
        | LinkError::Goodbye { reason: Reason::Protocol, .. } => ExitCode::Internal,
        LinkError::Addresses { attempts } => {
            // If any address may yet lead to the manager, it is merely unavailable.
            let codes = || attempts.iter().map(|(_, error)| link_exit_code(error));
            if codes().any(|code| code == ExitCode::Unavailable) {
                return ExitCode::Unavailable;
            }
            codes().next().unwrap_or(ExitCode::Unavailable)
        }
        _ => ExitCode::Unavailable,
    }
}

fn link_advice(error: &LinkError) -> Option<String> {
    let text = match error {
        LinkError::NoAddress => "give one: `--manager HOST:PORT`",
        LinkError::Unreachable { .. } | LinkError::TimedOut { .. } | LinkError::Addresses { .. } => {
            "is the manager running, and does a firewall let its port through? `--manager HOST:PORT` gives another address"
        }
        LinkError::WrongFingerprint { .. } => {
            "ask the manager's operator whether its certificate was made anew; if so, log in with a new token"
        }
        LinkError::UntrustedCertificate { .. } => "check the name and authority that the token was made for",
        LinkError::OtherStore => "log in with a token of this manager",
        LinkError::NotTls => "check the port: another service seems to listen there",
        LinkError::Version { .. } | LinkError::Goodbye { reason: Reason::Version, .. } => {
            "upgrade the older of the two programs"
        }
        LinkError::Goodbye { reason: Reason::Unauthenticated, .. } => {
            "get a new token (`task-messenger-manager token create --role client`) and log in with it"
        }
        LinkError::Goodbye { reason: Reason::Protocol, .. } | LinkError::Frame(_) | LinkError::Malformed { .. } => {
            "please report this with the versions of both programs"
        }
        _ => return None,
    };
    Some(text.to_owned())
}
