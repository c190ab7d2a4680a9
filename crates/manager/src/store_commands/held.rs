//! A store that no manager uses, held for as long as it is looked at.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use task_messenger_core::state::State;
use task_messenger_store::{
    archive::{ARCHIVE_FILE, Reader},
    disk::{Disk, FileDisk},
    identity::IDENTITY_FILE,
    journal::{Found, OpenError, Overview, Recovery, Replayed, ValueReader, open},
    lock::{LockError, StoreLock},
};

use super::StoreCommandError;
use crate::{config::Config, state::StoreRefused};

/// See the module.
pub(super) struct Held {
    /// The store's directory.
    pub(super) directory: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    _lock: StoreLock,
}

/// What the journal says.
pub(super) struct Replay {
    pub(super) state: State,
    pub(super) overview: Overview,
    /// How many records were read behind the snapshot.
    pub(super) replayed: u64,
    pub(super) values: ValueReader,
}

impl Held {
    /// Takes the store of the configuration's manager.
    pub(super) fn take(config: &Config) -> Result<Self> {
        let state = config.state_directory()?;
        let directory = state.join("store");
        if ![IDENTITY_FILE, "journal"].iter().any(|name| directory.join(name).exists()) {
            return Err(StoreCommandError::NoStore { directory: state }.into());
        }
        let lock = match StoreLock::acquire(&directory) {
            Err(LockError::Taken { .. }) => return Err(StoreCommandError::Running { directory: state }.into()),
            lock => lock.context("the store can't be held: run this command as the manager's own user")?,
        };
        let disk = FileDisk::new(&directory).with_context(|| format!("{} can't be used", directory.display()))?;
        Ok(Self { directory, disk: Arc::new(disk), _lock: lock })
    }

    /// Reads the journal, as a start would.
    pub(super) fn replay(&self, config: &Config) -> Result<Replay> {
        let read = || -> Result<_, OpenError> {
            let mut recovery: Recovery = open(self.disk.clone(), &config.store_options())?;
            let (mut state, mut replayed) = (State::default(), 0);
            while let Some(found) = recovery.next()? {
                match found {
                    Found::Part { part, .. } => state.restore(part),
                    Found::Record(Replayed { values, record, .. }) => {
                        state.apply(&record, values);
                        replayed += 1;
                    }
                }
            }
            let (overview, values) = (recovery.overview()?, recovery.values());
            Ok(Replay { state, overview, replayed, values })
        };
        Ok(read().map_err(|cause| StoreRefused { directory: self.directory.clone(), cause })?)
    }

    /// The archive, if there is one.
    pub(super) fn archive(&self) -> Result<Option<Reader>, StoreCommandError> {
        let path = self.directory.join(ARCHIVE_FILE);
        if !path.exists() {
            return Ok(None);
        }
        Ok(Some(Reader::open_unused(&path)?))
    }
}
