//! The journal: every record, in order, in segments of equal size.
//!
//! Segment N is the file `journal/N.segment` (twelve digits, from 1). It holds blocks ([`crate::block`]) one behind the
//! other, and zeros. A block never straddles two segments: where it doesn't fit, it opens the next one. A place is a position
//! in the journal: segment number times segment size plus the offset in the segment's file; a value's place is that of its
//! header ([`task_messenger_core::values`]).
//!
//! The work is divided by what waits for the disk:
//!
//! - [`Front`] belongs to whoever decides. It encodes records into the open block, numbers them, knows their places, and says
//!   what may be told. It does no I/O.
//! - [`Writer`] writes blocks and syncs them: one write and one sync a commit.
//! - [`Allocator`] makes the next segment ready before it is needed.
//! - [`Reader`] finds values again: in the blocks still kept in memory, or on the disk.
//!
//! - [`Shrinker`] writes snapshots ([`crate::snapshot`]) and frees segments in which nothing is needed any more.
//!
//! [`open`] hands out the newest snapshot, if there is one, and replays what is behind it. The first block that isn't a continuation of the one before is the end, unless something
//! later says that it had been synced: then the store is damaged, and is refused, untouched.

mod allocator;
mod cache;
mod check;
mod extent;
mod formats;
mod front;
mod inspection;
mod offline;
mod open_error;
mod reader;
mod recovery;
mod scan;
mod segments;
mod shrinking;
#[cfg(test)]
mod tests;
mod writer;

use bytes::Bytes;
use task_messenger_core::ids::{Place, RecordNumber};

pub(crate) use check::{check_journal, journal_bytes};
pub(crate) use extent::EXTENT_FILE;

pub use allocator::{AllocateError, Allocation, Allocator};
pub use extent::ExtentError;
pub use formats::check_formats;
pub use front::Front;
pub use offline::{Overview, ValueReadError, ValueReader};
pub use open_error::OpenError;
pub use reader::{ReadError, Reader};
pub use recovery::{Found, Recovery, Replayed, open};
pub use shrinking::{Shrinker, SnapshotWritten};
pub use writer::{WriteError, Writer};

use crate::{blobs::Blobs, identity::StoreId, room::DiskRoom};

/// What may be told, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Told once it is synced: a power cut takes nothing back.
    #[default]
    Strict,
    /// Told once it is written: a crash of the process takes nothing back, a power cut what wasn't synced.
    Interval,
    /// Told at once.
    None,
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The size of a new store's segments in bytes: a multiple of 4 KiB from 64 KiB to 1 TiB. A store that exists keeps its
    /// own. A record must fit into a segment.
    pub segment_bytes: u64,
    /// How many bytes of recent blocks stay in memory, so that values are found without the disk. What isn't written yet
    /// stays in any case.
    pub cache_bytes: usize,
    /// What may be told, and when.
    pub durability: Durability,
    /// How many bytes of the disk are kept for what must be written though the disk is full ([`crate::room`]); `None` for
    /// what suits the disk.
    pub reserve_bytes: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, cache_bytes: 64 << 20, durability: Durability::Strict, reserve_bytes: None }
    }
}

/// An open store, in the parts that go to different threads.
pub struct Store {
    /// Which store it is.
    pub id: StoreId,
    /// Takes records.
    pub front: Front,
    /// Writes blocks.
    pub writer: Writer,
    /// Finds values.
    pub reader: Reader,
    /// Makes segments ready.
    pub allocator: Allocator,
    /// Takes snapshots, and frees segments.
    pub shrinker: Shrinker,
    /// What it was opened from.
    pub recovered: Recovered,
    /// Holds large values.
    pub blobs: Blobs,
    /// The room on the disk.
    pub room: DiskRoom,
}

/// What a store was opened from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The snapshot, if there was one.
    pub snapshot: Option<RecoveredSnapshot>,
    /// How many bytes of blocks were read behind it.
    pub replayed_bytes: u64,
}

/// A snapshot that a store was opened from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveredSnapshot {
    /// Where the journal goes on behind it.
    pub position: Position,
    /// Its size in bytes.
    pub bytes: u64,
}

/// How far the writer has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last record that was written.
    pub written: RecordNumber,
    /// The last record that survives a power cut.
    pub synced: RecordNumber,
}

/// A closed block on its way to the disk.
#[derive(Clone, Debug)]
pub struct Block {
    segment: u64,
    offset: u64,
    first: RecordNumber,
    last: RecordNumber,
    epoch: u64,
    checksum: u32,
    bytes: Bytes,
}

impl Block {
    /// The last record in it.
    pub fn last(&self) -> RecordNumber {
        self.last
    }

    /// Its length in bytes, as it is written.
    pub fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Its bytes, header and padding included; they begin at a multiple of 4 KiB in memory.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    fn end(&self) -> u64 {
        self.offset + self.length()
    }
}

/// A block has at most this many bytes, header and padding included.
const BLOCK_BYTES_MAX: u64 = 1 << 20;

/// The end of the journal: where the next block goes, and what it continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) checksum: u32,
    pub(crate) last: RecordNumber,
}

/// A place between two blocks of the journal, and what is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub(crate) tail: Tail,
    pub(crate) epoch: u64,
}

impl Position {
    pub(crate) fn new(last: RecordNumber, epoch: u64, segment: u64, offset: u64, checksum: u32) -> Self {
        Self { tail: Tail { segment, offset, checksum, last }, epoch }
    }

    /// The last record before it.
    pub fn last(&self) -> RecordNumber {
        self.tail.last
    }
}

/// The place of a byte of a segment.
fn place(segment_bytes: u64, segment: u64, offset: u64) -> Place {
    Place(segment * segment_bytes + offset)
}
