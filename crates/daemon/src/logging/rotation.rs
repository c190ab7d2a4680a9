//! When a log file is put aside and a new one begun.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Allowed, ByteSize, ConfigDuration};

const MINUTE: Duration = Duration::from_mins(1);
/// `1year`, as durations are written.
const YEAR: Duration = Duration::from_hours(8_766);

/// How the log file is rotated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rotation {
    /// Who does it.
    pub mode: RotationMode,
    /// `internal`: a file becomes no larger (a single line may).
    #[schemars(transform = Allowed::sizes(64 << 10, 1 << 40))]
    pub size: ByteSize,
    /// `internal`: nothing is added to a file whose first line is so old.
    #[schemars(transform = Allowed::times(MINUTE, YEAR))]
    pub age: ConfigDuration,
    /// `internal`: so many files are kept besides the one that is written; the oldest go.
    #[schemars(transform = Allowed::numbers(1, 10_000))]
    pub keep: u32,
}

/// Who rotates the log file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
