//! What happens at a time: retries after a backoff (monotonic clock), delayed tasks and deadlines (wall clock).

use std::{collections::BTreeSet, time::Duration};

use rustc_hash::FxHashMap;

use super::Engine;
use crate::{
    ids::TaskNumber,
    limits::RECORD_ITEMS,
    record::{Log, Record},
    time::{Now, WallTime},
};

/// The wall clock is looked at this often at least while something waits for it: it may be set meanwhile.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(10);

/// When tasks that failed are tried again, on the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Backoffs {
    by_time: BTreeSet<(Duration, TaskNumber)>,
    times: FxHashMap<TaskNumber, Duration>,
}

impl Backoffs {
    pub(super) fn insert(&mut self, at: Duration, task: TaskNumber) {
        self.remove(task);
        self.by_time.insert((at, task));
        self.times.insert(task, at);
    }

    /// Forgets a task that waits no more.
    pub(super) fn remove(&mut self, task: TaskNumber) {
        if let Some(at) = self.times.remove(&task) {
            self.by_time.remove(&(at, task));
        }
    }

    pub(super) fn first(&self) -> Option<Duration> {
        self.by_time.first().map(|(at, _)| *at)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    pub(super) fn tasks(&self) -> impl ExactSizeIterator<Item = TaskNumber> + '_ {
        self.times.keys().copied()
    }

    fn pop_due(&mut self, now: Duration) -> Option<TaskNumber> {
        let (at, task) = self.by_time.first().copied().filter(|(at, _)| *at <= now)?;
        self.by_time.remove(&(at, task));
        self.times.remove(&task);
        Some(task)
    }
}

impl Engine {
    pub(super) fn retry_due(&mut self, now: Now, log: &mut impl Log) {
        loop {
            let due = std::iter::from_fn(|| self.backoffs.pop_due(now.monotonic));
            let mut tasks: Vec<TaskNumber> = due.take(RECORD_ITEMS).collect();
            if tasks.is_empty() {
                return;
            }
            tasks.sort_unstable();
            self.commit(log, &Record::Retried { tasks });
        }
    }

    /// Queues the delayed tasks whose time has come, and ends those whose deadline has passed.
    pub(super) fn clock_due(&mut self, now: Now, log: &mut impl Log) {
        let first = |runs: &crate::state::TimedRuns| runs.first_key_value().map(|(key, _)| *key);
        while let Some((at, first_task)) = first(&self.state.delayed).filter(|(at, _)| *at <= now.wall) {
            self.commit(log, &Record::Due { at, first_task });
        }
        while let Some((at, first_task)) = first(&self.state.deadlines).filter(|(at, _)| *at <= now.wall) {
            let count = self.state.deadlines.get(&(at, first_task)).copied().unwrap_or_default();
            let open = |task: &TaskNumber| self.state.tasks.get(*task).is_some_and(|task| !task.is_over());
            let run = (first_task.0..first_task.0 + u64::from(count)).map(TaskNumber);
            let tasks: Vec<TaskNumber> = run.filter(open).collect();
            self.commit(log, &Record::Expired { at, first_task });
            self.tell_over(tasks);
        }
    }

    /// When to look at the wall clock.
    pub(super) fn clock_timeout(&self) -> Option<Duration> {
        let first = |runs: &crate::state::TimedRuns| runs.first_key_value().map(|((at, _), _)| *at);
        let at: WallTime = [first(&self.state.delayed), first(&self.state.deadlines)].into_iter().flatten().min()?;
        let wait = Duration::from_millis(at.0.saturating_sub(self.turned.wall.0));
        Some(self.turned.monotonic + wait.min(LOOK_AT_CLOCK))
    }

    /// Tells followers of those of these tasks that are at their end.
    pub(super) fn tell_over(&mut self, tasks: impl IntoIterator<Item = TaskNumber>) {
        if !self.follows.any() {
            return;
        }
        for task in tasks {
            if let Some(task) = self.state.tasks.get(task)
                && task.state().is_final()
            {
                self.follows.task_over(task.job, task.index);
            }
        }
    }
}
