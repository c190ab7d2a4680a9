//! A file's contents, and what a power cut leaves of them.

use std::{collections::BTreeMap, ops::RangeInclusive};

use super::random::Random;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// A file: what is durable, and what it has become since.
#[derive(Debug, Default)]
pub(super) struct Contents {
    current: Vec<u8>,
    /// May be shorter or longer than the durable length.
    durable: Vec<u8>,
    durable_length: usize,
    /// What each sector has been since it was last durable, oldest first, with the call that made it so.
    sectors: BTreeMap<usize, Vec<(usize, [u8; SECTOR])>>,
    /// The same for the length.
    lengths: Vec<(usize, usize)>,
}

impl Contents {
    pub(super) fn current(&self) -> &[u8] {
        &self.current
    }

    pub(super) fn write(&mut self, call: usize, offset: usize, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let end = offset + data.len();
        if end > self.current.len() {
            self.set_length(call, end);
        }
        self.current[offset..end].copy_from_slice(data);
        self.note(call, sectors_of(offset, data.len()));
    }

    pub(super) fn set_length(&mut self, call: usize, length: usize) {
        let before = self.current.len();
        self.current.resize(length, 0);
        self.lengths.push((call, length));
        if length < before {
            // Should it grow again, there are zeros.
            self.note(call, sectors_of(length, before - length));
        }
    }

    fn note(&mut self, call: usize, sectors: RangeInclusive<usize>) {
        for sector in sectors {
            let now = sector_of(&self.current, sector);
            self.sectors.entry(sector).or_default().push((call, now));
        }
    }

    /// Makes durable what the calls made that are `settled`.
    pub(super) fn sync(&mut self, settled: impl Fn(usize) -> bool) {
        let all = 0..=self.sectors.keys().next_back().copied().unwrap_or_default();
        self.sync_sectors(all, settled);
    }

    /// Makes what a call wrote durable, and what it takes to find it again.
    pub(super) fn sync_written(&mut self, call: usize, offset: usize, length: usize) {
        if length > 0 {
            self.sync_sectors(sectors_of(offset, length), |other| other <= call);
        }
    }

    fn sync_sectors(&mut self, sectors: RangeInclusive<usize>, settled: impl Fn(usize) -> bool) {
        if let Some(last) = self.lengths.iter().rposition(|(call, _)| settled(*call)) {
            self.durable_length = self.lengths[last].1;
            self.lengths.drain(..=last);
        }
        let mut whole = Vec::new();
        for (sector, versions) in self.sectors.range_mut(sectors) {
            if let Some(last) = versions.iter().rposition(|(call, _)| settled(*call)) {
                put(&mut self.durable, *sector, &versions[last].1);
                versions.drain(..=last);
                if versions.is_empty() {
                    whole.push(*sector);
                }
            }
        }
        for sector in whole {
            self.sectors.remove(&sector);
        }
    }

    /// What is left of it: everything durable, and of each sector since any version.
    pub(super) fn after_a_cut(&self, random: &mut Random) -> Vec<u8> {
        let mut left = self.durable.clone();
        for (sector, versions) in &self.sectors {
            if let Some((_, version)) = random.one_or_none(versions) {
                put(&mut left, *sector, version);
            }
        }
        let length = random.one_or_none(&self.lengths).map_or(self.durable_length, |(_, length)| *length);
        left.resize(length, 0);
        left
    }

    /// Takes back a length that was never set.
    pub(super) fn take_back_length(&mut self, call: usize) {
        self.lengths.retain(|(other, _)| *other != call);
        let length = self.lengths.last().map_or(self.durable_length, |(_, length)| *length);
        self.current.resize(length, 0);
    }
}

fn sectors_of(offset: usize, length: usize) -> RangeInclusive<usize> {
    offset / SECTOR..=(offset + length - 1) / SECTOR
}

fn sector_of(bytes: &[u8], sector: usize) -> [u8; SECTOR] {
    let mut copy = [0; SECTOR];
    let begin = (sector * SECTOR).min(bytes.len());
    let there = &bytes[begin..bytes.len().min(begin + SECTOR)];
    copy[..there.len()].copy_from_slice(there);
    copy
}

fn put(bytes: &mut Vec<u8>, sector: usize, contents: &[u8; SECTOR]) {
    let begin = sector * SECTOR;
    if bytes.len() < begin + SECTOR {
        bytes.resize(begin + SECTOR, 0);
    }
    bytes[begin..begin + SECTOR].copy_from_slice(contents);
}
