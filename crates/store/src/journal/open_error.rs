//! Why a store can't be opened, and what somebody can do about it.

use std::io;

use task_messenger_core::ids::RecordNumber;

use super::extent::ExtentError;
use crate::{
    blobs::{BlobError, ValueError},
    block::FORMAT_VERSION,
    codec::DecodeError,
    identity::IdentityError,
    snapshot::SnapshotError,
};

/// Why a store can't be opened. Unless it is the disk that failed in [`super::Recovery::finish`], nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The segments' size can't be.
    #[error("segments of {segment_bytes} bytes are not possible: a multiple of 4096 from 65536 is needed")]
    SegmentBytes {
        /// As asked for.
        segment_bytes: u64,
    },
    /// `store.json` is missing, though there is what belongs to a store.
    #[error("{file} is missing, though {witness} is there")]
    NoIdentity {
        /// The missing file.
        file: &'static str,
        /// What is there.
        witness: String,
    },
    /// `extent.json` is missing.
    #[error("{file} is missing: without it nobody knows whether the journal is whole")]
    NoExtent {
        /// The missing file.
        file: &'static str,
    },
    /// `extent.json` isn't one of ours.
    #[error("cannot open the store by its {file}")]
    Extent {
        /// The file.
        file: &'static str,
        /// What is wrong with it.
        #[source]
        source: ExtentError,
    },
    /// `store.json` isn't one of ours, or of a newer format.
    #[error("cannot open the store by its {file}")]
    Identity {
        /// The file.
        file: &'static str,
        /// What is wrong with it.
        #[source]
        source: IdentityError,
    },
    /// A segment is missing.
    #[error("{file} is missing: the journal goes up to {last}, as {witness}")]
    MissingSegment {
        /// The file's name in the store.
        file: String,
        /// The last segment that there must be.
        last: String,
        /// Who says so.
        witness: &'static str,
    },
    /// Segments were freed, and the snapshot that made them unneeded is missing.
    #[error("{directory} holds no snapshot, and {gone} was freed because of one: what it held is missing")]
    NoSnapshot {
        /// Where it should be.
        directory: &'static str,
        /// The last segment that was freed.
        gone: String,
    },
    /// The newest snapshot can't be used.
    #[error("cannot open the store by its {file}")]
    Snapshot {
        /// The file's name in the store.
        file: String,
        /// What is wrong with it.
        #[source]
        source: SnapshotError,
    },
    /// A segment doesn't have the length that it was made with.
    #[error("{file} has {found} bytes, and {expected} are expected")]
    SegmentLength {
        /// The file's name in the store.
        file: String,
        /// The length in bytes that it was made with, or the most that it may have.
        expected: u64,
        /// As found.
        found: u64,
    },
    /// A segment is another store's.
    #[error(
        "{file} begins, at offset 0, with a block of a store whose id begins with {found}, and this store's begins with \
         {expected}"
    )]
    ForeignSegment {
        /// The file's name in the store.
        file: String,
        /// How this store's id begins, in hexadecimal digits.
        expected: String,
        /// How the other's does.
        found: String,
    },
    /// A segment is of a newer format.
    #[error(
        "{file} begins, at offset 0, with a block of format {found}; this program knows formats up to {FORMAT_VERSION}"
    )]
    NewerSegment {
        /// The file's name in the store.
        file: String,
        /// As found.
        found: u16,
    },
    /// What had been synced can't be read back.
    #[error(
        "{file} is damaged at offset {offset}: a block that begins with record {next} is expected there, and {found} is \
         found; everything through record {synced} had been synced, as the block at offset {witness_offset} of {witness} \
         says"
    )]
    Damaged {
        /// The file's name in the store.
        file: String,
        /// Where the first unreadable block begins.
        offset: u64,
        /// The record that should be there.
        next: RecordNumber,
        /// What is there instead.
        found: String,
        /// The last record of which the witness says that it had been synced.
        synced: RecordNumber,
        /// The file of the block that says so.
        witness: String,
        /// Where in it.
        witness_offset: u64,
    },
    /// A value that is needed can't be read.
    #[error("{file} is damaged: a value that is needed lies at offset {offset}, and no whole block is around it")]
    MissingValue {
        /// The file's name in the store.
        file: String,
        /// Where the value should be.
        offset: u64,
    },
    /// A block is whole, but what it holds is not understood: it was written by another program.
    #[error("{file} holds a record that is not understood, in the block at offset {offset}")]
    Record {
        /// The file's name in the store.
        file: String,
        /// Where the block begins.
        offset: u64,
        /// What is wrong.
        #[source]
        source: DecodeError,
    },
    /// A block is whole, but doesn't hold as many records as it says.
    #[error("{file} holds {found} records in the block at offset {offset}, which announces {announced}")]
    RecordCount {
        /// The file's name in the store.
        file: String,
        /// Where the block begins.
        offset: u64,
        /// As announced.
        announced: u32,
        /// As found.
        found: u32,
    },
    /// The disk failed.
    #[error("cannot {action} {file}")]
    Io {
        /// What was to be done.
        action: &'static str,
        /// The file's name in the store.
        file: String,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// A large value isn't what a record says.
    #[error(transparent)]
    Value {
        /// What is wrong with it.
        #[from]
        source: ValueError,
    },
    /// The directory of large values can't be read.
    #[error(transparent)]
    Blobs {
        /// What went wrong.
        #[from]
        source: BlobError,
    },
}

impl OpenError {
    /// Whether it is the disk that failed (or is full), which another try may find well again.
    pub fn is_io(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Blobs { .. } | Self::Snapshot { source: SnapshotError::Io(_), .. })
    }

    /// What somebody can do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::SegmentBytes { .. } => "ask for another size of segments",
            Self::Io { .. } | Self::Blobs { .. } | Self::Snapshot { source: SnapshotError::Io(_), .. } => {
                "see to the disk, and start again"
            }
            Self::Identity { source: IdentityError::Newer { .. }, .. }
            | Self::NewerSegment { .. }
            | Self::Snapshot { source: SnapshotError::Newer { .. } | SnapshotError::Part { .. }, .. }
            | Self::Record { .. } => "start the newer program that wrote it",
            Self::ForeignSegment { .. }
            | Self::Snapshot { source: SnapshotError::Foreign { .. }, .. }
            | Self::Extent { source: ExtentError::Foreign { .. }, .. } => {
                "files of two stores are mixed: take out what doesn't belong here and put back what does"
            }
            _ => {
                "put back what is missing or damaged, or the whole directory from a backup that was made while the \
                 manager was stopped; or move the directory away to begin with an empty store, which loses all of it"
            }
        }
    }
}

pub(super) fn io_error(action: &'static str, file: String, source: io::Error) -> OpenError {
    OpenError::Io { action, file, source }
}
