//! The measurements from end to end: a client, a manager and workers as processes, TLS between them.
//!
//! Everything that is compared is measured in turns, round after round, with the plain echo and the bare disk between them,
//! so that all see the same machine; medians count.

mod history;
mod memory;
mod rounds;
mod watched;

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use task_messenger_manager::config::Durability;

use crate::{
    record::{Baseline, EndToEnd, Mark},
    statistics::Spread,
};

/// What is measured, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Where state directories are made.
    pub(crate) directory: PathBuf,
    pub(crate) throughput: bool,
    pub(crate) latency: bool,
    pub(crate) memory: bool,
    pub(crate) history: bool,
    pub(crate) watched: bool,
    pub(crate) rounds: usize,
    /// The time of one measurement of a rate.
    pub(crate) window: Duration,
    /// Tasks alone in a round.
    pub(crate) alone: u32,
    /// Tasks in the queue for the memory that they take, and behind a manager.
    pub(crate) queued: u32,
}

/// Tasks in flight where the rate is measured.
const IN_FLIGHT: u32 = 10_000;

/// Measures.
pub(crate) async fn run(options: &Options) -> Result<EndToEnd> {
    let mut found = EndToEnd { rounds: options.rounds, ..EndToEnd::default() };
    if options.throughput || options.latency {
        let rounds = rounds::run(options).await?;
        found.baseline = rounds.baseline;
        found.throughput = rounds.throughput;
        found.latency = rounds.latency;
    }
    if options.memory {
        found.memory = Some(memory::run(options).await?);
    }
    if options.history {
        found.history = Some(history::run(options).await?);
    }
    if options.watched {
        found.watched = Some(watched::run(options).await?);
    }
    Ok(found)
}

/// What is wanted of what was found.
pub(crate) fn marks(found: &EndToEnd) -> Vec<Mark> {
    let mut marks = Vec::new();
    for case in found.throughput.iter().filter(|case| case.durability == Durability::Strict.name()) {
        let name = match case.workers {
            1 => "durable tasks, 1 worker".to_owned(),
            workers => format!("durable tasks, {workers} workers"),
        };
        marks.push(Mark::at_least(name, "tasks/s", 60_000.0, case.tasks_per_second.median));
    }
    if let Some(latency) = found.latency {
        let name = "one durable task alone, p50: 2 syncs and 6 echoes";
        // By the ratio, which was formed within each round.
        let found = latency.lone_to_limit.median * latency.limit.median;
        marks.push(Mark::at_most(name, "µs", latency.limit.median, found));
    }
    if let Some(memory) = &found.memory {
        if let Some(bytes) = memory.bytes_per_task {
            marks.push(Mark::at_most("memory of a queued task", "bytes", 64.0, bytes));
        }
        let percent = 100.0 * memory.backlog_per_second / memory.empty_per_second;
        marks.push(Mark::at_least("rate with a full queue, of that with an empty one", "%", 80.0, percent));
    }
    if let Some(history) = &found.history {
        let percent = 100.0 * history.later_to_fresh.median;
        marks.push(Mark::at_least("rate behind finished tasks, of that of a new manager", "%", 90.0, percent));
        marks.push(Mark::at_most("start with a full queue", "s", 5.0, history.start_seconds.median));
    }
    if let Some(watched) = &found.watched {
        let percent = 100.0 * watched.crowded_to_quiet.median;
        marks.push(Mark::at_most("p99 beside 1,000 HTTP connections, of that without", "%", 120.0, percent));
    }
    marks
}

/// What the machine did by itself in each round.
#[derive(Default)]
struct Baselines {
    echo_p50: Vec<f64>,
    echo_per_second: Vec<f64>,
    sync_p50: Vec<f64>,
}

impl Baselines {
    fn summary(self) -> Option<Baseline> {
        Some(Baseline {
            echo_p50: Spread::of(self.echo_p50)?,
            echo_per_second: Spread::of(self.echo_per_second)?,
            sync_p50: Spread::of(self.sync_p50)?,
        })
    }
}
