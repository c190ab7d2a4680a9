//! What runs tasks, by kind.

pub mod command;
pub mod skill;

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

/// A task as people name it: `JOB.INDEX`, such as `12.345`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskName {
    /// The job's number.
    pub job: u64,
    /// Its position in the job, from 0.
    pub index: u32,
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.index)
    }
}

/// Since the Unix epoch; 0 when the clock is before it.
fn milliseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
