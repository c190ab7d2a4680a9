//! The segments' files: their names, and which of them are ready.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{disk::Disk, identity::Identity};

/// The journal's directory.
pub(super) const DIRECTORY: &str = "journal";

/// What the allocator's unfinished segment is called.
pub(super) const FILLING: &str = "journal/filling.new";

/// What a segment is called that the writer makes for itself, until it is ready.
const MAKING: &str = "journal/making.new";

/// As much of a segment is reserved when it can't be made ready in advance.
const PROVISIONAL_BYTES: u64 = 4 << 20;

/// Which segments are ready; shared by front, writer and allocator.
pub(super) struct Segments {
    disk: Arc<dyn Disk>,
    identity: Identity,
    /// Held while a segment gets its name.
    naming: Mutex<()>,
    /// The last segment that has its name.
    ready: AtomicU64,
    /// A segment that was made in a hurry, and is left for the next one as soon as that is ready; 0 if there is none.
    provisional: AtomicU64,
    /// The segment of the last block that was written.
    in_use: AtomicU64,
}

impl Segments {
    pub(super) fn new(disk: Arc<dyn Disk>, identity: Identity, ready: u64, in_use: u64, provisional: bool) -> Self {
        Self {
            disk,
            identity,
            naming: Mutex::new(()),
            ready: ready.into(),
            provisional: if provisional { in_use } else { 0 }.into(),
            in_use: in_use.into(),
        }
    }

    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
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
        let _naming = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ready = self.ready.load(Ordering::Acquire);
        while ready < segment {
            ready += 1;
            make(&*self.disk, ready, self.segment_bytes())?;
            self.provisional.store(ready, Ordering::Release);
            self.ready.store(ready, Ordering::Release);
        }
        Ok(())
    }

    /// Gives the allocator's finished segment its name.
    pub(super) fn name_filled(&self) -> io::Result<u64> {
        let _naming = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        let segment = self.ready.load(Ordering::Acquire) + 1;
        self.disk.rename(FILLING, &name(segment))?;
        self.disk.sync_directory(DIRECTORY)?;
        self.ready.store(segment, Ordering::Release);
        Ok(segment)
    }
}

/// Makes a segment quickly: with some space reserved, but not filled with zeros. Its name is durable on return.
pub(super) fn make(disk: &dyn Disk, segment: u64, segment_bytes: u64) -> io::Result<()> {
    match disk.remove(MAKING) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    disk.create(MAKING, PROVISIONAL_BYTES.min(segment_bytes))?;
    disk.open(MAKING, crate::disk::Access::Buffered)?.sync()?;
    disk.rename(MAKING, &name(segment))?;
    disk.sync_directory(DIRECTORY)
}

/// The name of a segment's file.
pub(super) fn name(segment: u64) -> String {
    format!("{DIRECTORY}/{segment:012}.segment")
}

/// The number of the segment whose file this is.
pub(super) fn parse(file: &str) -> Option<u64> {
    let number = file.strip_suffix(".segment")?.parse().ok()?;
    (name(number).ends_with(file) && number > 0).then_some(number)
}

/// Whether a file is what an interrupted allocation left behind.
pub(super) fn is_unfinished(name: &str) -> bool {
    [FILLING, MAKING].contains(&name)
}
