//! Snapshots: what all records up to one say, in a file, so that a start need not read them.
//!
//! A snapshot is `snapshots/N.snapshot`, N being the last record that it holds (twenty digits). It is written beside the
//! manager's work, made durable under another name, and then named; the one before is removed after that. The file is a
//! header of 64 bytes, all numbers little endian, and frames:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `TMSN` |
//! | 4 | 2 | format version, 1 |
//! | 6 | 2 | zero |
//! | 8 | 16 | the store's id |
//! | 24 | 8 | number of the last record |
//! | 32 | 8 | epoch of the block that holds it |
//! | 40 | 8 | segment, and |
//! | 48 | 8 | offset at which the journal goes on behind that block |
//! | 56 | 4 | checksum of that block |
//! | 60 | 4 | CRC-32C of the first 60 bytes, begun with the store's seed |
//!
//! A frame is a length (4 bytes), a CRC-32C of the length and the payload (4 bytes), begun with the checksum before it, and
//! the payload: whole parts as [`crate::codec`] says. One of length 0 is the end of the file.

use std::{
    io::{self, IoSlice},
    sync::Arc,
};

use bytes::Bytes;
use task_messenger_core::{ids::RecordNumber, image::Part};

use crate::{
    codec::{DecodeError, decode_part, encode_part},
    disk::{Access, Disk, DiskFile},
    identity::StoreId,
    journal::{Position, RecoveredSnapshot},
    room::DiskRoom,
};

/// The directory of snapshots.
pub const DIRECTORY: &str = "snapshots";

/// The version of the format that this program writes, and the newest that it reads.
pub const FORMAT_VERSION: u16 = 1;

const MAGIC: [u8; 4] = *b"TMSN";
const HEADER_BYTES: usize = 64;
const FRAME_HEAD: usize = 8;
const SUFFIX: &str = ".snapshot";
const UNFINISHED: &str = "snapshots/unfinished.new";

/// A frame is closed when it has this many bytes.
const FRAME_BYTES: usize = 256 << 10;

/// The most bytes that a frame can have.
const FRAME_BYTES_MAX: usize = 1 << 30;

/// Why a snapshot can't be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk failed.
    #[error("it can't be read")]
    Io(#[from] io::Error),
    /// It is of a newer format.
    #[error("it is of format {found}; this program knows formats up to {FORMAT_VERSION}")]
    Newer {
        /// As found.
        found: u16,
    },
    /// It belongs to another store.
    #[error("it belongs to the store {found}, and this is the store {expected}")]
    Foreign {
        /// This store's id.
        expected: StoreId,
        /// As found.
        found: StoreId,
    },
    /// It was cut, or its checksum is wrong.
    #[error("it is damaged at offset {offset}: {what}")]
    Damaged {
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// It is whole, and holds what is not understood: it was written by another program.
    #[error("it holds something that is not understood, in the frame at offset {offset}")]
    Part {
        /// Where the frame begins.
        offset: u64,
        /// What is wrong.
        #[source]
        source: DecodeError,
    },
}

/// The snapshots that are there, by the last record of each.
pub(crate) fn list(disk: &dyn Disk) -> io::Result<Vec<RecordNumber>> {
    let mut found: Vec<RecordNumber> = disk.list(DIRECTORY)?.iter().filter_map(|file| parse(file)).collect();
    found.sort_unstable();
    Ok(found)
}

/// The name of a snapshot's file.
pub(crate) fn name(last: RecordNumber) -> String {
    format!("{DIRECTORY}/{:020}{SUFFIX}", last.0)
}

fn parse(file: &str) -> Option<RecordNumber> {
    let number = RecordNumber(file.strip_suffix(SUFFIX)?.parse().ok()?);
    (name(number) == format!("{DIRECTORY}/{file}")).then_some(number)
}

/// Removes every snapshot but the one with this last record, and what an interrupted one left behind.
pub(crate) fn remove_others(disk: &dyn Disk, keep: Option<RecordNumber>) -> io::Result<()> {
    for file in disk.list(DIRECTORY)? {
        let name = format!("{DIRECTORY}/{file}");
        if name == UNFINISHED || parse(&file).is_some_and(|number| Some(number) != keep) {
            disk.remove(&name)?;
        }
    }
    Ok(())
}

/// Where snapshots are written, and for which store.
pub(crate) struct Destination<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) room: &'a DiskRoom,
    pub(crate) store: StoreId,
    /// What checksums begin with.
    pub(crate) seed: u32,
}

impl Destination<'_> {
    /// Writes a snapshot; durable on return. Says how many bytes it has. The reserve is used for it if need be, as far as
    /// outcomes may use it: a snapshot is what lets a full disk get room again.
    pub(crate) fn write(&self, position: &Position, parts: impl Iterator<Item = Part>) -> io::Result<u64> {
        let named = self.write_unfinished(position, parts).and_then(|bytes| {
            self.disk.rename(UNFINISHED, &name(position.last()))?;
            self.disk.sync_directory(DIRECTORY)?;
            Ok(bytes)
        });
        if named.is_err() {
            // What it takes is needed elsewhere. If it can't be removed either, the next one does it.
            let _ = self.disk.remove(UNFINISHED);
        }
        named
    }

    fn write_unfinished(&self, position: &Position, parts: impl Iterator<Item = Part>) -> io::Result<u64> {
        self.disk.create_anew(UNFINISHED, 0)?;
        let file = self.disk.open(UNFINISHED, Access::Buffered)?;
        let header = header(self.store, self.seed, position);
        let checksum = u32::from_le_bytes(array(&header, 60));
        let mut out = Out { file: &*file, room: self.room, at: 0, checksum };
        out.put(&header)?;
        let mut payload = Vec::with_capacity(FRAME_BYTES + (FRAME_BYTES >> 2));
        for part in parts {
            encode_part(&part, &mut payload);
            if payload.len() >= FRAME_BYTES {
                out.frame(&payload)?;
                payload.clear();
            }
        }
        if !payload.is_empty() {
            out.frame(&payload)?;
        }
        out.frame(&[])?;
        file.sync()?;
        Ok(out.at)
    }
}

struct Out<'a> {
    file: &'a dyn DiskFile,
    room: &'a DiskRoom,
    at: u64,
    checksum: u32,
}

impl Out<'_> {
    fn frame(&mut self, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).ok().filter(|length| *length as usize <= FRAME_BYTES_MAX);
        let length = length.ok_or_else(|| io::Error::other("a part of the snapshot is too large"))?.to_le_bytes();
        self.checksum = crc32c::crc32c_append(crc32c::crc32c_append(self.checksum, &length), payload);
        let head = [length, self.checksum.to_le_bytes()].concat();
        self.put(&head)?;
        self.put(payload)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let write = || self.file.write_at(self.at, &[IoSlice::new(bytes)]);
        match write() {
            Err(error) if crate::disk::is_full(&error) && self.room.take_for_outcomes(0, bytes.len() as u64) => {
                self.room.within(bytes.len() as u64, crate::disk::is_full, write)?;
            }
            other => other?,
        }
        self.at += bytes.len() as u64;
        Ok(())
    }
}

fn header(store: StoreId, seed: u32, position: &Position) -> [u8; HEADER_BYTES] {
    let Position { tail, epoch } = position;
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&MAGIC);
    header[4..6].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    header[8..24].copy_from_slice(&store.0);
    for (at, number) in [(24, tail.last.0), (32, *epoch), (40, tail.segment), (48, tail.offset)] {
        header[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }
    header[56..60].copy_from_slice(&tail.checksum.to_le_bytes());
    let checksum = crc32c::crc32c_append(seed, &header[..60]);
    header[60..].copy_from_slice(&checksum.to_le_bytes());
    header
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or([0; N])
}

/// Reads a snapshot from its beginning to its end.
pub(crate) struct SnapshotReader {
    file: Arc<dyn DiskFile>,
    /// Where the next frame begins.
    at: u64,
    checksum: u32,
    position: Position,
    bytes: u64,
    /// The frame that is being read: where it begins, its payload, and how much of that was read.
    frame: (u64, Bytes, usize),
    ended: bool,
}

impl SnapshotReader {
    /// Opens the snapshot with this last record, and looks at its header.
    pub(crate) fn open(disk: &dyn Disk, store: StoreId, seed: u32, last: RecordNumber) -> Result<Self, SnapshotError> {
        let file = disk.open(&name(last), Access::Read)?;
        let mut header = [0; HEADER_BYTES];
        let damaged = |what| SnapshotError::Damaged { offset: 0, what };
        if file.read_at(0, &mut header)? < HEADER_BYTES || header[..4] != MAGIC {
            return Err(damaged("it doesn't begin like a snapshot"));
        }
        let version = u16::from_le_bytes(array(&header, 4));
        if version > FORMAT_VERSION {
            return Err(SnapshotError::Newer { found: version });
        }
        let found = StoreId(array(&header, 8));
        if found != store {
            return Err(SnapshotError::Foreign { expected: store, found });
        }
        let checksum = u32::from_le_bytes(array(&header, 60));
        if crc32c::crc32c_append(seed, &header[..60]) != checksum {
            return Err(damaged("the header's checksum is wrong"));
        }
        let number = |at| u64::from_le_bytes(array(&header, at));
        if number(24) != last.0 {
            return Err(damaged("it holds another record last than its name says"));
        }
        let position = Position::new(last, number(32), number(40), number(48), u32::from_le_bytes(array(&header, 56)));
        let at = HEADER_BYTES as u64;
        let bytes = file.length()?;
        Ok(Self { file, at, checksum, position, bytes, frame: (at, Bytes::new(), 0), ended: false })
    }

    /// What it is.
    pub(crate) fn recovered(&self) -> RecoveredSnapshot {
        RecoveredSnapshot { position: self.position, bytes: self.bytes }
    }

    /// The next part; `None` behind the last one.
    pub(crate) fn next(&mut self) -> Result<Option<Part>, SnapshotError> {
        while self.frame.2 == self.frame.1.len() {
            if self.ended || !self.next_frame()? {
                self.ended = true;
                return Ok(None);
            }
        }
        let (offset, payload, at) = &mut self.frame;
        let (part, next) =
            decode_part(payload, *at).map_err(|source| SnapshotError::Part { offset: *offset, source })?;
        *at = next;
        Ok(Some(part))
    }

    fn next_frame(&mut self) -> Result<bool, SnapshotError> {
        let offset = self.at;
        let damaged = |what| SnapshotError::Damaged { offset, what };
        let mut head = [0; FRAME_HEAD];
        if self.file.read_at(offset, &mut head)? < FRAME_HEAD {
            return Err(damaged("the file ends"));
        }
        let length = u32::from_le_bytes(array(&head, 0)) as usize;
        let rest = self.bytes.saturating_sub(offset + FRAME_HEAD as u64);
        if length as u64 > rest || length > FRAME_BYTES_MAX {
            return Err(damaged("the file ends within a frame, or a frame's length is wrong"));
        }
        let mut payload = vec![0; length];
        self.file.read_at(offset + FRAME_HEAD as u64, &mut payload)?;
        self.checksum = crc32c::crc32c_append(crc32c::crc32c_append(self.checksum, &head[..4]), &payload);
        if self.checksum != u32::from_le_bytes(array(&head, 4)) {
            return Err(damaged("a frame's checksum is wrong"));
        }
        self.at = offset + (FRAME_HEAD + length) as u64;
        if length == 0 && rest > 0 {
            return Err(damaged("something follows its end"));
        }
        self.frame = (offset, payload.into(), 0);
        Ok(length > 0)
    }
}
