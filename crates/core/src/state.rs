//! What the records say: the part of the manager's knowledge that survives it.
//!
//! [`State::apply`] is the only thing that changes it, and is the same while running and while recovering. It asks no clock,
//! decides nothing and cannot fail: a record that names what is not there changes nothing (and is a bug, which debug builds
//! stop at).

mod large_values;
mod restore;
mod work;

use std::collections::{BTreeMap, VecDeque};

use rustc_hash::FxHashMap;

use crate::{
    access::{Access, EnrolledWorker, Token},
    archived::ArchivedJobs,
    idempotency::IdempotencyKeys,
    ids::{JobNumber, LeaseNumber, Place, TaskNumber, TemplateNumber, WorkerNumber},
    job::{Job, JobTable},
    meter::{Arrivals, Meter},
    ready::{Lane, Ready},
    record::{Record, Reservation, Verdict, WorkerMode},
    task::{Care, Counts, Task, TaskState, TaskTable},
    templates::Templates,
    time::WallTime,
    values::Values,
};

pub use large_values::LargeValue;

/// A lease that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The task it is for.
    pub task: TaskNumber,
    /// Who holds it.
    pub worker: WorkerNumber,
    /// Whether its worker has started the task. Not recorded.
    pub start: Start,
    /// Whether the worker was asked to give it back. Not recorded.
    pub asked_back: bool,
    /// Since when; not known of what a snapshot brought.
    pub since: Option<WallTime>,
}

/// Whether the holder of a lease has started its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It would have said so.
    No,
    /// It may have said so to a manager that is no more. When the worker dies, that counts as started.
    Unknown,
    /// It said so.
    Yes,
}

impl Lease {
    pub(crate) fn new(task: TaskNumber, worker: WorkerNumber, since: Option<WallTime>) -> Self {
        Self { task, worker, start: Start::No, asked_back: false, since }
    }
}

/// A lease that ended by silence and whose task was not handed out again: its worker may take it up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Silenced {
    /// The task that it was for.
    pub task: TaskNumber,
    /// Who held it.
    pub worker: WorkerNumber,
    /// Whether the silence counted as a crash of the task.
    pub counted: bool,
}

/// Runs of neighbouring tasks by a time and their first number, with how many there are.
pub type TimedRuns = BTreeMap<(WallTime, TaskNumber), u32>;

/// The first number of each kind that was not yet given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NextNumbers {
    pub lease: LeaseNumber,
    pub task: TaskNumber,
    pub job: JobNumber,
}

/// Everything that the records say.
#[derive(Debug)]
pub struct State {
    pub(crate) next: NextNumbers,
    pub(crate) reserved: Reservation,
    weak: bool,
    /// Templates.
    pub templates: Templates,
    /// Tasks.
    pub tasks: TaskTable,
    /// Jobs.
    pub jobs: JobTable,
    /// Queued tasks in order.
    pub ready: Ready,
    /// Leases that have not ended.
    pub leases: FxHashMap<LeaseNumber, Lease>,
    /// Leases that ended by silence.
    pub silenced: FxHashMap<LeaseNumber, Silenced>,
    /// Tasks that wait to be tried again, and for how many milliseconds from the failure on.
    pub backing_off: FxHashMap<TaskNumber, u64>,
    /// Tasks that were submitted to be `scheduled` until a time.
    pub delayed: TimedRuns,
    /// Tasks that were submitted with a deadline.
    pub deadlines: TimedRuns,
    /// How many delays and deadlines there were when those of purged jobs were dropped.
    times_trimmed: usize,
    /// Owners, tokens, workers.
    pub access: Access,
    /// Idempotency keys.
    pub keys: IdempotencyKeys,
    /// All tasks by state.
    pub counts: Counts,
    /// Bytes of the payloads of tasks that are not at an end.
    pub open_bytes: u64,
    /// How many tasks were forgotten by this process.
    pub forgotten: u64,
    /// What happened since this process started.
    pub meter: Meter,
    /// When tasks came.
    arrivals: Arrivals,
    /// The latest time that a record said.
    pub(crate) clock: WallTime,
    /// Values that are needed and lie in files of their own.
    pub large_values: BTreeMap<Place, LargeValue>,
    /// The files of those that are needed no more since [`State::take_dropped_files`].
    dropped_files: Vec<u64>,
    /// Jobs that are in the archive.
    pub archived: ArchivedJobs,
    /// Jobs that were over since [`State::take_newly_over`], with the time when they were.
    newly_over: Vec<(WallTime, JobNumber)>,
    /// Jobs with the time when they were over, in that order; stale where a job was run again or purged.
    pub over: VecDeque<(WallTime, JobNumber)>,
    /// Leases that ended, with their tasks and holders, for the defect of no fencing.
    #[cfg(feature = "faults")]
    pub(crate) retired: FxHashMap<LeaseNumber, (TaskNumber, WorkerNumber)>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            next: NextNumbers { lease: LeaseNumber(1), task: TaskNumber(0), job: JobNumber(1) },
            reserved: Reservation { leases: LeaseNumber(1), tasks: TaskNumber(0), jobs: JobNumber(1) },
            weak: false,
            templates: Templates::default(),
            tasks: TaskTable::default(),
            jobs: JobTable::default(),
            ready: Ready::default(),
            leases: FxHashMap::default(),
            silenced: FxHashMap::default(),
            backing_off: FxHashMap::default(),
            delayed: TimedRuns::new(),
            deadlines: TimedRuns::new(),
            times_trimmed: 0,
            access: Access::default(),
            keys: IdempotencyKeys::default(),
            counts: Counts::default(),
            open_bytes: 0,
            forgotten: 0,
            meter: Meter::default(),
            arrivals: Arrivals::default(),
            clock: WallTime(0),
            large_values: BTreeMap::new(),
            dropped_files: Vec::new(),
            archived: ArchivedJobs::default(),
            newly_over: Vec::new(),
            over: VecDeque::new(),
            #[cfg(feature = "faults")]
            retired: FxHashMap::default(),
        }
    }
}

impl State {
    /// When the queued task that came first was queued; of one that a snapshot brought, when its job was opened.
    pub(crate) fn oldest_queued(&mut self) -> Option<WallTime> {
        let oldest = self.ready.oldest(&self.tasks)?;
        let opened = || self.tasks.get(oldest).and_then(|task| self.jobs.at(task.job)).map(|job| job.opened);
        self.arrivals.find(oldest).or_else(opened)
    }

    /// Jobs that came to be over since this was asked last, with the time when they were.
    pub(crate) fn take_newly_over(&mut self) -> Vec<(WallTime, JobNumber)> {
        std::mem::take(&mut self.newly_over)
    }

    /// Makes all jobs that are over newly so.
    pub(crate) fn note_all_over(&mut self) {
        let jobs = &self.jobs;
        let ended = |number| jobs.position(number).and_then(|at| jobs.at(at)).and_then(|job| job.ended);
        let over = self.over.iter().copied().filter(|(time, job)| ended(*job) == Some(*time));
        self.newly_over = over.collect();
    }

    /// Carries a record out. `values` is where its values lie.
    pub fn apply(&mut self, record: &Record, values: Place) {
        if let Some(time) = record.time() {
            self.clock = self.clock.max(time);
        }
        match record {
            Record::Started { weak, .. } => {
                if self.weak {
                    // What was told after the last durable record may have used any number of the reserved ones.
                    self.next.lease = self.reserved.leases;
                    self.next.task = self.reserved.tasks;
                    self.next.job = self.reserved.jobs;
                }
                self.weak = *weak;
                self.templates.forget_unused();
            }
            Record::Reserved(reservation) => self.reserved = *reservation,
            Record::TemplateAdded { number, template } => {
                debug_assert!(self.templates.get(*number).is_none(), "no template's number is used twice");
                self.templates.insert(*number, template.clone());
            }
            Record::JobOpened { job, owner, key, name, idempotency, labels, time } => {
                self.jobs.insert(Job::new(*job, *owner, *key, name, labels.clone(), *time));
                self.next.job = self.next.job.max(job.next());
                if let Some(idempotency) = idempotency {
                    self.keys.insert(*idempotency, *job, *time);
                }
            }
            Record::Submitted { job, first_task, first_index, template, not_before, deadline, payloads, time } => {
                let state = if not_before.is_some() { TaskState::Scheduled } else { TaskState::Queued };
                let count = self.submitted(*job, *first_task, *first_index, *template, payloads, values, state);
                self.meter.submitted += u64::from(count);
                self.arrivals.note(*first_task, not_before.unwrap_or_default().max(*time));
                if let Some(not_before) = not_before {
                    self.delayed.insert((*not_before, *first_task), count);
                }
                if let Some(deadline) = deadline {
                    self.deadlines.insert((*deadline, *first_task), count);
                }
            }
            Record::JobClosed { job } => {
                if let Some(position) = self.jobs.position(*job) {
                    if let Some(job) = self.jobs.at_mut(position) {
                        job.closed = true;
                    }
                    self.note_end(position);
                }
            }
            Record::Dispatched { worker, first_lease, tasks, time } => {
                let mut lease = *first_lease;
                for task in tasks {
                    self.dispatched(*task, lease, *worker, *time);
                    lease = lease.next();
                }
                self.next.lease = self.next.lease.max(lease);
            }
            Record::Finished { ends, details, time } => {
                self.keep_outcomes(ends, details, values);
                for ((lease, verdict), (offset, _)) in ends.iter().zip(details.layout()) {
                    self.finished(*lease, *verdict, Place(values.0 + offset as u64), *time);
                }
            }
            Record::Released { leases, .. } => {
                for lease in leases {
                    self.released(*lease);
                }
            }
            Record::Readopted { worker, leases, .. } => {
                for (lease, task) in leases {
                    self.readopted(*worker, *lease, *task);
                }
            }
            Record::Retried { tasks } => {
                for task in tasks {
                    self.backing_off.remove(task);
                    self.set_state(*task, TaskState::Queued);
                }
            }
            Record::Due { at, first_task } => self.due(*at, *first_task),
            Record::Expired { at, first_task } => self.expired(*at, *first_task),
            Record::Cancelled { tasks, .. } => self.cancelled(tasks),
            Record::Requeued { tasks, .. } => self.requeued(tasks),
            Record::WorkerLost { worker, silent, ends, .. } => {
                for (lease, loss) in ends {
                    self.lost(*worker, *lease, *loss, *silent);
                }
            }
            Record::WorkerStarted { worker, incarnation, .. } => {
                if let Some(worker) = self.access.worker_mut(*worker) {
                    worker.incarnation = *incarnation;
                }
            }
            Record::WorkerSet { worker, mode } => {
                if let Some(worker) = self.access.worker_mut(*worker) {
                    worker.mode = *mode;
                }
            }
            Record::WorkerRemoved { worker, time } => {
                if let Some(worker) = self.access.worker_mut(*worker) {
                    worker.removed.get_or_insert(*time);
                }
            }
            Record::Purged { jobs, .. } => {
                for job in jobs {
                    self.purged(*job);
                }
            }
            Record::Moved { values_of, values: moved } => self.moved(values_of, moved, values),
            Record::Archived { jobs, .. } => {
                for job in jobs {
                    self.archive(*job);
                }
            }
            Record::OwnerAdded { number, name } => {
                debug_assert_eq!(*number, self.access.next_owner(), "owners are numbered in order");
                self.access.add_owner(name);
            }
            Record::TokenCreated { number, role, owner, hash, label, expires, time } => {
                debug_assert_eq!(*number, self.access.next_token(), "tokens are numbered in order");
                self.access.add_token(Token {
                    role: *role,
                    owner: *owner,
                    hash: *hash,
                    label: label.clone(),
                    created: *time,
                    expires: *expires,
                    revoked: None,
                    workers: 0,
                });
            }
            Record::TokenRevoked { token, time } => self.access.revoke(*token, *time),
            Record::WorkerEnrolled { number, token, hash, name, time } => {
                debug_assert_eq!(*number, self.access.next_worker(), "workers are numbered in order");
                self.access.add_worker(EnrolledWorker {
                    token: *token,
                    hash: *hash,
                    name: name.clone(),
                    enrolled: *time,
                    incarnation: 0,
                    mode: WorkerMode::Active,
                    removed: None,
                });
            }
        }
    }

    /// Adds tasks; how many.
    #[expect(clippy::too_many_arguments, reason = "the fields of one record")]
    fn submitted(
        &mut self,
        job: JobNumber,
        first_task: TaskNumber,
        first_index: u32,
        template: TemplateNumber,
        payloads: &Values,
        place: Place,
        state: TaskState,
    ) -> u32 {
        let Some(position) = self.jobs.position(job) else {
            debug_assert!(false, "job {job} was opened");
            return 0;
        };
        let mut number = first_task;
        for (index, (offset, length)) in (first_index..).zip(payloads.layout()) {
            let payload = Place(place.0 + offset as u64);
            self.tasks.insert(number, Task::new(state, payload, length as u32, position, index, template));
            self.open_bytes += length;
            number = number.next();
        }
        self.keep_values(payloads, place);
        let count = u64::from(payloads.count());
        self.counts.add(state, count);
        self.templates.hold(template, count);
        if state == TaskState::Queued {
            self.ready.push_fresh(self.lane_of(template, Care::None), first_task, count);
        }
        self.next.task = self.next.task.max(number);
        let body = self.templates.get(template).map(|template| template.body.clone()).unwrap_or_default();
        if let Some(job) = self.jobs.at_mut(position) {
            debug_assert_eq!(job.next_index, first_index, "tasks are submitted in order");
            if job.last_template != Some(template) {
                job.digest = crc32c::crc32c_append(job.digest, &body);
                job.last_template = Some(template);
            }
            job.digest = crate::digest::append(job.digest, payloads);
            job.extend(first_task, payloads.count());
            job.counts.add(state, count);
        }
        payloads.count()
    }

    fn dispatched(&mut self, number: TaskNumber, lease: LeaseNumber, worker: WorkerNumber, time: WallTime) {
        self.set_state(number, TaskState::Running);
        self.meter.handed_out += 1;
        if let Some(task) = self.tasks.get_mut(number) {
            if task.attempts == 0
                && let Some(queued) = self.arrivals.find(number)
            {
                self.meter.queued.observe(time.since(queued));
            }
            if let Some(earlier) = task.lease() {
                self.silenced.remove(&earlier);
            }
            task.attempts += 1;
            task.set_lease(lease);
        }
        self.leases.insert(lease, Lease::new(number, worker, Some(time)));
    }

    fn finished(&mut self, lease: LeaseNumber, verdict: Verdict, outcome: Place, time: WallTime) {
        let Some(Lease { task: number, since, .. }) = self.leases.remove(&lease) else {
            #[cfg(not(feature = "faults"))]
            debug_assert!(false, "lease {lease} had not ended");
            return;
        };
        if let Some(since) = since {
            self.meter.running.observe(time.since(since));
        }
        let failed = matches!(verdict, Verdict::Failed | Verdict::Retry { .. });
        self.attempt_ended(number, verdict, failed, Some(outcome));
    }

    fn attempt_ended(&mut self, number: TaskNumber, verdict: Verdict, failed: bool, outcome: Option<Place>) {
        let state = match verdict {
            Verdict::Succeeded => TaskState::Succeeded,
            Verdict::Failed => TaskState::Failed,
            Verdict::Retry { .. } => TaskState::Scheduled,
            Verdict::Cancelled => TaskState::Cancelled,
        };
        self.set_state(number, state);
        let Some(task) = self.tasks.get_mut(number) else { return };
        task.met_deadline();
        if failed {
            task.failures = task.failures.saturating_add(1);
        }
        match verdict {
            Verdict::Retry { backoff_milliseconds } => {
                self.meter.retried += 1;
                self.backing_off.insert(number, backoff_milliseconds);
            }
            Verdict::Cancelled => {}
            Verdict::Succeeded | Verdict::Failed => task.set_outcome(outcome),
        }
    }

    /// Moves a task from one state to another, keeping every count and the queue right.
    fn set_state(&mut self, number: TaskNumber, to: TaskState) {
        let Some(task) = self.tasks.get_mut(number) else {
            debug_assert!(false, "task {number} exists");
            return;
        };
        let from = task.state();
        task.set_state(to);
        let (job, template, length, care) = (task.job, task.template, task.payload_length, task.care());
        let payload = task.payload;
        if from == to {
            return;
        }
        self.counts.transition(from, to);
        self.meter.ended(from, to, 1);
        if let Some(job) = self.jobs.at_mut(job) {
            job.counts.transition(from, to);
        }
        if from.is_final() != to.is_final() {
            self.note_end(job);
        }
        let lane = self.lane_of(template, care);
        if from == TaskState::Queued {
            self.ready.left(lane, 1);
        }
        if to == TaskState::Queued {
            self.ready.push_returned(lane, number);
        }
        if to == TaskState::Succeeded {
            self.drop_value(payload);
        }
        match (from.is_final(), to.is_final()) {
            (false, true) => self.open_bytes -= u64::from(length),
            (true, false) => self.open_bytes += u64::from(length),
            _ => {}
        }
    }

    /// Notes whether a job is over now.
    fn note_end(&mut self, position: u32) {
        let Some(job) = self.jobs.at_mut(position) else { return };
        if !job.is_over() {
            job.ended = None;
        } else if job.ended.is_none() {
            job.ended = Some(self.clock);
            self.over.push_back((self.clock, job.number));
            self.newly_over.push((self.clock, job.number));
        }
    }

    fn lane_of(&self, template: TemplateNumber, care: Care) -> Lane {
        let priority = self.templates.get(template).map_or(0, |template| template.priority);
        (priority, self.templates.class(template), care)
    }
}
