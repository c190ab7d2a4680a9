//! A log file that is open.

use std::{
    borrow::Cow,
    fs::{self, DirBuilder, File},
    io::{self, Read, Write},
    path::Path,
    time::SystemTime,
};

/// The time of the first line is within so many bytes from its beginning, in both formats.
const HEAD: u64 = 64;

#[derive(Debug)]
pub(super) struct OpenFile {
    file: File,
    /// How long it is.
    pub(super) length: u64,
    /// When its first line was written, if that is known.
    pub(super) since: Option<SystemTime>,
    /// Whether it ends within a line.
    torn: bool,
}

impl OpenFile {
    /// Opens a file for appending, which is made if it is missing (mode 0640), and its directory too (mode 0750).
    pub(super) fn open(path: &Path, now: SystemTime) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            make_directory(directory)?;
        }
        // A pipe nobody reads, say, would have the program wait.
        if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "what has this name is not a file"));
        }
        let mut options = File::options();
        options.create(true).append(true).read(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
        let file = options.open(path)?;
        let mut head = Vec::new();
        (&file).take(HEAD).read_to_end(&mut head)?;
        let length = file.metadata()?.len();
        let since = (length > 0).then(|| time_in(&head).unwrap_or(now));
        Ok(Self { file, length, since, torn: false })
    }

    /// Adds a line, with a single write unless the system takes only a part of it.
    pub(super) fn append(&mut self, line: &[u8], now: SystemTime) -> io::Result<()> {
        let line = if self.torn { Cow::Owned([b"\n", line].concat()) } else { Cow::Borrowed(line) };
        let mut rest = &*line;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    rest = &rest[count..];
                    self.length += count as u64;
                    self.torn = !rest.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.since.get_or_insert(now);
        Ok(())
    }

    /// Whether this is the file of that name.
    #[cfg(unix)]
    pub(super) fn is_at(&self, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        let identity = |file: &fs::Metadata| (file.dev(), file.ino());
        match (self.file.metadata(), fs::metadata(path)) {
            (Ok(own), Ok(there)) => identity(&own) == identity(&there),
            _ => false,
        }
    }

    /// Whether this is the file of that name. Files have no identity here that could be asked for: it is, if there is one.
    #[cfg(not(unix))]
    #[expect(clippy::unused_self, reason = "the same shape as where it is asked")]
    pub(super) fn is_at(&self, path: &Path) -> bool {
        path.exists()
    }
}

fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.as_os_str().is_empty() || directory.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o750);
    builder.create(directory)
}

/// The time that the first line of a log begins with.
fn time_in(head: &[u8]) -> Option<SystemTime> {
    let head = String::from_utf8_lossy(head);
    let text = head.strip_prefix("{\"timestamp\":\"").unwrap_or(&head);
    let (time, _) = text.split_once('Z')?;
    humantime::parse_rfc3339(&format!("{time}Z")).ok()
}

#[cfg(test)]
#[test]
fn the_time_of_a_first_line_is_found_in_both_formats() {
    let time = humantime::parse_rfc3339("2026-11-28T10:00:00.5Z").unwrap();
    assert_eq!(time_in(b"2026-11-28T10:00:00.500000Z  INFO a::b: text\nmore"), Some(time));
    assert_eq!(time_in(b"{\"timestamp\":\"2026-11-28T10:00:00.500000Z\",\"level\":\"INFO\""), Some(time));
    for other in [&b"text without a time Zz"[..], b"", b"\xff\xfe", b"2026-11-28T10:00:00.5"] {
        assert_eq!(time_in(other), None);
    }
}

#[cfg(test)]
impl OpenFile {
    /// From now on nothing can be written to it.
    pub(super) fn break_off(&mut self, path: &Path) {
        self.file = File::open(path).unwrap();
    }

    /// As if the last write had been cut short.
    pub(super) fn tear(&mut self) {
        self.torn = true;
    }
}
