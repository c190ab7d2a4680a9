//! Finding values again.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use task_messenger_core::{
    ids::Place,
    values::{self, Value},
};

use super::{
    BLOCK_BYTES_MAX, Tail,
    cache::Cache,
    scan::{FoundBlock, SegmentScan},
    segments,
};
use crate::{
    block::BLOCK_UNIT,
    disk::{Access, Disk},
    identity::Identity,
};

/// How much is read when values are read in their order.
const WINDOW_BYTES: u64 = 256 << 10;

/// How far before a place its block is looked for at once.
const LOOK_BACK_BYTES: u64 = 64 << 10;

/// How many blocks that were read are kept.
const RECENT_BLOCKS: usize = 16;

/// How many segments are kept open.
const OPEN_SEGMENTS: usize = 4;

/// Finds values: in memory, or on the disk. Clones share what they keep.
#[derive(Clone)]
pub struct Reader {
    segment_bytes: u64,
    cache: Arc<Mutex<Cache>>,
    files: Arc<Mutex<Files>>,
}

pub(super) struct Files {
    disk: Arc<dyn Disk>,
    checksum_seed: u32,
    /// Where this process began to write: segment and offset, and its epoch.
    begin: (u64, u64),
    epoch: u64,
    /// The segments in use, the latest first.
    open: VecDeque<SegmentScan>,
    /// Blocks that were read, the latest first.
    recent: VecDeque<FoundBlock>,
}

/// Why a value can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk failed.
    #[error("cannot read {file}")]
    Io {
        /// The file's name in the store.
        file: String,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// No value is there: the place is none, or the file is damaged.
    #[error("there is no value at offset {offset} of {file}")]
    NoValue {
        /// The file's name in the store.
        file: String,
        /// The offset in the file.
        offset: u64,
    },
}

impl Reader {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        identity: &Identity,
        cache: Arc<Mutex<Cache>>,
        epoch: u64,
        tail: Tail,
    ) -> Self {
        let files = Files { begin: (tail.segment, tail.offset), epoch, ..Files::new(disk, identity.checksum_seed) };
        Self { segment_bytes: identity.segment_bytes, cache, files: Arc::new(Mutex::new(files)) }
    }

    /// The value at a place, if its block is still in memory.
    pub fn cached(&self, place: Place) -> Option<Value> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).find(place)
    }

    /// The values at these places, in their order, if all of their blocks are still in memory.
    pub fn all_cached(&self, places: &[Place]) -> Option<Vec<Value>> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        places.iter().map(|place| cache.find(*place)).collect()
    }

    /// Lets go of segments that are to be removed.
    pub(super) fn forget(&self, segments: &[u64]) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.open.retain(|scan| !segments.contains(&scan.segment()));
        files.recent.retain(|block| !segments.contains(&block.header.segment));
    }

    /// Appends the values at these places to `out`, in their order. What isn't in memory is read from the disk, in large
    /// pieces; cheapest in the order of the places. Nothing is appended if any of them can't be read.
    pub fn read_many(&self, places: &[Place], out: &mut Vec<Value>) -> Result<(), ReadError> {
        let start = out.len();
        let mut missing = Vec::new();
        {
            let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            for (index, place) in places.iter().enumerate() {
                out.push(cache.find(*place).unwrap_or_else(|| {
                    missing.push(index);
                    Value::Inline(bytes::Bytes::new())
                }));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        for index in missing {
            match files.value_at(places[index], self.segment_bytes) {
                Ok(value) => out[start + index] = value,
                Err(error) => {
                    out.truncate(start);
                    if matches!(error, ReadError::NoValue { .. }) {
                        files.mark(places[index].0 / self.segment_bytes);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

impl Files {
    /// Those of a journal that nobody writes to.
    pub(super) fn new(disk: Arc<dyn Disk>, checksum_seed: u32) -> Self {
        Self { disk, checksum_seed, begin: (u64::MAX, 0), epoch: 0, open: VecDeque::new(), recent: VecDeque::new() }
    }

    /// Marks a segment for the next start to look at: otherwise it would be come upon again and again.
    fn mark(&self, segment: u64) {
        // Without the mark the next start is what it would have been.
        let _ = self.disk.create(&segments::suspect(segment), 0);
        let _ = self.disk.sync_directory(segments::DIRECTORY);
    }

    pub(super) fn value_at(&mut self, place: Place, segment_bytes: u64) -> Result<Value, ReadError> {
        let (segment, offset) = (place.0 / segment_bytes, place.0 % segment_bytes);
        let covers = |block: &FoundBlock| block.header.segment == segment && block.covers(offset);
        if !self.recent.front().is_some_and(covers) {
            let block = match self.recent.iter().position(covers).and_then(|index| self.recent.remove(index)) {
                Some(block) => block,
                None => self.find_block(segment, offset)?,
            };
            self.recent.truncate(RECENT_BLOCKS - 1);
            self.recent.push_front(block);
        }
        let block = self.recent.front().filter(|block| covers(block));
        let value = block.and_then(|block| values::decode(&block.bytes, (offset - block.header.offset) as usize));
        value.map(|(value, _)| value).ok_or_else(|| ReadError::NoValue { file: segments::name(segment), offset })
    }

    /// Reads the block that covers an offset of a segment.
    fn find_block(&mut self, segment: u64, offset: u64) -> Result<FoundBlock, ReadError> {
        let latest = self.recent.front().filter(|block| block.header.segment == segment).map(FoundBlock::end);
        let scan = self.scan(segment)?;
        let mut find = || {
            // Read on behind the latest block, if the value lies near: the usual case.
            if let Some(end) = latest.filter(|end| (*end..*end + WINDOW_BYTES).contains(&offset))
                && let Some(block) = find_from(scan, end, offset)?
            {
                return Ok(Some(block));
            }
            if let Some(block) = find_around(scan, offset)? {
                return Ok(Some(block));
            }
            scan.forget();
            find_around(scan, offset)
        };
        let found = find().map_err(|source| ReadError::Io { file: segments::name(segment), source })?;
        found.ok_or_else(|| ReadError::NoValue { file: segments::name(segment), offset })
    }

    fn scan(&mut self, segment: u64) -> Result<&mut SegmentScan, ReadError> {
        let scan = match self.open.iter().position(|scan| scan.segment() == segment) {
            Some(index) => self.open.remove(index),
            None => None,
        };
        let scan = if let Some(scan) = scan {
            scan
        } else {
            let mut scan = self
                .disk
                .open(&segments::name(segment), Access::Read)
                .and_then(|file| SegmentScan::new(file, segment, self.checksum_seed, WINDOW_BYTES))
                .map_err(|source| ReadError::Io { file: segments::name(segment), source })?;
            if segment >= self.begin.0 {
                let offset = if segment == self.begin.0 { self.begin.1 } else { 0 };
                scan.ignore_leftovers(offset, self.epoch);
            }
            scan
        };
        self.open.truncate(OPEN_SEGMENTS - 1);
        self.open.push_front(scan);
        self.open.front_mut().ok_or_else(|| ReadError::NoValue { file: segments::name(segment), offset: 0 })
    }
}

/// The block that covers `offset`, among those that follow one another from `next` on.
fn find_from(scan: &mut SegmentScan, mut next: u64, offset: u64) -> io::Result<Option<FoundBlock>> {
    while next <= offset
        && let Some(block) = scan.block_at(next)?
    {
        if block.covers(offset) {
            return Ok(Some(block));
        }
        next = block.end();
    }
    Ok(None)
}

/// The block that covers `offset`, found backwards from there.
fn find_around(scan: &mut SegmentScan, offset: u64) -> io::Result<Option<FoundBlock>> {
    let unit = BLOCK_UNIT as u64;
    let mut at = offset / unit * unit;
    let lowest = (at + unit).saturating_sub(BLOCK_BYTES_MAX);
    loop {
        let window = at.saturating_sub(LOOK_BACK_BYTES).max(lowest);
        scan.look_at(window, at + unit - window)?;
        while at >= window {
            if let Some(block) = scan.block_at(at)? {
                return Ok(Some(block).filter(|block| block.covers(offset)));
            }
            if at == lowest {
                return Ok(None);
            }
            at -= unit;
        }
    }
}
