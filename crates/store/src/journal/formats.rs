//! Whether this program knows the formats of a store, which may be in use.

use std::io;

use super::{OpenError, inspection::find_segments, open_error::io_error, segments};
use crate::{
    block::{HEADER_BYTES, Stranger, stranger},
    disk::{Access, Disk},
    identity::{IDENTITY_FILE, Identity},
    snapshot::{self, SnapshotError, SnapshotReader},
};

/// Sees that `store.json`, the beginnings of all segments and all snapshots are of formats that this program knows. Takes no
/// lock, and changes nothing: files may come and go meanwhile. Nothing else is looked at, and where there is no store yet,
/// there is nothing to refuse.
///
/// # Errors
/// `store.json`, a segment or a snapshot is of a newer format, or can't be read. What lies inside of blocks is not looked at.
pub fn check_formats(disk: &dyn Disk) -> Result<(), OpenError> {
    let identity = match disk.read(IDENTITY_FILE) {
        Ok(bytes) => Identity::read(&bytes).map_err(|source| OpenError::Identity { file: IDENTITY_FILE, source })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(io_error("read", IDENTITY_FILE.to_owned(), source)),
    };
    for segment in find_segments(disk)? {
        let file = segments::name(segment);
        let mut start = [0; HEADER_BYTES];
        match disk.open(&file, Access::Read).and_then(|opened| opened.read_at(0, &mut start)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(io_error("read", file, source)),
            Ok(_) => (),
        }
        if let Some(Stranger::Newer { version }) = stranger(&start, identity.id.tag()) {
            return Err(OpenError::NewerSegment { file, found: version });
        }
    }
    let snapshots = snapshot::list(disk);
    for last in snapshots.map_err(|source| io_error("list", snapshot::DIRECTORY.to_owned(), source))? {
        if let Err(source @ SnapshotError::Newer { .. }) =
            SnapshotReader::open(disk, identity.id, identity.checksum_seed, last)
        {
            return Err(OpenError::Snapshot { file: snapshot::name(last), source });
        }
    }
    Ok(())
}
