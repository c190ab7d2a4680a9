//! A directory of named files, with exactly what a store needs of it.
//!
//! Names are relative, `/` separates a directory from a file in it, and directories come into being by themselves. What
//! survives a power cut is said with each operation; a crash of the process alone loses nothing that was written.

mod file;
mod simulated;

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

    /// Makes a file with these contents, or replaces one, at once: after a power cut it is the old one or the new one.
    /// Durable on return.
    fn replace(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        let unfinished = format!("{name}.new");
        match self.remove(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.create(&unfinished, contents.len() as u64)?;
        let file = self.open(&unfinished, Access::Buffered)?;
        file.write_at(0, &[IoSlice::new(contents)])?;
        file.sync()?;
        self.rename(&unfinished, name)?;
        self.sync_directory(directory_of(name))
    }
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
}

/// The directory part of a name.
fn directory_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(directory, _)| directory)
}
