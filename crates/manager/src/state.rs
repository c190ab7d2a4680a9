//! The state directory: the store, the manager's identity, and where it listens.

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result};
use task_messenger_core::engine::Engine;
use task_messenger_daemon::{config::ConfigDuration, directories};
use task_messenger_protocol::{
    private_file,
    tls::{Identity, Trust},
};
use task_messenger_store::{
    Store,
    disk::FileDisk,
    journal::{OpenError, open},
    lock::StoreLock,
};
use tracing::info;

use crate::{config::Config, tokens::TokenMaker};

/// The file that says where a running manager listens.
const LISTENING_FILE: &str = "listening.json";

/// A manager's state, held by this process alone.
pub(crate) struct State {
    pub(crate) directory: PathBuf,
    pub(crate) engine: Engine,
    pub(crate) store: Store,
    pub(crate) identity: Identity,
    pub(crate) trust: Trust,
    lock: StoreLock,
}

/// The store can't be opened.
#[derive(Debug, thiserror::Error)]
#[error("the store in {directory} can't be opened; nothing was changed", directory = .directory.display())]
pub(crate) struct StoreRefused {
    directory: PathBuf,
    source: OpenError,
}

impl StoreRefused {
    /// Whether no restart will help: it is newer, foreign or corrupt. (A disk that fails or is full may recover.)
    pub(crate) fn is_final(&self) -> bool {
        !self.source.is_io()
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
        let (identity, trust) = load_identity(config, &directory)?;
        let (engine, store) = recover(config, &store_directory)?;
        Ok(Self { directory, engine, store, identity, trust, lock })
    }

    /// What remains after the parts went to their places: as long as it lives, nobody else opens the state.
    pub(crate) fn into_parts(self) -> (Engine, Store, Identity, StoreLock) {
        (self.engine, self.store, self.identity, self.lock)
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

fn recover(config: &Config, directory: &Path) -> Result<(Engine, Store)> {
    let started = Instant::now();
    let refused = |source| StoreRefused { directory: directory.to_owned(), source };
    let disk = FileDisk::new(directory).with_context(|| format!("{} can't be used", directory.display()))?;
    let mut recovery = open(Arc::new(disk), &config.store_options()).map_err(refused)?;
    let mut engine = Engine::new(config.core_limits());
    let mut records = 0_u64;
    let mut large_values = HashSet::new();
    while let Some(replayed) = recovery.next().map_err(refused)? {
        engine.replay(replayed.number, &replayed.record, replayed.values);
        records += 1;
        if let Some(values) = replayed.record.values() {
            large_values.extend(values.external_files());
        }
    }
    let store = recovery.finish().map_err(refused)?;
    // Written for a record that never came: a repeated submit, a report that came too late, a crash in between.
    let swept = store.blobs.sweep(&large_values).context("large values that nobody names can't be removed")?;
    if swept > 0 {
        info!(swept, "large values that no record names were removed");
    }
    let tasks = engine.state().counts;
    let took = ConfigDuration(std::time::Duration::from_millis(started.elapsed().as_millis() as u64));
    info!(store = %store.id, records, tasks = tasks.total(), open_tasks = tasks.open(), %took, "the store is open");
    Ok((engine, store))
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
