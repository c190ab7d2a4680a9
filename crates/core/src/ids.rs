//! The numbers things are named by. Each is a type of its own, so that a lease can never be passed where a task is meant.

use std::{fmt, str::FromStr};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl $name {
            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }
    };
}

number! {
    /// A job, as people name it. Never used again.
    JobNumber(u64)
}
number! {
    /// A task's place in the order of submission, across all jobs; what records name it by. Never used again.
    TaskNumber(u64)
}
number! {
    /// One hand-out of a task to a worker; the fencing number. Starts at 1 (0 means "never handed out"). Never used again.
    LeaseNumber(u64)
}
number! {
    /// A template, kept once by content.
    TemplateNumber(u32)
}
number! {
    /// Whom tokens stand for.
    OwnerNumber(u32)
}
number! {
    /// A token.
    TokenNumber(u32)
}
number! {
    /// An enrolled worker.
    WorkerNumber(u32)
}
number! {
    /// One connection, numbered by whoever accepts it; never stored.
    SessionNumber(u64)
}
number! {
    /// A record's place in the order of all records. The first record of a store is 1.
    RecordNumber(u64)
}
number! {
    /// Where a value's bytes lie in the journal: a byte position, opaque to the core.
    Place(u64)
}

/// A task as people name it: `JOB.INDEX`, such as `12.345`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The job it belongs to.
    pub job: JobNumber,
    /// Its position in the job, from 0.
    pub index: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.index)
    }
}

/// The text is no task's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is no task: a task is named JOB.INDEX, such as 12.345")]
pub struct ParseTaskIdError {
    text: String,
}

impl FromStr for TaskId {
    type Err = ParseTaskIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (job, index) = text.split_once('.')?;
            Some(Self { job: JobNumber(job.parse().ok()?), index: index.parse().ok()? })
        };
        parse().ok_or_else(|| ParseTaskIdError { text: text.to_owned() })
    }
}
