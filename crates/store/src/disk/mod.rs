//! A directory of named files, with exactly what a store needs of it.
//!
//! Names are relative, `/` separates a directory from a file in it, and directories come into being by themselves. What
//! survives a power cut is said with each operation; a crash of the process alone loses nothing that was written.

mod file;
mod simulated;
#[cfg(test)]
mod tests;

use std::{
    io::{self, IoSlice},
    sync::Arc,
};

use bytes::Bytes;

pub use file::FileDisk;
#[cfg(test)]
pub(crate) use simulated::Random;
pub use simulated::{Fault, SimulatedDisk};

/// A directory of named files.
pub trait Disk: Send + Sync {
    /// Makes a new file of `length` zeros, with its space reserved where the file system can.
    ///
    /// Its contents survive a power cut once it was synced, its name once the directory was.
    fn create(&self, name: &str, length: u64) -> io::Result<()>;

    /// Opens a file that exists.
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>>;

    /// The names of a directory's files, without the directory, in no particular order; none if there is no such directory.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;

    /// Removes a file. A power cut can bring it back until its directory was synced.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Names a file anew within its directory, replacing a file of that name. A power cut can undo it until the directory
    /// was synced.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes the names in a directory durable; `""` is the store's own.
    fn sync_directory(&self, directory: &str) -> io::Result<()>;

    /// How much room there is.
    fn space(&self) -> io::Result<Space>;

    /// 16 bytes that nobody can guess, to name a store by.
    fn entropy(&self) -> io::Result<[u8; 16]>;

    /// A whole file.
    fn read(&self, name: &str) -> io::Result<Bytes> {
        let file = self.open(name, Access::Read)?;
        let mut bytes = vec![0; file.length()? as usize];
        let length = file.read_at(0, &mut bytes)?;
        bytes.truncate(length);
        Ok(bytes.into())
    }

    /// Makes a file as [`Disk::create`] does, in place of what was left behind by that name.
    fn create_anew(&self, name: &str, length: u64) -> io::Result<()> {
        match self.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.create(name, length),
        }
    }

    /// Makes a file with these contents, or replaces one, at once: after a power cut it is the old one or the new one.
    /// Durable on return.
    fn replace(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        self.replace_with(name, &[IoSlice::new(contents)])
    }

    /// The same with contents in pieces.
    fn replace_with(&self, name: &str, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        let unfinished = format!("{name}.new");
        self.create_anew(&unfinished, pieces.iter().map(|piece| piece.len() as u64).sum())?;
        let file = self.open(&unfinished, Access::Buffered)?;
        file.write_at(0, pieces)?;
        file.sync()?;
        self.rename(&unfinished, name)?;
        self.sync_directory(directory_of(name))
    }
}

/// How much room a disk has, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What this process may still use.
    pub free: u64,
    /// All of it, used or not.
    pub total: u64,
}

/// Whether an operation failed because the disk is full (or a quota is used up).
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing; what was written survives a power cut after the next sync.
    Buffered,
    /// Reading and writing; what was written survives a power cut when the write returns. Offsets and lengths of writes
    /// are multiples of 4 KiB, and so should be the addresses of what is written.
    Through,
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Writes `pieces` one behind the other, all of them or an error; beyond the end the file grows.
    fn write_at(&self, offset: u64, pieces: &[IoSlice<'_>]) -> io::Result<()>;

    /// Makes everything that was written durable, through whatever handle.
    fn sync(&self) -> io::Result<()>;

    /// Reads until `buffer` is full or the file ends, and says how many bytes were read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// The length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Cuts the file, or makes it longer by zeros whose space is reserved where the file system can. The new length
    /// survives a power cut after the next sync.
    fn set_length(&self, length: u64) -> io::Result<()>;
}

/// The directory part of a name.
fn directory_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(directory, _)| directory)
}
