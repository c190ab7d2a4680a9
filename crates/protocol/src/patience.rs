//! Files of Windows that somebody still has open: a program that has just ended, what a scanner looks at. Elsewhere an open file
//! can be renamed and removed.

use std::{
    io,
    thread::sleep,
    time::{Duration, Instant},
};

/// How long files may take to be free after their program's end.
pub const FREE: Duration = Duration::from_secs(10);
/// How long a scanner may look at a file that was just written.
pub const SCANNED: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(100);
/// `ERROR_ACCESS_DENIED` (a program that runs), `ERROR_SHARING_VIOLATION`, `ERROR_LOCK_VIOLATION`, `ERROR_USER_MAPPED_FILE`.
const IN_USE: [i32; 4] = [5, 32, 33, 1224];

/// Tries again and again what fails because a file is in use, until it has taken so long. It blocks its thread meanwhile.
///
/// # Errors
/// Those of the last attempt.
pub fn patiently<T>(patience: Duration, attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    until(patience, may_be_in_use, attempt)
}

fn may_be_in_use(error: &io::Error) -> bool {
    cfg!(windows) && error.raw_os_error().is_some_and(|code| IN_USE.contains(&code))
}

fn until<T>(
    patience: Duration,
    can_pass: impl Fn(&io::Error) -> bool,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let begin = Instant::now();
    loop {
        match attempt() {
            Err(error) if can_pass(&error) && begin.elapsed() < patience => sleep(LOOK),
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_is_tried_again_for_a_while_and_nothing_else_is() {
        let is_denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        let mut errors = vec![io::ErrorKind::PermissionDenied, io::ErrorKind::PermissionDenied];
        let freed = until(FREE, is_denied, || errors.pop().map_or(Ok("free"), |kind| Err(kind.into())));
        assert_eq!(freed.unwrap(), "free");

        let mut attempts = 0;
        let mut fails = |kind: io::ErrorKind| {
            attempts += 1;
            io::Result::<()>::Err(kind.into())
        };
        assert!(until(FREE, is_denied, || fails(io::ErrorKind::NotFound)).is_err());
        assert!(until(Duration::ZERO, is_denied, || fails(io::ErrorKind::PermissionDenied)).is_err());
        assert_eq!(attempts, 2);
    }
}
