//! Files that somebody still has open: a program that has just ended, what a scanner looks at.

use std::{
    io,
    thread::sleep,
    time::{Duration, Instant},
};

/// How long files may take to be free after their program's end.
pub(super) const FREE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(100);
/// `ERROR_SHARING_VIOLATION`, `ERROR_USER_MAPPED_FILE`.
const IN_USE: [i32; 2] = [32, 1224];

/// Tries again and again what fails because a file is in use, until it has taken so long.
pub(super) fn patiently<T>(patience: Duration, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let begin = Instant::now();
    loop {
        match attempt() {
            Err(error) if may_be_in_use(&error) && begin.elapsed() < patience => sleep(LOOK),
            done => return done,
        }
    }
}

/// A program that runs is told to be denied.
fn may_be_in_use(error: &io::Error) -> bool {
    let is_known = cfg!(windows) && error.raw_os_error().is_some_and(|code| IN_USE.contains(&code));
    is_known || error.kind() == io::ErrorKind::PermissionDenied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_is_tried_again_for_a_while_and_nothing_else_is() {
        let mut errors = vec![io::ErrorKind::PermissionDenied, io::ErrorKind::PermissionDenied];
        let freed = patiently(FREE, || errors.pop().map_or(Ok("free"), |kind| Err(kind.into())));
        assert_eq!(freed.unwrap(), "free");

        let mut attempts = 0;
        let mut fails = |kind: io::ErrorKind| {
            attempts += 1;
            io::Result::<()>::Err(kind.into())
        };
        assert!(patiently(FREE, || fails(io::ErrorKind::NotFound)).is_err());
        assert!(patiently(Duration::ZERO, || fails(io::ErrorKind::PermissionDenied)).is_err());
        assert_eq!(attempts, 2);
    }
}
