//! A line in the log for every change: of a task at `debug`, of a worker or a token at `info`.
//!
//! Every change is a record, so it is told where all records pass. A line can be there a moment before its record is durable;
//! of what was not, the next start knows nothing. No line says anything of what a task is given or comes to.

use std::ops::{Deref, DerefMut};

use task_messenger_core::{
    ids::{JobNumber, LeaseNumber, TaskId, TaskNumber},
    record::{Appended, Log, Loss, Record, ReleaseReason, Role, Verdict, WorkerMode},
    state::{Lease, State},
    task::{Task, TaskState},
};
use task_messenger_store::journal::Front;
use tracing::{Level, debug, enabled, info};

/// What `log.level` calls the lines of tasks and jobs.
const TASKS: &str = "task_messenger_manager::tasks";
/// What `log.level` calls the lines of workers.
pub(super) const WORKERS: &str = "task_messenger_manager::workers";
/// What `log.level` calls the lines of tokens.
const TOKENS: &str = "task_messenger_manager::tokens";

/// The journal's front, with every change told.
pub(super) struct ToldFront(pub(super) Front);

impl Deref for ToldFront {
    type Target = Front;

    fn deref(&self) -> &Front {
        &self.0
    }
}

impl DerefMut for ToldFront {
    fn deref_mut(&mut self) -> &mut Front {
        &mut self.0
    }
}

impl Log for ToldFront {
    fn append(&mut self, record: &Record) -> Appended {
        self.0.append(record)
    }

    fn witness(&mut self, record: &Record, before: &State) {
        tell_of_others(record);
        if enabled!(target: TASKS, Level::DEBUG) {
            tell_of_tasks(record, before);
        }
    }
}

/// Tells what a record says of workers and tokens.
fn tell_of_others(record: &Record) {
    match record {
        Record::WorkerLost { worker, silent, ends, .. } => {
            let reason = if *silent { "it was silent for too long" } else { "its process is another one now" };
            info!(target: WORKERS, worker = worker.0, leases = ends.len(), reason, "the leases of a lost worker end");
        }
        Record::WorkerSet { worker, mode } => {
            let mode = match mode {
                WorkerMode::Active => "active",
                WorkerMode::Paused => "paused",
                WorkerMode::Draining => "draining",
            };
            info!(target: WORKERS, worker = worker.0, mode, "what a worker gets was changed");
        }
        Record::WorkerRemoved { worker, .. } => info!(target: WORKERS, worker = worker.0, "a worker was removed"),
        Record::WorkerEnrolled { number, token, name, .. } => {
            info!(target: WORKERS, worker = number.0, name, token = token.0, "a worker enrolled");
        }
        Record::TokenCreated { number, role, label, .. } => {
            let role = match role {
                Role::Worker => "worker",
                Role::Client => "client",
                Role::Admin => "admin",
            };
            info!(target: TOKENS, token = number.0, role, label, "a token was created");
        }
        Record::TokenRevoked { token, .. } => info!(target: TOKENS, token = token.0, "a token was revoked"),
        _ => {}
    }
}

/// A line about a task.
macro_rules! tell {
    ($id:expr, $($what:tt)+) => {{
        let id: TaskId = $id;
        debug!(target: TASKS, task = %id, job = id.job.0, $($what)+);
    }};
}

/// Tells what a record says of tasks and jobs, a line each.
fn tell_of_tasks(record: &Record, before: &State) {
    match record {
        Record::JobOpened { job, owner, .. } => debug!(target: TASKS, job = job.0, owner = owner.0, "opened"),
        Record::JobClosed { job } => debug!(target: TASKS, job = job.0, "closed: it gets no more tasks"),
        Record::Purged { jobs, .. } => each_job(jobs, |job| debug!(target: TASKS, job, "purged")),
        Record::Archived { jobs, .. } => each_job(jobs, |job| debug!(target: TASKS, job, "left to the archive")),
        Record::Submitted { job, first_index, not_before, payloads, .. } => {
            let state = if not_before.is_some() { "scheduled" } else { "queued" };
            for index in (*first_index..).take(payloads.count() as usize) {
                tell!(TaskId { job: *job, index }, state, "submitted");
            }
        }
        Record::Dispatched { worker, first_lease, tasks, .. } => {
            for (lease, number) in (first_lease.0..).zip(tasks) {
                let attempt = before.tasks.get(*number).map_or(0, |task| task.attempts) + 1;
                tell!(name(before, *number), lease, worker = worker.0, attempt, "handed out");
            }
        }
        Record::Finished { ends, .. } => {
            for (number, verdict) in ends {
                let Some((id, lease, worker)) = leased(before, *number) else { continue };
                let outcome = match verdict {
                    Verdict::Succeeded => "succeeded",
                    Verdict::Failed => "failed",
                    Verdict::Cancelled => "cancelled",
                    Verdict::Retry { backoff_milliseconds } => {
                        tell!(id, lease, worker, backoff_milliseconds, "failed: it is tried again");
                        continue;
                    }
                };
                tell!(id, lease, worker, outcome, "finished");
            }
        }
        Record::Released { leases, reason, .. } => {
            let reason = match reason {
                ReleaseReason::GivenBack => "the worker gave it back",
                ReleaseReason::NotHeld => "the worker does not have it",
                ReleaseReason::Removed => "the worker was removed",
            };
            for number in leases {
                let Some((id, lease, worker)) = leased(before, *number) else { continue };
                tell!(id, lease, worker, reason, "its lease ended without an outcome");
            }
        }
        Record::WorkerLost { ends, .. } => {
            for (number, loss) in ends {
                let Some((id, lease, worker)) = leased(before, *number) else { continue };
                let meaning = match loss {
                    Loss::Unstarted => "it had not started",
                    Loss::Crashed => "it counts a crash",
                    Loss::Failed => "it is charged, and has failed",
                    Loss::Retry { .. } => "it is charged, and tried again",
                };
                tell!(id, lease, worker, meaning, "its worker was lost");
            }
        }
        Record::Readopted { worker, leases, .. } => {
            for (lease, number) in leases {
                tell!(name(before, *number), lease = lease.0, worker = worker.0, "its lease goes on");
            }
        }
        Record::Retried { tasks } => {
            for number in tasks {
                tell!(name(before, *number), "queued: its wait is over");
            }
        }
        Record::Due { at, first_task } => {
            for number in run(*first_task, before.delayed.get(&(*at, *first_task))) {
                let waits = state_of(before, number) == Some(TaskState::Scheduled);
                if waits && !before.backing_off.contains_key(&number) {
                    tell!(name(before, number), "queued: its time has come");
                }
            }
        }
        Record::Expired { at, first_task } => {
            for number in run(*first_task, before.deadlines.get(&(*at, *first_task))) {
                let Some(task) = before.tasks.get(number).filter(|task| !task.has_started()) else { continue };
                match task.state() {
                    TaskState::Running => tell!(name(before, number), "overdue: it expires unless it has started"),
                    state if state.is_final() => {}
                    _ => tell!(name(before, number), "expired"),
                }
            }
        }
        Record::Cancelled { tasks, .. } => {
            for number in before.numbers_of(tasks) {
                match state_of(before, number) {
                    Some(TaskState::Running) => tell!(name(before, number), "cancelled: it is asked to stop"),
                    Some(state) if !state.is_final() => tell!(name(before, number), "cancelled"),
                    _ => {}
                }
            }
        }
        Record::Requeued { tasks, .. } => {
            for number in before.numbers_of(tasks) {
                let state = state_of(before, number);
                if matches!(state, Some(TaskState::Failed | TaskState::Cancelled | TaskState::Expired)) {
                    tell!(name(before, number), "queued: somebody wants it run again");
                }
            }
        }
        _ => {}
    }
}

fn each_job(jobs: &[JobNumber], tell: impl Fn(u64)) {
    for job in jobs {
        tell(job.0);
    }
}

fn run(first: TaskNumber, count: Option<&u32>) -> impl Iterator<Item = TaskNumber> + use<> {
    (first.0..).take(count.copied().unwrap_or_default() as usize).map(TaskNumber)
}

fn state_of(state: &State, number: TaskNumber) -> Option<TaskState> {
    state.tasks.get(number).map(Task::state)
}

/// A task as people name it.
fn name(state: &State, number: TaskNumber) -> TaskId {
    let task = state.tasks.get(number);
    let job = task.and_then(|task| state.jobs.at(task.job)).map(|job| job.number).unwrap_or_default();
    TaskId { job, index: task.map_or(0, |task| task.index) }
}

/// The task of a lease that has not ended, the lease, and its worker.
fn leased(state: &State, number: LeaseNumber) -> Option<(TaskId, u64, u32)> {
    let Lease { task, worker, .. } = state.leases.get(&number)?;
    Some((name(state, *task), number.0, worker.0))
}
