//! Why a program was not started, and what to do about it.

use std::io::{Error, ErrorKind};

use super::launch::Launch;

/// For people: what, where, why, and what helps.
pub(super) fn explain(launch: &Launch<'_>, error: &Error) -> String {
    let program = &launch.command.program;
    let reason = match error.kind() {
        ErrorKind::ArgumentListTooLong => {
            let (all, longest) = launch.size();
            format!(
                "its arguments and environment have {all} bytes, the longest of them {longest}, which is more than this system \
                 takes: give the program large data on standard input or in files"
            )
        }
        ErrorKind::ExecutableFileBusy => {
            "somebody has its file open for writing: write programs under another name and rename them when they are complete"
                .to_owned()
        }
        ErrorKind::NotFound if launch.program.exists() => {
            "the interpreter that its first line names, or the loader that it needs, is not on the worker's machine".to_owned()
        }
        ErrorKind::NotFound => "it was removed or replaced just now: put it back and try again".to_owned(),
        ErrorKind::PermissionDenied => {
            "the worker's user may not run it: see the permissions of the file and of its interpreter, and whether their file \
             systems allow programs (noexec)"
                .to_owned()
        }
        ErrorKind::WouldBlock => {
            "there is no room for another process: give the worker fewer slots, or its account or service higher limits \
             (ulimit -u, TasksMax)"
                .to_owned()
        }
        _ => of_number(error).unwrap_or("the system gives no other reason").to_owned(),
    };
    format!("{program:?} ({}) can't be started: {error}: {reason}", launch.program.display())
}

#[cfg(unix)]
fn of_number(error: &Error) -> Option<&'static str> {
    use rustix::io::Errno;
    match Errno::from_io_error(error)? {
        Errno::NOEXEC => Some(
            "it is no program of this machine: a script needs a first line such as #!/bin/sh, anything else has to be made for \
             this system and processor",
        ),
        Errno::MFILE | Errno::NFILE => Some(
            "the worker has too many files open: give it fewer slots, or its service a higher limit (ulimit -n, LimitNOFILE)",
        ),
        _ => None,
    }
}

#[cfg(windows)]
fn of_number(error: &Error) -> Option<&'static str> {
    match error.raw_os_error()? {
        193 => Some("it is no program of this machine: name the interpreter of a script, such as powershell -File"),
        206 => Some("its command line is longer than Windows takes: give the program large data on standard input"),
        _ => None,
    }
}
