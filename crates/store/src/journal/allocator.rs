//! Making the next segment ready before it is needed.

use std::{
    io::{self, IoSlice},
    sync::Arc,
};

use super::segments::{FILLING, Segments};
use crate::{
    buffer::AlignedBuffer,
    disk::{Access, DiskFile},
    room::DiskRoom,
};

/// Zeros are written in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;

/// Makes the next segment ready, so that writing it changes nothing but its contents.
///
/// A segment that is written through is filled with zeros first: a write to space that is only reserved changes the file's
/// layout too, and takes half as long again.
pub struct Allocator {
    segments: Arc<Segments>,
    fill: bool,
    filling: Option<Filling>,
    zeros: AlignedBuffer,
}

struct Filling {
    file: Arc<dyn DiskFile>,
    filled: u64,
}

/// What a step of the allocator has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// Nothing: the next segment is ready.
    Idle,
    /// A piece of the work; there is more.
    Working,
    /// The last piece: this segment is ready now.
    Ready {
        /// Its number.
        segment: u64,
    },
}

/// The next segment can't be made ready. The step can be tried again.
#[derive(Debug, thiserror::Error)]
#[error("cannot allocate the journal's next segment")]
pub struct AllocateError {
    /// What went wrong.
    #[from]
    pub source: io::Error,
}

impl Allocator {
    pub(super) fn new(segments: Arc<Segments>, fill: bool) -> Self {
        Self { segments, fill, filling: None, zeros: AlignedBuffer::with_capacity(0) }
    }

    /// The room on the disk.
    pub fn room(&self) -> &DiskRoom {
        self.segments.room()
    }

    /// Does a piece of the work, at most 1 MiB of zeros. To be called until it says [`Allocation::Idle`] or
    /// [`Allocation::Ready`], after every commit or so.
    ///
    /// The reserve is not used for it: where there is no room for a whole segment, the writer makes do with pieces.
    pub fn step(&mut self) -> Result<Allocation, AllocateError> {
        if !self.segments.next_is_missing() {
            return Ok(Allocation::Idle);
        }
        let done = self.work();
        if done.is_err() {
            // What it takes is needed elsewhere. If it can't be removed either, the next try does it.
            let _ = self.segments.disk().remove(FILLING);
        }
        done
    }

    fn work(&mut self) -> Result<Allocation, AllocateError> {
        let mut filling = match self.filling.take() {
            Some(filling) => filling,
            None => self.begin()?,
        };
        let rest = self.segments.segment_bytes() - filling.filled;
        if self.fill && rest > 0 {
            let piece = rest.min(PIECE_BYTES as u64);
            self.zeros.pad_to(piece as usize);
            let zeros = self.zeros.as_ref().get(..piece as usize).unwrap_or_default();
            filling.file.write_at(filling.filled, &[IoSlice::new(zeros)])?;
            filling.filled += piece;
            self.filling = Some(filling);
            return Ok(Allocation::Working);
        }
        filling.file.sync()?;
        self.zeros = AlignedBuffer::with_capacity(0);
        Ok(Allocation::Ready { segment: self.segments.name_filled()? })
    }

    fn begin(&self) -> io::Result<Filling> {
        let disk = self.segments.disk();
        if disk.space()?.free < self.segments.segment_bytes() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        disk.create_anew(FILLING, self.segments.segment_bytes())?;
        let file = disk.open(FILLING, if self.fill { Access::Through } else { Access::Buffered })?;
        Ok(Filling { file, filled: 0 })
    }
}
