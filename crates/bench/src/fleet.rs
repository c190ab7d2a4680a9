//! A manager and workers as processes of their own, on loopback, with a state directory each.

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use task_messenger_client::ClientCredential;
use task_messenger_core::record::Role;
use task_messenger_daemon::http::HttpConfig;
use task_messenger_manager::{
    config::{Config, Durability},
    offline::{Request, Response, administer},
    state::read_listening,
};
use task_messenger_protocol::token::Token;

use crate::process::{Daemon, run_once};

/// How long a manager may take to be ready.
const READY: Duration = Duration::from_mins(1);

/// A manager and workers.
pub(crate) struct Fleet {
    directory: PathBuf,
    config: Config,
    manager: Daemon,
    workers: Vec<Daemon>,
    credential: PathBuf,
    http: SocketAddr,
}

/// What a fleet has done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// How often its workers ran a task, where it can be told.
    pub(crate) runs: Option<u64>,
}

impl Fleet {
    /// Starts a manager in `directory`, and `workers` workers. `memory` bytes of what was written last stay in memory.
    pub(crate) async fn start(
        directory: &Path,
        durability: Durability,
        memory: Option<u64>,
        workers: usize,
    ) -> Result<Self> {
        let state = directory.join("manager");
        std::fs::create_dir_all(&state).with_context(|| format!("{} can't be made", state.display()))?;
        let mut config = Config { state_directory: Some(state.clone()), durability, ..Config::default() };
        config.listen = vec![([127, 0, 0, 1], 0).into()];
        // As by default, but for the port: another one may have that.
        let http = free_port()?;
        config.http = Some(HttpConfig { listen: http, ..HttpConfig::default() });
        "warn".clone_into(&mut config.log.level);
        if let Some(memory) = memory {
            config.journal.memory.0 = memory;
        }
        std::fs::write(directory.join("manager.json"), serde_json::to_vec_pretty(&config)?)?;
        // Several workers on one machine can't have the same port.
        std::fs::write(directory.join("worker.json"), r#"{"http": null}"#)?;
        let manager = start_manager(directory).await?;
        let token = Token::parse(&create_token(&config, Role::Admin).await?)?;
        let credential = directory.join("client.json");
        ClientCredential::from_token(&token).save(&credential)?;
        let mut fleet =
            Self { directory: directory.to_owned(), config, manager, workers: Vec::new(), credential, http };
        for _ in 0..workers {
            fleet.add_worker().await?;
        }
        Ok(fleet)
    }

    /// Starts one more worker.
    pub(crate) async fn add_worker(&mut self) -> Result<()> {
        let name = format!("worker-{}", self.workers.len() + 1);
        let state = self.directory.join(&name);
        let file = self.directory.join("worker.json");
        let token = create_token(&self.config, Role::Worker).await?;
        let arguments = |words: &[&str]| {
            let mut arguments: Vec<OsString> = vec!["worker".into(), self.count_file(&name).into()];
            arguments.extend(words.iter().map(OsString::from));
            arguments.extend(["--config".into(), file.clone().into(), "--state-dir".into(), state.clone().into()]);
            arguments
        };
        let join = arguments(&["join", "-", "--name", &name]);
        run_once(&name, &self.directory, join, &token).await?;
        self.workers.push(Daemon::start(&name, &self.directory, arguments(&["run"]))?);
        Ok(())
    }

    /// What a client logs in with.
    pub(crate) fn credential(&self) -> &Path {
        &self.credential
    }

    /// Where the manager answers HTTP.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// The workers.
    pub(crate) fn workers(&self) -> &[Daemon] {
        &self.workers
    }

    /// The manager.
    pub(crate) fn manager(&self) -> &Daemon {
        &self.manager
    }

    /// Kills the manager and starts it again; how long that took it.
    pub(crate) async fn kill_and_start_manager(&mut self) -> Result<Duration> {
        self.manager.kill().await?;
        std::fs::remove_file(self.directory.join("manager/listening.json"))?;
        let start = Instant::now();
        self.manager = start_manager(&self.directory).await?;
        Ok(start.elapsed())
    }

    /// Stops the workers, then the manager, and removes what they kept.
    pub(crate) async fn stop(self) -> Result<Work> {
        let mut runs = cfg!(unix).then_some(0);
        for worker in self.workers {
            let file = count_file(&self.directory, worker.name());
            worker.stop().await?;
            if let Some(runs) = &mut runs {
                let text = std::fs::read_to_string(&file);
                *runs += text.with_context(|| format!("{} can't be read", file.display()))?.trim().parse::<u64>()?;
            }
        }
        self.manager.stop().await?;
        std::fs::remove_dir_all(&self.directory)?;
        Ok(Work { runs })
    }

    fn count_file(&self, worker: &str) -> PathBuf {
        count_file(&self.directory, worker)
    }
}

impl Work {
    /// An error if something was run more often than it was submitted.
    pub(crate) fn check(self, tasks: u64) -> Result<()> {
        let runs = self.runs.unwrap_or(tasks);
        ensure!(runs == tasks, "{tasks} tasks were run {runs} times");
        Ok(())
    }
}

/// An address whose port nobody has just now.
fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr())?)
}

fn count_file(directory: &Path, worker: &str) -> PathBuf {
    directory.join(format!("{worker}.runs"))
}

async fn start_manager(directory: &Path) -> Result<Daemon> {
    let file = directory.join("manager.json");
    let arguments: [OsString; 4] = ["manager".into(), "run".into(), "--config".into(), file.into()];
    let mut manager = Daemon::start("manager", directory, arguments.into())?;
    wait_until_ready(&mut manager, &directory.join("manager")).await?;
    Ok(manager)
}

async fn wait_until_ready(manager: &mut Daemon, state: &Path) -> Result<()> {
    let start = Instant::now();
    let mut turn = tokio::time::interval(Duration::from_millis(5));
    while read_listening(state).is_err() {
        turn.tick().await;
        manager.check()?;
        if start.elapsed() > READY {
            bail!("the manager is not ready after {} s", READY.as_secs());
        }
    }
    Ok(())
}

async fn create_token(config: &Config, role: Role) -> Result<String> {
    let config = config.clone();
    let request = Request::Create { role, label: "bench".to_owned(), owner: "bench".to_owned(), expires_in: None };
    // Administration has a small runtime of its own.
    match tokio::task::spawn_blocking(move || administer(&config, &request)).await?? {
        Response::Created { text, .. } => Ok(text),
        other => bail!("asked for a token, the manager answered {other:?}"),
    }
}
