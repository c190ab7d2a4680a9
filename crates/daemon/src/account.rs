//! Whose process this is.

use std::{io, path::Path};

#[cfg(target_os = "linux")]
use crate::config::{FILE_VARIABLE, PREFIX};

/// Goes on as the user whom a state directory belongs to, if this process is root's and the directory another's: what root
/// wrote there, the daemon could not use any more. To be called first, because the program is started anew for that. It finds
/// the same configuration file, which another user would look for elsewhere, and of root's environment nothing but what is
/// meant for it: what runs as that user can read it.
///
/// Does nothing on Windows, where access is inherited from the directory.
///
/// # Errors
/// The directory is of root's group, or the program can't be started as that user.
#[cfg(target_os = "linux")]
pub fn become_owner_of(directory: &Path, configuration: Option<&Path>) -> io::Result<()> {
    use std::os::unix::{fs::MetadataExt, process::CommandExt};

    let Ok(found) = std::fs::metadata(directory) else { return Ok(()) };
    if !is_root() || found.uid() == 0 {
        return Ok(());
    }
    if found.gid() == 0 {
        return Err(io::Error::other(format!(
            "{path} belongs to user {user}, but to root's group: give it to the user's own (`chown -R USER: {path}`)",
            path = directory.display(),
            user = found.uid()
        )));
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    // Not by its path, which may lie where only root gets: an archive that was unpacked in root's home.
    let mut again = std::process::Command::new("/proc/self/exe");
    again.env_clear().envs(std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_meant)));
    if let Some(file) = configuration {
        again.env(FILE_VARIABLE, std::path::absolute(file)?);
    }
    // The additional groups go with the user.
    Err(again.arg0(name).args(arguments).uid(found.uid()).gid(found.gid()).exec())
}

/// Whether a variable is for this program, wherever it comes from: its own, the system's for all programs, the service manager's.
#[cfg(target_os = "linux")]
fn is_meant(name: &str) -> bool {
    const NAMES: [&str; 15] = [
        "PATH",
        "LANG",
        "LANGUAGE",
        "TERM",
        "TZ",
        "TMPDIR",
        "NO_COLOR",
        "RUST_BACKTRACE",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "CREDENTIALS_DIRECTORY",
        "JOURNAL_STREAM",
        "INVOCATION_ID",
        "SYSTEMD_EXEC_PID",
    ];
    NAMES.contains(&name) || ["LC_", PREFIX].iter().any(|prefix| name.starts_with(prefix))
}

/// Does nothing: access is inherited from the directory.
#[cfg(not(target_os = "linux"))]
pub fn become_owner_of(_directory: &Path, _configuration: Option<&Path>) -> io::Result<()> {
    Ok(())
}

/// Whether this process may do everything.
#[cfg(target_os = "linux")]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this process may do everything. On Windows nobody asks.
#[cfg(not(target_os = "linux"))]
pub fn is_root() -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn of_roots_environment_nothing_is_handed_on_that_is_not_meant() {
        for name in ["PATH", "LC_ALL", "TASK_MESSENGER_LOG__LEVEL", "NOTIFY_SOCKET"] {
            assert!(is_meant(name), "{name}");
        }
        for name in ["SSH_AUTH_SOCK", "AWS_SECRET_ACCESS_KEY", "HOME", "SUDO_COMMAND", "LD_PRELOAD", "XDG_RUNTIME_DIR"]
        {
            assert!(!is_meant(name), "{name}");
        }
    }
}
