//! The archive: finished tasks in a SQLite file, to be listed, searched and opened with other tools.
//!
//! It is filled in bulk, behind the journal's back: the journal stays the truth until a [`Batch`] is committed, and the
//! batch's watermark with it, in the same transaction. Every commit is synced before it is reported, so whatever
//! [`Archive::watermark`] says survives a power cut, and so do removals: a value's file may be deleted as soon as it is
//! returned by one. What a batch brings twice is passed over.
//!
//! It may be deleted while nobody uses it: then history is missing, nothing else. What always holds in it: each task's job
//! and template are there, and the sums over spans, jobs, templates and owners are right.
//!
//! Everything here waits for the disk; [`ArchiveThread`] does the waiting for others.

mod about;
mod append;
mod changes;
mod error;
mod log;
mod open;
mod pool;
mod reader;
mod removal;
mod rows;
mod thread;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use task_messenger_core::ids::RecordNumber;

pub use self::{
    about::About,
    append::Appended,
    error::ArchiveError,
    reader::{JobPage, JobQuestion, KeptJob, Reader, TaskPage},
    removal::Removed,
    rows::{ArchivedJob, ArchivedTask, ArchivedTemplate, Batch, Delivered, FinalCounts, Totals},
    thread::{AppendError, ArchiveThread, BATCHES_WAITING_MAX, Event, Retention, ThreadStatus},
};

use crate::identity::StoreId;

/// The file's name in the store's directory.
pub const ARCHIVE_FILE: &str = "archive.sqlite";

/// The version of the file's format that this program writes, and the newest that it opens.
pub const ARCHIVE_FORMAT: u32 = 1;

/// The most tasks that one transaction changes. A batch should stay below it.
pub const TRANSACTION_TASKS: u32 = 10_000;

/// The most bytes of values that one transaction touches. A batch should stay below it.
pub const TRANSACTION_BYTES: u64 = 64 << 20;

/// Sees that the archive at `path` is of a format that this program knows. It may be in use; where there is none, there is
/// nothing to refuse.
///
/// # Errors
/// It is of a newer format, no archive, or can't be read.
pub fn check_format(path: &Path) -> Result<(), ArchiveError> {
    if std::fs::metadata(path).map_or(0, |found| found.len()) == 0 {
        return Ok(());
    }
    open::open_reader(path).map(drop).map_err(|problem| ArchiveError::new(path, "open", problem))
}

/// The archive, open for writing. One at a time: the store's lock sees to that.
#[derive(Debug)]
pub struct Archive {
    connection: Connection,
    path: PathBuf,
    watermark: RecordNumber,
    totals: Totals,
    log: log::LogWatch,
}

impl Archive {
    /// Opens the archive at `path` of the store `store`. Where there is none it is made, with the watermark `anew`: what the
    /// caller can still bring begins behind it. A file that is something else is refused and left as it is.
    pub fn open(path: &Path, store: StoreId, anew: RecordNumber) -> Result<Self, ArchiveError> {
        let failed = |problem| ArchiveError::new(path, "open", problem);
        let (connection, watermark) = open::open_writer(path, store, anew).map_err(failed)?;
        let totals = reader::totals(&connection, None).map_err(failed)?;
        let log = log::LogWatch::new(path);
        Ok(Self { connection, path: path.to_owned(), watermark, totals, log })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of the last record all of whose consequences are held, durably.
    pub fn watermark(&self) -> RecordNumber {
        self.watermark
    }

    /// What is kept in all, jobs included that were purged and not removed yet.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Refuses an archive that holds consequences of records which the journal, whose last one is `last`, doesn't have.
    pub fn check_journal(&self, last: RecordNumber) -> Result<(), ArchiveError> {
        if self.watermark > last {
            return Err(ArchiveError::Ahead { path: self.path.clone(), watermark: self.watermark, last });
        }
        Ok(())
    }

    /// Readers of this archive, for any thread.
    pub fn reader(&self) -> Reader {
        Reader::new(self.path.clone())
    }

    fn error(&self, action: &'static str, problem: error::Problem) -> ArchiveError {
        ArchiveError::new(&self.path, action, problem)
    }
}
