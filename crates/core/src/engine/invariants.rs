//! What always holds, checked after every step of a simulation.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Engine, workers::Presence};
use crate::{
    ids::{TaskNumber, TemplateNumber, WorkerNumber},
    job,
    task::{Care, Counts, TaskState},
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

/// What a worker holds, by its leases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Held {
    used: u32,
    leases: u32,
    apart: u32,
    alone: u32,
}

impl Engine {
    /// Looks at everything. Costs as much as there are tasks.
    pub fn check_invariants(&self) -> Result<(), Violation> {
        self.check_tasks()?;
        self.check_leases()?;
        self.check_workers()
    }

    /// Whether nothing is left to be done, and nothing is remembered that only open tasks need.
    pub fn check_at_rest(&self) -> Result<(), Violation> {
        let state = &self.state;
        ensure!(state.counts.open() == 0, "{} tasks are open", state.counts.open());
        ensure!(state.open_bytes == 0, "open tasks have {} bytes", state.open_bytes);
        ensure!(state.silenced.is_empty(), "{} silenced leases are remembered", state.silenced.len());
        ensure!(self.backoffs.is_empty() && state.backing_off.is_empty(), "tasks wait to be tried again");
        ensure!(self.newcomers.is_empty(), "{} newcomers wait", self.newcomers.len());
        ensure!(self.vacating.is_none(), "worker {:?} is kept free", self.vacating);
        let connected = self.presences.values().all(|presence| presence.session.is_some());
        ensure!(connected, "workers are watched that are not there");
        ensure!(self.presences.len() == self.sessions.len(), "sessions and workers differ");
        Ok(())
    }

    /// What templates count, and what they and jobs take.
    fn check_descriptions(&self) -> Result<(), Violation> {
        let state = &self.state;
        let mut counted: FxHashMap<TemplateNumber, u64> = FxHashMap::default();
        for (_, task) in state.tasks.iter() {
            *counted.entry(task.template).or_default() += 1;
        }
        let (uses, bytes) = state.templates.uses();
        ensure!(uses == counted, "templates have {uses:?} tasks, tasks say {counted:?}");
        ensure!(state.templates.bytes() == bytes, "templates take {} bytes, not {bytes}", state.templates.bytes());
        let bytes = state.jobs.iter().map(|job| job::cost(&job.name, &job.labels)).sum::<u64>();
        ensure!(state.jobs.bytes() == bytes, "jobs take {} bytes, not {bytes}", state.jobs.bytes());
        Ok(())
    }

    fn check_tasks(&self) -> Result<(), Violation> {
        let state = &self.state;
        let mut counts = Counts::default();
        let mut queued_alone = 0;
        let mut jobs: FxHashMap<u32, Counts> = FxHashMap::default();
        let mut open_bytes = 0;
        let delayed: FxHashSet<TaskNumber> = state
            .delayed
            .iter()
            .flat_map(|((_, first), count)| (first.0..first.0 + u64::from(*count)).map(TaskNumber))
            .collect();
        for (number, task) in state.tasks.iter() {
            counts.add(task.state(), 1);
            jobs.entry(task.job).or_default().add(task.state(), 1);
            if !task.state().is_final() {
                open_bytes += u64::from(task.payload_length);
            }
            queued_alone += u64::from(task.state() == TaskState::Queued && task.care() == Care::Alone);
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
            let waits = state.backing_off.contains_key(&number) || delayed.contains(&number);
            ensure!(waits || task.state() != TaskState::Scheduled, "task {number} is scheduled for no time");
            ensure!(
                !state.backing_off.contains_key(&number) || task.state() == TaskState::Scheduled,
                "task {number} has a backoff and is {:?}",
                task.state()
            );
            ensure!(
                !task.is_cancelling() || matches!(task.state(), TaskState::Running | TaskState::Cancelled),
                "task {number} was cancelled and is {:?}",
                task.state()
            );
        }
        ensure!(counts == state.counts, "counts are {:?}, tasks say {counts:?}", state.counts);
        ensure!(open_bytes == state.open_bytes, "open bytes are {}, tasks say {open_bytes}", state.open_bytes);
        ensure!(
            state.ready.count() == counts.get(TaskState::Queued),
            "{} are in the queue, {} are queued",
            state.ready.count(),
            counts.get(TaskState::Queued)
        );
        ensure!(
            state.ready.count_alone() == queued_alone,
            "{} in the queue are to run alone, tasks say {queued_alone}",
            state.ready.count_alone()
        );
        self.check_descriptions()?;
        for (position, job) in state.jobs.positions() {
            ensure!(job.is_over() == job.ended.is_some(), "job {} is over: {:?}", job.number, job.ended);
            ensure!(
                job.ended.is_none_or(|time| state.over.contains(&(time, job.number))),
                "job {} is over and not in the list of those",
                job.number
            );
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
        for (number, silenced) in &state.silenced {
            let task = state.tasks.get(silenced.task);
            ensure!(
                task.is_some_and(|task| task.state() == TaskState::Queued && task.lease() == Some(*number)),
                "the silenced lease {number} is not its queued task's last"
            );
        }
        let mut waiting = self.backoffs.tasks();
        ensure!(
            waiting.len() == state.backing_off.len() && waiting.all(|task| state.backing_off.contains_key(&task)),
            "timers and backoffs differ"
        );
        Ok(())
    }

    fn check_workers(&self) -> Result<(), Violation> {
        let mut held: FxHashMap<WorkerNumber, Held> = FxHashMap::default();
        for lease in self.state.leases.values() {
            let of_worker = held.entry(lease.worker).or_default();
            let load = self.load_of(lease.task);
            of_worker.used += load.slots;
            of_worker.leases += 1;
            of_worker.apart += u32::from(load.care == Care::Apart);
            of_worker.alone += u32::from(load.care == Care::Alone);
        }
        for (worker, presence) in &self.presences {
            let of_worker = held.remove(worker).unwrap_or_default();
            let Presence { used, leases, apart, alone, .. } = *presence;
            let counted = Held { used, leases, apart, alone };
            ensure!(counted == of_worker, "worker {worker} is said to hold {counted:?}, and holds {of_worker:?}");
            ensure!(apart <= 1, "worker {worker} has {apart} tasks that were to be kept apart");
            ensure!(alone == 0 || leases == 1, "worker {worker} has {leases} tasks, and one was to run alone");
            let has_room = self.has_room(*worker);
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
