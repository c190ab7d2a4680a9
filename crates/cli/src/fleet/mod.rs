//! A manager and workers on this machine, as processes of their own, kept up as a service manager would.
//!
//! This program contains both: it starts itself with `manager …` or `worker …`. Everything lies below one directory:
//! `manager/`, `worker-N/`, a log file beside each, and `client.json`.

mod service;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use task_messenger_client::ClientCredential;
use task_messenger_core::record::Role;
use task_messenger_manager::{
    config::Config,
    offline::{Request, Response, administer},
    state::read_listening,
};
use task_messenger_protocol::token::Token;

pub use self::service::Service;

/// How long a process may take to be ready.
const READY: Duration = Duration::from_mins(1);

/// A manager and workers.
pub struct Fleet {
    directory: PathBuf,
    /// The manager.
    pub manager: Service,
    /// The workers, by number.
    pub workers: Vec<Service>,
    config: Config,
    address: SocketAddr,
    slots: Option<u32>,
    credential: ClientCredential,
}

impl Fleet {
    /// Starts a manager and `workers` workers on loopback. What the directory holds of an earlier run goes on.
    pub async fn start(directory: &Path, workers: usize, slots: Option<u32>) -> Result<Self> {
        let state = directory.join("manager");
        std::fs::create_dir_all(directory).with_context(|| format!("{} can't be made", directory.display()))?;
        // The workers' credentials name the port, so a fleet that goes on listens where it did.
        let earlier = read_listening(&state).ok().and_then(|addresses| addresses.first().copied());
        let listen = earlier.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        // Readiness is read from this file: it must be the new one.
        let _ = std::fs::remove_file(state.join("listening.json"));
        let mut manager = Service::new("manager", directory, manager_arguments(&state, listen))?;
        manager.start()?;
        let address = wait_for_manager(&mut manager, &state).await?;
        manager.set_arguments(manager_arguments(&state, address));

        let config = Config { state_directory: Some(state), ..Config::default() };
        let credential = login(&config, directory).await?;
        let workers_to_come = workers;
        let (directory, workers) = (directory.to_owned(), Vec::new());
        let mut fleet = Self { directory, manager, workers, config, address, slots, credential };
        for _ in 0..workers_to_come {
            fleet.add_worker(None).await?;
        }
        Ok(fleet)
    }

    /// Where the manager listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a client of this fleet logs in with.
    pub fn credential(&self) -> &ClientCredential {
        &self.credential
    }

    /// Where the client's credential lies.
    pub fn credential_file(&self) -> PathBuf {
        credential_file(&self.directory)
    }

    /// Starts whatever has ended by itself; says what it was.
    pub fn keep_up(&mut self) -> Result<Vec<String>> {
        let mut restarted = Vec::new();
        for service in std::iter::once(&mut self.manager).chain(&mut self.workers) {
            if service.has_ended()? {
                service.start()?;
                restarted.push(service.name().to_owned());
            }
        }
        Ok(restarted)
    }

    /// Stops the workers, then the manager, each in its own time.
    pub async fn stop(mut self) -> Result<()> {
        for worker in &mut self.workers {
            worker.ask_to_stop()?;
        }
        for worker in &mut self.workers {
            worker.wait_until_ended().await?;
        }
        self.manager.ask_to_stop()?;
        self.manager.wait_until_ended().await
    }

    /// Starts one more worker; it goes to the manager by another way than the direct one if that is said.
    pub async fn add_worker(&mut self, way: Option<SocketAddr>) -> Result<()> {
        let name = format!("worker-{}", self.workers.len());
        let state = self.directory.join(&name);
        let mut arguments = vec!["worker".into(), "run".into(), "--state-dir".into(), state.clone().into()];
        if let Some(slots) = self.slots {
            arguments.extend(["--slots".into(), slots.to_string().into()]);
        }
        let mut worker = Service::new(&name, &self.directory, arguments)?;
        if !state.join("worker.credential").exists() {
            let token = create_token(&self.config, Role::Worker, "local worker").await?;
            let mut join: Vec<_> = ["worker", "join", "-", "--name", &name, "--wait"].map(Into::into).to_vec();
            if let Some(way) = way {
                join.extend(["--manager".into(), way.to_string().into()]);
            }
            join.extend(["--state-dir".into(), state.into()]);
            worker.run_once(join, &token).await?;
        }
        worker.start()?;
        self.workers.push(worker);
        Ok(())
    }
}

fn manager_arguments(state: &Path, listen: SocketAddr) -> Vec<std::ffi::OsString> {
    let words = ["manager".into(), "run".into(), "--listen".into(), listen.to_string().into()];
    words.into_iter().chain(["--state-dir".into(), state.into()]).collect()
}

async fn wait_for_manager(manager: &mut Service, state: &Path) -> Result<SocketAddr> {
    let deadline = Instant::now() + READY;
    let mut turn = tokio::time::interval(Duration::from_millis(10));
    loop {
        turn.tick().await;
        if let Some(address) = read_listening(state).ok().and_then(|addresses| addresses.first().copied()) {
            return Ok(address);
        }
        if manager.has_ended()? {
            bail!("the manager ended at its start; its log: {}", manager.log().display());
        }
        if Instant::now() > deadline {
            bail!("the manager is not ready after {} s; its log: {}", READY.as_secs(), manager.log().display());
        }
    }
}

fn credential_file(directory: &Path) -> PathBuf {
    directory.join("client.json")
}

/// The credential of an earlier run, or a new one.
async fn login(config: &Config, directory: &Path) -> Result<ClientCredential> {
    let file = credential_file(directory);
    match ClientCredential::load(&file) {
        Ok(credential) => return Ok(credential),
        Err(error) if error.is_missing() => {}
        Err(error) => return Err(error.into()),
    }
    let token = create_token(config, Role::Admin, "local client").await?;
    let credential = ClientCredential::from_token(&Token::parse(&token)?);
    credential.save(&file)?;
    Ok(credential)
}

async fn create_token(config: &Config, role: Role, label: &str) -> Result<String> {
    let config = config.clone();
    let request = Request::Create { role, label: label.to_owned(), owner: "local".to_owned(), expires_in: None };
    // Administration has a small runtime of its own.
    let response = tokio::task::spawn_blocking(move || administer(&config, &request)).await??;
    match response {
        Response::Created { text, .. } => Ok(text),
        other => bail!("asked for a token, the manager answered {other:?}"),
    }
}
