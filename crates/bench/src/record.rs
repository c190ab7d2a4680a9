//! What is written down.

use serde::Serialize;

use crate::{machine::Machine, statistics::Spread, store};

/// Everything that was found. Times are in microseconds, rates in tasks a second.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Record {
    /// Of this program.
    pub(crate) version: &'static str,
    /// What it ran on.
    pub(crate) machine: Machine,
    /// The end-to-end measurements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) end_to_end: Option<EndToEnd>,
    /// The journal alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<store::Report>,
    /// What is wanted of them.
    pub(crate) marks: Vec<Mark>,
}

/// What was found from end to end; parts that were not asked for are absent.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct EndToEnd {
    /// How often everything but the memory was measured.
    pub(crate) rounds: usize,
    /// A plain TCP echo and the disk, in the same rounds.
    pub(crate) baseline: Option<Baseline>,
    /// Many tasks in flight.
    pub(crate) throughput: Vec<Throughput>,
    /// One task in flight.
    pub(crate) latency: Option<Latency>,
    /// Many tasks in the queue.
    pub(crate) memory: Option<Memory>,
    /// Many tasks behind a manager.
    pub(crate) history: Option<History>,
    /// Somebody who watches.
    pub(crate) watched: Option<Watched>,
}

/// What the machine does by itself.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Baseline {
    /// 100 bytes there and back.
    pub(crate) echo_p50: Spread,
    /// Messages of 100 bytes a second, 10,000 in flight.
    pub(crate) echo_per_second: Spread,
    /// A durable write of 4 KiB.
    pub(crate) sync_p50: Spread,
}

/// Tasks of 100 bytes that do nothing, 10,000 in flight.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Throughput {
    pub(crate) durability: &'static str,
    pub(crate) workers: usize,
    pub(crate) tasks_per_second: Spread,
    /// Divided by the echo's messages a second in the same round.
    pub(crate) share_of_echo: Spread,
    pub(crate) cpu: Cpu,
    /// By the manager to disks, segments that were made ahead included.
    pub(crate) written_bytes_per_task: Option<Spread>,
    pub(crate) results_per_message: Spread,
}

/// CPU time of each process, in microseconds a task.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cpu {
    pub(crate) client: Option<Spread>,
    pub(crate) manager: Option<Spread>,
    pub(crate) workers: Vec<Option<Spread>>,
}

/// From submit to result.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) tasks: u32,
    /// A job of its own each.
    pub(crate) lone_p50: Spread,
    pub(crate) lone_p99: Spread,
    /// One after the other in one job.
    pub(crate) streamed_p50: Spread,
    pub(crate) streamed_p99: Spread,
    /// Two syncs and six echoes.
    pub(crate) limit: Spread,
    /// A lone task's p50 divided by the limit in the same round.
    pub(crate) lone_to_limit: Spread,
}

/// A full queue.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Memory {
    pub(crate) tasks: u32,
    /// While the queue was filled.
    pub(crate) submitted_per_second: f64,
    pub(crate) empty_bytes: Option<u64>,
    pub(crate) queued_bytes: Option<u64>,
    pub(crate) budget_bytes: u64,
    /// Without the budget.
    pub(crate) bytes_per_task: Option<f64>,
    /// With 4 workers, while as many were submitted as were finished.
    pub(crate) backlog_per_second: f64,
    /// The same with 10,000 in flight, on the same manager.
    pub(crate) empty_per_second: f64,
    /// While the queue was emptied.
    pub(crate) drained_per_second: f64,
    pub(crate) backlog_cpu: Cpu,
}

/// What lies behind a manager.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct History {
    /// At least so many tasks were finished before the later rate was measured.
    pub(crate) finished: u32,
    pub(crate) fresh_per_second: Spread,
    pub(crate) later_per_second: Spread,
    /// Of the same manager.
    pub(crate) later_to_fresh: Spread,
    /// In the queue of a manager that was killed.
    pub(crate) queued: u32,
    /// Until it was ready again.
    pub(crate) start_seconds: Spread,
}

/// What it costs to be watched, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Watched {
    /// Idle and slow HTTP connections.
    pub(crate) connections: usize,
    /// One task after the other, without them.
    pub(crate) quiet_p99: Spread,
    /// The same with them.
    pub(crate) crowded_p99: Spread,
    /// In the same round.
    pub(crate) crowded_to_quiet: Spread,
}

/// What is wanted.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Mark {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    /// At least this, or at most.
    pub(crate) wanted: f64,
    pub(crate) at_least: bool,
    pub(crate) found: f64,
    pub(crate) holds: bool,
}

impl Mark {
    pub(crate) fn at_least(name: impl Into<String>, unit: &'static str, wanted: f64, found: f64) -> Self {
        Self { name: name.into(), unit, wanted, at_least: true, found, holds: found >= wanted }
    }

    pub(crate) fn at_most(name: impl Into<String>, unit: &'static str, wanted: f64, found: f64) -> Self {
        Self { name: name.into(), unit, wanted, at_least: false, found, holds: found <= wanted }
    }
}
