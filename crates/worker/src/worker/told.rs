//! A line in the log, at `debug`, for every change of a task. None says anything of what a task is given or comes to.

use prost::Message;
use task_messenger_protocol::{
    messages::{Outcome, outcome::Ending},
    values::Value,
};
use tracing::{Level, debug, enabled};

use crate::{
    runners::{TaskName, skill::FinishedTasks},
    tasks::{Held, StopReason, Tasks},
};

/// What `log.level` calls these lines.
const TASKS: &str = "task_messenger_worker::tasks";

/// A task was handed out to this worker.
pub(super) fn received(lease: u64, held: &Held) {
    let Held { name, attempt, .. } = held;
    debug!(target: TASKS, task = %name, job = name.job, lease, attempt, "received");
}

/// A task starts, or is the next of a few that start together.
pub(super) fn started(lease: u64, name: TaskName) {
    debug!(target: TASKS, task = %name, job = name.job, lease, "started");
}

/// A task ended by itself, or has an end because of its time or a cancel.
pub(super) fn ended(lease: u64, name: TaskName, outcome: &Outcome) {
    let ending = match outcome.ending() {
        Ending::Unspecified => "unknown",
        Ending::Exited => "exited",
        Ending::Signalled => "signalled",
        Ending::TimedOut => "timed out",
        Ending::Error => "error",
        Ending::Panicked => "panicked",
    };
    let (code, run_microseconds) = (outcome.code, outcome.run_microseconds);
    debug!(target: TASKS, task = %name, job = name.job, lease, ending, code, run_microseconds, "ended");
}

/// Skills ended.
pub(super) fn skills_ended(finished: &FinishedTasks, tasks: &Tasks) {
    if !enabled!(target: TASKS, Level::DEBUG) {
        return;
    }
    for (lease, (_, value)) in finished.leases.iter().zip(finished.outcomes.iter()) {
        if let Some(held) = tasks.get(*lease)
            && let Value::Inline(bytes) = value
            && let Ok(outcome) = Outcome::decode(bytes)
        {
            ended(*lease, held.name, &outcome);
        }
    }
}

/// A running task is asked to stop.
pub(super) fn stops(lease: u64, name: TaskName, reason: StopReason) {
    let reason = match reason {
        StopReason::Leaving => "the worker stops",
        StopReason::Cancelled => "it was cancelled",
        StopReason::Dropped => "the manager wants to hear of it no more",
    };
    debug!(target: TASKS, task = %name, job = name.job, lease, reason, "asked to stop");
}

/// Tasks have no outcome: the manager may hand them out anew.
pub(super) fn given_back(leases: &[u64]) {
    for lease in leases {
        debug!(target: TASKS, lease, "given back");
    }
}
