//! One installation or removal at a time on a machine.

use std::{
    fs::{File, OpenOptions},
    io,
    os::windows::fs::OpenOptionsExt,
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    error::{ServiceError, at},
    layout::Layout,
};

/// How long another one is waited for.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(200);
/// `ERROR_SHARING_VIOLATION`, and `ERROR_ACCESS_DENIED` or `ERROR_DELETE_PENDING` of one that has just ended. (Whoever comes here may
/// make it: only administrators could open the service manager before.)
const TAKEN: [i32; 3] = [5, 32, 303];
/// It goes with the process, however that ends (fileapi.h, `FILE_FLAG_DELETE_ON_CLOSE`).
const DELETE_ON_CLOSE: u32 = 0x0400_0000;

/// Held while something is installed or removed.
pub(super) struct Alone {
    _file: File,
}

impl Alone {
    /// Waits until nothing else is installed or removed. The file that stands for it lies where only administrators may make one.
    pub(super) fn wait(layout: &Layout) -> Result<Self, ServiceError> {
        let place = layout.all_programs().with_extension("lock");
        let begin = Instant::now();
        loop {
            let opened =
                OpenOptions::new().write(true).create(true).share_mode(0).custom_flags(DELETE_ON_CLOSE).open(&place);
            match opened {
                Ok(file) => return Ok(Self { _file: file }),
                Err(error) if !is_taken(&error) => return Err(at(place, "made")(error)),
                Err(_) if begin.elapsed() < PATIENCE => sleep(LOOK),
                Err(_) => {
                    let text = format!(
                        "something else of TaskMessenger is being installed or removed ({} is in use): wait for its end",
                        place.display()
                    );
                    return Err(ServiceError::Refused(text));
                }
            }
        }
    }
}

fn is_taken(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| TAKEN.contains(&code))
}
