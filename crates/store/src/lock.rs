//! One process at a time uses a store.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// The name of the file that is locked.
pub const LOCK_FILE: &str = "lock";

/// Exclusive use of a store's directory, until it is dropped. Ends with the process, however it ends.
#[derive(Debug)]
pub struct StoreLock {
    _file: File,
}

/// Why a store can't be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process uses it.
    #[error("another process uses the store in {directory}")]
    Taken {
        /// The store's directory.
        directory: PathBuf,
    },
    /// The lock file can't be opened or locked.
    #[error("cannot lock {path}")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}

impl StoreLock {
    /// Takes the store in `directory`, which must exist, without waiting.
    pub fn acquire(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join(LOCK_FILE);
        let file = match OpenOptions::new().write(true).create(true).truncate(false).open(&path) {
            Ok(file) => file,
            Err(source) => return Err(LockError::Io { path, source }),
        };
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Taken { directory: directory.to_owned() }),
            Err(TryLockError::Error(source)) => Err(LockError::Io { path, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_used_by_one_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let lock = StoreLock::acquire(directory.path()).unwrap();
        assert!(matches!(StoreLock::acquire(directory.path()), Err(LockError::Taken { .. })));
        drop(lock);
        StoreLock::acquire(directory.path()).unwrap();
        let absent = directory.path().join("absent");
        assert!(matches!(StoreLock::acquire(&absent), Err(LockError::Io { .. })));
    }
}
