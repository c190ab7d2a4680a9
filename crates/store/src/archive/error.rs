//! What can be wrong with the archive, and what to do about it.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use task_messenger_core::ids::{JobNumber, RecordNumber, TaskNumber, TemplateNumber};

use super::ARCHIVE_FORMAT;
use crate::identity::StoreId;

/// What to do with a file that is of no use.
const MOVE_AWAY: &str = "stop the manager and move the file away (with -wal and -shm): a new archive is made in its \
                         place, and nothing but the history of finished tasks is missing then";

/// The archive can't be opened, read or changed. What was to be done has not been done, unless said otherwise.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is no SQLite file at all.
    #[error("{path} is no SQLite file, or its beginning is damaged: {MOVE_AWAY}")]
    NoDatabase {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// It is another program's.
    #[error("{path} is a SQLite file, but no archive: move it away, it belongs to another program")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is another store's.
    #[error("{path} belongs to the store {found}, not to {expected}: put back the right one, or {MOVE_AWAY}")]
    OtherStore {
        /// The file.
        path: PathBuf,
        /// The store that it says it belongs to.
        found: String,
        /// The store that it was opened for.
        expected: StoreId,
    },
    /// A newer program made it.
    #[error(
        "{path} has format {found}; this program knows formats up to {ARCHIVE_FORMAT}: run the newer program again"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It holds what the journal doesn't know: one of the two is from another time.
    #[error(
        "{path} holds what records up to {watermark} brought about, but the journal ends with record {last}: \
         put back the journal and the archive of the same time, or {MOVE_AWAY}"
    )]
    Ahead {
        /// The file.
        path: PathBuf,
        /// The archive's watermark.
        watermark: RecordNumber,
        /// The journal's last record.
        last: RecordNumber,
    },
    /// Something in it can't be.
    #[error("{path} is damaged: {MOVE_AWAY}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        #[source]
        source: rusqlite::Error,
    },
    /// It may not be written.
    #[error("{path} can't be written: give it, and its directory, back to the manager's user")]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The file system doesn't let several connections share the file.
    #[error("{path} can't be shared between connections where it lies: keep the store on a local file system")]
    NotShared {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("no room on the disk for {path}")]
    Full {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// Another program holds it.
    #[error("another program keeps {path} locked: close what else has it open for writing")]
    Busy {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// A batch brings a task whose job is neither in it nor in the archive.
    #[error("job {job} is not in {path}, nor in the batch that brings tasks of it")]
    NoJob {
        /// The file.
        path: PathBuf,
        /// The job.
        job: JobNumber,
    },
    /// A batch brings a task whose template is neither in it nor in the archive.
    #[error("template {template} is not in {path}, nor in the batch that brings tasks of it")]
    NoTemplate {
        /// The file.
        path: PathBuf,
        /// The template.
        template: TemplateNumber,
    },
    /// A batch brings a task that is not at its end.
    #[error("task number {task} is not at its end, and not for {path}")]
    NotFinal {
        /// The file.
        path: PathBuf,
        /// The task.
        task: TaskNumber,
    },
    /// A number doesn't fit into the file's 63 bits.
    #[error("{what} {value} is too large a number for {path}")]
    OutOfRange {
        /// The file.
        path: PathBuf,
        /// What it counts.
        what: &'static str,
        /// The number.
        value: u64,
    },
    /// Anything else that SQLite or the system says.
    #[error("cannot {action} {path}")]
    Sqlite {
        /// What was to be done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
}

impl ArchiveError {
    /// Whether trying again can't help.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::ReadOnly { .. } | Self::NotShared { .. } | Self::Full { .. } | Self::Busy { .. } => false,
            Self::Sqlite { source, .. } => matches!(
                source.sqlite_error_code(),
                None | Some(ErrorCode::Unknown | ErrorCode::ConstraintViolation | ErrorCode::ApiMisuse)
            ),
            _ => true,
        }
    }

    pub(super) fn new(path: &Path, action: &'static str, problem: Problem) -> Self {
        let path = path.to_owned();
        let source = match problem {
            Problem::Foreign => return Self::Foreign { path },
            Problem::OtherStore { found, expected } => return Self::OtherStore { path, found, expected },
            Problem::Newer { found } => return Self::Newer { path, found },
            Problem::Damaged(source) => return Self::Damaged { path, source },
            Problem::ReadOnly => return Self::ReadOnly { path },
            Problem::NotShared => return Self::NotShared { path },
            Problem::NoJob(job) => return Self::NoJob { path, job },
            Problem::NoTemplate(template) => return Self::NoTemplate { path, template },
            Problem::NotFinal(task) => return Self::NotFinal { path, task },
            Problem::OutOfRange { what, value } => return Self::OutOfRange { path, what, value },
            Problem::Sqlite(source) => source,
        };
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NoDatabase { path, source },
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged { path, source },
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { path },
            Some(ErrorCode::DiskFull) => Self::Full { path, source },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path, source },
            _ => Self::Sqlite { action, path, source },
        }
    }
}

/// What went wrong, before it is said with which file.
#[derive(Debug)]
pub(super) enum Problem {
    Sqlite(rusqlite::Error),
    Damaged(rusqlite::Error),
    Foreign,
    OtherStore { found: String, expected: StoreId },
    Newer { found: u32 },
    ReadOnly,
    NotShared,
    NoJob(JobNumber),
    NoTemplate(TemplateNumber),
    NotFinal(TaskNumber),
    OutOfRange { what: &'static str, value: u64 },
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            // What is read is of another type or size than what is ever written.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..) => Self::Damaged(error),
            _ => Self::Sqlite(error),
        }
    }
}
