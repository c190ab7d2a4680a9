//! The bytes of one file of the simulated disk.

use std::collections::BTreeMap;

use super::SECTOR;

pub(super) const PAGE: usize = 4096;

/// What a file consists of. Pages that hold only zeros need not be there.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) pages: BTreeMap<u64, Box<[u8; PAGE]>>,
    pub(super) length: u64,
    pub(super) durable_length: u64,
    /// What a power cut can bring back: the sectors that were written since the last sync, as they were before.
    pub(super) unsynced: BTreeMap<u64, [u8; SECTOR]>,
}

impl Contents {
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let length = self.length.saturating_sub(offset).min(buffer.len() as u64) as usize;
        for_pages(offset, length, |page, within, range| match self.pages.get(&page) {
            Some(bytes) => buffer[range].copy_from_slice(&bytes[within]),
            None => buffer[range].fill(0),
        });
        length
    }

    /// Writes, keeping what was there before.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        for sector in offset / SECTOR as u64..end.div_ceil(SECTOR as u64) {
            if !self.unsynced.contains_key(&sector) {
                let mut before = [0; SECTOR];
                self.read(sector * SECTOR as u64, &mut before);
                self.unsynced.insert(sector, before);
            }
        }
        self.length = self.length.max(end);
        self.put(offset, bytes);
    }

    pub(super) fn put(&mut self, offset: u64, bytes: &[u8]) {
        for_pages(offset, bytes.len(), |page, within, range| {
            let piece = &bytes[range];
            if self.pages.contains_key(&page) || *piece != [0; PAGE][..piece.len()] {
                self.pages.entry(page).or_insert_with(|| Box::new([0; PAGE]))[within].copy_from_slice(piece);
            }
        });
    }

    /// Writes whole sectors, durably.
    pub(super) fn write_durably(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        if !self.unsynced.is_empty() {
            let mut later = self.unsynced.split_off(&(offset / SECTOR as u64));
            self.unsynced.append(&mut later.split_off(&(end / SECTOR as u64)));
        }
        self.length = self.length.max(end);
        self.durable_length = self.durable_length.max(end);
        self.put(offset, bytes);
    }

    pub(super) fn truncate(&mut self, length: u64) {
        let rest = (self.length - length) as usize;
        if length < self.length {
            self.put(length, &vec![0; rest]);
        }
        self.length = length;
    }
}

/// Calls `visit` with each page that a range of a file touches, where in the page, and where in the range.
fn for_pages(offset: u64, length: usize, mut visit: impl FnMut(u64, std::ops::Range<usize>, std::ops::Range<usize>)) {
    let mut done = 0;
    while done < length {
        let at = offset + done as u64;
        let within = (at % PAGE as u64) as usize;
        let count = (PAGE - within).min(length - done);
        visit(at / PAGE as u64, within..within + count, done..done + count);
        done += count;
    }
}
