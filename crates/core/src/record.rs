//! What is written down. Replaying the records in order rebuilds the state; nothing else changes it.
//!
//! Records carry every decision (whether a failed task is tried again, and when) and every time, so that applying one asks
//! neither a clock nor the configuration. How they are written as bytes is the store's business.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::{
    ids::{
        JobNumber, LeaseNumber, OwnerNumber, Place, RecordNumber, TaskId, TaskNumber, TemplateNumber, TokenNumber,
        WorkerNumber,
    },
    labels::Labels,
    state::State,
    template::Template,
    time::WallTime,
    values::Values,
};

/// Where records go. Appending is not yet writing: what depends on a record waits until it is durable.
pub trait Log {
    /// Takes a record and says its number, and where its [`Values`] will lie (for a record without values, any place).
    fn append(&mut self, record: &Record) -> Appended;

    /// Sees a record that is about to be appended and carried out, and the state before it. This is for telling people;
    /// nothing may follow from it.
    fn witness(&mut self, _record: &Record, _before: &State) {}
}

/// What became of an appended record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The record's number.
    pub number: RecordNumber,
    /// The place of the first byte of its values.
    pub values: Place,
}

/// Numbers up to which leases, tasks and jobs may be given out; each is the first one that may not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reservation {
    /// Leases below this may be given out.
    pub leases: LeaseNumber,
    /// Tasks below this may be given out.
    pub tasks: TaskNumber,
    /// Jobs below this may be given out.
    pub jobs: JobNumber,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A manager started on this store.
    Started {
        /// When.
        time: WallTime,
        /// Whether, from here on, something may be told before it is synced (durability `interval` or `none`). If so, the
        /// next start goes on behind the reserved numbers rather than behind the last one seen.
        weak: bool,
    },
    /// Numbers were reserved.
    Reserved(Reservation),
    /// A template was seen for the first time.
    TemplateAdded {
        /// Its number from now on: one more than the last one's.
        number: TemplateNumber,
        /// The template.
        template: Arc<Template>,
    },
    /// A job was opened.
    JobOpened {
        /// Its number.
        job: JobNumber,
        /// Whose it is.
        owner: OwnerNumber,
        /// The key that the client made for it.
        key: JobKey,
        /// Its name, for people.
        name: String,
        /// A key under which the same submit may be repeated by another client.
        idempotency: Option<Idempotency>,
        /// What people attached to it.
        labels: Labels,
        /// When.
        time: WallTime,
    },
    /// Tasks were submitted to an open job: they are `queued`.
    Submitted {
        /// The job.
        job: JobNumber,
        /// The first task; the others follow without a gap.
        first_task: TaskNumber,
        /// The first one's index in the job: the number of tasks that it had.
        first_index: u32,
        /// What they share.
        template: TemplateNumber,
        /// Until when they are `scheduled` instead.
        not_before: Option<WallTime>,
        /// When those that have not started by then end `expired`.
        deadline: Option<WallTime>,
        /// A payload each.
        payloads: Values,
        /// When.
        time: WallTime,
    },
    /// A job will get no more tasks.
    JobClosed {
        /// The job.
        job: JobNumber,
    },
    /// Tasks were handed to a worker: they are `running`.
    Dispatched {
        /// Who got them.
        worker: WorkerNumber,
        /// The lease of the first task; the others follow without a gap.
        first_lease: LeaseNumber,
        /// The tasks.
        tasks: Vec<TaskNumber>,
        /// When.
        time: WallTime,
    },
    /// Attempts ended with an outcome.
    Finished {
        /// The leases that end, with what becomes of each one's task.
        ends: Vec<(LeaseNumber, Verdict)>,
        /// What the worker says of each: opaque here.
        details: Values,
        /// When.
        time: WallTime,
    },
    /// Leases ended without an outcome: their tasks are `queued` again, at nobody's charge.
    Released {
        /// The leases that end.
        leases: Vec<LeaseNumber>,
        /// Why.
        reason: ReleaseReason,
        /// When.
        time: WallTime,
    },
    /// Leases that had ended by silence go on, because their worker came back before their tasks were handed out again.
    Readopted {
        /// Whose they are.
        worker: WorkerNumber,
        /// Each lease and its task.
        leases: Vec<(LeaseNumber, TaskNumber)>,
        /// When.
        time: WallTime,
    },
    /// Tasks that had waited for their backoff are `queued` again.
    Retried {
        /// The tasks.
        tasks: Vec<TaskNumber>,
    },
    /// The time came that a run of tasks was to wait for: those that still are `scheduled` are `queued`.
    Due {
        /// The time.
        at: WallTime,
        /// The first task of the run.
        first_task: TaskNumber,
    },
    /// The deadline of a run of tasks passed: those that wait end `expired`, as do those that come back unstarted.
    Expired {
        /// The deadline.
        at: WallTime,
        /// The first task of the run.
        first_task: TaskNumber,
    },
    /// Somebody cancelled tasks: those that wait end `cancelled` at once, those that run when their lease ends.
    Cancelled {
        /// Which.
        tasks: Work,
        /// When.
        time: WallTime,
    },
    /// Somebody wants tasks that ended without success run again: they are `queued`, and begin anew with their failures.
    Requeued {
        /// Which.
        tasks: Work,
        /// When.
        time: WallTime,
    },
    /// A worker died: its process was replaced by another, or it was silent for longer than the grace.
    WorkerLost {
        /// Which.
        worker: WorkerNumber,
        /// Whether it was silence: it may come back, and go on with what was not handed out again.
        silent: bool,
        /// The leases that end, with what that means for each one's task.
        ends: Vec<(LeaseNumber, Loss)>,
        /// When.
        time: WallTime,
    },
    /// A worker's process connected for the first time.
    WorkerStarted {
        /// Whose.
        worker: WorkerNumber,
        /// Random, of this process.
        incarnation: u64,
        /// When.
        time: WallTime,
    },
    /// An administrator says what a worker gets.
    WorkerSet {
        /// Which.
        worker: WorkerNumber,
        /// What.
        mode: WorkerMode,
    },
    /// A worker is let in no more. Its leases end, at nobody's charge.
    WorkerRemoved {
        /// Which.
        worker: WorkerNumber,
        /// When.
        time: WallTime,
    },
    /// Jobs that are over, and their tasks, are kept no longer.
    Purged {
        /// Which.
        jobs: Vec<JobNumber>,
        /// When.
        time: WallTime,
    },
    /// Jobs that are over and all of whose tasks succeeded are in the archive, and there alone from now on.
    Archived {
        /// Which.
        jobs: Vec<JobNumber>,
        /// When.
        time: WallTime,
    },
    /// Values were written again, so that the segment can go in which they lay.
    Moved {
        /// Of which tasks, and which of their values.
        values_of: Vec<(TaskNumber, ValueOf)>,
        /// The values.
        values: Values,
    },
    /// An owner was named for the first time.
    OwnerAdded {
        /// Its number from now on: one more than the last one's.
        number: OwnerNumber,
        /// Its name.
        name: String,
    },
    /// A token was created.
    TokenCreated {
        /// Its number from now on: one more than the last one's.
        number: TokenNumber,
        /// What it allows.
        role: Role,
        /// Whom it stands for.
        owner: OwnerNumber,
        /// SHA-256 of its secret.
        hash: SecretHash,
        /// What people call it.
        label: String,
        /// From when on it enrols nobody and lets nobody in.
        expires: Option<WallTime>,
        /// When.
        time: WallTime,
    },
    /// A token was revoked.
    TokenRevoked {
        /// Which.
        token: TokenNumber,
        /// When.
        time: WallTime,
    },
    /// A worker exchanged a join token for an identity of its own.
    WorkerEnrolled {
        /// Its number from now on: one more than the last one's.
        number: WorkerNumber,
        /// With which token.
        token: TokenNumber,
        /// SHA-256 of its secret.
        hash: SecretHash,
        /// What people call it.
        name: String,
        /// When.
        time: WallTime,
    },
}

impl Record {
    /// Whether it must be synced before anything after it is told, in every durability: identities and number ranges.
    pub fn is_administrative(&self) -> bool {
        #[cfg(feature = "faults")]
        if matches!(self, Self::Reserved(_)) && crate::engine::ranges_are_unsynced() {
            return false;
        }
        matches!(
            self,
            Self::Started { .. }
                | Self::Reserved(_)
                | Self::OwnerAdded { .. }
                | Self::TokenCreated { .. }
                | Self::TokenRevoked { .. }
                | Self::WorkerEnrolled { .. }
                | Self::WorkerRemoved { .. }
        )
    }

    /// When it was made, if it says so.
    pub fn time(&self) -> Option<WallTime> {
        match self {
            Self::Started { time, .. }
            | Self::JobOpened { time, .. }
            | Self::Submitted { time, .. }
            | Self::Dispatched { time, .. }
            | Self::Finished { time, .. }
            | Self::Released { time, .. }
            | Self::Readopted { time, .. }
            | Self::Cancelled { time, .. }
            | Self::Requeued { time, .. }
            | Self::WorkerLost { time, .. }
            | Self::WorkerStarted { time, .. }
            | Self::WorkerRemoved { time, .. }
            | Self::Purged { time, .. }
            | Self::Archived { time, .. }
            | Self::TokenCreated { time, .. }
            | Self::TokenRevoked { time, .. }
            | Self::WorkerEnrolled { time, .. } => Some(*time),
            Self::Due { at, .. } | Self::Expired { at, .. } => Some(*at),
            Self::Reserved(_)
            | Self::TemplateAdded { .. }
            | Self::JobClosed { .. }
            | Self::Retried { .. }
            | Self::Moved { .. }
            | Self::WorkerSet { .. }
            | Self::OwnerAdded { .. } => None,
        }
    }

    /// The values it carries.
    pub fn values(&self) -> Option<&Values> {
        match self {
            Self::Submitted { payloads, .. } => Some(payloads),
            Self::Finished { details, .. } => Some(details),
            Self::Moved { values, .. } => Some(values),
            _ => None,
        }
    }
}

/// Which of a task's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueOf {
    /// Its payload.
    Payload,
    /// What it came to.
    Outcome,
}

/// A job's key: 16 random bytes made by the client, so that a repeated submit finds the job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey(pub [u8; 16]);

/// SHA-256 of a 256-bit secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretHash(pub [u8; 32]);

impl std::fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

/// An idempotency key as it is kept: two hashes of 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Idempotency {
    /// Of the key itself.
    pub key: [u8; 16],
    /// Of what was submitted under it.
    pub content: [u8; 16],
}

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Enrolling workers.
    Worker,
    /// Submitting work and seeing one's own.
    Client,
    /// Everything.
    Admin,
}

/// What becomes of a task whose attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is `succeeded`.
    Succeeded,
    /// It is `failed`: its attempts are used up.
    Failed,
    /// It failed and waits this many milliseconds to be tried again.
    Retry {
        /// The wait.
        backoff_milliseconds: u64,
    },
    /// It is `cancelled`: that had been said while it ran.
    Cancelled,
}

/// What a worker's death means for a task that it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It had not started.
    Unstarted,
    /// It ran beside others: any of them may have been the cause. It is queued again and placed with more care.
    Crashed,
    /// It ran alone: it is charged. Its attempts are used up.
    Failed,
    /// It ran alone: it is charged, and waits this many milliseconds to be tried again.
    Retry {
        /// The wait.
        backoff_milliseconds: u64,
    },
}

/// Tasks that are named together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// These.
    Tasks(Vec<TaskNumber>),
    /// All tasks of a job. When cancelled, it gets no more either.
    Job(JobNumber),
}

/// What a worker gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkerMode {
    /// Tasks.
    #[default]
    Active,
    /// Nothing for now.
    Paused,
    /// Nothing, because it is to be taken away.
    Draining,
}

/// Why a lease ended without an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReleaseReason {
    /// The worker gave it back.
    GivenBack,
    /// The worker came back without it: it never arrived, or was lost with the worker's earlier incarnation.
    NotHeld,
    /// The worker was removed.
    Removed,
}

/// A worker's claim to a lease when it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The lease.
    pub lease: LeaseNumber,
    /// The task that it was for.
    pub task: TaskId,
}

/// Whoever opens a job or follows it: the owner, and whether everything may be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whom the token stands for.
    pub owner: OwnerNumber,
    /// Whether it is an admin's.
    pub admin: bool,
}
