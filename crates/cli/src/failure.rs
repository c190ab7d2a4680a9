//! How a command ends: exit codes, and the one place where an error is printed.

use std::io;
use task_messenger_daemon::say::say;

use task_messenger_client::{CredentialError, Error, ExitCode};

/// Standard output was closed by whoever read it, who wants no more: no failure.
#[derive(Debug, thiserror::Error)]
#[error("standard output was closed")]
pub struct OutputClosed;

/// Something that the person who typed the command can put right by typing another.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct UsageError {
    message: String,
    advice: Option<String>,
}

impl UsageError {
    /// With what to type instead.
    pub fn new(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { message: message.into(), advice: Some(advice.into()) }
    }

    /// Where the message says it all.
    pub fn plain(message: impl Into<String>) -> Self {
        Self { message: message.into(), advice: None }
    }
}

/// Something that was refused or is not as it should be, with what to do next.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Advised {
    message: String,
    advice: String,
}

impl Advised {
    /// With what to do next.
    pub fn new(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { message: message.into(), advice: advice.into() }
    }
}

/// Turns an error of writing to standard output into [`OutputClosed`] where that is what it means.
pub fn output_error(error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return OutputClosed.into();
    }
    anyhow::Error::new(error).context("standard output can't be written")
}

/// The exit code that an error means.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if cause.is::<OutputClosed>() {
            return ExitCode::Success as u8;
        }
        if cause.is::<UsageError>() {
            return ExitCode::Usage as u8;
        }
        if cause.is::<CredentialError>() {
            return ExitCode::Configuration as u8;
        }
        if let Some(error) = cause.downcast_ref::<Error>() {
            return error.exit_code() as u8;
        }
    }
    ExitCode::Failure as u8
}

/// What to do next, where there is something to say.
pub fn advice(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(usage) = cause.downcast_ref::<UsageError>() {
            return usage.advice.clone();
        }
        if let Some(advised) = cause.downcast_ref::<Advised>() {
            return Some(advised.advice.clone());
        }
        if let Some(error) = cause.downcast_ref::<CredentialError>() {
            let log_in = "log in: `task-messenger login` asks for a client's token, which \
                          `task-messenger-manager token create --role client` makes";
            return error.is_missing().then(|| log_in.to_owned());
        }
        cause.downcast_ref::<Error>().and_then(Error::advice)
    })
}

/// Prints an error with its causes, once, and what to do next.
pub fn report(error: &anyhow::Error) {
    if error.chain().any(<dyn std::error::Error>::is::<OutputClosed>) {
        return;
    }
    say(format_args!("error: {}", text(error)));
    if let Some(advice) = advice(error) {
        say(format_args!("  next: {advice}"));
    }
}

/// The error and its causes. A cause that an error's own text ends with isn't repeated.
fn text(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn errors_keep_their_exit_code_and_advice_under_any_context() {
        let usage: anyhow::Result<()> = Err(UsageError::new("no such state", "name one of the eight").into());
        let error = usage.context("list").unwrap_err();
        assert_eq!((exit_code(&error), advice(&error).as_deref()), (64, Some("name one of the eight")));
        assert_eq!(text(&error), "list: no such state");
        let error = anyhow::Error::from(Error::NoTasks).context("map");
        assert_eq!(exit_code(&error), 64);
        assert_eq!(exit_code(&anyhow::anyhow!("else")), 2);
        assert_eq!(exit_code(&output_error(io::ErrorKind::BrokenPipe.into())), 0);
    }
}
