//! Questions about what there is, and their answers.

use std::{sync::Arc, time::Duration};

use crate::{
    ids::{JobNumber, TaskId, TokenNumber, WorkerNumber},
    labels::Labels,
    record::{Role, WorkerMode},
    task::{Counts, TaskState},
    template::Template,
    time::WallTime,
};

/// The most entries of one answer; a longer list is asked for page by page.
pub const PAGE: u32 = 1_000;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// How things are in all.
    Status,
    /// Jobs, newest first.
    Jobs {
        /// Only those before this one.
        before: Option<JobNumber>,
        /// At most this many.
        limit: u32,
        /// Only such ones.
        filter: JobFilter,
    },
    /// Tasks of a job by index.
    Tasks {
        /// The job.
        job: JobNumber,
        /// Only those in this state.
        state: Option<TaskState>,
        /// From this index on.
        from_index: u32,
        /// At most this many.
        limit: u32,
    },
    /// One task.
    Task(TaskId),
    /// Enrolled workers.
    Workers,
    /// Tokens.
    Tokens,
}

impl Query {
    /// The job that it is about, if it is about one.
    pub fn job(&self) -> Option<JobNumber> {
        match self {
            Self::Tasks { job, .. } => Some(*job),
            Self::Task(task) => Some(task.job),
            Self::Status | Self::Jobs { .. } | Self::Workers | Self::Tokens => None,
        }
    }
}

/// Which jobs are meant: those of which all of this is true.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// A task of the job is in this state.
    pub state: Option<TaskState>,
    /// The job was opened then or later.
    pub since: Option<WallTime>,
    /// The job has all of these labels.
    pub labels: Labels,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Query::Status`].
    Status(Status),
    /// To [`Query::Jobs`].
    Jobs {
        /// The page.
        jobs: Vec<JobSummary>,
        /// The next page is that of the jobs before this one, unless this is the last.
        next_before: Option<JobNumber>,
    },
    /// To [`Query::Tasks`].
    Tasks {
        /// The page.
        tasks: Vec<TaskSummary>,
        /// Where the next page begins, unless this is the last.
        next_index: Option<u32>,
    },
    /// To [`Query::Task`].
    Task(Box<TaskDetail>),
    /// To [`Query::Workers`].
    Workers(Vec<WorkerSummary>),
    /// To [`Query::Tokens`].
    Tokens(Vec<TokenSummary>),
}

/// How things are in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The caller's tasks by state; an admin's: all.
    pub tasks: Counts,
    /// How many jobs.
    pub jobs: u64,
    /// Workers with a session.
    pub workers_connected: u32,
    /// Workers in all.
    pub workers_enrolled: u32,
    /// Slots of the connected workers.
    pub slots: u64,
    /// Slots' worth of tasks that they hold.
    pub slots_used: u64,
    /// Payload bytes of tasks that are not at an end.
    pub open_bytes: u64,
}

/// A job at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSummary {
    /// Its number.
    pub job: JobNumber,
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// How many tasks it has.
    pub tasks: u32,
    /// Whether it gets no more.
    pub closed: bool,
    /// Its tasks by state.
    pub counts: Counts,
    /// When it was opened.
    pub opened: WallTime,
    /// What people attached to it.
    pub labels: Labels,
}

/// A task at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSummary {
    /// Its name.
    pub task: TaskId,
    /// Where it is in its life.
    pub state: TaskState,
    /// How often it was handed out.
    pub attempts: u32,
    /// How many failures were charged.
    pub failures: u32,
    /// Who runs it.
    pub worker: Option<String>,
    /// Whether that worker said that it starts it.
    pub started: bool,
    /// Whether it was cancelled and still runs.
    pub cancelling: bool,
    /// How many workers died while it ran, at most 2.
    pub crashes: u32,
    /// Whether it is at its end with an outcome.
    pub has_outcome: bool,
}

/// All about a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskDetail {
    /// At a glance.
    pub summary: TaskSummary,
    /// What it shares with others.
    pub template: Arc<Template>,
    /// Its payload's length in bytes.
    pub payload_bytes: u64,
    /// Its job's name.
    pub job_name: String,
    /// When the job was opened.
    pub opened: WallTime,
}

/// A worker at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSummary {
    /// Its number.
    pub worker: WorkerNumber,
    /// Its name.
    pub name: String,
    /// Whether it has a session.
    pub connected: bool,
    /// Its slots, as it said last.
    pub slots: u32,
    /// Slots' worth of tasks that it holds.
    pub slots_used: u32,
    /// How many leases it holds.
    pub leases: u32,
    /// Its program and version, as it said last.
    pub software: String,
    /// Where it connected from last.
    pub address: String,
    /// When it enrolled.
    pub enrolled: WallTime,
    /// What it gets.
    pub mode: WorkerMode,
    /// Whether it is there.
    pub contact: Contact,
    /// How long ago it was heard last; `None`: not since this process started.
    pub heard: Option<Duration>,
    /// For how long it has had its session, if it has one.
    pub connected_for: Option<Duration>,
}

/// Whether a worker is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Contact {
    /// It has a session.
    Connected,
    /// It has none, and what it holds is kept for it until the grace is over.
    Silent,
    /// It has none, and nothing is kept for it.
    #[default]
    Gone,
}

/// A token at a glance; never its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSummary {
    /// Its number.
    pub token: TokenNumber,
    /// What it allows.
    pub role: Role,
    /// What people call it.
    pub label: String,
    /// Whom it stands for.
    pub owner: String,
    /// When it was created.
    pub created: WallTime,
    /// From when on it lets nobody in.
    pub expires: Option<WallTime>,
    /// Whether it was revoked.
    pub revoked: bool,
    /// How many workers enrolled with it.
    pub workers: u32,
}
