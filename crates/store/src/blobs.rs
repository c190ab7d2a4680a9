//! Large values, each in a file of its own: `values/NUMBER`, its bytes and a checksum behind them.
//!
//! A value is written and synced before the record that names it, so a record never names what isn't there. A file that no
//! record names (its record was lost with the power) is removed by [`Blobs::sweep`]. A number is not used again while its
//! file exists.
//!
//! Whether a value that a record names is there, and has its length, is checked at every start; its checksum whenever it is
//! read. One that is found damaged then is marked by an empty file `values/NUMBER.suspect`, so that the next start looks at it
//! closely and refuses the store, instead of coming upon it again and again.

use std::{
    collections::{HashMap, HashSet},
    io::{self, IoSlice},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use crate::{
    disk::{Access, Disk, is_full},
    journal::OpenError,
    room::DiskRoom,
};

mod verify;

pub(crate) use verify::{names, verify};

const DIRECTORY: &str = "values";
const UNFINISHED: &str = ".new";
const SUSPECT: &str = ".suspect";

/// A checksum's length.
const CHECKSUM_BYTES: usize = 4;

/// The large values of a store. Clones share it.
#[derive(Clone)]
pub struct Blobs {
    disk: Arc<dyn Disk>,
    checksum_seed: u32,
    room: DiskRoom,
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

impl BlobError {
    /// Whether the disk is full.
    pub fn is_full(&self) -> bool {
        is_full(&self.source)
    }
}

/// A large value that a record names isn't what it should be.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    /// It isn't there.
    #[error("{file} is missing: a record names it as a value of {length} bytes")]
    Missing {
        /// The file's name in the store.
        file: String,
        /// The value's length in bytes.
        length: u64,
    },
    /// It has another length.
    #[error("{file} has {found} bytes, and {expected} are expected: a value of {length} bytes and its checksum")]
    Length {
        /// The file's name in the store.
        file: String,
        /// The length in bytes that it should have.
        expected: u64,
        /// As found.
        found: u64,
        /// The value's own length in bytes.
        length: u64,
    },
    /// Its checksum is wrong.
    #[error(
        "{file} is damaged: its last four bytes, from offset {offset}, say the checksum {announced:08x}, and \
         {found:08x} is found"
    )]
    Checksum {
        /// The file's name in the store.
        file: String,
        /// Where the checksum is.
        offset: u64,
        /// As announced.
        announced: u32,
        /// As found.
        found: u32,
    },
}

impl Blobs {
    /// The large values that are there.
    pub(crate) fn open(disk: Arc<dyn Disk>, checksum_seed: u32, room: DiskRoom) -> Result<Self, BlobError> {
        let last = list(&*disk)?.iter().filter_map(|name| number_of(name)).max().unwrap_or_default();
        Ok(Self { disk, checksum_seed, room, next: Arc::new(AtomicU64::new(last + 1)), first_new: last + 1 })
    }

    /// Writes a value and says the number of its file. Durable on return; takes two syncs.
    pub fn write(&self, value: &[u8]) -> Result<u64, BlobError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.write_as(number, value)?;
        Ok(number)
    }

    /// The same for a value of work that was taken before: it may use the reserve.
    pub fn write_within_reserve(&self, value: &[u8]) -> Result<u64, BlobError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.room.within(value.len() as u64, BlobError::is_full, || self.write_as(number, value))?;
        Ok(number)
    }

    fn write_as(&self, number: u64, value: &[u8]) -> Result<(), BlobError> {
        let name = name(number);
        let checksum = checksum(self.checksum_seed, number, value).to_le_bytes();
        self.disk.replace_with(&name, &[IoSlice::new(value), IoSlice::new(&checksum)]).map_err(|source| {
            // What it takes is needed elsewhere. If it can't be removed either, the next start does it.
            let _ = self.disk.remove(&format!("{name}{UNFINISHED}"));
            BlobError { action: "write", name, source }
        })
    }

    /// The value in a file. One that is damaged is marked, for the next start to look at.
    pub fn read(&self, file: u64) -> Result<Bytes, BlobError> {
        let read = read(&*self.disk, self.checksum_seed, file);
        read.map_err(|source| {
            let name = name(file);
            if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) {
                // Without the mark the next start finds a missing file, or one that was cut, all the same.
                let _ = self.disk.create(&format!("{name}{SUSPECT}"), 0);
                let _ = self.disk.sync_directory(DIRECTORY);
            }
            BlobError { action: "read", name, source }
        })
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
                // The beginning of a value that was never finished; the mark of one that was checked since.
                None => number_of(&file).is_none_or(|number| number >= self.first_new),
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

/// Checks that the values that records name, by number and length, are there with their lengths, and looks closely at those
/// that were marked as damaged.
pub(crate) fn check(disk: &dyn Disk, checksum_seed: u32, values: &HashMap<u64, u64>) -> Result<(), OpenError> {
    let files: HashSet<String> = list(disk)?.into_iter().collect();
    let mut values: Vec<(u64, u64)> = values.iter().map(|(number, length)| (*number, *length)).collect();
    values.sort_unstable();
    for (number, length) in values {
        let file = name(number);
        if !files.contains(&number.to_string()) {
            return Err(ValueError::Missing { file, length }.into());
        }
        let opened = disk.open(&file, Access::Read).and_then(|file| file.length());
        let found = opened.map_err(|source| BlobError { action: "read", name: file.clone(), source })?;
        let expected = length + CHECKSUM_BYTES as u64;
        if found != expected {
            return Err(ValueError::Length { file, expected, found, length }.into());
        }
        if files.contains(&format!("{number}{SUSPECT}"))
            && let Err(source) = read(disk, checksum_seed, number)
        {
            return Err(match source.downcast::<ValueError>() {
                Ok(error) => error.into(),
                Err(source) => BlobError { action: "read", name: file, source }.into(),
            });
        }
    }
    Ok(())
}

/// The name in the store of some large value, if there is any.
pub(crate) fn any(disk: &dyn Disk) -> Result<Option<String>, BlobError> {
    Ok(list(disk)?.into_iter().find(|file| parse(file).is_some()).map(|file| format!("{DIRECTORY}/{file}")))
}

/// A damaged value is invalid data.
pub(crate) fn read(disk: &dyn Disk, checksum_seed: u32, number: u64) -> io::Result<Bytes> {
    let mut bytes = disk.read(&name(number))?;
    let offset = bytes.len().saturating_sub(CHECKSUM_BYTES);
    let announced = bytes.split_off(offset);
    let announced = announced.as_ref().try_into().map_or(0, u32::from_le_bytes);
    let found = checksum(checksum_seed, number, &bytes);
    if found != announced {
        let error = ValueError::Checksum { file: name(number), offset: offset as u64, announced, found };
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    }
    Ok(bytes)
}

/// A value's checksum: it depends on the store and on the file's number, so that no file stands in for another.
fn checksum(seed: u32, number: u64, value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &number.to_le_bytes()), value)
}

pub(crate) fn name(number: u64) -> String {
    format!("{DIRECTORY}/{number}")
}

fn parse(name: &str) -> Option<u64> {
    name.parse().ok().filter(|number: &u64| number.to_string() == name)
}

/// The number of the value that a file is, or belongs to.
fn number_of(file: &str) -> Option<u64> {
    parse(file.strip_suffix(UNFINISHED).or(file.strip_suffix(SUSPECT)).unwrap_or(file))
}

fn list(disk: &dyn Disk) -> Result<Vec<String>, BlobError> {
    disk.list(DIRECTORY).map_err(|source| BlobError { action: "list", name: DIRECTORY.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Fault, SimulatedDisk};

    fn open(disk: &SimulatedDisk) -> Blobs {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        Blobs::open(disk.clone(), 7, DiskRoom::open(disk, Some(0)).unwrap()).unwrap()
    }

    #[test]
    fn a_large_value_survives_a_power_cut_and_unnamed_ones_are_swept() {
        let disk = SimulatedDisk::new(1);
        let blobs = open(&disk);
        let value = vec![7; 300_000];
        let kept = blobs.write(&value).unwrap();
        let unnamed = blobs.write(b"nobody names this").unwrap();
        disk.cut();
        disk.restart();

        let blobs = open(&disk);
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
    fn what_was_swept_stays_away_when_the_power_is_cut() {
        for seed in 0..20 {
            let disk = SimulatedDisk::new(seed);
            open(&disk).write(b"nobody names this").unwrap();
            assert_eq!(open(&disk).sweep(&HashSet::new()).unwrap(), 1);
            disk.cut();
            disk.restart();
            assert!(disk.image().is_empty());
        }
    }

    #[test]
    fn a_value_whose_writing_was_cut_off_leaves_nothing_behind_for_long() {
        for boundary in 0..6 {
            let disk = SimulatedDisk::new(boundary);
            let blobs = open(&disk);
            disk.fault_at(boundary, Fault::PowerCut);
            let written = blobs.write(&[1; 5000]);
            assert_eq!(written.is_err(), boundary < 5, "{boundary}");
            disk.restart();
            let blobs = open(&disk);
            blobs.sweep(&HashSet::new()).unwrap();
            assert!(disk.image().is_empty());
        }
    }

    #[test]
    fn a_value_that_was_lost_or_damaged_is_found_at_the_start_once_it_was_read() {
        let disk = SimulatedDisk::new(1);
        let blobs = open(&disk);
        let values: HashMap<u64, u64> = (1..4).map(|byte| (blobs.write(&vec![byte; 5_000]).unwrap(), 5_000)).collect();
        let check = || match check(&disk, 7, &values) {
            Ok(()) => "good".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(check(), "good");
        // Nobody reads everything at every start; who comes upon damage leaves a mark.
        disk.flip("values/2", 4_000, 3).unwrap();
        assert_eq!(check(), "good");
        let error = blobs.read(2).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::InvalidData);
        assert!(check().contains("values/2 is damaged: its last four bytes, from offset 5000"), "{}", check());
        disk.flip("values/2", 4_000, 3).unwrap();
        assert_eq!(check(), "good");
        assert_eq!(blobs.read(2).unwrap(), vec![2; 5_000]);

        // The mark goes, the value stays.
        let again = open(&disk);
        assert_eq!(again.sweep(&values.keys().copied().collect()).unwrap(), 1);
        assert_eq!(disk.list("values").unwrap().len(), 3);

        // Another value's file doesn't stand in.
        let image = disk.image();
        disk.replace("values/1", &image["values/3"]).unwrap();
        assert!(blobs.read(1).is_err());
        disk.replace("values/1", &image["values/1"][..4_999]).unwrap();
        let expected = "values/1 has 4999 bytes, and 5004 are expected: a value of 5000 bytes and its checksum";
        assert_eq!(check(), expected);
        disk.remove("values/1").unwrap();
        assert_eq!(check(), "values/1 is missing: a record names it as a value of 5000 bytes");
        assert_eq!(blobs.read(1).unwrap_err().source.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn all_of_a_large_value_is_looked_at() {
        let disk = SimulatedDisk::new(1);
        let blobs = open(&disk);
        for length in [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 19] {
            let number = blobs.write(&vec![3; length]).unwrap();
            let length = length as u64;
            let look = |length| verify(&disk, 7, number, length).map_err(|error| (error.to_string(), error.offset()));
            assert_eq!((look(Some(length)), look(None)), (Ok(length + 4), Ok(length + 4)));
            for at in [0, length / 2, length.saturating_sub(1), length, length + 3] {
                disk.flip(&name(number), at, 1).unwrap();
                assert_eq!(look(Some(length)).unwrap_err().1, Some(length), "byte {at} of {length}");
                disk.flip(&name(number), at, 1).unwrap();
            }
            let (text, offset) = look(Some(length + 1)).unwrap_err();
            let expected = format!("values/{number} has {} bytes, and {} are expected", length + 4, length + 5);
            assert!(text.starts_with(&expected) && offset.is_none(), "{text}");
            disk.remove(&name(number)).unwrap();
            assert_eq!(
                look(None).unwrap_err().0,
                format!("values/{number} is missing: a record names it as a value of 0 bytes")
            );
        }
        disk.cut();
        assert!(!verify(&disk, 7, 1, None).unwrap_err().to_string().contains("missing"));
    }

    #[test]
    fn a_value_that_finds_the_disk_full_leaves_nothing_behind() {
        let disk = SimulatedDisk::new(1);
        disk.set_capacity(Some(8 << 20));
        let blobs = open(&disk);
        let mut written = 0;
        let error = loop {
            match blobs.write(&vec![1; 1 << 20]) {
                Ok(_) => written += 1,
                Err(error) => break error,
            }
        };
        assert!(error.is_full() && written == 7);
        assert!(disk.list("values").unwrap().iter().all(|file| parse(file).is_some()));
        disk.set_capacity(None);
        blobs.write(&vec![1; 1 << 20]).unwrap();
        // The reserve is for a full disk alone.
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let room = DiskRoom::open(shared.clone(), Some(1 << 20)).unwrap();
        room.prepare().unwrap();
        let blobs = Blobs::open(shared, 7, room.clone()).unwrap();
        disk.fault_at(disk.operations() + 1, Fault::Error);
        assert!(!blobs.write_within_reserve(&[1; 5_000]).unwrap_err().is_full());
        assert_eq!(room.state().reserve, 1 << 20);
        disk.fault_at(disk.operations(), Fault::Full);
        blobs.write_within_reserve(&[1; 5_000]).unwrap();
        assert!(room.state().reserve < 1 << 20);
    }
}
