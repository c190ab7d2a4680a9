//! A program with everything that it starts: a process group and a mark on Unix, a job object on Windows.

#[cfg(windows)]
mod job;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

#[cfg(unix)]
pub(super) use self::unix::Group;
#[cfg(windows)]
pub(super) use self::windows::{Family, Group};

/// The worker's ends of a program's pipes.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
}
