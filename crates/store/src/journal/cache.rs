//! The recent blocks, in memory.

use std::collections::VecDeque;

use bytes::Bytes;
use task_messenger_core::{
    ids::{Place, RecordNumber},
    values::{self, Value},
};

/// Whole blocks in the order of their places, the newest ones, within a budget.
#[derive(Debug)]
pub(super) struct Cache {
    budget: usize,
    blocks: VecDeque<CachedBlock>,
    /// What the blocks take in memory.
    bytes: usize,
    /// Blocks that end behind this record must stay.
    written: RecordNumber,
}

#[derive(Debug)]
struct CachedBlock {
    start: u64,
    last: RecordNumber,
    bytes: Bytes,
    /// What it takes in memory: more than it has bytes.
    weight: usize,
}

impl Cache {
    pub(super) fn new(budget: usize, written: RecordNumber) -> Self {
        Self { budget, blocks: VecDeque::new(), bytes: 0, written }
    }

    /// Takes a block that lies behind all others.
    pub(super) fn insert(&mut self, start: Place, last: RecordNumber, bytes: Bytes, weight: usize) {
        self.bytes += weight;
        self.blocks.push_back(CachedBlock { start: start.0, last, bytes, weight });
        self.evict();
    }

    /// Notes what is written, so that it may go.
    pub(super) fn written_through(&mut self, written: RecordNumber) {
        self.written = self.written.max(written);
        self.evict();
    }

    pub(super) fn find(&self, place: Place) -> Option<Value> {
        let behind = self.blocks.partition_point(|block| block.start <= place.0);
        let block = self.blocks.get(behind.checked_sub(1)?)?;
        let offset = usize::try_from(place.0 - block.start).ok()?;
        values::decode(&block.bytes, offset).map(|(value, _)| value)
    }

    fn evict(&mut self) {
        while self.bytes > self.budget
            && let Some(oldest) = self.blocks.front()
            && oldest.last <= self.written
        {
            self.bytes -= oldest.weight;
            self.blocks.pop_front();
        }
    }
}
