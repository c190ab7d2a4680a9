//! Outcomes that the manager has not yet taken.
//!
//! While there is a link they are kept in memory alone. When the link drops, and until there is one again, each is also
//! written to a file and synced, and so are all of them when the worker stops: no end of the process then loses one.
//! What is in the file but was taken meanwhile does no harm: the manager drops it at the next `Resume`.

mod file;
mod shorten;

use std::{collections::VecDeque, io, path::Path};

use bytes::{Bytes, BytesMut};
use rustc_hash::FxHashSet;
use task_messenger_protocol::messages::Outcomes;

use self::file::OutboxFile;
pub(crate) use self::file::{NewerOutbox, check_format};
use crate::runners::TaskName;

/// Its file in the state directory.
pub(crate) const OUTBOX: &str = "outbox";

/// Outcomes that came together, by columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The hand-outs.
    pub leases: Vec<u64>,
    /// The tasks' names.
    pub tasks: Vec<TaskName>,
    /// 1 succeeded, 2 failed.
    pub statuses: Vec<u8>,
    /// Encoded `Outcome`s as values.
    pub outcomes: Bytes,
}

impl Block {
    /// Roughly what it takes in memory.
    fn bytes(&self) -> u64 {
        (self.outcomes.len() + self.leases.len() * 32) as u64
    }

    /// Without the outcomes of some leases.
    pub(crate) fn without(self, dropped: &FxHashSet<u64>) -> Self {
        if !self.leases.iter().any(|lease| dropped.contains(lease)) {
            return self;
        }
        let mut kept = Self::default();
        let mut outcomes = BytesMut::new();
        for (at, (start, end)) in self.places().into_iter().enumerate() {
            if !dropped.contains(&self.leases[at]) {
                kept.leases.push(self.leases[at]);
                kept.tasks.push(self.tasks[at]);
                kept.statuses.push(self.statuses[at]);
                outcomes.extend_from_slice(&self.outcomes[start..end]);
            }
        }
        kept.outcomes = outcomes.freeze();
        kept
    }

    /// Where each encoded outcome lies, its length included.
    fn places(&self) -> Vec<(usize, usize)> {
        let values = task_messenger_protocol::values::Values::trusted(self.outcomes.clone(), self.leases.len() as u32);
        let mut starts: Vec<usize> = values.layout().map(|(start, _)| start).collect();
        starts.push(self.outcomes.len());
        starts.windows(2).map(|pair| (pair[0], pair[1])).collect()
    }

    /// The first half and the rest, for a message that would be too long.
    fn split(self) -> (Self, Self) {
        let half = self.leases.len() / 2;
        let at = self.places().get(half).map_or(self.outcomes.len(), |(start, _)| *start);
        let mut first = self;
        let rest = Self {
            leases: first.leases.split_off(half),
            tasks: first.tasks.split_off(half),
            statuses: first.statuses.split_off(half),
            outcomes: first.outcomes.split_off(at),
        };
        (first, rest)
    }
}

/// A block with what has become of it.
#[derive(Debug)]
struct Entry {
    block: Block,
    /// The message of this session that it went with.
    sent: Option<u64>,
    saved: bool,
}

/// The outcomes that the manager has not yet taken, oldest first.
#[derive(Debug)]
pub struct Outbox {
    entries: VecDeque<Entry>,
    file: OutboxFile,
    bytes: u64,
    /// How many outcomes are in it.
    count: usize,
    /// The number of the last message of this session.
    number: u64,
    /// How many entries at the front were sent in this session.
    sent: usize,
    /// The longest outcome that the manager takes.
    longest: u64,
}

impl Outbox {
    /// Reads what an earlier start left in `path`, if it belongs to this `store` and `worker`.
    ///
    /// # Errors
    /// The file can't be read or written.
    pub fn open(path: &Path, store: [u8; 16], worker: u32) -> io::Result<Self> {
        let (file, blocks) = OutboxFile::open(path, store, worker)?;
        let mut outbox =
            Self { entries: VecDeque::new(), file, bytes: 0, count: 0, number: 0, sent: 0, longest: u64::MAX };
        for block in blocks {
            outbox.add(block, true);
        }
        Ok(outbox)
    }

    /// Keeps outcomes until they are taken.
    pub fn push(&mut self, block: Block) {
        if !block.leases.is_empty() {
            self.add(shorten::shortened(block, self.longest), false);
        }
    }

    fn add(&mut self, block: Block, saved: bool) {
        self.bytes += block.bytes();
        self.count += block.leases.len();
        self.entries.push_back(Entry { block, sent: None, saved });
    }

    /// Roughly how much memory all of it takes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many outcomes are in it.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether everything was taken.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All leases in it with their tasks' names, oldest first.
    pub fn leases(&self) -> impl Iterator<Item = (u64, TaskName)> {
        self.entries.iter().flat_map(|entry| entry.block.leases.iter().copied().zip(entry.block.tasks.iter().copied()))
    }

    /// A new session begins: nothing was sent in it. What is longer than `longest`, which is what the manager takes, loses
    /// the front of its outputs.
    pub fn begin_session(&mut self, longest: u64) {
        self.number = 0;
        self.sent = 0;
        self.longest = longest;
        for entry in &mut self.entries {
            entry.sent = None;
            self.bytes -= entry.block.bytes();
            entry.block = shorten::shortened(std::mem::take(&mut entry.block), longest);
            self.bytes += entry.block.bytes();
        }
    }

    /// The next message, of about `limit` bytes at most unless a single outcome is longer; `None` when all were sent.
    pub fn next_message(&mut self, limit: u64) -> Option<Outcomes> {
        while let Some(entry) = self.entries.get(self.sent)
            && entry.block.bytes() > limit
            && entry.block.leases.len() > 1
        {
            self.split_entry(self.sent);
        }
        let first = self.sent;
        let mut bytes = 0;
        let many = self.entries.range(first..).take_while(|entry| {
            bytes += entry.block.bytes();
            bytes <= limit
        });
        let end = first + many.count().max(1);
        if end > self.entries.len() {
            return None;
        }
        // Each block is in order; so that most messages are as a whole, blocks go by their first lease.
        self.entries.make_contiguous()[first..end].sort_by_key(|entry| entry.block.leases.first().copied());
        self.number += 1;
        self.sent = end;
        let mut message = Outcomes { number: self.number, ..Outcomes::default() };
        let mut outcomes = BytesMut::new();
        let mut statuses = Vec::new();
        for entry in self.entries.range_mut(first..end) {
            entry.sent = Some(self.number);
            if end - first == 1 {
                message.outcomes = entry.block.outcomes.clone();
            } else {
                outcomes.extend_from_slice(&entry.block.outcomes);
            }
            message.leases.extend_from_slice(&entry.block.leases);
            statuses.extend_from_slice(&entry.block.statuses);
        }
        if end - first > 1 {
            message.outcomes = outcomes.freeze();
        }
        message.statuses = statuses.into();
        Some(message)
    }

    fn split_entry(&mut self, at: usize) {
        let Some(entry) = self.entries.remove(at) else { return };
        self.bytes -= entry.block.bytes();
        let (first, rest) = entry.block.split();
        for block in [rest, first] {
            self.bytes += block.bytes();
            self.entries.insert(at, Entry { block, sent: None, saved: entry.saved });
        }
    }

    /// Everything up to message `number` is durable at the manager.
    ///
    /// # Errors
    /// The file can't be emptied.
    pub fn taken(&mut self, number: u64) -> io::Result<()> {
        while self.entries.front().is_some_and(|entry| entry.sent.is_some_and(|sent| sent <= number)) {
            if let Some(entry) = self.entries.pop_front() {
                self.bytes -= entry.block.bytes();
                self.count -= entry.block.leases.len();
                self.sent -= 1;
            }
        }
        self.tidy()
    }

    /// Forgets the outcomes of these leases. Only before anything was sent in a session.
    ///
    /// # Errors
    /// The file can't be emptied.
    pub fn forget(&mut self, dropped: &FxHashSet<u64>) -> io::Result<()> {
        let entries = std::mem::take(&mut self.entries);
        (self.bytes, self.count, self.sent) = (0, 0, 0);
        for Entry { block, saved, .. } in entries {
            let block = block.without(dropped);
            if !block.leases.is_empty() {
                self.add(block, saved);
            }
        }
        self.tidy()
    }

    /// Writes all that is not in the file yet, and syncs it.
    ///
    /// # Errors
    /// The file can't be written; everything stays in memory, and the next call tries again.
    pub fn save(&mut self) -> io::Result<()> {
        self.file.append(self.entries.iter().filter(|entry| !entry.saved).map(|entry| &entry.block))?;
        for entry in &mut self.entries {
            entry.saved = true;
        }
        Ok(())
    }

    fn tidy(&mut self) -> io::Result<()> {
        if self.file.is_empty() || self.entries.iter().any(|entry| entry.saved) { Ok(()) } else { self.file.clear() }
    }
}

#[cfg(test)]
mod tests;
