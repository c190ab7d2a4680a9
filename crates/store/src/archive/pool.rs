//! Connections for reading, shared by threads.

use std::{
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use rusqlite::Connection;

use super::{ArchiveError, open::open_reader};

/// The most connections at a time; further readers wait.
const CONNECTIONS_MAX: usize = 8;

/// Connections to one archive.
pub(super) struct Pool {
    path: PathBuf,
    state: Mutex<State>,
    returned: Condvar,
}

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
        Self { path, state: Mutex::default(), returned: Condvar::new() }
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
            None => open_reader(&self.path).map_err(|problem| ArchiveError::new(&self.path, "open", problem))?,
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

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.lent -= 1;
        state.idle.extend(self.idle.take());
        drop(state);
        self.pool.returned.notify_one();
    }
}
