//! Reading blocks from a segment's file.

use std::{io, sync::Arc};

use bytes::Bytes;

use crate::{
    block::{BLOCK_UNIT, HEADER_BYTES, Header, verify},
    disk::DiskFile,
};

/// Reads a segment through a window, so that neighbouring blocks cost one read.
pub(super) struct SegmentScan {
    file: Arc<dyn DiskFile>,
    segment: u64,
    checksum_seed: u32,
    length: u64,
    window: Bytes,
    window_start: u64,
    window_bytes: u64,
    /// From this offset on, blocks of an epoch before this one are what an earlier end of the journal left behind.
    leftovers: (u64, u64),
}

/// A block that is whole, and belongs where it was found.
#[derive(Clone, Debug)]
pub(super) struct FoundBlock {
    pub(super) header: Header,
    pub(super) checksum: u32,
    /// Header and payload.
    pub(super) bytes: Bytes,
}

impl FoundBlock {
    /// The offset at which the next block would begin.
    pub(super) fn end(&self) -> u64 {
        self.header.offset + self.header.block_length()
    }

    /// Whether the payload covers this offset of the segment.
    pub(super) fn covers(&self, offset: u64) -> bool {
        let payload = self.header.offset + HEADER_BYTES as u64;
        (payload..self.header.offset + self.bytes.len() as u64).contains(&offset)
    }
}

impl SegmentScan {
    pub(super) fn new(
        file: Arc<dyn DiskFile>,
        segment: u64,
        checksum_seed: u32,
        window_bytes: u64,
    ) -> io::Result<Self> {
        let length = file.length()?;
        Ok(Self {
            file,
            segment,
            checksum_seed,
            length,
            window: Bytes::new(),
            window_start: 0,
            window_bytes,
            leftovers: (u64::MAX, 0),
        })
    }

    /// Lets blocks from `offset` on count only if they are of this epoch or a later one. They are being written over, and a
    /// window can hold them from before.
    pub(super) fn ignore_leftovers(&mut self, offset: u64, epoch: u64) {
        self.leftovers = (offset, epoch);
    }

    pub(super) fn segment(&self) -> u64 {
        self.segment
    }

    /// The file's length when it was last looked at.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Lets the file be read anew: what wasn't written when the window was read may be by now.
    pub(super) fn forget(&mut self) {
        self.window = Bytes::new();
    }

    /// Reads the window that starts at `offset`, unless it lies in the current one.
    pub(super) fn look_at(&mut self, offset: u64, bytes: u64) -> io::Result<()> {
        let end = self.window_start + self.window.len() as u64;
        if offset >= self.window_start && offset + bytes <= end {
            return Ok(());
        }
        if offset + bytes > self.length {
            self.length = self.file.length()?;
        }
        let wanted = bytes.max(self.window_bytes).min(self.length.saturating_sub(offset));
        let mut buffer = vec![0; wanted as usize];
        let read = self.file.read_at(offset, &mut buffer)?;
        buffer.truncate(read);
        self.window = buffer.into();
        self.window_start = offset;
        Ok(())
    }

    /// The block at `offset`, if a whole one of this very place is there.
    pub(super) fn block_at(&mut self, offset: u64) -> io::Result<Option<FoundBlock>> {
        self.look_at(offset, BLOCK_UNIT as u64)?;
        let Some((header, checksum)) = Header::read(self.seen(offset)) else { return Ok(None) };
        let (leftovers, epoch) = self.leftovers;
        let left_over = offset >= leftovers && header.epoch < epoch;
        if header.segment != self.segment || header.offset != offset || left_over {
            return Ok(None);
        }
        let length = HEADER_BYTES as u64 + u64::from(header.payload_length);
        if self.seen(offset).len() < length as usize {
            if offset + length > self.length.max(self.file.length()?) {
                return Ok(None);
            }
            self.look_at(offset, header.block_length())?;
        }
        if !verify(self.seen(offset), &header, checksum, self.checksum_seed) {
            return Ok(None);
        }
        let start = (offset - self.window_start) as usize;
        Ok(Some(FoundBlock { header, checksum, bytes: self.window.slice(start..start + length as usize) }))
    }

    /// What the window holds from `offset` on.
    fn seen(&self, offset: u64) -> &[u8] {
        let start = offset.checked_sub(self.window_start).and_then(|start| usize::try_from(start).ok());
        start.and_then(|start| self.window.get(start..)).unwrap_or_default()
    }
}
