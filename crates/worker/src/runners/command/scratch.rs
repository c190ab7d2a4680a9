//! Scratch directories: one a lease, gone with it.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

#[cfg(unix)]
use self::unix::{create_private, is_in_use, remove};
#[cfg(windows)]
use self::windows::{create_private, is_in_use, remove};

/// How long a directory may be in use although its task is over, and how often it is looked.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);

/// The directory that holds them.
#[derive(Clone, Debug)]
pub(super) struct Scratch {
    root: PathBuf,
}

impl Scratch {
    /// Makes the directory, and removes what is left in it from an earlier start.
    pub(super) fn sweep(root: &Path) -> io::Result<Self> {
        create_private(root).or_else(|error| if root.is_dir() { Ok(()) } else { Err(error) })?;
        // Removing makes directories of its own here.
        for entry in fs::read_dir(root)?.collect::<io::Result<Vec<_>>>()? {
            remove_completely(&entry.path(), Duration::ZERO);
        }
        Ok(Self { root: std::path::absolute(root)? })
    }

    /// Makes the lease's directory.
    pub(super) fn create(&self, lease: u64) -> io::Result<PathBuf> {
        let path = self.path(lease);
        create_private(&path)?;
        Ok(path)
    }

    /// Removes the lease's directory and all that is in it.
    pub(super) async fn remove(&self, lease: u64) {
        let path = self.path(lease);
        // Mostly it is empty; only a tree is worth another thread.
        match fs::remove_dir(&path) {
            Ok(()) => (),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            Err(_) => _ = tokio::task::spawn_blocking(move || remove_completely(&path, PATIENCE)).await,
        }
    }

    fn path(&self, lease: u64) -> PathBuf {
        self.root.join(lease.to_string())
    }
}

/// What even then can't be removed is swept at the next start. `patience` is for what is in use.
fn remove_completely(path: &Path, patience: Duration) {
    let deadline = Instant::now() + patience;
    loop {
        match remove(path) {
            Err(error) if is_in_use(&error) && Instant::now() < deadline => std::thread::sleep(LOOK),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a task's scratch directory can't be removed");
                return;
            }
            Ok(()) => return,
        }
    }
}
