//! What the core wants done. Each effect waits until the records that it depends on are durable.

use std::time::Duration;

use crate::{
    ids::{
        JobNumber, LeaseNumber, Place, RecordNumber, SessionNumber, TaskId, TemplateNumber, TokenNumber, WorkerNumber,
    },
    input::{Follow, Named},
    query::{Answer, JobFilter, JobSummary, Query, Status},
    record::Caller,
    task::TaskState,
};

/// Something to be told to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A submit is kept.
    Accepted {
        /// To whom.
        session: SessionNumber,
        /// The request.
        request: u64,
        /// The job.
        job: JobNumber,
        /// How many tasks the job has.
        next_index: u32,
        /// See [`crate::digest`].
        digest: u32,
        /// Whether it gets no more.
        closed: bool,
    },
    /// A request was not carried out.
    Refused {
        /// To whom.
        session: SessionNumber,
        /// The request.
        request: u64,
        /// Why.
        refusal: Refusal,
    },
    /// Results for a follow.
    Results {
        /// To whom.
        session: SessionNumber,
        /// The follow.
        request: u64,
        /// The job.
        job: JobNumber,
        /// Its tasks.
        results: Vec<TaskResult>,
    },
    /// A follow has nothing more to tell.
    FollowEnded {
        /// To whom.
        session: SessionNumber,
        /// The follow.
        request: u64,
        /// The job as it is.
        job: JobSummary,
        /// Whether the job is over and all of its results were told.
        all: bool,
    },
    /// The answer to a question.
    Answer {
        /// To whom.
        session: SessionNumber,
        /// The question.
        request: u64,
        /// The answer.
        answer: Answer,
    },
    /// Somebody asks for what only the archive knows, or it too.
    AskArchive {
        /// Who is answered.
        session: SessionNumber,
        /// What the answer names.
        request: u64,
        /// On whose behalf.
        caller: Caller,
        /// What.
        question: ArchiveQuestion,
    },
    /// A machine is a worker now.
    Enrolled {
        /// To whom.
        session: SessionNumber,
        /// The request.
        request: u64,
        /// The worker's number.
        worker: WorkerNumber,
    },
    /// A worker's claims are settled: those not named here are kept.
    Resumed {
        /// To whom.
        session: SessionNumber,
        /// What it drops.
        dropped: Vec<LeaseNumber>,
    },
    /// Tasks for a worker. The first has this lease, the others follow without a gap.
    Assign {
        /// To whom.
        session: SessionNumber,
        /// The first lease.
        first_lease: LeaseNumber,
        /// The tasks.
        tasks: Vec<Assigned>,
        /// When this was decided, on the monotonic clock.
        decided: Duration,
    },
    /// Outcomes are kept: the worker may forget them.
    OutcomesTaken {
        /// To whom.
        session: SessionNumber,
        /// As the worker numbered them.
        number: u64,
    },
    /// A token was created.
    TokenCreated {
        /// To whom.
        session: SessionNumber,
        /// The request.
        request: u64,
        /// Its number.
        token: TokenNumber,
    },
    /// A token was revoked: sessions that it let in end.
    TokenRevoked {
        /// To whom.
        session: SessionNumber,
        /// The request.
        request: u64,
        /// Which.
        token: TokenNumber,
    },
    /// A cancel or retry is kept.
    Changed {
        /// To whom.
        session: SessionNumber,
        /// The request.
        request: u64,
        /// How many tasks are in another state now.
        tasks: u64,
        /// How many run still and end `cancelled` when their attempts do.
        running: u64,
    },
    /// A worker was set or removed.
    WorkerChanged {
        /// To whom.
        session: SessionNumber,
        /// The request.
        request: u64,
        /// Slots' worth of tasks that it still holds.
        used: u32,
    },
    /// A worker is to end these, which were cancelled: it gives back what it has not started, stops what it runs, and
    /// reports that as ever.
    Cancel {
        /// To whom.
        session: SessionNumber,
        /// Which.
        leases: Vec<LeaseNumber>,
    },
    /// A worker is to give these back unless it has started them.
    TakeBack {
        /// To whom.
        session: SessionNumber,
        /// Which.
        leases: Vec<LeaseNumber>,
    },
    /// A worker is to show that it is alive: its process may have been replaced.
    Probe {
        /// Whose session.
        session: SessionNumber,
    },
    /// A session ends.
    Close {
        /// Which.
        session: SessionNumber,
        /// Why.
        reason: CloseReason,
    },
}

/// What the archive is asked for. Everybody sees what is their owner's there too, an administrator sees all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveQuestion {
    /// The results of a job, as a follow.
    Follow(Box<Follow>),
    /// A question about tasks of one job.
    Query(Query),
    /// A cancel: of what is over nothing can be.
    Cancel(Named),
    /// A retry: of what succeeded nothing can be.
    Retry(Named),
    /// Jobs, newest first: those that are here are to be completed.
    Jobs {
        /// Only those before this one.
        before: Option<JobNumber>,
        /// At most this many.
        limit: u32,
        /// Only such ones.
        filter: JobFilter,
        /// Those that are here.
        jobs: Vec<JobSummary>,
        /// Where the next page of those begins.
        next_before: Option<JobNumber>,
    },
    /// How things are in all: what is here is to be completed.
    Status(Status),
}

/// A task for a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// Its name.
    pub task: TaskId,
    /// What it shares with others.
    pub template: TemplateNumber,
    /// Counts its hand-outs, from 1.
    pub attempt: u32,
    /// Where its payload lies.
    pub payload: Place,
}

/// A task that is at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskResult {
    /// Its index in the job.
    pub index: u32,
    /// The final state.
    pub state: TaskState,
    /// How often it was handed out.
    pub attempts: u32,
    /// Where its outcome lies, if it has one.
    pub outcome: Option<Place>,
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The same worker connected anew.
    Replaced,
    /// It was silent for longer than the grace.
    Silent,
    /// It spoke of a session's business before resuming, or twice.
    Protocol,
    /// Another process with the same identity is connected, and alive.
    Clone,
    /// The worker was removed.
    Removed,
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// There is no such thing, or it is somebody else's.
    #[error("{0}")]
    NotFound(String),
    /// The idempotency key was used for something else.
    #[error(
        "the idempotency key was used for something else in job {job}; use another key, or submit what was submitted then"
    )]
    OtherContent {
        /// The job that was submitted under it.
        job: JobNumber,
    },
    /// The caller may not do that.
    #[error("{0}")]
    Denied(String),
    /// A limit is reached for now.
    #[error("{what}: the limit of {limit} is reached; try again later")]
    Exhausted {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// When it may be worth trying again.
        retry_after: Duration,
    },
    /// What the request builds on is not there.
    #[error("{0}")]
    Precondition(String),
}

/// An effect with the record that must be durable before it.
#[derive(Clone, Debug)]
pub(crate) struct Gated {
    pub after: RecordNumber,
    pub effect: Effect,
}
