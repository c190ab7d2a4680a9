//! The state as of one record, to be written down as a whole: what a snapshot holds.
//!
//! Taking an [`Image`] costs little and stalls nobody: tasks and jobs stay shared with the state until they change. Its
//! [`Part`]s, restored in their order into an empty state, make it what it was. What can be told from others (the queue,
//! counts of all tasks) is not among them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::{
    access::Access,
    archived::{ArchivedJob, ArchivedJobs},
    idempotency::IdempotencyKeys,
    ids::{JobNumber, LeaseNumber, OwnerNumber, Place, TaskNumber, TemplateNumber, WorkerNumber},
    job::{Job, SharedJobs},
    record::{Idempotency, JobKey, Record, Reservation, ValueOf, WorkerMode},
    state::{LargeValue, Silenced, State, TimedRuns},
    task::{Task, TaskTable},
    template::Template,
    time::WallTime,
};

/// So many items are in one part, at most.
const ITEMS: usize = 1_024;

/// A piece of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// What a record said when it was new: owners, tokens, workers, templates.
    Record(Record),
    /// The numbers that come next, and the like.
    Numbers(Numbers),
    /// A job, without its tasks.
    Job(Box<Job>),
    /// Tasks of one job, without its position.
    Tasks {
        /// The job.
        job: JobNumber,
        /// Its tasks.
        tasks: Vec<(TaskNumber, Task)>,
    },
    /// Leases that have not ended.
    Leases(Vec<(LeaseNumber, TaskNumber, WorkerNumber)>),
    /// Leases that ended by silence.
    Silenced(Vec<(LeaseNumber, Silenced)>),
    /// Tasks that wait to be tried again, and for how many milliseconds.
    BackingOff(Vec<(TaskNumber, u64)>),
    /// Tasks that wait for a time: it, the first of them, how many.
    Delayed(Vec<(WallTime, TaskNumber, u32)>),
    /// Tasks with a deadline: it, the first of them, how many.
    Deadlines(Vec<(WallTime, TaskNumber, u32)>),
    /// Idempotency keys with their jobs and when those were opened, oldest first.
    Keys(Vec<(Idempotency, JobNumber, WallTime)>),
    /// Values that lie in files of their own.
    LargeValues(Vec<(Place, LargeValue)>),
    /// Jobs in the archive, oldest first, with when they were archived.
    Archived(Vec<(WallTime, OwnerNumber, JobKey, ArchivedJob)>),
    /// Jobs with the time when they were over, in that order.
    Over(Vec<(WallTime, JobNumber)>),
}

/// A value that is still needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeededValue {
    /// Whose it is.
    pub task: TaskNumber,
    /// Which.
    pub value_of: ValueOf,
    /// Where it lies.
    pub place: Place,
}

/// The numbers that come next, and the like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The first of each kind that was not given out.
    pub next: Reservation,
    /// The template number that comes next.
    pub next_template: TemplateNumber,
    /// Up to which they may be given out.
    pub reserved: Reservation,
    /// Whether what was told may go beyond what was recorded.
    pub weak: bool,
    /// The latest time that a record said.
    pub clock: WallTime,
}

/// The state as of one record.
#[derive(Debug)]
pub struct Image {
    numbers: Numbers,
    access: Access,
    templates: Vec<(TemplateNumber, Arc<Template>)>,
    jobs: SharedJobs,
    first_job: u32,
    tasks: TaskTable,
    leases: Vec<(LeaseNumber, TaskNumber, WorkerNumber)>,
    silenced: Vec<(LeaseNumber, Silenced)>,
    backing_off: Vec<(TaskNumber, u64)>,
    delayed: TimedRuns,
    deadlines: TimedRuns,
    keys: IdempotencyKeys,
    large_values: BTreeMap<Place, LargeValue>,
    archived: ArchivedJobs,
    over: VecDeque<(WallTime, JobNumber)>,
}

impl Image {
    /// The state as it is.
    pub(crate) fn of(state: &State) -> Self {
        let (jobs, first_job) = state.jobs.share();
        Self {
            numbers: state.numbers(),
            access: state.access.clone(),
            templates: state.templates.iter().map(|(number, template)| (number, template.clone())).collect(),
            jobs,
            first_job,
            tasks: state.tasks.clone(),
            leases: state.leases.iter().map(|(number, lease)| (*number, lease.task, lease.worker)).collect(),
            silenced: state.silenced.iter().map(|(number, silenced)| (*number, *silenced)).collect(),
            backing_off: state.backing_off.iter().map(|(task, wait)| (*task, *wait)).collect(),
            delayed: state.delayed.clone(),
            deadlines: state.deadlines.clone(),
            keys: state.keys.clone(),
            large_values: state.large_values.clone(),
            archived: state.archived.clone(),
            over: state.over.clone(),
        }
    }

    /// Its parts, in the order in which they are restored.
    pub fn parts(&self) -> impl Iterator<Item = Part> + '_ {
        let times =
            |times: &TimedRuns| times.iter().map(|((at, task), count)| (*at, *task, *count)).collect::<Vec<_>>();
        let mut templates: Vec<_> = self.templates.iter().map(|(number, template)| (*number, template)).collect();
        templates.sort_unstable_by_key(|(number, _)| *number);
        let large: Vec<_> = self.large_values.iter().map(|(place, value)| (*place, *value)).collect();
        std::iter::once(Part::Numbers(self.numbers))
            .chain(self.access_records().map(Part::Record))
            .chain(
                templates.into_iter().map(|(number, template)| {
                    Part::Record(Record::TemplateAdded { number, template: template.clone() })
                }),
            )
            .chain(self.jobs().map(|job| Part::Job(Box::new(job.clone()))))
            .chain(self.tasks())
            .chain(sorted(&self.leases).map(Part::Leases))
            .chain(sorted(&self.silenced).map(Part::Silenced))
            .chain(sorted(&self.backing_off).map(Part::BackingOff))
            .chain(pieces(times(&self.delayed)).map(Part::Delayed))
            .chain(pieces(times(&self.deadlines)).map(Part::Deadlines))
            .chain(pieces(self.keys.iter().collect()).map(Part::Keys))
            .chain(pieces(large).map(Part::LargeValues))
            .chain(pieces(self.archived.iter().collect()).map(Part::Archived))
            .chain(pieces(self.over.iter().copied().collect()).map(Part::Over))
    }

    /// All values that are still needed.
    pub fn values(&self) -> impl Iterator<Item = NeededValue> + '_ {
        values(&self.tasks)
    }

    fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter().flat_map(|chunk| chunk.iter()).filter_map(|(_, job)| job.as_deref())
    }

    fn job_at(&self, position: u32) -> Option<JobNumber> {
        crate::job::find(&self.jobs, self.first_job, position).map(|(number, _)| *number)
    }

    fn tasks(&self) -> impl Iterator<Item = Part> + '_ {
        let mut tasks = self.tasks.iter().peekable();
        std::iter::from_fn(move || {
            let position = tasks.peek()?.1.job;
            let mut some = Vec::new();
            while some.len() < ITEMS
                && let Some((number, task)) = tasks.next_if(|(_, task)| task.job == position)
            {
                some.push((number, Task { job: 0, ..*task }));
            }
            Some(Part::Tasks { job: self.job_at(position)?, tasks: some })
        })
    }

    fn access_records(&self) -> impl Iterator<Item = Record> + '_ {
        let owners = self.access.owners().map(|(number, name)| Record::OwnerAdded { number, name: name.to_owned() });
        let tokens = self.access.tokens().flat_map(|(number, token)| {
            let created = Record::TokenCreated {
                number,
                role: token.role,
                owner: token.owner,
                hash: token.hash,
                label: token.label.clone(),
                expires: token.expires,
                time: token.created,
            };
            [Some(created), token.revoked.map(|time| Record::TokenRevoked { token: number, time })]
        });
        let workers = self.access.workers().flat_map(|(number, worker)| {
            let enrolled = Record::WorkerEnrolled {
                number,
                token: worker.token,
                hash: worker.hash,
                name: worker.name.clone(),
                time: worker.enrolled,
            };
            let incarnation = worker.incarnation;
            let started = Record::WorkerStarted { worker: number, incarnation, time: worker.enrolled };
            let set = Record::WorkerSet { worker: number, mode: worker.mode };
            [
                Some(enrolled),
                (incarnation != 0).then_some(started),
                (worker.mode != WorkerMode::Active).then_some(set),
                worker.removed.map(|time| Record::WorkerRemoved { worker: number, time }),
            ]
        });
        owners.chain(tokens.flatten()).chain(workers.flatten())
    }
}

/// All values of tasks that are still needed.
pub(crate) fn values(tasks: &TaskTable) -> impl Iterator<Item = NeededValue> + '_ {
    let of = |task, value_of, place: Option<Place>| place.map(|place| NeededValue { task, value_of, place });
    tasks.iter().flat_map(move |(number, task)| {
        [of(number, ValueOf::Payload, task.needed_payload()), of(number, ValueOf::Outcome, task.outcome())]
            .into_iter()
            .flatten()
    })
}

fn sorted<T: Copy + Ord>(items: &[T]) -> impl Iterator<Item = Vec<T>> + use<T> {
    let mut items = items.to_vec();
    items.sort_unstable();
    pieces(items)
}

fn pieces<T>(items: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    let mut items = items.into_iter();
    std::iter::from_fn(move || {
        let piece: Vec<T> = items.by_ref().take(ITEMS).collect();
        (!piece.is_empty()).then_some(piece)
    })
}
