//! Where records go in, and where it is known what may be told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use task_messenger_core::{
    ids::RecordNumber,
    record::{Appended, Log, Record},
    values::write_varint,
};

use super::{BLOCK_BYTES_MAX, Block, Durability, Position, Progress, Tail, cache::Cache, place, segments::Segments};
use crate::{
    block::{BLOCK_UNIT, HEADER_BYTES, Header},
    buffer::AlignedBuffer,
    codec::{encode_head, varint_length},
};

/// A block's buffer begins with at least this many bytes.
const BUFFER_BYTES_MIN: usize = BLOCK_UNIT;

/// Takes records and says what may be told. Does no I/O.
pub struct Front {
    segments: Arc<Segments>,
    cache: Arc<Mutex<Cache>>,
    durability: Durability,
    epoch: u64,
    /// The end of the last closed block; but `last` counts the open block's records too.
    tail: Tail,
    open: Option<OpenBlock>,
    closed: Vec<ClosedBlock>,
    taken: RecordNumber,
    progress: Progress,
    /// The administrative records that aren't synced, in order. Kept only when something may be told before it is synced.
    unsynced_administrative: VecDeque<RecordNumber>,
    /// A record's body up to its values, while it is appended.
    head: Vec<u8>,
    /// How large the next block's buffer begins.
    buffer_bytes: usize,
    record_bytes: u64,
    block_bytes: u64,
}

struct OpenBlock {
    segment: u64,
    offset: u64,
    first: RecordNumber,
    count: u32,
    buffer: AlignedBuffer,
    /// How many bytes it may have.
    limit: usize,
}

struct ClosedBlock {
    block: Block,
    weight: usize,
}

impl Front {
    pub(super) fn new(
        segments: Arc<Segments>,
        cache: Arc<Mutex<Cache>>,
        durability: Durability,
        epoch: u64,
        tail: Tail,
    ) -> Self {
        Self {
            segments,
            cache,
            durability,
            epoch,
            tail,
            open: None,
            closed: Vec::new(),
            taken: tail.last,
            progress: Progress { written: tail.last, synced: tail.last },
            unsynced_administrative: VecDeque::new(),
            head: Vec::new(),
            buffer_bytes: BUFFER_BYTES_MIN,
            record_bytes: 0,
            block_bytes: 0,
        }
    }

    /// The most bytes that a record can have, its length in front included.
    pub fn largest_record(&self) -> usize {
        BLOCK_BYTES_MAX.min(self.segments.segment_bytes()) as usize - HEADER_BYTES
    }

    /// Closes the open block and hands out all that were not handed out yet, in order. From now on their values are found
    /// in memory. The blocks must be written, in this order.
    pub fn take_blocks(&mut self) -> Vec<Block> {
        self.close();
        if self.closed.is_empty() {
            return Vec::new();
        }
        self.taken = self.tail.last;
        let segment_bytes = self.segments.segment_bytes();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        self.closed
            .drain(..)
            .map(|ClosedBlock { block, weight }| {
                let start = place(segment_bytes, block.segment, block.offset);
                cache.insert(start, block.last, block.bytes.clone(), weight);
                block
            })
            .collect()
    }

    /// The end of the journal; `None` while a block is open, and after [`Front::take_blocks`] there is one until the next
    /// record comes.
    pub fn position(&self) -> Option<Position> {
        self.open.is_none().then_some(Position { tail: self.tail, epoch: self.epoch })
    }

    /// Whether there is something to take.
    pub fn pending(&self) -> bool {
        self.taken < self.tail.last
    }

    /// The last record that was appended.
    pub fn last(&self) -> RecordNumber {
        self.tail.last
    }

    /// Notes what the writer has said.
    pub fn progress(&mut self, progress: Progress) {
        self.progress.written = self.progress.written.max(progress.written);
        self.progress.synced = self.progress.synced.max(progress.synced);
        while self.unsynced_administrative.front().is_some_and(|number| *number <= self.progress.synced) {
            self.unsynced_administrative.pop_front();
        }
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).written_through(self.progress.written);
    }

    /// Through which record everything may be told.
    pub fn told_through(&self) -> RecordNumber {
        let through = match self.durability {
            Durability::Strict => self.progress.synced,
            Durability::Interval => self.progress.written,
            Durability::None => self.taken,
        };
        match self.unsynced_administrative.front() {
            Some(held) => through.min(RecordNumber(held.0 - 1)),
            None => through,
        }
    }

    /// Through which record everything is known to be synced.
    pub fn synced_through(&self) -> RecordNumber {
        self.progress.synced
    }

    /// Whether something can't be told before the next sync: with `Strict` whatever isn't synced, otherwise only what is
    /// administrative, and all that follows it.
    pub fn wants_sync(&self) -> bool {
        match self.durability {
            Durability::Strict => self.sync_owed(),
            Durability::Interval | Durability::None => !self.unsynced_administrative.is_empty(),
        }
    }

    /// Whether anything that was appended isn't synced.
    pub fn sync_owed(&self) -> bool {
        self.progress.synced < self.tail.last
    }

    /// What may be told, and when.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// How many bytes the records have that were appended since the store was opened.
    pub fn record_bytes(&self) -> u64 {
        self.record_bytes
    }

    /// How many bytes the blocks have that were closed since the store was opened.
    pub fn block_bytes(&self) -> u64 {
        self.block_bytes
    }

    /// The open block, with room for this many more bytes.
    fn open_block(&mut self, length: usize) -> &mut OpenBlock {
        if self.open.as_ref().is_some_and(|open| open.buffer.len() + length > open.limit) {
            self.close();
        }
        let (segments, tail) = (&self.segments, &self.tail);
        let buffer_bytes = self.buffer_bytes;
        self.open.get_or_insert_with(|| {
            let needed = (HEADER_BYTES + length).next_multiple_of(BLOCK_UNIT) as u64;
            let fits = tail.offset + needed <= segments.segment_bytes();
            let (segment, offset) = if fits && !segments.should_leave(tail.segment) {
                (tail.segment, tail.offset)
            } else {
                (tail.segment + 1, 0)
            };
            let limit = BLOCK_BYTES_MAX.min(segments.segment_bytes() - offset) as usize;
            assert!(HEADER_BYTES + length <= limit, "a record of {length} bytes is too large for the journal");
            let mut buffer = AlignedBuffer::with_capacity(buffer_bytes);
            buffer.pad_to(HEADER_BYTES);
            OpenBlock { segment, offset, first: tail.last.next(), count: 0, buffer, limit }
        })
    }

    fn close(&mut self) {
        let Some(OpenBlock { segment, offset, first, count, mut buffer, .. }) = self.open.take() else { return };
        let header = Header {
            epoch: self.epoch,
            segment,
            offset,
            first,
            count,
            synced_through: self.progress.synced,
            payload_length: (buffer.len() - HEADER_BYTES) as u32,
            previous_checksum: self.tail.checksum,
            store: self.segments.store_tag(),
        };
        buffer.pad_to(header.block_length() as usize);
        let checksum = header.write(buffer.as_mut(), self.segments.checksum_seed());
        let weight = buffer.capacity();
        self.buffer_bytes = buffer.len().max(BUFFER_BYTES_MIN);
        self.block_bytes += buffer.len() as u64;
        let bytes = Bytes::from_owner(buffer);
        let block = Block { segment, offset, first, last: header.last(), epoch: self.epoch, checksum, bytes };
        self.tail = Tail { segment, offset: block.end(), checksum, last: block.last };
        self.closed.push(ClosedBlock { block, weight });
    }
}

impl Log for Front {
    /// Encodes a record into the open block.
    ///
    /// # Panics
    /// If it is larger than [`Front::largest_record`]: whoever makes records keeps them smaller.
    fn append(&mut self, record: &Record) -> Appended {
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        encode_head(record, &mut head);
        let values = record.values().map_or(&[][..], |values| values.bytes());
        let body = head.len() + values.len();
        let mut prefix = [0; 10];
        let prefix_length = varint_length(body as u64);
        write_varint(&mut &mut prefix[..], body as u64);

        let open = self.open_block(prefix_length + body);
        let at = open.buffer.len();
        open.buffer.reserve(prefix_length + body);
        open.buffer.extend(&prefix[..prefix_length]);
        open.buffer.extend(&head);
        open.buffer.extend(values);
        open.count += 1;
        let (segment, offset) = (open.segment, open.offset + (at + prefix_length + head.len()) as u64);

        self.head = head;
        self.record_bytes += (prefix_length + body) as u64;
        self.tail.last = self.tail.last.next();
        let number = self.tail.last;
        if self.durability != Durability::Strict && record.is_administrative() {
            self.unsynced_administrative.push_back(number);
        }
        Appended { number, values: place(self.segments.segment_bytes(), segment, offset) }
    }
}
