//! Connections for reading, shared by threads.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use rusqlite::Connection;

use super::{ArchiveError, error::Problem, open::open_reader};

/// The most connections at a time; further readers wait.
const CONNECTIONS_MAX: usize = 8;

/// Makes a connection.
pub(super) type Open = fn(&Path) -> Result<Connection, Problem>;

/// Connections to one archive.
pub(super) struct Pool {
    path: PathBuf,
    open: Open,
    state: Mutex<State>,
    returned: Condvar,
    /// After the connections, which are closed first.
    _removed: Option<Removed>,
}

/// A file that is removed in the end.
pub(super) struct Removed(pub(super) PathBuf);

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    lent: usize,
}

/// The right to use a connection.
struct Place<'a> {
    pool: &'a Pool,
    idle: Option<Connection>,
}

impl Pool {
    pub(super) fn new(path: PathBuf) -> Self {
        Self::opening_by(path, open_reader)
    }

    pub(super) fn opening_by(path: PathBuf, open: Open) -> Self {
        Self { path, open, state: Mutex::default(), returned: Condvar::new(), _removed: None }
    }

    /// The same, which removes a file once all its connections are closed.
    pub(super) fn removing(self, removed: Option<Removed>) -> Self {
        Self { _removed: removed, ..self }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Calls `use_it` with a connection of its own, waiting for one if need be. One that led to an error isn't used again.
    pub(super) fn with<T>(
        &self,
        use_it: impl FnOnce(&Connection) -> Result<T, ArchiveError>,
    ) -> Result<T, ArchiveError> {
        let mut place = self.take_place();
        let connection = match place.idle.take() {
            Some(connection) => connection,
            None => (self.open)(&self.path).map_err(|problem| ArchiveError::new(&self.path, "open", problem))?,
        };
        let result = use_it(&connection)?;
        place.idle = Some(connection);
        Ok(result)
    }

    fn take_place(&self) -> Place<'_> {
        let mut state = self
            .returned
            .wait_while(self.lock(), |state| state.lent >= CONNECTIONS_MAX)
            .unwrap_or_else(PoisonError::into_inner);
        state.lent += 1;
        Place { pool: self, idle: state.idle.pop() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.lent -= 1;
        state.idle.extend(self.idle.take());
        drop(state);
        self.pool.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        thread,
    };

    use task_messenger_core::ids::RecordNumber;

    use super::*;
    use crate::{
        archive::{ARCHIVE_FILE, Archive},
        identity::StoreId,
    };

    #[test]
    fn no_more_than_eight_read_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(ARCHIVE_FILE);
        let archive = Archive::open(&path, StoreId([1; 16]), RecordNumber(0)).unwrap();
        let pool = Pool::new(path);
        let [called, entered, most] = [(); 3].map(|()| AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..4 * CONNECTIONS_MAX {
                scope.spawn(|| {
                    called.fetch_add(1, SeqCst);
                    pool.with(|_| {
                        entered.fetch_add(1, SeqCst);
                        // The first ones stay until all places are taken and everybody else has asked.
                        while entered.load(SeqCst) < CONNECTIONS_MAX || called.load(SeqCst) < 4 * CONNECTIONS_MAX {
                            thread::yield_now();
                        }
                        most.fetch_max(pool.lock().lent, SeqCst);
                        Ok(())
                    })
                    .unwrap();
                });
            }
        });
        assert_eq!(most.load(SeqCst), CONNECTIONS_MAX);
        assert_eq!(pool.lock().lent, 0);
        drop(archive);
    }
}
