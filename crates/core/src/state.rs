//! What the records say: the part of the manager's knowledge that survives it.
//!
//! [`State::apply`] is the only thing that changes it, and is the same while running and while recovering. It asks no clock,
//! decides nothing and cannot fail: a record that names what is not there changes nothing (and is a bug, which debug builds
//! stop at).

use rustc_hash::FxHashMap;

use crate::{
    access::{Access, EnrolledWorker, Token},
    idempotency::IdempotencyKeys,
    ids::{JobNumber, LeaseNumber, Place, TaskNumber, TemplateNumber, WorkerNumber},
    job::{Job, JobTable},
    ready::{Lane, Ready},
    record::{Record, ReleaseReason, Reservation, Verdict},
    task::{Counts, Task, TaskState, TaskTable},
    templates::Templates,
    values::Values,
};

/// A lease that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The task it is for.
    pub task: TaskNumber,
    /// Who holds it.
    pub worker: WorkerNumber,
    /// Whether the worker said that it starts the task. Not recorded: unknown after a restart.
    pub started: bool,
}

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
    /// Leases that ended by silence and whose task was not handed out again: their worker may take them up again.
    pub silenced: FxHashMap<LeaseNumber, (TaskNumber, WorkerNumber)>,
    /// Tasks that wait to be tried again, and for how many milliseconds from the failure on.
    pub backing_off: FxHashMap<TaskNumber, u64>,
    /// Owners, tokens, workers.
    pub access: Access,
    /// Idempotency keys.
    pub keys: IdempotencyKeys,
    /// All tasks by state.
    pub counts: Counts,
    /// Bytes of the payloads of tasks that are not at an end.
    pub open_bytes: u64,
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
            access: Access::default(),
            keys: IdempotencyKeys::default(),
            counts: Counts::default(),
            open_bytes: 0,
            #[cfg(feature = "faults")]
            retired: FxHashMap::default(),
        }
    }
}

impl State {
    /// Carries a record out. `values` is where its values lie.
    pub fn apply(&mut self, record: &Record, values: Place) {
        match record {
            Record::Started { weak, .. } => {
                if self.weak {
                    // What was told after the last durable record may have used any number of the reserved ones.
                    self.next.lease = self.reserved.leases;
                    self.next.task = self.reserved.tasks;
                    self.next.job = self.reserved.jobs;
                }
                self.weak = *weak;
            }
            Record::Reserved(reservation) => self.reserved = *reservation,
            Record::TemplateAdded { number, template } => {
                debug_assert_eq!(*number, self.templates.next(), "templates are numbered in order");
                self.templates.insert(template.clone());
            }
            Record::JobOpened { job, owner, key, name, idempotency, time } => {
                self.jobs.insert(Job::new(*job, *owner, *key, name, *time));
                self.next.job = self.next.job.max(job.next());
                if let Some(idempotency) = idempotency {
                    self.keys.insert(*idempotency, *job, *time);
                }
            }
            Record::Submitted { job, first_task, first_index, template, payloads, .. } => {
                self.submitted(*job, *first_task, *first_index, *template, payloads, values);
            }
            Record::JobClosed { job } => {
                if let Some(job) = self.jobs.position(*job).and_then(|position| self.jobs.at_mut(position)) {
                    job.closed = true;
                }
            }
            Record::Dispatched { worker, first_lease, tasks, .. } => {
                let mut lease = *first_lease;
                for task in tasks {
                    self.dispatched(*task, lease, *worker);
                    lease = lease.next();
                }
                self.next.lease = self.next.lease.max(lease);
            }
            Record::Finished { ends, details, .. } => {
                for ((lease, verdict), (offset, _)) in ends.iter().zip(details.layout()) {
                    self.finished(*lease, *verdict, Place(values.0 + offset as u64));
                }
            }
            Record::Released { leases, reason, .. } => {
                for lease in leases {
                    self.released(*lease, *reason);
                }
            }
            Record::Readopted { worker, leases, .. } => {
                for (lease, task) in leases {
                    self.silenced.remove(lease);
                    self.set_state(*task, TaskState::Running);
                    self.leases.insert(*lease, Lease { task: *task, worker: *worker, started: true });
                }
            }
            Record::Retried { tasks } => {
                for task in tasks {
                    self.backing_off.remove(task);
                    self.set_state(*task, TaskState::Queued);
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
                });
            }
        }
    }

    fn submitted(
        &mut self,
        job: JobNumber,
        first_task: TaskNumber,
        first_index: u32,
        template: TemplateNumber,
        payloads: &Values,
        place: Place,
    ) {
        let Some(position) = self.jobs.position(job) else {
            debug_assert!(false, "job {job} was opened");
            return;
        };
        let mut number = first_task;
        for (index, (offset, length)) in (first_index..).zip(payloads.layout()) {
            let payload = Place(place.0 + offset as u64);
            self.tasks.insert(number, Task::queued(payload, length as u32, position, index, template));
            self.open_bytes += length;
            number = number.next();
        }
        let count = u64::from(payloads.count());
        self.counts.add(TaskState::Queued, count);
        self.ready.push_fresh(self.lane_of(template), first_task, count);
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
            job.counts.add(TaskState::Queued, count);
        }
    }

    fn dispatched(&mut self, number: TaskNumber, lease: LeaseNumber, worker: WorkerNumber) {
        self.set_state(number, TaskState::Running);
        if let Some(task) = self.tasks.get_mut(number) {
            if let Some(earlier) = task.lease() {
                self.silenced.remove(&earlier);
            }
            task.attempts += 1;
            task.set_lease(lease);
        }
        self.leases.insert(lease, Lease { task: number, worker, started: false });
    }

    fn finished(&mut self, lease: LeaseNumber, verdict: Verdict, outcome: Place) {
        let Some(Lease { task: number, .. }) = self.leases.remove(&lease) else {
            #[cfg(not(feature = "faults"))]
            debug_assert!(false, "lease {lease} had not ended");
            return;
        };
        let state = match verdict {
            Verdict::Succeeded => TaskState::Succeeded,
            Verdict::Failed => TaskState::Failed,
            Verdict::Retry { .. } => TaskState::Scheduled,
        };
        self.set_state(number, state);
        let Some(task) = self.tasks.get_mut(number) else { return };
        if verdict != Verdict::Succeeded {
            task.failures = task.failures.saturating_add(1);
        }
        if let Verdict::Retry { backoff_milliseconds } = verdict {
            self.backing_off.insert(number, backoff_milliseconds);
        } else {
            task.set_outcome(outcome);
        }
    }

    fn released(&mut self, lease: LeaseNumber, reason: ReleaseReason) {
        let Some(Lease { task, worker, .. }) = self.leases.remove(&lease) else {
            #[cfg(not(feature = "faults"))]
            debug_assert!(false, "lease {lease} had not ended");
            return;
        };
        #[cfg(feature = "faults")]
        self.retired.insert(lease, (task, worker));
        if reason == ReleaseReason::Silence {
            self.silenced.insert(lease, (task, worker));
        }
        self.set_state(task, TaskState::Queued);
    }

    /// Moves a task from one state to another, keeping every count and the queue right.
    fn set_state(&mut self, number: TaskNumber, to: TaskState) {
        let Some(task) = self.tasks.get_mut(number) else {
            debug_assert!(false, "task {number} exists");
            return;
        };
        let from = task.state();
        task.set_state(to);
        let (job, template, length) = (task.job, task.template, task.payload_length);
        if from == to {
            return;
        }
        self.counts.transition(from, to);
        if let Some(job) = self.jobs.at_mut(job) {
            job.counts.transition(from, to);
        }
        let lane = self.lane_of(template);
        if from == TaskState::Queued {
            self.ready.left(lane);
        }
        if to == TaskState::Queued {
            self.ready.push_returned(lane, number);
        }
        if to.is_final() && !from.is_final() {
            self.open_bytes -= u64::from(length);
        }
    }

    fn lane_of(&self, template: TemplateNumber) -> Lane {
        let priority = self.templates.get(template).map_or(0, |template| template.priority);
        (priority, self.templates.class(template))
    }
}
