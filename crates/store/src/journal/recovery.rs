//! Finding again what was written.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex},
};

use task_messenger_core::{
    ids::{Place, RecordNumber},
    image::Part,
    record::Record,
};

use super::{
    Allocator, BLOCK_BYTES_MAX, Durability, Front, Options, Position, Reader, Recovered, RecoveredSnapshot, Shrinker,
    Store, Tail, Writer,
    cache::Cache,
    extent::{EXTENT_BYTES, EXTENT_FILE, Extent},
    inspection::{Inspected, inspect},
    open_error::{OpenError, io_error},
    place,
    reader::{self, ReadError},
    scan::{FoundBlock, SegmentScan},
    segments::{self, Segments},
};
use crate::{
    blobs::{self, Blobs},
    block::{BLOCK_UNIT, HEADER_BYTES, Header},
    codec,
    disk::{Access, Disk, is_full},
    identity::{self, IDENTITY_FILE, Identity, StoreId},
    room::DiskRoom,
    snapshot::{self, SnapshotReader},
};

/// How much is read at once.
const WINDOW_BYTES: u64 = 1 << 20;

/// What is found again, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A part of the snapshot, if there is one.
    Part {
        /// The last record that the snapshot holds.
        last: RecordNumber,
        /// The part.
        part: Part,
    },
    /// A record behind it.
    Record(Replayed),
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
    pub(super) disk: Arc<dyn Disk>,
    options: Options,
    pub(super) identity: Identity,
    is_new: bool,
    room: DiskRoom,
    /// Which segments there should be.
    pub(super) extent: Extent,
    /// The last segment that exists; 0 if there is none.
    last_segment: u64,
    /// The snapshot, until it was handed out.
    snapshot: Option<SnapshotReader>,
    pub(super) recovered: Option<RecoveredSnapshot>,
    pub(super) replayed_bytes: u64,
    scan: Option<SegmentScan>,
    pub(super) tail: Tail,
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
    let Inspected { store, last_segment, snapshot } = inspect(&*disk)?;
    let is_new = store.is_none();
    let (identity, extent) = if let Some(found) = store {
        found
    } else {
        let identity = make_identity(&*disk, options.segment_bytes)
            .map_err(|source| io_error("name", IDENTITY_FILE.to_owned(), source))?;
        (identity, Extent::new(identity.id))
    };
    let room = DiskRoom::open(disk.clone(), options.reserve_bytes);
    let room = room.map_err(|source| io_error("look at the room on", "the disk".to_owned(), source))?;
    let snapshot = snapshot.filter(|_| !is_new).map(|last| {
        let reader = SnapshotReader::open(&*disk, identity.id, identity.checksum_seed, last);
        reader.map_err(|source| OpenError::Snapshot { file: snapshot::name(last), source })
    });
    let snapshot = snapshot.transpose()?;
    let recovered = snapshot.as_ref().map(SnapshotReader::recovered);
    let begin = Position::new(RecordNumber(0), 0, 1, 0, 0);
    let Position { tail, epoch } = recovered.map_or(begin, |snapshot| snapshot.position);
    let mut recovery = Recovery {
        disk,
        options: options.clone(),
        identity,
        is_new,
        room,
        extent,
        last_segment,
        snapshot,
        recovered,
        replayed_bytes: 0,
        scan: None,
        tail,
        epoch,
        block: None,
        ended: is_new,
    };
    if !recovery.ended {
        recovery.scan = Some(recovery.open_segment(tail.segment)?);
    }
    Ok(recovery)
}

/// A new store's.
fn make_identity(disk: &dyn Disk, segment_bytes: u64) -> io::Result<Identity> {
    let id = StoreId(disk.entropy()?);
    let [a, b, c, d, ..] = disk.entropy()?;
    Ok(Identity { id, segment_bytes, checksum_seed: u32::from_le_bytes([a, b, c, d]) })
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

    /// What is next: the snapshot's parts, then the records; `None` behind the last one.
    #[expect(clippy::should_implement_trait, reason = "behind an error there is nothing to go on with")]
    pub fn next(&mut self) -> Result<Option<Found>, OpenError> {
        if let Some(snapshot) = &mut self.snapshot {
            let last = snapshot.recovered().position.last();
            let part = snapshot.next().map_err(|source| OpenError::Snapshot { file: snapshot::name(last), source })?;
            if let Some(part) = part {
                return Ok(Some(Found::Part { last, part }));
            }
            self.snapshot = None;
        }
        Ok(self.next_record()?.map(Found::Record))
    }

    fn next_record(&mut self) -> Result<Option<Replayed>, OpenError> {
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
                self.replayed_bytes += found.header.block_length();
                self.block = Some(OpenedBlock { found, at: HEADER_BYTES, handed_out: 0 });
            } else {
                self.check_the_rest()?;
                self.ended = true;
            }
        }
    }

    /// Checks the values that are needed, of which there is nothing left to be read: those at `places`, and the large ones
    /// `large`, by their files' numbers and with their lengths in bytes. A large one that is missing or doesn't have its
    /// length is found here, and any that was found damaged when it was last read.
    pub fn check_values(
        &self,
        places: impl Iterator<Item = Place>,
        large: &HashMap<u64, u64>,
    ) -> Result<(), OpenError> {
        blobs::check(&*self.disk, self.identity.checksum_seed, large)?;
        let files = self.disk.list(segments::DIRECTORY);
        let files = files.map_err(|source| io_error("list", segments::DIRECTORY.to_owned(), source))?;
        let suspects: Vec<u64> = files.iter().filter_map(|file| segments::parse_suspect(file)).collect();
        if suspects.is_empty() {
            return Ok(());
        }
        let segment_bytes = self.identity.segment_bytes;
        let mut reader = reader::Files::new(self.disk.clone(), self.identity.checksum_seed);
        for place in places.filter(|place| suspects.contains(&(place.0 / segment_bytes))) {
            reader.value_at(place, segment_bytes).map_err(|error| match error {
                ReadError::Io { file, source } => io_error("read", file, source),
                ReadError::NoValue { file, offset } => OpenError::MissingValue { file, offset },
            })?;
        }
        Ok(())
    }

    /// Makes durable what was replayed (what is left is read first), and the store ready for more. A new store is made
    /// here.
    pub fn finish(mut self) -> Result<Store, OpenError> {
        while self.next()?.is_some() {}
        let Self { disk, options, identity, is_new, room, mut extent, tail, recovered, .. } = self;
        let begin = recovered.map(|snapshot| snapshot.position);
        let directory = || segments::DIRECTORY.to_owned();
        for file in disk.list(segments::DIRECTORY).map_err(|source| io_error("list", directory(), source))? {
            let name = format!("{}/{file}", segments::DIRECTORY);
            let is_freed = segments::parse(&file).is_some_and(|segment| extent.is_freed(segment));
            let is_mark = segments::parse_suspect(&file).is_some();
            if is_freed || is_mark || segments::is_unfinished(&name) {
                disk.remove(&name).map_err(|source| io_error("remove", name, source))?;
            }
        }
        if self.last_segment == 0 {
            segments::make(&*disk, &room, 1, identity.segment_bytes)
                .map_err(|source| io_error("make", segments::name(1), source))?;
            self.last_segment = 1;
        }
        snapshot::remove_others(&*disk, begin.map(|position| position.last()))
            .map_err(|source| io_error("tidy", snapshot::DIRECTORY.to_owned(), source))?;
        let mut tail_length = 0;
        // What the snapshot holds was synced before it was written.
        for segment in begin.map_or(1, |position| position.tail.segment)..=self.last_segment {
            let name = segments::name(segment);
            let synced = disk.open(&name, Access::Buffered).and_then(|file| file.sync().and_then(|()| file.length()));
            let length = synced.map_err(|source| io_error("sync", name, source))?;
            if segment == tail.segment {
                tail_length = length;
            }
            if segment > extent.last {
                let short = length < identity.segment_bytes;
                let noted = room.within(EXTENT_BYTES, is_full, || extent.add(&*disk, segment, short));
                noted.map_err(|source| io_error("write", EXTENT_FILE.to_owned(), source))?;
            }
        }
        disk.sync_directory(segments::DIRECTORY).map_err(|source| io_error("sync", directory(), source))?;
        if is_new {
            let made = room.within(BLOCK_UNIT as u64, is_full, || disk.replace(IDENTITY_FILE, &identity.write()));
            made.map_err(|source| io_error("write", IDENTITY_FILE.to_owned(), source))?;
        }
        room.prepare().map_err(|source| io_error("fill", crate::room::RESERVE_FILE.to_owned(), source))?;

        let blobs = Blobs::open(disk.clone(), identity.checksum_seed, room.clone())?;
        let provisional = tail_length < identity.segment_bytes;
        let segments = Segments::new(disk.clone(), identity, room.clone(), extent, tail.segment, provisional);
        let segments = Arc::new(segments);
        make_room(&segments, tail, tail_length)?;
        let cache = Arc::new(Mutex::new(Cache::new(options.cache_bytes, tail.last)));
        let epoch = self.epoch + 1;
        let reader = Reader::new(disk, &identity, cache.clone(), epoch, tail);
        let fill = options.durability == Durability::Strict;
        Ok(Store {
            id: identity.id,
            front: Front::new(segments.clone(), cache.clone(), options.durability, epoch, tail),
            writer: Writer::new(segments.clone(), options.durability, epoch, tail),
            shrinker: Shrinker::new(segments.clone(), reader.clone()),
            reader,
            recovered: Recovered { snapshot: recovered, replayed_bytes: self.replayed_bytes },
            allocator: Allocator::new(segments, fill),
            blobs,
            room,
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
                            found: self.what_is_at(damaged, damaged_offset)?,
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

    /// What is at a place where the next block should have been, in words.
    fn what_is_at(&self, segment: u64, offset: u64) -> Result<String, OpenError> {
        let mut scan = self.open_segment(segment)?;
        let mut unit = [0; BLOCK_UNIT];
        let name = segments::name(segment);
        let file = self.disk.open(&name, Access::Read);
        let look = || {
            let length = file?.read_at(offset, &mut unit)?;
            Ok((length, scan.block_at(offset)?))
        };
        let (length, block) = look().map_err(|source| io_error("read", name, source))?;
        Ok(match (block, Header::read(&unit)) {
            (Some(FoundBlock { header, .. }), _) => {
                format!("one of epoch {} that begins with record {}", header.epoch, header.first)
            }
            (None, Some(_)) => "one whose checksum is wrong".to_owned(),
            (None, None) if length == 0 => "the end of the file".to_owned(),
            (None, None) if unit.iter().all(|byte| *byte == 0) => "nothing but zeros".to_owned(),
            (None, None) => "something that is no block".to_owned(),
        })
    }

    fn open_segment(&self, segment: u64) -> Result<SegmentScan, OpenError> {
        let name = segments::name(segment);
        let seed = self.identity.checksum_seed;
        let scan =
            self.disk.open(&name, Access::Read).and_then(|file| SegmentScan::new(file, segment, seed, WINDOW_BYTES));
        scan.map_err(|source| io_error("read", name, source))
    }
}

/// Sees that the first commit finds room, from the reserve if need be: whoever finds none here waits instead of starting.
fn make_room(segments: &Segments, tail: Tail, length: u64) -> Result<(), OpenError> {
    let Tail { segment, offset, .. } = tail;
    let name = segments::name(segment);
    let mut length = length;
    if !segments.is_ready(segment + 1) && length < offset + BLOCK_BYTES_MAX {
        if length < segments.segment_bytes() {
            let file = segments.disk().open(&name, Access::Buffered);
            let end = (offset + BLOCK_BYTES_MAX).min(segments.segment_bytes());
            let grown = file.and_then(|file| segments.grow(&*file, length, end));
            length = grown.map_err(|source| io_error("make room in", name.clone(), source))?;
        }
        if length < offset + BLOCK_BYTES_MAX {
            let name = segments::name(segment + 1);
            segments.ensure(segment + 1).map_err(|source| io_error("make", name, source))?;
        }
    }
    segments.note_room(segment, length.saturating_sub(offset));
    Ok(())
}
