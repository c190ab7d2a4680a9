//! What always holds, checked after every step of a simulation.

use rustc_hash::FxHashMap;

use super::Engine;
use crate::{
    ids::{TaskNumber, WorkerNumber},
    task::{Counts, TaskState},
};

/// Something that must never be the case, is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Violation(String);

macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(Violation(format!($($message)+)));
        }
    };
}

impl Engine {
    /// Looks at everything. Costs as much as there are tasks.
    pub fn check_invariants(&self) -> Result<(), Violation> {
        self.check_tasks()?;
        self.check_leases()?;
        self.check_workers()
    }

    fn check_tasks(&self) -> Result<(), Violation> {
        let state = &self.state;
        let mut counts = Counts::default();
        let mut jobs: FxHashMap<u32, Counts> = FxHashMap::default();
        let mut open_bytes = 0;
        for (number, task) in state.tasks.iter() {
            counts.add(task.state(), 1);
            jobs.entry(task.job).or_default().add(task.state(), 1);
            if !task.state().is_final() {
                open_bytes += u64::from(task.payload_length);
            }
            ensure!(number < state.next.task, "task {number} exists though numbers end at {}", state.next.task);
            let job = state.jobs.at(task.job);
            ensure!(
                job.and_then(|job| job.task(task.index)) == Some(number),
                "task {number} is not found under its name"
            );
            let most = state.templates.get(task.template).map_or(0, |template| template.retry.max_attempts);
            ensure!(u32::from(task.failures) <= most, "task {number} has {} failures of {most}", task.failures);
            ensure!(
                task.state() != TaskState::Failed || u32::from(task.failures) == most,
                "task {number} is a dead letter after {} failures of {most}",
                task.failures
            );
            ensure!(u32::from(task.failures) <= task.attempts, "task {number} failed more often than it ran");
            let leased =
                task.lease().is_some_and(|lease| state.leases.get(&lease).is_some_and(|lease| lease.task == number));
            ensure!(
                leased == (task.state() == TaskState::Running),
                "task {number} is {:?}, its lease {:?} says otherwise",
                task.state(),
                task.lease()
            );
            let waits = state.backing_off.contains_key(&number);
            ensure!(waits == (task.state() == TaskState::Scheduled), "task {number}'s backoff and state differ");
        }
        ensure!(counts == state.counts, "counts are {:?}, tasks say {counts:?}", state.counts);
        ensure!(open_bytes == state.open_bytes, "open bytes are {}, tasks say {open_bytes}", state.open_bytes);
        ensure!(
            state.ready.count() == counts.get(TaskState::Queued),
            "{} are in the queue, {} are queued",
            state.ready.count(),
            counts.get(TaskState::Queued)
        );
        for position in 0..state.jobs.len() as u32 {
            let Some(job) = state.jobs.at(position) else { continue };
            let counted = jobs.get(&position).copied().unwrap_or_default();
            ensure!(job.counts == counted, "job {} counts {:?}, tasks say {counted:?}", job.number, job.counts);
            ensure!(counted.total() == u64::from(job.next_index), "job {} misses tasks", job.number);
        }
        Ok(())
    }

    fn check_leases(&self) -> Result<(), Violation> {
        let state = &self.state;
        ensure!(
            state.leases.len() as u64 == state.counts.get(TaskState::Running),
            "{} leases for {} running tasks",
            state.leases.len(),
            state.counts.get(TaskState::Running)
        );
        for (number, lease) in &state.leases {
            ensure!(*number < state.next.lease, "lease {number} exists though numbers end at {}", state.next.lease);
            let task = state.tasks.get(lease.task);
            ensure!(
                task.and_then(crate::task::Task::lease) == Some(*number),
                "lease {number} is not the one of its task {}",
                lease.task
            );
        }
        for (number, (task, _)) in &state.silenced {
            let task = state.tasks.get(*task);
            ensure!(
                task.is_some_and(|task| task.state() == TaskState::Queued && task.lease() == Some(*number)),
                "the silenced lease {number} is not its queued task's last"
            );
        }
        let waiting: Vec<TaskNumber> = self.backoffs.iter().map(|(_, task)| *task).collect();
        ensure!(
            waiting.iter().all(|task| state.backing_off.contains_key(task)) && waiting.len() == state.backing_off.len(),
            "timers and backoffs differ"
        );
        Ok(())
    }

    fn check_workers(&self) -> Result<(), Violation> {
        let mut held: FxHashMap<WorkerNumber, (u32, u32)> = FxHashMap::default();
        for lease in self.state.leases.values() {
            let (used, leases) = held.entry(lease.worker).or_default();
            *used += self.slots_of(lease.task);
            *leases += 1;
        }
        for (worker, presence) in &self.presences {
            let (used, leases) = held.remove(worker).unwrap_or_default();
            ensure!(presence.used == used, "worker {worker} uses {} slots, its leases {used}", presence.used);
            ensure!(presence.leases == leases, "worker {worker} holds {} leases, not {leases}", presence.leases);
            let has_room = presence.session.is_some() && presence.used < presence.window;
            ensure!(self.roomy.contains(worker) == has_room, "worker {worker} has room: {has_room}");
        }
        ensure!(held.is_empty(), "leases of workers that nobody watches: {held:?}");
        for (session, worker) in &self.sessions {
            let session_of = self.presences.get(worker).and_then(|presence| presence.session);
            ensure!(session_of == Some(*session), "session {session} is not worker {worker}'s");
        }
        Ok(())
    }
}
