//! What records say of many tasks at once: cancelled, run again, due, expired; and of the leases of a worker that died.

use super::{Lease, Silenced, Start, State};
use crate::{
    ids::{JobNumber, LeaseNumber, TaskNumber, WorkerNumber},
    job::Job,
    ready::Lane,
    record::{Loss, Verdict, Work},
    task::{Care, Task, TaskState},
    time::WallTime,
};

/// So much that is stale is borne with.
const STALE: usize = 1_024;

/// Moves of tasks that are counted together: neighbours share job, lane and state nearly always.
#[derive(Default)]
struct Moves {
    pending: Option<(u32, Lane, TaskState, u64)>,
}

impl State {
    /// The tasks that are meant, in order.
    pub fn numbers_of<'a>(&'a self, work: &'a Work) -> Box<dyn Iterator<Item = TaskNumber> + 'a> {
        match work {
            Work::Tasks(tasks) => Box::new(tasks.iter().copied()),
            Work::Job(job) => {
                let job = self.jobs.position(*job).and_then(|position| self.jobs.at(position));
                Box::new(job.into_iter().flat_map(Job::tasks))
            }
        }
    }

    pub(super) fn cancelled(&mut self, work: &Work) {
        let whole = match work {
            Work::Job(job) => self.jobs.position(*job),
            Work::Tasks(_) => None,
        };
        if let Some(job) = whole.and_then(|position| self.jobs.at_mut(position)) {
            job.closed = true;
        }
        let mut moves = Moves::default();
        let numbers: Vec<TaskNumber> = self.numbers_of(work).collect();
        for number in numbers {
            let Some(task) = self.tasks.get_mut(number) else { continue };
            match task.state() {
                TaskState::Running => task.mark_cancelling(),
                from if from.is_final() => {}
                from => {
                    task.set_state(TaskState::Cancelled);
                    self.open_bytes -= u64::from(task.payload_length);
                    let lease = task.lease_of_waiting();
                    let (job, template, care) = (task.job, task.template, task.care());
                    if let Some(lease) = lease {
                        self.silenced.remove(&lease);
                    }
                    if from == TaskState::Scheduled {
                        self.backing_off.remove(&number);
                    }
                    let lane = self.lane_of(template, care);
                    self.count_move(&mut moves, job, lane, from);
                }
            }
        }
        self.end_moves(&mut moves);
        if let Some(position) = whole {
            self.note_end(position);
        }
    }

    fn count_move(&mut self, moves: &mut Moves, job: u32, lane: Lane, from: TaskState) {
        match &mut moves.pending {
            Some((pending_job, pending_lane, pending_from, count))
                if (*pending_job, *pending_lane, *pending_from) == (job, lane, from) =>
            {
                *count += 1;
            }
            _ => {
                self.end_moves(moves);
                moves.pending = Some((job, lane, from, 1));
            }
        }
    }

    fn end_moves(&mut self, moves: &mut Moves) {
        let Some((job, lane, from, count)) = moves.pending.take() else { return };
        self.counts.move_many(from, TaskState::Cancelled, count);
        self.meter.ended(from, TaskState::Cancelled, count);
        if let Some(job) = self.jobs.at_mut(job) {
            job.counts.move_many(from, TaskState::Cancelled, count);
        }
        self.note_end(job);
        if from == TaskState::Queued {
            self.ready.left(lane, count);
        }
    }

    pub(super) fn requeued(&mut self, work: &Work) {
        let numbers: Vec<TaskNumber> = self.numbers_of(work).collect();
        for number in numbers {
            if let Some(task) = self.tasks.get_mut(number)
                && matches!(task.state(), TaskState::Failed | TaskState::Cancelled | TaskState::Expired)
            {
                let outcome = task.outcome();
                task.begin_anew();
                self.meter.requeued += 1;
                self.set_state(number, TaskState::Queued);
                if let Some(outcome) = outcome {
                    self.drop_value(outcome);
                }
            }
        }
    }

    /// Forgets a job that is over.
    pub(super) fn purged(&mut self, job: JobNumber) {
        for task in self.take_out(job).map(|(_, tasks)| tasks).unwrap_or_default() {
            for place in [Some(task.payload), task.outcome()].into_iter().flatten() {
                self.drop_value(place);
            }
        }
    }

    /// Leaves a job that is over, and its values, to the archive.
    pub(super) fn archive(&mut self, job: JobNumber) {
        let Some((job, tasks)) = self.take_out(job) else { return };
        for place in tasks.iter().filter_map(Task::outcome) {
            self.large_values.remove(&place);
        }
        self.archived.insert(&job, self.clock);
    }

    /// Takes a job that is over out of the tables.
    fn take_out(&mut self, job: JobNumber) -> Option<(Box<Job>, Vec<Task>)> {
        let over = self.jobs.position(job).filter(|at| self.jobs.at(*at).is_some_and(Job::is_over));
        let Some(job) = over.and_then(|position| self.jobs.remove(position)) else {
            debug_assert!(false, "job {job} was over");
            return None;
        };
        let tasks: Vec<Task> = job.tasks().filter_map(|number| self.tasks.remove(number)).collect();
        for task in &tasks {
            self.counts.subtract(task.state(), 1);
            self.templates.release(task.template, 1);
        }
        self.forgotten += tasks.len() as u64;
        self.trim_over();
        self.trim_times();
        Some((job, tasks))
    }

    /// Drops deadlines and delays of jobs that are purged, once they may be half of all: they can lie far ahead.
    fn trim_times(&mut self) {
        if self.delayed.len() + self.deadlines.len() <= 2 * self.times_trimmed + STALE {
            return;
        }
        let tasks = &self.tasks;
        self.delayed.retain(|(_, first), _| tasks.get(*first).is_some());
        self.deadlines.retain(|(_, first), _| tasks.get(*first).is_some());
        self.times_trimmed = self.delayed.len() + self.deadlines.len();
    }

    /// Drops what is stale in [`State::over`]: at its front, and everywhere once it may be half of all.
    pub(crate) fn trim_over(&mut self) {
        if self.over.len() > 2 * self.jobs.len() + STALE {
            let mut over = std::mem::take(&mut self.over);
            over.retain(|(time, job)| self.over_at(*job) == Some(*time));
            self.over = over;
        }
        while let Some((time, job)) = self.over.front().copied()
            && self.over_at(job) != Some(time)
        {
            self.over.pop_front();
        }
    }

    /// When a job was over, if it still is.
    fn over_at(&self, job: JobNumber) -> Option<WallTime> {
        self.jobs.position(job).and_then(|position| self.jobs.at(position)).and_then(|job| job.ended)
    }

    pub(super) fn due(&mut self, at: WallTime, first_task: TaskNumber) {
        let count = self.delayed.remove(&(at, first_task)).unwrap_or_default();
        for number in (first_task.0..first_task.0 + u64::from(count)).map(TaskNumber) {
            let waits = self.tasks.get(number).is_some_and(|task| task.state() == TaskState::Scheduled);
            if waits && !self.backing_off.contains_key(&number) {
                self.set_state(number, TaskState::Queued);
            }
        }
    }

    pub(super) fn expired(&mut self, at: WallTime, first_task: TaskNumber) {
        let count = self.deadlines.remove(&(at, first_task)).unwrap_or_default();
        for number in (first_task.0..first_task.0 + u64::from(count)).map(TaskNumber) {
            // A task that has failed, or with which a worker died, was started in time.
            let Some(task) = self.tasks.get_mut(number).filter(|task| !task.has_started()) else { continue };
            match task.state() {
                TaskState::Running => task.mark_overdue(),
                state if state.is_final() => {}
                _ => self.end_waiting(number, TaskState::Expired),
            }
        }
    }

    /// Ends a task that waits.
    fn end_waiting(&mut self, number: TaskNumber, state: TaskState) {
        if let Some(lease) = self.tasks.get(number).and_then(Task::lease_of_waiting) {
            self.silenced.remove(&lease);
        }
        self.set_state(number, state);
    }

    /// A lease ended without an outcome, at nobody's charge.
    pub(super) fn released(&mut self, lease: LeaseNumber) {
        let Some(ended) = self.leases.remove(&lease) else {
            #[cfg(not(feature = "faults"))]
            debug_assert!(false, "lease {lease} had not ended");
            return;
        };
        #[cfg(feature = "faults")]
        self.retired.insert(lease, (ended.task, ended.worker));
        self.meter.leases_released += 1;
        self.come_back(ended.task);
    }

    /// Where a task goes whose lease ended without an outcome: usually back into the queue.
    fn come_back(&mut self, number: TaskNumber) -> TaskState {
        let task = self.tasks.get(number);
        let state = match task {
            Some(task) if task.is_cancelling() => TaskState::Cancelled,
            Some(task) if task.is_overdue() => TaskState::Expired,
            _ => TaskState::Queued,
        };
        self.set_state(number, state);
        state
    }

    pub(super) fn readopted(&mut self, worker: WorkerNumber, lease: LeaseNumber, number: TaskNumber) {
        let counted = self.silenced.remove(&lease).is_some_and(|silenced| silenced.counted);
        self.set_state(number, TaskState::Running);
        if counted && let Some(task) = self.tasks.get_mut(number) {
            task.uncount_crash();
        }
        let mut readopted = Lease::new(number, worker, None);
        readopted.start = Start::Unknown;
        self.leases.insert(lease, readopted);
    }

    pub(super) fn lost(&mut self, worker: WorkerNumber, lease: LeaseNumber, loss: Loss, silent: bool) {
        let Some(ended) = self.leases.remove(&lease) else {
            #[cfg(not(feature = "faults"))]
            debug_assert!(false, "lease {lease} had not ended");
            return;
        };
        #[cfg(feature = "faults")]
        self.retired.insert(lease, (ended.task, ended.worker));
        self.meter.leases_lost += 1;
        let number = ended.task;
        let mut counted = false;
        let state = match loss {
            Loss::Failed => {
                self.attempt_ended(number, Verdict::Failed, true, None);
                TaskState::Failed
            }
            Loss::Retry { backoff_milliseconds } => {
                self.attempt_ended(number, Verdict::Retry { backoff_milliseconds }, true, None);
                TaskState::Scheduled
            }
            Loss::Crashed => {
                if let Some(task) = self.tasks.get_mut(number) {
                    counted = task.care() != Care::Alone;
                    task.count_crash();
                    task.met_deadline();
                }
                self.come_back(number)
            }
            Loss::Unstarted => self.come_back(number),
        };
        if silent && state == TaskState::Queued {
            self.silenced.insert(lease, Silenced { task: number, worker, counted });
        }
    }
}

#[cfg(feature = "faults")]
impl State {
    /// The defect of a recovery that loses a cancel.
    pub(crate) fn forget_cancel(&mut self, number: TaskNumber) {
        if let Some(task) = self.tasks.get_mut(number) {
            task.forget_cancel();
        }
    }
}
