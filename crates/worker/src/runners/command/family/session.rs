//! What a task's program begins in: a process group of its own, and no terminal of the worker's.

use std::{fs::File, os::unix::process::CommandExt, process::Command};

/// Whether this process has a terminal. What runs on one could type into it (`TIOCSTI` of `ioctl_tty(2)`), also into that of root,
/// who has started a worker of somebody else's.
pub(super) fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Has a program begin as the leader of a group, and of a session if there is a terminal to be kept from.
#[expect(unsafe_code, reason = "there is no other way to do something between fork and exec")]
pub(super) fn begin(command: &mut Command, has_terminal: bool) {
    if !has_terminal {
        command.process_group(0);
        return;
    }
    let leave = || rustix::process::setsid().map(drop).map_err(Into::into);
    // SAFETY: after a fork only async-signal-safe functions may be called (fork(2)); setsid(2) is one, and an error number
    // becomes an error without allocating.
    unsafe { command.pre_exec(leave) };
}
