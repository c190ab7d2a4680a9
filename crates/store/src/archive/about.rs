//! What an archive says of itself, and reading one that nobody uses without leaving a trace.

use std::{
    collections::HashMap,
    ffi::OsString,
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, OpenFlags};
use task_messenger_core::ids::RecordNumber;

use super::{
    ArchiveError, Reader,
    error::Problem,
    open::known,
    pool::{Pool, Removed},
    rows::unsigned,
};

/// What an archive says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The store that it belongs to, as its id is written.
    pub store: String,
    /// The version of its format.
    pub format: u32,
    /// The last record all of whose consequences it holds.
    pub watermark: RecordNumber,
}

impl Reader {
    /// Opens an archive that no process writes to, as whoever holds the store's lock knows. Neither the file is changed nor
    /// anything beside it.
    pub fn open_unused(path: &Path) -> Result<Self, ArchiveError> {
        let pool = Pool::opening_by(path.to_owned(), open_unused).removing(share_nothing(path));
        let reader = Self { pool: Arc::new(pool) };
        reader.about()?;
        Ok(reader)
    }

    /// What it says of itself.
    pub fn about(&self) -> Result<About, ArchiveError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached("SELECT store, format, watermark FROM meta WHERE id = 0")?;
            Ok(statement.query_row([], |row| {
                Ok(About { store: row.get(0)?, format: row.get(1)?, watermark: RecordNumber(unsigned(row, 2)?) })
            })?)
        })
    }

    /// The files of the values that it needs, with the values' lengths in bytes.
    pub fn large_values(&self) -> Result<HashMap<u64, u64>, ArchiveError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached("SELECT file, bytes FROM files")?;
            let files = statement.query_map([], |row| Ok((unsigned(row, 0)?, unsigned(row, 1)?)))?;
            Ok(files.collect::<Result<_, _>>()?)
        })
    }
}

/// A connection that takes no locks.
fn open_unused(path: &Path) -> Result<Connection, Problem> {
    // Where the writer was killed, what it committed last stands in the log.
    connect(path, if has_log(path) { "readonly_shm=1" } else { "immutable=1" })
}

fn has_log(path: &Path) -> bool {
    fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0)
}

/// What the writer of a log shared with readers is not relied on, but SQLite wants the file. Where it is missing, an empty one
/// does: whoever opens the archive next makes it anew. It must go again, and on Windows it can't as long as it is open.
fn share_nothing(path: &Path) -> Option<Removed> {
    let shared = beside(path, "-shm");
    // If it can't be made, SQLite says what is wrong.
    (has_log(path) && File::create_new(&shared).is_ok()).then(|| Removed(shared))
}

fn connect(path: &Path, option: &str) -> Result<Connection, Problem> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    known(Connection::open_with_flags(address(path, option), flags)?)
}

/// A file's address as SQLite takes it, with an option.
fn address(path: &Path, option: &str) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut address = "file://".to_owned();
    if !absolute.as_os_str().as_encoded_bytes().starts_with(b"/") {
        address.push('/');
    }
    for byte in absolute.as_os_str().as_encoded_bytes() {
        match byte {
            b'\\' if cfg!(windows) => address.push('/'),
            b'/' | b':' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => address.push(*byte as char),
            // Writing to a String cannot fail.
            _ => drop(write!(address, "%{byte:02X}")),
        }
    }
    address + "?" + option
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
