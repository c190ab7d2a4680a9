//! Finding again what was written.

use std::{
    io,
    sync::{Arc, Mutex},
};

use task_messenger_core::{
    ids::{Place, RecordNumber},
    record::Record,
};

use super::{
    Allocator, Durability, Front, Options, Reader, Store, Tail, Writer,
    cache::Cache,
    place,
    scan::{FoundBlock, SegmentScan},
    segments::{self, Segments},
};
use crate::{
    blobs::{BlobError, Blobs},
    block::{BLOCK_UNIT, HEADER_BYTES},
    codec::{self, DecodeError},
    disk::{Access, Disk},
    identity::{self, IDENTITY_FILE, Identity, IdentityError, StoreId},
};

/// How much is read at once.
const WINDOW_BYTES: u64 = 1 << 20;

/// Why a store can't be opened. Unless it is the disk that failed in [`Recovery::finish`], nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The segments' size can't be.
    #[error("segments of {segment_bytes} bytes are not possible: a multiple of 4096 from 65536 is needed")]
    SegmentBytes {
        /// As asked for.
        segment_bytes: u64,
    },
    /// `store.json` is missing, though there is a journal.
    #[error("there is a journal, but no {file}")]
    NoIdentity {
        /// The missing file.
        file: &'static str,
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
    #[error("{file} is missing")]
    MissingSegment {
        /// The file's name in the store.
        file: String,
    },
    /// What had been synced can't be read back.
    #[error(
        "{file} is damaged at offset {offset}: record {next} is not there, though everything through record {synced} had \
         been synced, as the block at offset {witness_offset} of {witness} says"
    )]
    Damaged {
        /// The file's name in the store.
        file: String,
        /// Where the first unreadable block begins.
        offset: u64,
        /// The record that should be there.
        next: RecordNumber,
        /// The last record of which the witness says that it had been synced.
        synced: RecordNumber,
        /// The file of the block that says so.
        witness: String,
        /// Where in it.
        witness_offset: u64,
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
        matches!(self, Self::Io { .. } | Self::Blobs { .. })
    }
}

/// A record found again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Its number.
    pub number: RecordNumber,
    /// The place of the first byte of its values.
    pub values: Place,
    /// The record.
    pub record: Record,
}

/// A store that is being read. Nothing is changed before [`Recovery::finish`].
pub struct Recovery {
    disk: Arc<dyn Disk>,
    options: Options,
    identity: Identity,
    is_new: bool,
    /// The last segment that exists; 0 if there is none. All before it exist too.
    last_segment: u64,
    scan: Option<SegmentScan>,
    tail: Tail,
    epoch: u64,
    block: Option<OpenedBlock>,
    ended: bool,
}

/// The block whose records are handed out.
struct OpenedBlock {
    found: FoundBlock,
    at: usize,
    handed_out: u32,
}

/// Opens the store on `disk`, or prepares a new one where nothing is. Whoever calls holds the lock
/// ([`crate::lock::StoreLock`]).
pub fn open(disk: Arc<dyn Disk>, options: &Options) -> Result<Recovery, OpenError> {
    if !identity::is_possible(options.segment_bytes) {
        return Err(OpenError::SegmentBytes { segment_bytes: options.segment_bytes });
    }
    let last_segment = find_segments(&*disk)?;
    let found = match disk.read(IDENTITY_FILE) {
        Ok(bytes) => {
            Some(Identity::read(&bytes).map_err(|source| OpenError::Identity { file: IDENTITY_FILE, source })?)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(io_error("read", IDENTITY_FILE.to_owned(), source)),
    };
    if found.is_some() && last_segment == 0 {
        return Err(OpenError::MissingSegment { file: segments::name(1) });
    }
    if found.is_none() && !is_untouched(&*disk, last_segment)? {
        return Err(OpenError::NoIdentity { file: IDENTITY_FILE });
    }
    let identity = match found {
        Some(identity) => identity,
        None => make_identity(&*disk, options.segment_bytes)
            .map_err(|source| io_error("name", IDENTITY_FILE.to_owned(), source))?,
    };
    let mut recovery = Recovery {
        disk,
        options: options.clone(),
        identity,
        is_new: found.is_none(),
        last_segment,
        scan: None,
        tail: Tail { segment: 1, offset: 0, checksum: 0, last: RecordNumber(0) },
        epoch: 0,
        block: None,
        ended: found.is_none(),
    };
    if !recovery.ended {
        recovery.scan = Some(recovery.open_segment(1)?);
    }
    Ok(recovery)
}

/// A new store's.
fn make_identity(disk: &dyn Disk, segment_bytes: u64) -> io::Result<Identity> {
    let id = StoreId(disk.entropy()?);
    let [a, b, c, d, ..] = disk.entropy()?;
    Ok(Identity { id, segment_bytes, checksum_seed: u32::from_le_bytes([a, b, c, d]) })
}

/// The last segment, if none is missing before it.
fn find_segments(disk: &dyn Disk) -> Result<u64, OpenError> {
    let files = disk.list(segments::DIRECTORY);
    let files = files.map_err(|source| io_error("list", segments::DIRECTORY.to_owned(), source))?;
    let mut numbers: Vec<u64> = files.iter().filter_map(|file| segments::parse(file)).collect();
    numbers.sort_unstable();
    match (1..).zip(&numbers).find(|(expected, number)| expected != *number) {
        Some((expected, _)) => Err(OpenError::MissingSegment { file: segments::name(expected) }),
        None => Ok(numbers.len() as u64),
    }
}

/// Whether there is nothing but, perhaps, what the interrupted making of a store leaves behind: one empty segment.
fn is_untouched(disk: &dyn Disk, last_segment: u64) -> Result<bool, OpenError> {
    if last_segment != 1 {
        return Ok(last_segment == 0);
    }
    let mut start = [0; HEADER_BYTES];
    let name = segments::name(1);
    let read = disk.open(&name, Access::Read).and_then(|file| file.read_at(0, &mut start));
    read.map_err(|source| io_error("read", name, source))?;
    Ok(start == [0; HEADER_BYTES])
}

impl Recovery {
    /// Which store it is.
    pub fn id(&self) -> StoreId {
        self.identity.id
    }

    /// Whether there was none before.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The next record; `None` behind the last one.
    #[expect(clippy::should_implement_trait, reason = "behind an error there is nothing to go on with")]
    pub fn next(&mut self) -> Result<Option<Replayed>, OpenError> {
        loop {
            if let Some(block) = &mut self.block {
                let header = block.found.header;
                let file = || segments::name(header.segment);
                if block.at < block.found.bytes.len() {
                    let decoded = codec::decode(&block.found.bytes, block.at);
                    let decoded =
                        decoded.map_err(|source| OpenError::Record { file: file(), offset: header.offset, source })?;
                    block.at = decoded.next;
                    let number = RecordNumber(header.first.0 + u64::from(block.handed_out));
                    block.handed_out = block.handed_out.saturating_add(1);
                    let offset = header.offset + decoded.values as u64;
                    let values = place(self.identity.segment_bytes, header.segment, offset);
                    return Ok(Some(Replayed { number, values, record: decoded.record }));
                }
                if block.handed_out != header.count {
                    let (announced, found) = (header.count, block.handed_out);
                    return Err(OpenError::RecordCount { file: file(), offset: header.offset, announced, found });
                }
                self.block = None;
            }
            if self.ended {
                return Ok(None);
            }
            if let Some(found) = self.next_block()? {
                self.block = Some(OpenedBlock { found, at: HEADER_BYTES, handed_out: 0 });
            } else {
                self.check_the_rest()?;
                self.ended = true;
            }
        }
    }

    /// Makes durable what was replayed (what is left is read first), and the store ready for more. A new store is made
    /// here.
    pub fn finish(mut self) -> Result<Store, OpenError> {
        while self.next()?.is_some() {}
        let Self { disk, options, identity, is_new, tail, .. } = self;
        let directory = || segments::DIRECTORY.to_owned();
        for file in disk.list(segments::DIRECTORY).map_err(|source| io_error("list", directory(), source))? {
            let name = format!("{}/{file}", segments::DIRECTORY);
            if segments::is_unfinished(&name) {
                disk.remove(&name).map_err(|source| io_error("remove", name, source))?;
            }
        }
        if self.last_segment == 0 {
            segments::make(&*disk, 1, identity.segment_bytes)
                .map_err(|source| io_error("make", segments::name(1), source))?;
            self.last_segment = 1;
        }
        for segment in 1..=self.last_segment {
            let name = segments::name(segment);
            let file = disk.open(&name, Access::Buffered).and_then(|file| file.sync());
            file.map_err(|source| io_error("sync", name, source))?;
        }
        disk.sync_directory(segments::DIRECTORY).map_err(|source| io_error("sync", directory(), source))?;
        if is_new {
            let made = disk.replace(IDENTITY_FILE, &identity.write());
            made.map_err(|source| io_error("write", IDENTITY_FILE.to_owned(), source))?;
        }
        let name = segments::name(tail.segment);
        let length = disk.open(&name, Access::Read).and_then(|file| file.length());
        let provisional = length.map_err(|source| io_error("read", name, source))? < identity.segment_bytes;

        let blobs = Blobs::open(disk.clone())?;
        let segments = Arc::new(Segments::new(disk.clone(), identity, self.last_segment, tail.segment, provisional));
        let cache = Arc::new(Mutex::new(Cache::new(options.cache_bytes, tail.last)));
        let epoch = self.epoch + 1;
        let fill = options.durability == Durability::Strict;
        Ok(Store {
            id: identity.id,
            front: Front::new(segments.clone(), cache.clone(), options.durability, epoch, tail),
            writer: Writer::new(segments.clone(), options.durability, epoch, tail),
            reader: Reader::new(disk, &identity, cache, epoch, tail),
            allocator: Allocator::new(segments, fill),
            blobs,
        })
    }

    /// The block that continues the last one: behind it, or at the beginning of the next segment.
    fn next_block(&mut self) -> Result<Option<FoundBlock>, OpenError> {
        let Tail { segment, offset, .. } = self.tail;
        if let Some(found) = self.continuation(segment, offset)? {
            return Ok(Some(found));
        }
        if segment < self.last_segment { self.continuation(segment + 1, 0) } else { Ok(None) }
    }

    fn continuation(&mut self, segment: u64, offset: u64) -> Result<Option<FoundBlock>, OpenError> {
        let mut scan = match self.scan.take() {
            Some(scan) if scan.segment() == segment => scan,
            _ => self.open_segment(segment)?,
        };
        let found = scan.block_at(offset).map_err(|source| io_error("read", segments::name(segment), source))?;
        self.scan = Some(scan);
        let found = found.filter(|FoundBlock { header, .. }| {
            header.first == self.tail.last.next()
                && header.previous_checksum == self.tail.checksum
                && header.epoch >= self.epoch
        });
        if let Some(found) = &found {
            self.epoch = found.header.epoch;
            self.tail = Tail { segment, offset: found.end(), checksum: found.checksum, last: found.header.last() };
        }
        Ok(found)
    }

    /// Looks through everything behind the end. A block there says how much had been synced when it was made; if that is
    /// more than was found, the end isn't one. Their epochs are not used again.
    fn check_the_rest(&mut self) -> Result<(), OpenError> {
        let tail = self.tail;
        for segment in tail.segment..=self.last_segment {
            let mut scan = self.open_segment(segment)?;
            let mut offset = if segment == tail.segment { tail.offset } else { 0 };
            while offset < scan.length() {
                let found = scan.block_at(offset);
                if let Some(FoundBlock { header, .. }) =
                    found.map_err(|source| io_error("read", segments::name(segment), source))?
                {
                    self.epoch = self.epoch.max(header.epoch);
                    if header.synced_through > tail.last {
                        let (damaged, damaged_offset) = self.damaged_place(segment)?;
                        return Err(OpenError::Damaged {
                            file: segments::name(damaged),
                            offset: damaged_offset,
                            next: tail.last.next(),
                            synced: header.synced_through,
                            witness: segments::name(segment),
                            witness_offset: offset,
                        });
                    }
                }
                offset += BLOCK_UNIT as u64;
            }
        }
        Ok(())
    }

    /// Where the next block should have been: behind the last one; or, if nothing was ever written there, at the beginning of
    /// the next segment.
    fn damaged_place(&self, witness: u64) -> Result<(u64, u64), OpenError> {
        let Tail { segment, offset, .. } = self.tail;
        let mut unit = [0; BLOCK_UNIT];
        let name = segments::name(segment);
        let read = self.disk.open(&name, Access::Read).and_then(|file| file.read_at(offset, &mut unit));
        read.map_err(|source| io_error("read", name, source))?;
        let untouched = unit.iter().all(|byte| *byte == 0);
        Ok(if untouched && witness > segment { (segment + 1, 0) } else { (segment, offset) })
    }

    fn open_segment(&self, segment: u64) -> Result<SegmentScan, OpenError> {
        let name = segments::name(segment);
        let seed = self.identity.checksum_seed;
        let scan =
            self.disk.open(&name, Access::Read).and_then(|file| SegmentScan::new(file, segment, seed, WINDOW_BYTES));
        scan.map_err(|source| io_error("read", name, source))
    }
}

fn io_error(action: &'static str, file: String, source: io::Error) -> OpenError {
    OpenError::Io { action, file, source }
}
