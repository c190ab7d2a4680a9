//! Bounds of what the core keeps. What exceeds one is refused with a clear answer, never dropped.

use std::time::Duration;

/// The core's limits and times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tasks that are not at an end.
    pub open_tasks: u64,
    /// Bytes of their payloads.
    pub open_bytes: u64,
    /// Idempotency keys kept.
    pub idempotency_keys: usize,
    /// Bytes of memory that jobs (with their names and labels, without their tasks) and templates take, about.
    pub descriptions: u64,
    /// Tokens ever created.
    pub tokens: u32,
    /// Workers ever enrolled.
    pub workers: u32,
    /// Slots' worth of tasks that one worker may hold.
    pub window: u32,
    /// Jobs that one session follows at a time.
    pub follows: usize,
    /// Silence of a worker that ends its leases.
    pub lease_grace: Duration,
    /// For how long jobs that are over are kept; `None`: for ever.
    pub retain: Option<Duration>,
    /// Whether jobs that are over are forgotten as soon as somebody has acknowledged that he has all of their results.
    pub forget_fetched: bool,
    /// Finished tasks that are kept, before the oldest jobs go that are over and were fetched; when there are none of those,
    /// nothing new is taken. Also the most tasks of one job.
    pub finished_tasks: u64,
    /// Tasks of jobs that are over and wait for the archive, before nothing new is taken; `None` where there is no archive.
    pub archive_lag: Option<u64>,
    /// How long a connected worker may take to show that it is alive, when another process comes with its identity.
    pub probe: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            open_tasks: 20_000_000,
            open_bytes: 16 << 30,
            idempotency_keys: 1_000_000,
            descriptions: 4 << 30,
            tokens: 100_000,
            workers: 100_000,
            window: 65_536,
            follows: 1_000,
            lease_grace: Duration::from_secs(30),
            retain: None,
            forget_fetched: false,
            finished_tasks: u64::MAX,
            archive_lag: None,
            probe: Duration::from_secs(5),
        }
    }
}

/// The most bytes of values that the core puts into one record.
pub const RECORD_VALUES: usize = 512 * 1024;

/// The most tasks or leases that the core puts into one record.
pub const RECORD_ITEMS: usize = 16_384;

/// The longest name of a job, worker, owner or label, in bytes.
pub const NAME: usize = 256;

/// The most labels of a job.
pub const LABELS: usize = 16;

/// The longest key of a label, in bytes.
pub const LABEL_KEY: usize = 64;

/// The longest value of a label, in bytes.
pub const LABEL_VALUE: usize = 256;
