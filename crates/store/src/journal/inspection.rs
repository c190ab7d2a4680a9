//! What can be told of a store before its journal is read: whether all of its files are there, and its own.

use std::io;

use super::{
    OpenError,
    extent::{EXTENT_FILE, Extent},
    open_error::io_error,
    segments,
};
use task_messenger_core::ids::RecordNumber;

use crate::{
    blobs,
    block::{HEADER_BYTES, Stranger, stranger},
    disk::{Access, Disk},
    identity::{IDENTITY_FILE, Identity, StoreId},
    snapshot,
};

/// A store as far as its files tell.
pub(super) struct Inspected {
    /// What it is, and which segments there should be; `None` if there is no store.
    pub(super) store: Option<(Identity, Extent)>,
    /// The last segment that exists; 0 if there is none.
    pub(super) last_segment: u64,
    /// The newest snapshot, by its last record.
    pub(super) snapshot: Option<RecordNumber>,
}

/// Looks at what is there, and refuses it if something is missing or doesn't belong.
pub(super) fn inspect(disk: &dyn Disk) -> Result<Inspected, OpenError> {
    let numbers = find_segments(disk)?;
    let last_segment = numbers.last().copied().unwrap_or(0);
    let snapshots = snapshot::list(disk);
    let snapshots = snapshots.map_err(|source| io_error("list", snapshot::DIRECTORY.to_owned(), source))?;
    let snapshot = snapshots.last().copied();
    let identity = match disk.read(IDENTITY_FILE) {
        Ok(bytes) => Identity::read(&bytes).map_err(|source| OpenError::Identity { file: IDENTITY_FILE, source })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match belongings(disk, &numbers, snapshot)? {
                Some(witness) => Err(OpenError::NoIdentity { file: IDENTITY_FILE, witness }),
                None => Ok(Inspected { store: None, last_segment, snapshot }),
            };
        }
        Err(source) => return Err(io_error("read", IDENTITY_FILE.to_owned(), source)),
    };
    let extent = find_extent(disk, identity.id)?;
    check_completeness(&extent, &numbers)?;
    if let Some(gone) = extent.last_freed().filter(|_| snapshot.is_none()) {
        return Err(OpenError::NoSnapshot { directory: snapshot::DIRECTORY, gone: segments::name(gone) });
    }
    check_segments(disk, &identity, &extent, &numbers)?;
    Ok(Inspected { store: Some((identity, extent)), last_segment, snapshot })
}

/// The segments that are there, in order.
pub(super) fn find_segments(disk: &dyn Disk) -> Result<Vec<u64>, OpenError> {
    let files = disk.list(segments::DIRECTORY);
    let files = files.map_err(|source| io_error("list", segments::DIRECTORY.to_owned(), source))?;
    let mut numbers: Vec<u64> = files.iter().filter_map(|file| segments::parse(file)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Sees that every segment is there that should be: those that were noted, and none is missing before one that wasn't yet.
fn check_completeness(extent: &Extent, numbers: &[u64]) -> Result<(), OpenError> {
    let last = numbers.last().copied().unwrap_or(0);
    // There is a first one at least, noted or not.
    let noted = extent.last.max(1);
    let (end, witness) = if noted >= last { (noted, "extent.json says") } else { (last, "that file shows") };
    let missing =
        (extent.first..=end).find(|segment| !extent.freed.contains(segment) && numbers.binary_search(segment).is_err());
    match missing {
        Some(segment) => {
            Err(OpenError::MissingSegment { file: segments::name(segment), last: segments::name(end), witness })
        }
        None => Ok(()),
    }
}

fn find_extent(disk: &dyn Disk, id: StoreId) -> Result<Extent, OpenError> {
    match disk.read(EXTENT_FILE) {
        Ok(bytes) => Extent::parse(&bytes, id).map_err(|source| OpenError::Extent { file: EXTENT_FILE, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(OpenError::NoExtent { file: EXTENT_FILE }),
        Err(source) => Err(io_error("read", EXTENT_FILE.to_owned(), source)),
    }
}

/// Looks at each segment's length and its beginning: a file that was cut, or that another store or program wrote, tells
/// itself from one whose blocks were lost.
fn check_segments(disk: &dyn Disk, identity: &Identity, extent: &Extent, numbers: &[u64]) -> Result<(), OpenError> {
    for segment in numbers.iter().copied().filter(|segment| !extent.is_freed(*segment)) {
        let file = segments::name(segment);
        let mut start = [0; HEADER_BYTES];
        let read = disk.open(&file, Access::Read).and_then(|file| Ok((file.read_at(0, &mut start)?, file.length()?)));
        let (_, found) = read.map_err(|source| io_error("read", file.clone(), source))?;
        let expected = identity.segment_bytes;
        let whole = segment > extent.last || extent.short.contains(&segment) || found == expected;
        if !whole || found > expected {
            return Err(OpenError::SegmentLength { file, expected, found });
        }
        let tag = identity.id.tag();
        match stranger(&start, tag) {
            None => {}
            Some(Stranger::Newer { version }) => return Err(OpenError::NewerSegment { file, found: version }),
            Some(Stranger::Foreign { store }) => {
                let digits = |tag| format!("{:08x}", u32::from_be_bytes(tag));
                return Err(OpenError::ForeignSegment { file, expected: digits(tag), found: digits(store) });
            }
        }
    }
    Ok(())
}

/// What is there and belongs to a store, unless it is, at most, what the interrupted making of one leaves behind: an empty
/// first segment.
fn belongings(disk: &dyn Disk, numbers: &[u64], snapshot: Option<RecordNumber>) -> Result<Option<String>, OpenError> {
    if let Some(last) = numbers.last().filter(|last| **last > 1) {
        return Ok(Some(segments::name(*last)));
    }
    if let Some(snapshot) = snapshot {
        return Ok(Some(snapshot::name(snapshot)));
    }
    if let Some(value) = blobs::any(disk)? {
        return Ok(Some(value));
    }
    if numbers.is_empty() {
        return Ok(None);
    }
    let mut start = [0; HEADER_BYTES];
    let name = segments::name(1);
    let read = disk.open(&name, Access::Read).and_then(|file| file.read_at(0, &mut start));
    read.map_err(|source| io_error("read", name.clone(), source))?;
    Ok((start != [0; HEADER_BYTES]).then_some(name))
}
