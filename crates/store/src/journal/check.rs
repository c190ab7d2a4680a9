//! Following every segment's blocks from its beginning, also those that a start doesn't read.
//!
//! Segments that lie side by side are one chain. Behind a segment that was freed another one begins, of which only the order
//! of records and epochs is known. Where a chain breaks off before something that had been synced, it is damaged; the walk
//! goes on with the next whole block.

use std::sync::Arc;

use task_messenger_core::ids::RecordNumber;

use super::{
    Position,
    extent::{EXTENT_FILE, Extent},
    scan::{FoundBlock, SegmentScan},
    segments,
};
use crate::{
    block::{BLOCK_UNIT, FORMAT_VERSION, HEADER_BYTES, Header, Stranger, stranger},
    check::{Report, text_of},
    codec,
    disk::{Access, Disk},
    identity::Identity,
    snapshot,
};

/// How much is read at once.
const WINDOW_BYTES: u64 = 1 << 20;

/// What was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct JournalChecked {
    /// How many segments.
    pub(crate) segments: u64,
    /// How many whole blocks they hold.
    pub(crate) blocks: u64,
    /// How many records.
    pub(crate) records: u64,
    /// The last one.
    pub(crate) last: RecordNumber,
}

/// How many bytes the segments' files have, as far as that can be told.
pub(crate) fn journal_bytes(disk: &dyn Disk) -> u64 {
    let files = disk.list(segments::DIRECTORY).unwrap_or_default();
    let names = files.iter().filter_map(|file| segments::parse(file)).map(segments::name);
    names.filter_map(|name| disk.open(&name, Access::Read).and_then(|file| file.length()).ok()).sum()
}

/// Looks through the journal. `snapshots` are the positions of those snapshots that are whole.
pub(crate) fn check_journal(
    disk: &Arc<dyn Disk>,
    identity: &Identity,
    snapshots: &[Position],
    report: &mut Report<'_>,
) -> JournalChecked {
    let files = disk.list(segments::DIRECTORY).unwrap_or_else(|error| {
        report.find(segments::DIRECTORY, None, format!("it can't be listed: {error}"));
        Vec::new()
    });
    let mut numbers: Vec<u64> = files.iter().filter_map(|file| segments::parse(file)).collect();
    numbers.sort_unstable();
    let extent = read_extent(&**disk, identity, &numbers, report);
    numbers.retain(|segment| !extent.is_freed(*segment));
    let last = numbers.last().copied().unwrap_or(0).max(extent.last).max(1);
    let is_there = |segment: &u64| numbers.binary_search(segment).is_ok();
    for segment in (extent.first..=last).filter(|segment| !extent.freed.contains(segment) && !is_there(segment)) {
        let problem = format!("it is missing: the journal goes from segment {} to {last}", extent.first);
        report.find(&segments::name(segment), None, problem);
    }
    let segments = numbers.len() as u64;
    numbers.retain(|segment| is_our_own(&**disk, identity, &extent, *segment, report));
    let before = report.count();
    let mut walk = Walk {
        disk,
        identity,
        segments: numbers,
        report,
        snapshots: snapshots.iter().map(|position| (*position, position.last().0 == 0)).collect(),
        synced: snapshots.iter().map(Position::last).max().unwrap_or_default(),
        link: None,
        epoch: 0,
        scan: None,
        unreadable: 0,
        checked: JournalChecked { segments, ..JournalChecked::default() },
    };
    walk.run();
    let Walk { report, segments, snapshots, checked, .. } = walk;
    if report.count() == before {
        let is_here = |position: &Position| segments.contains(&position.tail.segment);
        for (position, _) in snapshots.iter().filter(|(position, met)| !met && is_here(position)) {
            let Position { tail, .. } = position;
            let place = format!("offset {} of {}", tail.offset, super::segments::name(tail.segment));
            let problem = format!("it says that record {} ends at {place}, and no block there does", tail.last);
            report.find(&snapshot::name(position.last()), Some(0), problem);
        }
    }
    checked
}

/// What `extent.json` says; where it can't be read, what the files that are there say.
fn read_extent(disk: &dyn Disk, identity: &Identity, numbers: &[u64], report: &mut Report<'_>) -> Extent {
    let problem = match disk.read(EXTENT_FILE) {
        Ok(bytes) => match Extent::parse(&bytes, identity.id) {
            Ok(extent) => return extent,
            Err(error) => text_of(&error),
        },
        Err(error) => format!("it can't be read: {error}"),
    };
    report.find(EXTENT_FILE, None, problem);
    let (first, last) = (numbers.first().copied().unwrap_or(1), numbers.last().copied().unwrap_or(0));
    let freed = (first..=last).filter(|segment| numbers.binary_search(segment).is_err()).collect();
    let mut extent = Extent::new(identity.id);
    (extent.first, extent.last, extent.freed) = (first, last, freed);
    extent.short = numbers.iter().copied().collect();
    extent
}

/// Whether a segment is this store's; its length is looked at too.
fn is_our_own(disk: &dyn Disk, identity: &Identity, extent: &Extent, segment: u64, report: &mut Report<'_>) -> bool {
    let file = segments::name(segment);
    let mut start = [0; HEADER_BYTES];
    let read = disk.open(&file, Access::Read).and_then(|file| Ok((file.read_at(0, &mut start)?, file.length()?)));
    let length = match read {
        Ok((_, length)) => length,
        Err(error) => {
            report.find(&file, Some(0), format!("it can't be read: {error}"));
            return false;
        }
    };
    let expected = identity.segment_bytes;
    let may_be_short = segment > extent.last || extent.short.contains(&segment);
    if length > expected || (length < expected && !may_be_short) {
        report.find(&file, Some(length.min(expected)), format!("it has {length} bytes, and {expected} are expected"));
    }
    match stranger(&start, identity.id.tag()) {
        None => return true,
        Some(Stranger::Newer { version }) => report.find(
            &file,
            Some(0),
            format!("it begins with a block of format {version}; this program knows formats up to {FORMAT_VERSION}"),
        ),
        Some(Stranger::Foreign { store }) => report.find(
            &file,
            Some(0),
            format!("it begins with a block of a store whose id begins with {:08x}", u32::from_be_bytes(store)),
        ),
    }
    false
}

struct Walk<'a, 'w> {
    disk: &'a Arc<dyn Disk>,
    identity: &'a Identity,
    /// Those that are there, in order.
    segments: Vec<u64>,
    report: &'a mut Report<'w>,
    /// Where snapshots say that the journal goes on, and whether a block ends there.
    snapshots: Vec<(Position, bool)>,
    /// The last record of which something says that it was synced.
    synced: RecordNumber,
    /// The checksum of the block before; `None` where it isn't known.
    link: Option<u32>,
    epoch: u64,
    scan: Option<SegmentScan>,
    /// The segment that could not be read last.
    unreadable: u64,
    checked: JournalChecked,
}

impl Walk<'_, '_> {
    fn run(&mut self) {
        // A store's first block says that there is none before it.
        self.link = (self.segments.first() == Some(&1)).then_some(0);
        let (mut index, mut offset) = (0, 0);
        while let Some(segment) = self.segments.get(index).copied() {
            if let Some(found) = self.continuation(segment, offset) {
                offset = found.end();
                self.take(&found);
                continue;
            }
            let next = self.segments.get(index + 1).copied();
            let is_adjacent = next == Some(segment + 1);
            if is_adjacent && self.link.is_some() && self.continuation(segment + 1, 0).is_some() {
                (index, offset) = (index + 1, 0);
                continue;
            }
            // Before one that was freed, the end of a segment tells itself.
            let ends_here = next.is_some() && !is_adjacent;
            let resume = self.look_ahead(index, offset, ends_here);
            let is_damaged = match resume {
                Some(_) => true,
                None if ends_here => offset == 0 || self.resembles_the_next(segment, offset),
                None => self.synced > self.checked.last,
            };
            if is_damaged {
                self.find_break(segment, offset, resume.map(|(index, at)| (self.segments[index], at)));
            }
            self.link = None;
            match resume {
                Some(there) => (index, offset) = there,
                None if ends_here => (index, offset) = (index + 1, 0),
                None => return,
            }
        }
    }

    /// The block at this place, if it is what follows.
    fn continuation(&mut self, segment: u64, offset: u64) -> Option<FoundBlock> {
        let found = self.block(segment, offset)?;
        let Header { first, previous_checksum, .. } = found.header;
        let follows = match self.link {
            Some(checksum) => first == self.checked.last.next() && previous_checksum == checksum,
            None => first > self.checked.last,
        };
        (follows && found.header.epoch >= self.epoch).then_some(found)
    }

    fn block(&mut self, segment: u64, offset: u64) -> Option<FoundBlock> {
        let mut look = || {
            let mut scan = match self.scan.take() {
                Some(scan) if scan.segment() == segment => scan,
                _ => {
                    let file = self.disk.open(&segments::name(segment), Access::Read)?;
                    SegmentScan::new(file, segment, self.identity.checksum_seed, WINDOW_BYTES)?
                }
            };
            let found = scan.block_at(offset);
            self.scan = Some(scan);
            found
        };
        let found = look();
        found.unwrap_or_else(|error| {
            // Told once a segment, or it would be told for each of its places.
            if self.unreadable != segment {
                self.unreadable = segment;
                self.report.find(&segments::name(segment), Some(offset), format!("it can't be read: {error}"));
            }
            None
        })
    }

    fn take(&mut self, found: &FoundBlock) {
        let FoundBlock { header, checksum, bytes } = found;
        let file = || segments::name(header.segment);
        let (mut at, mut count) = (HEADER_BYTES, 0_u32);
        while at < bytes.len() {
            match codec::decode(bytes, at) {
                Ok(decoded) => at = decoded.next,
                Err(error) => {
                    let problem = format!("the block there holds a record that is not understood: {error}");
                    self.report.find(&file(), Some(header.offset), problem);
                    count = header.count;
                    break;
                }
            }
            count = count.saturating_add(1);
        }
        if count != header.count {
            let problem = format!("the block there holds {count} records and announces {}", header.count);
            self.report.find(&file(), Some(header.offset), problem);
        }
        self.checked.blocks += 1;
        self.checked.records += u64::from(header.count);
        self.checked.last = header.last();
        self.link = Some(*checksum);
        self.epoch = header.epoch;
        self.synced = self.synced.max(header.synced_through);
        for (Position { tail, .. }, met) in &mut self.snapshots {
            let ends_there = (tail.segment, tail.offset) == (header.segment, found.end());
            *met |= ends_there && (tail.last, tail.checksum) == (header.last(), *checksum);
        }
        self.report.looked_at(header.block_length());
    }

    /// The next whole block that can be one of the chain, as the position of its segment and its offset, if something says
    /// that more was synced than was found. Unless `only_here`, all further segments are looked through, and other witnesses
    /// count too.
    fn look_ahead(&mut self, index: usize, offset: u64, only_here: bool) -> Option<(usize, u64)> {
        let end = if only_here { index + 1 } else { self.segments.len() };
        let last = self.checked.last;
        let mut is_damaged = !only_here && self.synced > last;
        let mut next = None;
        for at in index..end {
            let segment = self.segments[at];
            let mut offset = if at == index { offset } else { 0 };
            loop {
                if let Some(FoundBlock { header, .. }) = self.block(segment, offset) {
                    self.synced = self.synced.max(header.synced_through);
                    is_damaged |= header.synced_through > last;
                    if next.is_none() && header.first > last && header.epoch >= self.epoch {
                        next = Some((at, offset));
                    }
                    if is_damaged && next.is_some() {
                        return next;
                    }
                }
                offset += BLOCK_UNIT as u64;
                let length = self.scan.as_ref().map_or(0, SegmentScan::length);
                if offset >= length || self.unreadable == segment {
                    break;
                }
            }
        }
        None
    }

    /// Whether what is at this place was the next block, and is no more: all but one of the fields by which it follows are
    /// still right. What a power cut tore is overwritten by the next start, or has at least its epoch and its predecessor's
    /// checksum from before; but a segment that isn't complete is left as it is as soon as there is another.
    fn resembles_the_next(&mut self, segment: u64, offset: u64) -> bool {
        let mut start = [0; HEADER_BYTES];
        let file = self.disk.open(&segments::name(segment), Access::Read);
        let read = file.and_then(|file| Ok((file.read_at(offset, &mut start)?, file.length()?)));
        let Ok((_, length)) = read else { return false };
        let is_cut = |(header, _): (Header, u32)| offset + header.block_length() > length;
        if length < self.identity.segment_bytes && !Header::read(&start).is_some_and(is_cut) {
            return false;
        }
        let epoch = start[8..].first_chunk().copied().unwrap_or_default();
        let units = (offset / BLOCK_UNIT as u64) as u32;
        let wrong = [
            start[..4] != *b"TMJB",
            u64::from_le_bytes(epoch) < self.epoch,
            start[16..24] != segment.to_le_bytes(),
            start[24..28] != units.to_le_bytes(),
            start[32..40] != self.checked.last.next().0.to_le_bytes(),
            self.link.is_some_and(|checksum| start[52..56] != checksum.to_le_bytes()),
            start[56..60] != self.identity.id.tag(),
        ];
        wrong.into_iter().filter(|wrong| *wrong).count() <= 1
    }

    /// The chain broke off at a place, and goes on at another one, if it does.
    fn find_break(&mut self, segment: u64, offset: u64, resume: Option<(u64, u64)>) {
        let next = self.checked.last.next();
        let is_behind = resume.is_some_and(|(further, _)| further > segment);
        // Where nothing was ever written, it should have gone on in the next segment.
        let is_untouched = is_behind && [NOTHING, END].contains(&self.what_is_at(segment, offset));
        let (segment, offset) = if is_untouched && offset > 0 { (segment + 1, 0) } else { (segment, offset) };
        let what = self.what_is_at(segment, offset);
        let expected = if self.link.is_some() {
            format!("a block that begins with record {next} is expected there")
        } else {
            format!("a block with records from {next} on is expected there")
        };
        let on = match resume {
            Some((segment, offset)) => {
                format!("the next whole one is at offset {offset} of {}", segments::name(segment))
            }
            None => format!("records through {} had been synced", self.synced.max(next)),
        };
        self.report.find(&segments::name(segment), Some(offset), format!("{expected}, and {what} is found; {on}"));
    }

    fn what_is_at(&mut self, segment: u64, offset: u64) -> &'static str {
        let mut unit = [0; BLOCK_UNIT];
        let file = self.disk.open(&segments::name(segment), Access::Read);
        let Ok(length) = file.and_then(|file| file.read_at(offset, &mut unit)) else {
            return "nothing that can be read";
        };
        match Header::read(&unit) {
            _ if length == 0 => END,
            Some(_) if self.block(segment, offset).is_some() => "one that doesn't follow",
            Some(_) => "one whose checksum is wrong",
            None if unit.iter().all(|byte| *byte == 0) => NOTHING,
            None => "something that is no block",
        }
    }
}

const NOTHING: &str = "nothing but zeros";
const END: &str = "the end of the file";
