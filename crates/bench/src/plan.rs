//! What the client's process is told to do, and what it tells. One JSON document a line, over its input and output.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a client is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// What it logs in with.
    pub(crate) credential: PathBuf,
    /// How many workers must be there before the clock starts.
    pub(crate) workers: usize,
    /// What it measures.
    pub(crate) load: Load,
}

/// What a client measures.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Load {
    /// Many tasks in one job: this many are in flight before the clock starts and while it runs.
    Stream { in_flight: u32, window_milliseconds: u64 },
    /// One task at a time, this many in each of the two ways.
    Alone { tasks: u32 },
}

/// Processes whose CPU time is looked at, for a client that has told [`Event::Queued`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Watched {
    pub(crate) manager: u32,
    pub(crate) workers: Vec<u32>,
}

/// What a client tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// The first tasks are in the queue: it waits for [`Watched`].
    Queued { tasks_per_second: f64 },
    /// The end of a stream.
    Streamed(Streamed),
    /// The end of tasks alone.
    Alone(Alone),
}

/// What became of a stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Streamed {
    /// All tasks, those before and behind the window among them.
    pub(crate) tasks: u64,
    /// Results a second within the window.
    pub(crate) tasks_per_second: f64,
    /// Results a second from its end to the last one, while nothing was submitted any more.
    pub(crate) drained_per_second: f64,
    /// CPU time within the window, in microseconds a task.
    pub(crate) cpu: CpuPerTask,
    /// What the manager wrote to disks within the window, segments that were made ahead included, in bytes a task.
    pub(crate) written_bytes_per_task: Option<f64>,
    /// How many results came together.
    pub(crate) results_per_message: f64,
    /// What was wrong with the results.
    pub(crate) faults: Faults,
}

/// CPU time of each process, where it can be told, in microseconds a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CpuPerTask {
    pub(crate) client: Option<f64>,
    pub(crate) manager: Option<f64>,
    pub(crate) workers: Vec<Option<f64>>,
}

/// What became of tasks alone.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Alone {
    /// All tasks, those before the clock among them.
    pub(crate) tasks: u64,
    /// Each a job of its own: submitted, then followed.
    pub(crate) lone: Times,
    /// One after the other in a job that is followed all the while.
    pub(crate) streamed: Times,
    /// What was wrong with the results.
    pub(crate) faults: Faults,
}

/// Times from submit to result, in microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Times {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Results that were not as they should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Faults {
    /// Tasks without a result.
    pub(crate) lost: u64,
    /// Second results of a task.
    pub(crate) doubled: u64,
    /// Results that are not the right one.
    pub(crate) wrong: u64,
}
