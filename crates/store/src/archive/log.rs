//! SQLite's write-ahead log: the file beside the archive that commits go to first.

use std::{ffi::OsString, fs, path::Path, path::PathBuf};

use super::{Archive, ArchiveError};

/// Readers keep the log from beginning anew. When it has grown by so many bytes they are waited for.
const TOO_LONG: u64 = 64 << 20;

/// Keeps an eye on the log's length.
#[derive(Debug)]
pub(super) struct LogWatch {
    path: PathBuf,
    pub(super) too_long: u64,
}

impl LogWatch {
    pub(super) fn new(archive: &Path) -> Self {
        let mut path = OsString::from(archive);
        path.push("-wal");
        Self { path: path.into(), too_long: TOO_LONG }
    }

    pub(super) fn length(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }
}

impl Archive {
    /// Carries the log over to the file and empties it, unless somebody still reads what only the log has; whether it did.
    /// Costs two syncs. Otherwise it happens by itself, every 16 MiB.
    pub fn carry_over(&mut self) -> Result<bool, ArchiveError> {
        let busy = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
            .map_err(|source| self.error("carry the log over to", source.into()))?;
        Ok(busy == 0)
    }

    /// Empties a log that readers let grow. What was committed is safe either way, so a failure is for the next commit to
    /// find.
    pub(super) fn watch_log(&mut self) {
        if self.log.length() >= self.log.too_long {
            let _ = self.carry_over();
            self.log.too_long = self.log.length() + TOO_LONG;
        }
    }
}
