//! What can be told of a store before its journal is read: whether all of its files are there, and its own.

use std::io;

use super::{
    OpenError,
    extent::{EXTENT_FILE, Extent},
    open_error::io_error,
    segments,
};
use crate::{
    blobs,
    block::{HEADER_BYTES, Stranger, stranger},
    disk::{Access, Disk},
    identity::{IDENTITY_FILE, Identity, StoreId},
};

/// A store as far as its files tell.
pub(super) struct Found {
    /// What it is, and which segments there should be; `None` if there is no store.
    pub(super) store: Option<(Identity, Extent)>,
    /// The last segment that exists; 0 if there is none. All before it exist too.
    pub(super) last_segment: u64,
}

/// Looks at what is there, and refuses it if something is missing or doesn't belong.
pub(super) fn inspect(disk: &dyn Disk) -> Result<Found, OpenError> {
    let (last_segment, missing) = find_segments(disk)?;
    let identity = match disk.read(IDENTITY_FILE) {
        Ok(bytes) => Identity::read(&bytes).map_err(|source| OpenError::Identity { file: IDENTITY_FILE, source })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match belongings(disk, last_segment, missing)? {
                Some(witness) => Err(OpenError::NoIdentity { file: IDENTITY_FILE, witness }),
                None => Ok(Found { store: None, last_segment }),
            };
        }
        Err(source) => return Err(io_error("read", IDENTITY_FILE.to_owned(), source)),
    };
    let extent = find_extent(disk, identity.id)?;
    let noted = extent.last.max(1);
    if let Some(segment) = missing.or((last_segment < noted).then_some(last_segment + 1)) {
        let (last, witness) =
            if noted >= last_segment { (noted, "extent.json says") } else { (last_segment, "that file shows") };
        let (file, last) = (segments::name(segment), segments::name(last));
        return Err(OpenError::MissingSegment { file, last, witness });
    }
    check_segments(disk, &identity, &extent, last_segment)?;
    Ok(Found { store: Some((identity, extent)), last_segment })
}

/// The last segment that is there, and the first one that is missing before it.
fn find_segments(disk: &dyn Disk) -> Result<(u64, Option<u64>), OpenError> {
    let files = disk.list(segments::DIRECTORY);
    let files = files.map_err(|source| io_error("list", segments::DIRECTORY.to_owned(), source))?;
    let mut numbers: Vec<u64> = files.iter().filter_map(|file| segments::parse(file)).collect();
    numbers.sort_unstable();
    let missing = (1..).zip(&numbers).find(|(expected, number)| expected != *number).map(|(expected, _)| expected);
    Ok((numbers.last().copied().unwrap_or(0), missing))
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
fn check_segments(disk: &dyn Disk, identity: &Identity, extent: &Extent, last: u64) -> Result<(), OpenError> {
    for segment in 1..=last {
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
fn belongings(disk: &dyn Disk, last_segment: u64, missing: Option<u64>) -> Result<Option<String>, OpenError> {
    if last_segment > 1 || missing.is_some() {
        return Ok(Some(segments::name(last_segment)));
    }
    if let Some(value) = blobs::any(disk)? {
        return Ok(Some(value));
    }
    if last_segment == 0 {
        return Ok(None);
    }
    let mut start = [0; HEADER_BYTES];
    let name = segments::name(1);
    let read = disk.open(&name, Access::Read).and_then(|file| file.read_at(0, &mut start));
    read.map_err(|source| io_error("read", name.clone(), source))?;
    Ok((start != [0; HEADER_BYTES]).then_some(name))
}
