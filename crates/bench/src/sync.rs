//! What the disk takes for a durable write, as a commit of the journal makes it.

use std::{
    io::IoSlice,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use task_messenger_store::disk::{Access, Disk, FileDisk};

const WRITE_BYTES: usize = 4096;
const FILE_BYTES: u64 = 4 << 20;
const NAME: &str = "durable-writes";

/// Times of `count` durable writes of 4 KiB, one after the other, into a file that was filled with zeros.
pub(crate) fn durable_writes(directory: &Path, count: usize) -> Result<Vec<Duration>> {
    let disk = FileDisk::new(directory).with_context(|| format!("{} can't be written", directory.display()))?;
    disk.create(NAME, FILE_BYTES)?;
    let file = disk.open(NAME, Access::Through)?;
    // Such a write wants its bytes at a multiple of its size in memory.
    let bytes = vec![0_u8; 2 * WRITE_BYTES];
    let start = bytes.as_ptr().addr().next_multiple_of(WRITE_BYTES) - bytes.as_ptr().addr();
    let piece = [IoSlice::new(&bytes[start..start + WRITE_BYTES])];
    let mut places = (0..FILE_BYTES).step_by(WRITE_BYTES).cycle();
    for place in places.by_ref().take((FILE_BYTES / WRITE_BYTES as u64) as usize) {
        file.write_at(place, &piece)?;
    }
    let mut times = Vec::with_capacity(count);
    for place in places.take(count) {
        let began = Instant::now();
        file.write_at(place, &piece)?;
        times.push(began.elapsed());
    }
    drop(file);
    disk.remove(NAME)?;
    Ok(times)
}
