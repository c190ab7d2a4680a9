//! A daemon's local socket: how its own machine's owner administers it without a token.
//!
//! On Unix it is the socket `manager.sock` or `worker.sock` in the state directory (mode 0600 in a directory of 0700). A path
//! that is too long for a socket is reached through `/proc` on Linux, and is an error elsewhere. On Windows it is a named pipe
//! whose name is made of the state directory's path, and which only its owner, administrators and the system may use.

use std::{
    io,
    path::{Path, PathBuf},
};

use task_messenger_protocol::link::Stream;

#[cfg(unix)]
#[path = "local/unix.rs"]
mod system;
#[cfg(windows)]
#[path = "local/windows.rs"]
mod system;
#[cfg(test)]
mod tests;

/// Why the local socket can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// Another one listens there.
    #[error(
        "a {component} is already running on the state directory {path}{}", PERHAPS_ANOTHER, path = .directory.display()
    )]
    Taken {
        /// Of what: `manager`, `worker`.
        component: &'static str,
        /// The state directory.
        directory: PathBuf,
    },
    /// Nobody listens there.
    #[error(
        "no {component} is running on the state directory {path} (start it, or name another directory)",
        path = .directory.display()
    )]
    NotRunning {
        /// Of what.
        component: &'static str,
        /// The state directory.
        directory: PathBuf,
    },
    /// Only the daemon's own user may.
    #[error(
        "only the {component}'s own user may use its local socket in {path}: {}", AS_WHOM,
        path = .directory.display()
    )]
    Denied {
        /// Of what.
        component: &'static str,
        /// The state directory.
        directory: PathBuf,
    },
    /// The system refused.
    #[error("the local socket in {path} can't be used", path = .directory.display())]
    Io {
        /// The state directory.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// On Windows anybody can take the name first.
const PERHAPS_ANOTHER: &str = if cfg!(windows) { " (or another program has taken the name of its pipe)" } else { "" };
/// Administrators may too, and nobody can run anything as a service's own account.
const AS_WHOM: &str = if cfg!(windows) {
    "open PowerShell with \"Run as administrator\", and try again"
} else {
    "run this command as that user"
};

/// Listens on the local socket. It is removed when this is dropped.
#[derive(Debug)]
pub struct LocalListener(system::Listener);

impl LocalListener {
    /// Listens for a component (`manager`, `worker`) in its state directory, which must exist. What a dead one left there is
    /// replaced.
    pub async fn bind(state_directory: &Path, component: &'static str) -> Result<Self, LocalError> {
        system::Listener::bind(state_directory, component).await.map(Self)
    }

    /// The next connection. Cancel-safe. After an error (the process has no more descriptors, say) it may be called again,
    /// but not at once.
    pub async fn accept(&mut self) -> io::Result<Stream> {
        self.0.accept().await
    }
}

/// Connects to the component that runs on a state directory of this machine.
pub async fn connect_local(state_directory: &Path, component: &'static str) -> Result<Stream, LocalError> {
    system::connect(state_directory, component).await.map_err(|source| {
        let directory = state_directory.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                LocalError::NotRunning { component, directory }
            }
            io::ErrorKind::PermissionDenied => LocalError::Denied { component, directory },
            _ => LocalError::Io { directory, source },
        }
    })
}
