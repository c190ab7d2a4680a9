//! The real disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Access, Disk, DiskFile, Space, directory_of};

/// A directory of the file system.
///
/// On Linux, files opened with [`Access::Through`] are written past the page cache, and each write waits for the device
/// (`O_DIRECT | O_DSYNC`). Where a file system refuses that, and elsewhere, a write is followed by a sync.
#[derive(Clone, Debug)]
pub struct FileDisk {
    directory: PathBuf,
}

impl FileDisk {
    /// A disk in `directory`, which is made, for its owner alone, if it doesn't exist.
    pub fn new(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = directory.into();
        make_directory(&directory)?;
        Ok(Self { directory })
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Disk for FileDisk {
    fn create(&self, name: &str, length: u64) -> io::Result<()> {
        let directory = self.path(directory_of(name));
        if !directory.is_dir() {
            make_directory(&directory)?;
            sync_directory(&self.directory)?;
        }
        let file = OpenOptions::new().write(true).create_new(true).open(self.path(name))?;
        reserve(&file, length)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path(name);
        match access {
            Access::Read => Ok(Arc::new(PlainFile { file: File::open(path)?, sync_writes: false })),
            Access::Buffered => Ok(Arc::new(PlainFile { file: open_plain(&path)?, sync_writes: false })),
            Access::Through => open_through(&path),
        }
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(directory)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                // A name that isn't UTF-8 is none of ours.
                names.extend(entry.file_name().into_string().ok());
            }
        }
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        patiently(|| fs::remove_file(self.path(name)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        patiently(|| fs::rename(self.path(from), self.path(to)))
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        sync_directory(&self.path(directory))
    }

    fn space(&self) -> io::Result<Space> {
        let found = fs4::statvfs(&self.directory)?;
        Ok(Space { free: found.available_space(), total: found.total_space() })
    }

    fn entropy(&self) -> io::Result<[u8; 16]> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(bytes)
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn open_plain(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// NTFS can do it for whoever may change the directory's own attributes; FAT and some network shares can't.
#[cfg(windows)]
fn sync_directory(path: &Path) -> io::Result<()> {
    use std::os::windows::fs::OpenOptionsExt;
    /// Without it a directory can't be opened (fileapi.h, `CreateFileW`).
    const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
    /// `ERROR_INVALID_FUNCTION`, `ERROR_ACCESS_DENIED`, `ERROR_SHARING_VIOLATION` (somebody reads it), `ERROR_NOT_SUPPORTED`,
    /// `ERROR_INVALID_PARAMETER`.
    const CAN_NOT: [i32; 5] = [1, 5, 32, 50, 87];
    let directory = OpenOptions::new().write(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path);
    match directory.and_then(|directory| directory.sync_all()) {
        Err(error) if error.raw_os_error().is_some_and(|code| CAN_NOT.contains(&code)) => Ok(()),
        done => done,
    }
}

/// Tries again for a while on Windows, where what a scanner looks at can be neither removed nor renamed.
fn patiently(attempt: impl Fn() -> io::Result<()>) -> io::Result<()> {
    /// How long a look may take, and how often to try.
    const LONGEST: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(50));
    /// `ERROR_ACCESS_DENIED`, `ERROR_SHARING_VIOLATION`, `ERROR_LOCK_VIOLATION`.
    const IN_USE: [i32; 3] = [5, 32, 33];
    let begin = Instant::now();
    loop {
        match attempt() {
            Err(error)
                if cfg!(windows)
                    && error.raw_os_error().is_some_and(|code| IN_USE.contains(&code))
                    && begin.elapsed() < LONGEST.0 =>
            {
                std::thread::sleep(LONGEST.1);
            }
            done => return done,
        }
    }
}

#[cfg(target_os = "linux")]
fn reserve(file: &File, length: u64) -> io::Result<()> {
    use rustix::{fs::FallocateFlags, io::Errno};
    if length == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, length) {
        // Some file systems have no way to reserve: the file is sparse then.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(length),
        other => Ok(other?),
    }
}

#[cfg(not(target_os = "linux"))]
fn reserve(file: &File, length: u64) -> io::Result<()> {
    file.set_len(length)
}

fn set_length(file: &File, length: u64) -> io::Result<()> {
    if length < file.metadata()?.len() { file.set_len(length) } else { reserve(file, length) }
}

#[cfg(target_os = "linux")]
fn open_through(path: &Path) -> io::Result<Arc<dyn DiskFile>> {
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::fs::OFlags;
    let flags = (OFlags::DIRECT | OFlags::DSYNC).bits();
    match OpenOptions::new().read(true).write(true).custom_flags(flags.cast_signed()).open(path) {
        Ok(direct) => Ok(Arc::new(DirectFile { direct, path: path.to_owned(), plain: std::sync::OnceLock::new() })),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            Ok(Arc::new(PlainFile { file: open_plain(path)?, sync_writes: true }))
        }
        Err(error) => Err(error),
    }
}

#[cfg(not(target_os = "linux"))]
fn open_through(path: &Path) -> io::Result<Arc<dyn DiskFile>> {
    Ok(Arc::new(PlainFile { file: open_plain(path)?, sync_writes: true }))
}

/// A file behind the page cache.
#[derive(Debug)]
struct PlainFile {
    file: File,
    /// Whether each write is followed by a sync.
    sync_writes: bool,
}

impl DiskFile for PlainFile {
    fn write_at(&self, offset: u64, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        let mut offset = offset;
        for piece in pieces {
            positioned::write_all(&self.file, offset, piece)?;
            offset += piece.len() as u64;
        }
        if self.sync_writes { self.file.sync_data() } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        positioned::read_full(&self.file, offset, buffer)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        set_length(&self.file, length)
    }
}

/// A file past the page cache, whose writes are durable when they return.
#[cfg(target_os = "linux")]
#[derive(Debug)]
struct DirectFile {
    direct: File,
    path: PathBuf,
    /// What is used instead once the file system has refused a direct write, and for reading, which need not be aligned.
    plain: std::sync::OnceLock<PlainFile>,
}

#[cfg(target_os = "linux")]
impl DirectFile {
    fn plain(&self) -> io::Result<&PlainFile> {
        if let Some(plain) = self.plain.get() {
            return Ok(plain);
        }
        let plain = PlainFile { file: open_plain(&self.path)?, sync_writes: true };
        Ok(self.plain.get_or_init(|| plain))
    }

    fn write_direct(&self, mut offset: u64, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        // The kernel takes at most 1,024 pieces at once.
        for group in pieces.chunks(1024) {
            let mut group = group.to_vec();
            let mut rest = &mut group[..];
            while !rest.is_empty() {
                match rustix::io::pwritev(&self.direct, rest, offset) {
                    Err(rustix::io::Errno::INTR) => {}
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => {
                        offset += written as u64;
                        IoSlice::advance_slices(&mut rest, written);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
impl DiskFile for DirectFile {
    fn write_at(&self, offset: u64, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        match self.write_direct(offset, pieces) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.plain()?.write_at(offset, pieces),
            other => other,
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.direct.sync_data()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.plain()?.read_at(offset, buffer)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.direct.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        set_length(&self.direct, length)
    }
}

#[cfg(unix)]
mod positioned {
    use std::{fs::File, io, os::unix::fs::FileExt};

    pub(super) fn write_all(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    pub(super) fn read_full(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        super::read_full(buffer, offset, |rest, at| file.read_at(rest, at))
    }
}

#[cfg(windows)]
mod positioned {
    use std::{fs::File, io, os::windows::fs::FileExt};

    pub(super) fn write_all(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            match file.seek_write(&bytes[written..], offset + written as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => written += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) fn read_full(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        super::read_full(buffer, offset, |rest, at| match file.seek_read(rest, at) {
            // Reading behind the end is an error here.
            Err(error) if error.raw_os_error() == Some(38) => Ok(0),
            other => other,
        })
    }
}

fn read_full(
    buffer: &mut [u8],
    offset: u64,
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match read(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_goes_on_after_an_interruption_until_the_end_or_an_error() {
        let mut answers = vec![Ok(0), Ok(3), Err(io::ErrorKind::Interrupted), Ok(2)];
        let mut asked = Vec::new();
        let mut read = |rest: &mut [u8], at| {
            asked.push((rest.len(), at));
            answers.pop().unwrap().map_err(io::Error::from)
        };
        assert_eq!(read_full(&mut [0; 9], 100, &mut read).unwrap(), 5);
        assert_eq!(asked, [(9, 100), (7, 102), (7, 102), (4, 105)]);
        let failing = |_: &mut [u8], _| Err(io::ErrorKind::PermissionDenied.into());
        assert_eq!(read_full(&mut [0; 9], 0, failing).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
