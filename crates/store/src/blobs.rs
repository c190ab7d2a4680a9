//! Large values, each in a file of its own: `values/NUMBER`.
//!
//! A value is written and synced before the record that names it, so a record never names what isn't there. A file that no
//! record names (its record was lost with the power) is removed by [`Blobs::sweep`]. A number is not used again while its
//! file exists.

use std::{
    collections::HashSet,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use crate::disk::Disk;

const DIRECTORY: &str = "values";

/// The large values of a store. Clones share it.
#[derive(Clone)]
pub struct Blobs {
    disk: Arc<dyn Disk>,
    next: Arc<AtomicU64>,
    /// Files below this were there when the store was opened.
    first_new: u64,
}

/// A large value can't be written, read or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the large value {name}")]
pub struct BlobError {
    /// What was to be done.
    pub action: &'static str,
    /// The file's name in the store.
    pub name: String,
    /// What went wrong.
    #[source]
    pub source: io::Error,
}

impl Blobs {
    /// The large values that are there.
    pub(crate) fn open(disk: Arc<dyn Disk>) -> Result<Self, BlobError> {
        let last = numbers(&*disk)?.into_iter().max().unwrap_or_default();
        Ok(Self { disk, next: Arc::new(AtomicU64::new(last + 1)), first_new: last + 1 })
    }

    /// Writes a value and says the number of its file. Durable on return; takes two syncs.
    pub fn write(&self, value: &[u8]) -> Result<u64, BlobError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = name(number);
        match self.disk.replace(&name, value) {
            Ok(()) => Ok(number),
            Err(source) => Err(BlobError { action: "write", name, source }),
        }
    }

    /// The value in a file.
    pub fn read(&self, file: u64) -> Result<Bytes, BlobError> {
        let name = name(file);
        self.disk.read(&name).map_err(|source| BlobError { action: "read", name, source })
    }

    /// Removes a value that no record names. A power cut can bring it back, for [`Blobs::sweep`] to find.
    pub fn remove(&self, file: u64) -> Result<(), BlobError> {
        let name = name(file);
        self.disk.remove(&name).map_err(|source| BlobError { action: "remove", name, source })
    }

    /// Removes the files that are older than this opening of the store and that nobody names, and says how many.
    pub fn sweep(&self, live: &HashSet<u64>) -> Result<usize, BlobError> {
        let mut removed = 0;
        for file in list(&*self.disk)? {
            let keep = match parse(&file) {
                Some(number) => number >= self.first_new || live.contains(&number),
                // The beginning of a value that was never finished.
                None => file.strip_suffix(".new").and_then(parse).is_none_or(|number| number >= self.first_new),
            };
            if !keep {
                let name = format!("{DIRECTORY}/{file}");
                self.disk.remove(&name).map_err(|source| BlobError { action: "remove", name, source })?;
                removed += 1;
            }
        }
        if removed > 0 {
            let name = DIRECTORY.to_owned();
            self.disk.sync_directory(DIRECTORY).map_err(|source| BlobError { action: "remove", name, source })?;
        }
        Ok(removed)
    }
}

fn name(number: u64) -> String {
    format!("{DIRECTORY}/{number}")
}

fn parse(name: &str) -> Option<u64> {
    name.parse().ok().filter(|number: &u64| number.to_string() == name)
}

fn list(disk: &dyn Disk) -> Result<Vec<String>, BlobError> {
    disk.list(DIRECTORY).map_err(|source| BlobError { action: "list", name: DIRECTORY.to_owned(), source })
}

/// The numbers in use, those of unfinished files included.
fn numbers(disk: &dyn Disk) -> Result<Vec<u64>, BlobError> {
    Ok(list(disk)?.iter().filter_map(|name| parse(name.strip_suffix(".new").unwrap_or(name))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Fault, SimulatedDisk};

    #[test]
    fn a_large_value_survives_a_power_cut_and_unnamed_ones_are_swept() {
        let disk = SimulatedDisk::new(1);
        let blobs = Blobs::open(Arc::new(disk.clone())).unwrap();
        let value = vec![7; 300_000];
        let kept = blobs.write(&value).unwrap();
        let unnamed = blobs.write(b"nobody names this").unwrap();
        disk.cut();
        disk.restart();

        let blobs = Blobs::open(Arc::new(disk.clone())).unwrap();
        let new = blobs.write(b"new").unwrap();
        assert!(new > unnamed && unnamed > kept);
        assert_eq!(blobs.sweep(&HashSet::from([kept])).unwrap(), 1);
        assert_eq!(blobs.read(kept).unwrap(), value);
        assert_eq!(blobs.read(new).unwrap(), &b"new"[..]);
        assert_eq!(blobs.read(unnamed).unwrap_err().source.kind(), io::ErrorKind::NotFound);
        blobs.remove(new).unwrap();
        assert_eq!(blobs.read(new).unwrap_err().source.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_value_whose_writing_was_cut_off_leaves_nothing_behind_for_long() {
        for boundary in 0..6 {
            let disk = SimulatedDisk::new(boundary);
            let blobs = Blobs::open(Arc::new(disk.clone())).unwrap();
            disk.fault_at(boundary, Fault::PowerCut);
            let written = blobs.write(&[1; 5000]);
            assert_eq!(written.is_err(), boundary < 5, "{boundary}");
            disk.restart();
            let blobs = Blobs::open(Arc::new(disk.clone())).unwrap();
            blobs.sweep(&HashSet::new()).unwrap();
            assert!(disk.image().is_empty());
        }
    }
}
