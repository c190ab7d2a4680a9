//! Exit codes, and the one place where an error that ends a program is printed.

use std::{error::Error, fmt::Write as _};

use crate::{logging::journal, say::say};

/// A clean stop.
pub const SUCCESS: u8 = 0;
/// Of daemons: unexpected, a restart helps. Of clients: a task failed.
pub const FAILURE: u8 = 1;
/// Of clients: something failed that is neither a task nor one of the codes below.
pub const CLIENT_FAILURE: u8 = 2;
/// Of what asks for a service: it does not run.
pub const NOT_RUNNING: u8 = 3;
/// Of what asks for a service: there is none.
pub const NOT_INSTALLED: u8 = 4;
/// Of clients: the command line is wrong.
pub const USAGE: u8 = 64;
/// Of clients: the manager can't be reached.
pub const UNAVAILABLE: u8 = 69;
/// Of clients: an error in TaskMessenger itself.
pub const SOFTWARE: u8 = 70;
/// The same start can never succeed: bad configuration or command line of a daemon, not joined, revoked, a store that is
/// newer or corrupt. Service managers are told not to restart.
pub const CONFIGURATION: u8 = 78;
/// Ended by a second interrupt (128 + SIGINT).
pub const INTERRUPTED: u8 = 130;
/// Ended by a second request to terminate (128 + SIGTERM).
pub const TERMINATED: u8 = 143;

/// Prints an error with all its causes, once, to standard error; to the journal with the priority of an error on each line,
/// as sd-daemon(3) has it. Of a Windows service the Event Log has it too. `code` is what the program exits with.
pub fn report(error: &(dyn Error + 'static), code: u8) {
    #[cfg(windows)]
    crate::windows_service::events::failed(code, &chain(error));
    #[cfg(not(windows))]
    let _ = code;
    let text = format!("{}error: {}", time_of_service(), chain(error));
    if journal::is_here() {
        text.lines().for_each(|line| say(format_args!("<3>{line}")));
    } else {
        say(text);
    }
}

/// Has the Event Log of Windows, which [`report`] tells of errors, know of a service's panics too.
pub fn watch_panics() {
    #[cfg(windows)]
    crate::windows_service::events::watch_panics();
}

/// What stands in front of an error of a Windows service, in a file that also keeps those of earlier starts.
fn time_of_service() -> String {
    #[cfg(windows)]
    if std::env::var_os(crate::windows_service::events::SERVICE_VARIABLE).is_some() {
        return format!("{} ", humantime::format_rfc3339_seconds(std::time::SystemTime::now()));
    }
    String::new()
}

/// An error and its causes in one text, separated by colons.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigError;

    #[test]
    fn causes_follow_their_error() {
        let source = std::io::Error::other("the disk is on fire");
        let error = ConfigError::Read { path: "/etc/x.json".into(), source };
        assert_eq!(chain(&error), "the configuration file /etc/x.json can't be read: the disk is on fire");
    }
}
