//! The segments' files: their names, and which of them are ready.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::extent::{EXTENT_BYTES, Extent};
use crate::{
    disk::{Disk, DiskFile, is_full},
    identity::{Identity, StoreId},
    room::DiskRoom,
};

/// The journal's directory.
pub(super) const DIRECTORY: &str = "journal";

/// What the allocator's unfinished segment is called.
pub(super) const FILLING: &str = "journal/filling.new";

/// What a segment is called that the writer makes for itself, until it is ready.
const MAKING: &str = "journal/making.new";

/// As much of a segment is reserved at a time when it can't be made ready in advance.
const PROVISIONAL_BYTES: u64 = 4 << 20;

/// The same when the disk is full and the reserve has to give it.
const SCARCE_BYTES: u64 = 1 << 20;

/// Which segments are ready; shared by front, writer and allocator.
pub(super) struct Segments {
    disk: Arc<dyn Disk>,
    identity: Identity,
    room: DiskRoom,
    /// Held while a segment gets its name.
    extent: Mutex<Extent>,
    /// The last segment that has its name.
    ready: AtomicU64,
    /// A segment that was made in a hurry, and is left for the next one as soon as that is ready; 0 if there is none.
    provisional: AtomicU64,
    /// The segment of the last block that was written.
    in_use: AtomicU64,
}

impl Segments {
    /// All segments of `extent` are ready.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        identity: Identity,
        room: DiskRoom,
        extent: Extent,
        in_use: u64,
        provisional: bool,
    ) -> Self {
        Self {
            disk,
            identity,
            room,
            ready: extent.last.into(),
            extent: Mutex::new(extent),
            provisional: if provisional { in_use } else { 0 }.into(),
            in_use: in_use.into(),
        }
    }

    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(super) fn room(&self) -> &DiskRoom {
        &self.room
    }

    /// What the store's blocks carry of its id.
    pub(super) fn store_tag(&self) -> [u8; 4] {
        self.identity.id.tag()
    }

    pub(super) fn segment_bytes(&self) -> u64 {
        self.identity.segment_bytes
    }

    pub(super) fn checksum_seed(&self) -> u32 {
        self.identity.checksum_seed
    }

    /// Whether the next block had better open the next segment: this one was made in a hurry, and the next one is ready.
    pub(super) fn should_leave(&self, segment: u64) -> bool {
        self.provisional.load(Ordering::Relaxed) == segment && self.ready.load(Ordering::Relaxed) > segment
    }

    /// Whether this segment is there.
    pub(super) fn is_ready(&self, segment: u64) -> bool {
        self.ready.load(Ordering::Relaxed) >= segment
    }

    /// Whether no segment is ready behind the one in use.
    pub(super) fn next_is_missing(&self) -> bool {
        self.ready.load(Ordering::Relaxed) <= self.in_use.load(Ordering::Relaxed)
    }

    /// Notes which segment is written to.
    pub(super) fn use_segment(&self, segment: u64) {
        self.in_use.fetch_max(segment, Ordering::Relaxed);
    }

    /// Makes segments up to this one, quickly, if they aren't there. Their names are durable on return.
    pub(super) fn ensure(&self, segment: u64) -> io::Result<()> {
        if self.ready.load(Ordering::Acquire) >= segment {
            return Ok(());
        }
        let mut extent = self.extent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ready = self.ready.load(Ordering::Acquire);
        while ready < segment {
            ready += 1;
            make(&*self.disk, &self.room, ready, self.segment_bytes())?;
            self.room.within(EXTENT_BYTES, is_full, || extent.add(&*self.disk, ready, true))?;
            self.provisional.store(ready, Ordering::Release);
            self.ready.store(ready, Ordering::Release);
        }
        Ok(())
    }

    /// Reserves more of a segment that was made in a hurry, at least up to `end`, and says up to where.
    pub(super) fn grow(&self, file: &dyn DiskFile, length: u64, end: u64) -> io::Result<u64> {
        let wanted = (end + PROVISIONAL_BYTES).min(self.segment_bytes());
        match file.set_length(wanted) {
            Ok(()) => Ok(wanted),
            Err(error) if is_full(&error) => {
                let least = end.next_multiple_of(SCARCE_BYTES).min(self.segment_bytes());
                self.room.within(least.saturating_sub(length), is_full, || file.set_length(least))?;
                Ok(least)
            }
            Err(error) => Err(error),
        }
    }

    /// Notes how much of the segment in use has space reserved and isn't written.
    pub(super) fn note_room(&self, segment: u64, unwritten: u64) {
        let further = self.ready.load(Ordering::Relaxed).saturating_sub(segment);
        self.room.set_journal_ahead(unwritten + further * self.segment_bytes());
    }

    /// Which segments there are.
    pub(super) fn list(&self) -> Vec<u64> {
        self.extent.lock().unwrap_or_else(PoisonError::into_inner).segments().collect()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        let extent = self.extent.lock().unwrap_or_else(PoisonError::into_inner);
        (extent.last + 1).saturating_sub(extent.first) as usize - extent.freed.len()
    }

    /// Removes segments. That they are gone is durable before the first file goes.
    pub(super) fn free(&self, segments: &[u64]) -> io::Result<()> {
        let mut extent = self.extent.lock().unwrap_or_else(PoisonError::into_inner);
        self.room.within(EXTENT_BYTES, is_full, || extent.free(&*self.disk, segments))?;
        for segment in segments.iter().filter(|segment| extent.is_freed(**segment)) {
            self.disk.remove(&name(*segment))?;
        }
        Ok(())
    }

    /// Which store it is.
    pub(super) fn store(&self) -> StoreId {
        self.identity.id
    }

    /// Gives the allocator's finished segment its name.
    pub(super) fn name_filled(&self) -> io::Result<u64> {
        let mut extent = self.extent.lock().unwrap_or_else(PoisonError::into_inner);
        let segment = self.ready.load(Ordering::Acquire) + 1;
        self.disk.rename(FILLING, &name(segment))?;
        self.disk.sync_directory(DIRECTORY)?;
        extent.add(&*self.disk, segment, false)?;
        self.ready.store(segment, Ordering::Release);
        Ok(segment)
    }
}

/// Makes a segment quickly: with some space reserved, but not filled with zeros. Its name is durable on return.
pub(super) fn make(disk: &dyn Disk, room: &DiskRoom, segment: u64, segment_bytes: u64) -> io::Result<()> {
    let make = |length| {
        disk.create_anew(MAKING, length)?;
        disk.open(MAKING, crate::disk::Access::Buffered)?.sync()?;
        disk.rename(MAKING, &name(segment))?;
        disk.sync_directory(DIRECTORY)
    };
    match make(PROVISIONAL_BYTES.min(segment_bytes)) {
        Err(error) if is_full(&error) => {
            let least = SCARCE_BYTES.min(segment_bytes);
            room.within(least, is_full, || make(least))
        }
        made => made,
    }
}

/// The name of a segment's file.
pub(super) fn name(segment: u64) -> String {
    format!("{DIRECTORY}/{segment:012}.segment")
}

/// The mark of a segment in which a value could not be read.
pub(super) fn suspect(segment: u64) -> String {
    format!("{DIRECTORY}/{segment:012}.suspect")
}

/// The number of the segment whose mark this file is.
pub(super) fn parse_suspect(file: &str) -> Option<u64> {
    let number = file.strip_suffix(".suspect")?.parse().ok()?;
    (suspect(number) == format!("{DIRECTORY}/{file}")).then_some(number)
}

/// The number of the segment whose file this is.
pub(super) fn parse(file: &str) -> Option<u64> {
    let number = file.strip_suffix(".segment")?.parse().ok()?;
    (name(number) == format!("{DIRECTORY}/{file}") && number > 0).then_some(number)
}

/// Whether a file is what an interrupted allocation left behind.
pub(super) fn is_unfinished(name: &str) -> bool {
    [FILLING, MAKING].contains(&name)
}
