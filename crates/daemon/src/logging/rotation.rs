//! When a log file is put aside and a new one begun.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{ByteSize, ConfigDuration, Problem, Validate};

const SMALLEST: ByteSize = ByteSize(64 << 10);
const LARGEST: ByteSize = ByteSize(1 << 40);
const SHORTEST: ConfigDuration = ConfigDuration(Duration::from_mins(1));
/// `1year`, as durations are written.
const LONGEST: ConfigDuration = ConfigDuration(Duration::from_secs(31_557_600));
const MOST_KEPT: u32 = 10_000;

/// How the log file is rotated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rotation {
    /// Who does it.
    pub mode: RotationMode,
    /// `internal`: a file becomes no larger (a single line may).
    pub size: ByteSize,
    /// `internal`: nothing is added to a file whose first line is so old.
    pub age: ConfigDuration,
    /// `internal`: so many files are kept besides the one that is written; the oldest go.
    pub keep: u32,
}

/// Who rotates the log file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RotationMode {
    /// The program: `manager.log` becomes `manager.log.2026-11-28T10-00-00.000Z` (the time in UTC).
    #[default]
    Internal,
    /// Something else (logrotate), which sends SIGUSR1 when the file is to be opened anew.
    External,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            mode: RotationMode::default(),
            size: ByteSize(64 << 20),
            age: ConfigDuration(Duration::from_hours(24)),
            keep: 8,
        }
    }
}

impl Validate for Rotation {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(SMALLEST..=LARGEST).contains(&self.size) {
            problems.push(Problem::new("size", format!("it must be {SMALLEST} to {LARGEST}")));
        }
        if !(SHORTEST..=LONGEST).contains(&self.age) {
            problems.push(Problem::new("age", format!("it must be {SHORTEST} to {LONGEST}")));
        }
        if !(1..=MOST_KEPT).contains(&self.keep) {
            problems.push(Problem::new("keep", format!("it must be 1 to {MOST_KEPT}")));
        }
        problems
    }
}
