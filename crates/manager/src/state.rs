//! The state directory: the store, the manager's identity, and where it listens.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result};
use task_messenger_core::{engine::Engine, ids::RecordNumber};
use task_messenger_daemon::{config::ConfigDuration, directories, exit::chain};
use task_messenger_protocol::{
    private_file,
    tls::{Identity, Trust},
};
use task_messenger_store::{
    Store,
    archive::{self, ARCHIVE_FILE, Archive, ArchiveError},
    disk::FileDisk,
    journal::{self, Found, OpenError, Recovery, Replayed, open},
    lock::StoreLock,
};
use tracing::info;

use crate::{config::Config, tokens::TokenMaker};

/// The file that says where a running manager listens.
const LISTENING_FILE: &str = "listening.json";

/// Whether this program knows the store's formats, as before an upgrade; a manager may run on it. Where there is no store yet, any
/// program may make one.
pub(crate) fn check_formats(config: &Config) -> Result<()> {
    let directory = config.state_directory()?.join("store");
    if directory.exists() {
        let disk = FileDisk::new(&directory).with_context(|| format!("{} can't be used", directory.display()))?;
        journal::check_formats(&disk).map_err(|cause| StoreRefused { directory: directory.clone(), cause })?;
        archive::check_format(&directory.join(ARCHIVE_FILE)).map_err(ArchiveRefused)?;
    }
    Ok(())
}

/// A manager's state, held by this process alone.
pub(crate) struct State {
    pub(crate) directory: PathBuf,
    pub(crate) engine: Engine,
    pub(crate) store: Store,
    pub(crate) archive: Archive,
    pub(crate) identity: Identity,
    pub(crate) trust: Trust,
    /// The length in bytes of the largest value that is stored.
    pub(crate) largest_value: u64,
    lock: StoreLock,
}

/// The store can't be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "the store in {directory} can't be opened{unchanged}: {cause}; what to do: {advice}",
    directory = .directory.display(),
    unchanged = if self.is_final() { ", and nothing in it was changed" } else { "" },
    cause = chain(cause),
    advice = .cause.advice()
)]
pub(crate) struct StoreRefused {
    pub(crate) directory: PathBuf,
    pub(crate) cause: OpenError,
}

impl StoreRefused {
    /// Whether no restart will help: it is newer, foreign or corrupt. (A disk that fails or is full may recover.)
    pub(crate) fn is_final(&self) -> bool {
        !self.cause.is_io()
    }

    /// Why.
    pub(crate) fn cause(&self) -> &OpenError {
        &self.cause
    }
}

/// The archive can't be opened.
#[derive(Debug, thiserror::Error)]
#[error("the archive of finished tasks can't be used: {}", chain(.0))]
pub(crate) struct ArchiveRefused(pub(crate) ArchiveError);

impl ArchiveRefused {
    /// Whether no restart will help.
    pub(crate) fn is_final(&self) -> bool {
        self.0.is_lasting()
    }

    /// Whether the disk is full.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self.0, ArchiveError::Full { .. })
    }
}

impl State {
    /// Opens the state directory, making it if need be, and replays the journal.
    pub(crate) fn open(config: &Config) -> Result<Self> {
        let directory = config.state_directory()?;
        let cannot = || format!("the state directory {} can't be used", directory.display());
        directories::create_private(&directory).with_context(cannot)?;
        let store_directory = directory.join("store");
        directories::create_private(&store_directory).with_context(cannot)?;
        let lock = StoreLock::acquire(&store_directory)
            .context("a manager runs on this state directory already, or another program holds its store")?;
        let replayed = Replay::new(config, &store_directory)?;
        // Nothing is made or removed before the store has been looked through.
        let (identity, trust) = load_identity(config, &directory)?;
        let largest_value = replayed.large_values.values().copied().max().unwrap_or_default();
        let (engine, store, archive) = replayed.finish()?;
        Ok(Self { directory, engine, store, archive, identity, trust, largest_value, lock })
    }

    /// Where the archive is.
    pub(crate) fn archive_file(&self) -> PathBuf {
        self.directory.join("store").join(ARCHIVE_FILE)
    }

    /// What remains after the parts went to their places: as long as it lives, nobody else opens the state.
    pub(crate) fn into_parts(self) -> (Engine, Store, Archive, Identity, StoreLock) {
        (self.engine, self.store, self.archive, self.identity, self.lock)
    }
}

/// The addresses that go into tokens: those of the configuration, or this machine's own with the port of `listening`.
pub(crate) fn token_maker(config: &Config, trust: &Trust, listening: &[SocketAddr]) -> TokenMaker {
    let addresses = if config.advertise.is_empty() {
        crate::addresses::own(if listening.is_empty() { &config.listen } else { listening })
    } else {
        config.advertise.clone()
    };
    TokenMaker { trust: trust.clone(), addresses }
}

fn load_identity(config: &Config, directory: &Path) -> Result<(Identity, Trust)> {
    if let Some(certificate) = &config.certificate {
        let identity = Identity::load(&certificate.chain, &certificate.key)
            .context("the certificate of the configuration (`certificate`) can't be used")?;
        let trust = match &certificate.name {
            Some(name) => Trust::Authority { name: name.clone(), roots: None },
            None => Trust::Pin(identity.fingerprint()?),
        };
        return Ok((identity, trust));
    }
    let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
    let identity = if key.exists() {
        Identity::load(&certificate, &key).context("the manager's own certificate can't be used")?
    } else {
        let identity = Identity::create()?;
        identity.save(&certificate, &key).context("the manager's own certificate can't be written")?;
        info!(fingerprint = %identity.fingerprint()?, "the manager made its certificate");
        identity
    };
    let trust = Trust::Pin(identity.fingerprint()?);
    Ok((identity, trust))
}

/// A store that was read and found good, and not touched yet.
struct Replay {
    directory: PathBuf,
    started: Instant,
    recovery: Recovery,
    engine: Engine,
    records: u64,
    /// The files of the values that are needed, and the values' lengths.
    large_values: HashMap<u64, u64>,
}

impl Replay {
    fn new(config: &Config, directory: &Path) -> Result<Self> {
        let started = Instant::now();
        let refused = |cause| StoreRefused { directory: directory.to_owned(), cause };
        let disk = FileDisk::new(directory).with_context(|| format!("{} can't be used", directory.display()))?;
        let mut recovery = open(Arc::new(disk), &config.store_options()).map_err(refused)?;
        let mut engine = Engine::new(config.core_limits());
        let mut records = 0_u64;
        while let Some(found) = recovery.next().map_err(refused)? {
            match found {
                Found::Part { last, part } => engine.restore(last, part),
                Found::Record(Replayed { number, values, record }) => {
                    engine.replay(number, &record, values);
                    records += 1;
                }
            }
        }
        let state = engine.state();
        let large_values = state.large_values.values().map(|value| (value.file, value.length)).collect();
        recovery.check_values(state.places(), &large_values).map_err(refused)?;
        Ok(Self { directory: directory.to_owned(), started, recovery, engine, records, large_values })
    }

    fn finish(self) -> Result<(Engine, Store, Archive)> {
        let Self { directory, started, recovery, engine, records, large_values } = self;
        let path = directory.join(ARCHIVE_FILE);
        let store = recovery.finish().map_err(|cause| StoreRefused { directory, cause })?;
        let open = || {
            let archive = Archive::open(&path, store.id, RecordNumber(0))?;
            archive.check_journal(store.front.last())?;
            let files = archive.reader().files()?;
            Ok((archive, files))
        };
        let (archive, mut live) = open().map_err(ArchiveRefused)?;
        // Written for a record that never came: a repeated submit, a report that came too late, a crash in between.
        live.extend(large_values.into_keys());
        let swept = store.blobs.sweep(&live).context("large values that nobody names can't be removed")?;
        if swept > 0 {
            info!(swept, "large values that no record names were removed");
        }
        let tasks = engine.state().counts;
        let took = ConfigDuration(std::time::Duration::from_millis(started.elapsed().as_millis() as u64));
        let archived = archive.totals().tasks.total();
        info!(store = %store.id, records, archived, tasks = tasks.total(), open_tasks = tasks.open(), %took, "the store is open");
        Ok((engine, store, archive))
    }
}

/// Notes where the manager listens, for commands on this machine.
pub(crate) fn write_listening(directory: &Path, addresses: &[SocketAddr]) -> Result<()> {
    let text = serde_json::to_string(addresses)?;
    private_file::write(&directory.join(LISTENING_FILE), text.as_bytes())
        .context("where the manager listens can't be noted in its state directory")
}

/// Where the manager on a state directory listens, or listened last.
pub fn read_listening(directory: &Path) -> Result<Vec<SocketAddr>> {
    let path = directory.join(LISTENING_FILE);
    let text = std::fs::read(&path).with_context(|| format!("{} can't be read", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))
}
