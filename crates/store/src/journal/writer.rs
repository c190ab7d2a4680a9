//! What puts blocks on the disk.

use std::{
    io::{self, IoSlice},
    sync::Arc,
};

use task_messenger_core::ids::RecordNumber;

use super::{
    Block, Durability, Progress, Tail,
    segments::{self, Segments},
};
use crate::{
    block::{BLOCK_UNIT, Header},
    buffer::AlignedBuffer,
    disk::{Access, DiskFile},
};

/// Writes blocks and syncs them. After an error it refuses everything: only the next start can tell what is on the disk.
pub struct Writer {
    segments: Arc<Segments>,
    access: Access,
    epoch: u64,
    tail: Tail,
    current: Option<OpenSegment>,
    /// Earlier segments in which something isn't synced.
    unsynced: Vec<OpenSegment>,
    progress: Progress,
    failed: bool,
}

struct OpenSegment {
    number: u64,
    file: Arc<dyn DiskFile>,
    /// Up to where its space is reserved.
    length: u64,
}

/// Why blocks were not written. What is on the disk is unknown then.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
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
    /// Not the next block.
    #[error("the next block to write begins with record {expected}, not {found}")]
    OutOfOrder {
        /// The record that should have come.
        expected: RecordNumber,
        /// The one that did.
        found: RecordNumber,
    },
    /// It failed before.
    #[error("an earlier write failed")]
    Failed,
}

impl Writer {
    pub(super) fn new(segments: Arc<Segments>, durability: Durability, epoch: u64, tail: Tail) -> Self {
        Self {
            segments,
            access: if durability == Durability::Strict { Access::Through } else { Access::Buffered },
            epoch,
            tail,
            current: None,
            unsynced: Vec::new(),
            progress: Progress { written: tail.last, synced: tail.last },
            failed: false,
        }
    }

    /// Writes blocks as they come from the front, and then, with `sync`, makes everything durable; with `Strict` every
    /// write does. Blocks of one segment lie side by side, and take one write.
    pub fn write(&mut self, blocks: Vec<Block>, sync: bool) -> Result<Progress, WriteError> {
        if self.failed {
            return Err(WriteError::Failed);
        }
        // Taken back only when all went well.
        self.failed = true;
        self.write_blocks(blocks)?;
        if sync || self.access == Access::Through {
            self.sync()?;
        }
        self.failed = false;
        Ok(self.progress)
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Whether the allocator has something to do.
    pub(crate) fn next_segment_is_missing(&self) -> bool {
        self.segments.next_is_missing()
    }

    /// Syncs everything and writes an empty block that says so: the next start knows that nothing may be missing.
    pub fn close(mut self) -> Result<Progress, WriteError> {
        self.write(Vec::new(), true)?;
        let unit = BLOCK_UNIT as u64;
        let (segment, offset) = if self.tail.offset + unit <= self.segments.segment_bytes() {
            (self.tail.segment, self.tail.offset)
        } else {
            (self.tail.segment + 1, 0)
        };
        let header = Header {
            epoch: self.epoch,
            segment,
            offset,
            first: self.tail.last.next(),
            count: 0,
            synced_through: self.progress.synced,
            payload_length: 0,
            previous_checksum: self.tail.checksum,
            store: self.segments.store_tag(),
        };
        let mut buffer = AlignedBuffer::zeros(BLOCK_UNIT);
        let checksum = header.write(buffer.as_mut(), self.segments.checksum_seed());
        let block = Block {
            segment,
            offset,
            first: header.first,
            last: self.tail.last,
            epoch: self.epoch,
            checksum,
            bytes: bytes::Bytes::from_owner(buffer),
        };
        self.write(vec![block], true)
    }

    fn write_blocks(&mut self, blocks: Vec<Block>) -> Result<(), WriteError> {
        let mut run: Vec<Block> = Vec::with_capacity(blocks.len());
        for block in blocks {
            if run.last().is_some_and(|last| last.segment != block.segment) {
                self.write_run(&run)?;
                run.clear();
            }
            let expected = run.last().map_or(self.tail.last, |last| last.last).next();
            if block.first != expected || block.epoch != self.epoch {
                return Err(WriteError::OutOfOrder { expected, found: block.first });
            }
            debug_assert!(run.last().is_none_or(|last| last.end() == block.offset), "blocks lie side by side");
            run.push(block);
        }
        self.write_run(&run)
    }

    /// Writes blocks that lie side by side.
    fn write_run(&mut self, run: &[Block]) -> Result<(), WriteError> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(()) };
        let pieces: Vec<_> = run.iter().map(|block| IoSlice::new(&block.bytes)).collect();
        let segments = self.segments.clone();
        let segment = self.segment(first.segment)?;
        if last.end() > segment.length {
            let grown = segments.grow(&*segment.file, segment.length, last.end());
            segment.length = grown.map_err(|source| error("make room in", first.segment, source))?;
        }
        segment.file.write_at(first.offset, &pieces).map_err(|source| error("write to", first.segment, source))?;
        segments.note_room(segment.number, segment.length - last.end());
        self.tail = Tail { segment: last.segment, offset: last.end(), checksum: last.checksum, last: last.last };
        self.progress.written = last.last;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), WriteError> {
        if self.access == Access::Buffered && self.progress.synced < self.progress.written {
            for segment in self.unsynced.drain(..).chain(self.current.take()) {
                segment.file.sync().map_err(|source| error("sync", segment.number, source))?;
                self.current = Some(segment);
            }
        }
        self.progress.synced = self.progress.written;
        Ok(())
    }

    /// A segment, opened, and made if need be.
    fn segment(&mut self, number: u64) -> Result<&mut OpenSegment, WriteError> {
        if let Some(left) = self.current.take_if(|current| current.number != number)
            && self.access == Access::Buffered
        {
            self.unsynced.push(left);
        }
        if self.current.is_none() {
            self.segments.ensure(number).map_err(|source| error("make", number, source))?;
            let open = || {
                let file = self.segments.disk().open(&segments::name(number), self.access)?;
                let length = file.length()?;
                Ok(OpenSegment { number, file, length })
            };
            let segment = open().map_err(|source| error("open", number, source))?;
            self.segments.use_segment(number);
            self.current = Some(segment);
        }
        self.current.as_mut().ok_or(WriteError::Failed)
    }
}

fn error(action: &'static str, segment: u64, source: io::Error) -> WriteError {
    WriteError::Io { action, file: segments::name(segment), source }
}
