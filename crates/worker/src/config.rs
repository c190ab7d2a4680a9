//! The worker's configuration.

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use task_messenger_daemon::{
    config::{Allowed, ByteSize, ConfigDuration, Configuration, Problem, Validate},
    directories,
    http::{HttpConfig, HttpTls},
    logging::LogConfig,
};
use task_messenger_protocol::{template::MOST_SLOTS, token::check_address};

/// The port for HTTP when nothing else is said.
const HTTP_PORT: u16 = 7481;
/// The longest name, in bytes.
const LONGEST_NAME: usize = 255;
/// The most that is prefetched.
const MOST_PREFETCH: u32 = 1 << 20;

const DAY: Duration = Duration::from_hours(24);

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerConfig {
    /// The directory where the worker keeps its identity, its outbox and its tasks' scratch directories. One worker a
    /// directory. Flag: `--state-dir`.
    #[schemars(extend("x-wanted" = "a path", "x-default" = "`task-messenger/worker` in the user's state directory"))]
    pub state_directory: PathBuf,
    /// The file of the worker's identity, which `join` writes.
    #[schemars(extend("x-wanted" = "a path", "x-default" = "`worker.credential` in the state directory"))]
    pub credential_file: Option<PathBuf>,
    /// How many slots it has: so many tasks run at a time. Flag: `--slots`.
    #[schemars(
        extend("x-default" = "as many as the machine has processors"),
        transform = Allowed::numbers(1, MOST_SLOTS as u64)
    )]
    pub slots: u32,
    /// What people call it; empty: what it was called when it joined, which is the machine's name unless given.
    #[schemars(transform = Allowed::length(LONGEST_NAME))]
    pub name: String,
    /// Which kinds of task it accepts; at least one.
    pub kinds: Kinds,
    /// What its tasks may bring forth.
    pub limits: Limits,
    /// How it stops.
    pub shutdown: ShutdownConfig,
    /// How long a program that is asked to end (a timeout, a cancel, a stop) may take before it is killed. On Windows it is
    /// ended at once, as nothing there asks programs to end.
    #[schemars(transform = Allowed::times(Duration::ZERO, DAY))]
    pub kill_after: ConfigDuration,
    /// How far ahead it asks for tasks.
    pub prefetch: Prefetch,
    /// Outcomes that the manager has not taken.
    pub outbox: OutboxConfig,
    /// Where the manager is; several addresses of one manager are tried in turn. Empty: where the credential says.
    #[schemars(extend("x-wanted" = "HOST:PORT"))]
    pub managers: Vec<String>,
    /// A file with a join token: a worker that has not joined enrols with it when it starts.
    #[schemars(extend("x-wanted" = "a path"))]
    pub join_token_file: Option<PathBuf>,
    /// Health and metrics over HTTP; `null`: none.
    pub http: Option<HttpConfig>,
    /// What is logged, and how.
    pub log: LogConfig,
}

/// Which kinds of task a worker accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Kinds {
    /// Whether it runs programs of this machine.
    pub command: bool,
    /// Whether it calls functions that are linked into the worker.
    pub skill: bool,
}

/// Limits of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// How much of each of a command's outputs is kept (its end), and how long a skill's output may be.
    #[schemars(transform = Allowed::sizes(1 << 10, 256 << 20))]
    pub output: ByteSize,
}

/// How a worker stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// How long running tasks may go on; then they are ended, and run elsewhere.
    #[schemars(transform = Allowed::times(Duration::ZERO, DAY))]
    pub grace: ConfigDuration,
}

/// How far ahead a worker asks for tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Prefetch {
    /// The most slots' worth of tasks beyond the slots. Less is asked for when tasks take long.
    #[schemars(transform = Allowed::numbers(0, MOST_PREFETCH as u64))]
    pub most: u32,
}

/// How much waits for the manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OutboxConfig {
    /// When outcomes take this much memory, the worker takes no new tasks.
    #[schemars(transform = Allowed::sizes(1 << 20, 1 << 40))]
    pub bytes: ByteSize,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            // Without a home directory it has to be given: then it is empty, which is a problem that is reported.
            state_directory: directories::state("worker").unwrap_or_default(),
            credential_file: None,
            slots: std::thread::available_parallelism().map_or(1, |count| count.get() as u32).min(MOST_SLOTS),
            name: String::new(),
            kinds: Kinds::default(),
            limits: Limits::default(),
            shutdown: ShutdownConfig::default(),
            kill_after: ConfigDuration(Duration::from_secs(5)),
            prefetch: Prefetch::default(),
            outbox: OutboxConfig::default(),
            managers: Vec::new(),
            join_token_file: None,
            http: Some(HttpConfig::at(HTTP_PORT)),
            log: LogConfig::default(),
        }
    }
}

impl Default for Kinds {
    fn default() -> Self {
        Self { command: true, skill: true }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { output: ByteSize(1 << 20) }
    }
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { grace: ConfigDuration(Duration::from_mins(1)) }
    }
}

impl Default for Prefetch {
    fn default() -> Self {
        Self { most: 4096 }
    }
}

impl Default for OutboxConfig {
    fn default() -> Self {
        Self { bytes: ByteSize(64 << 20) }
    }
}

impl WorkerConfig {
    /// What it is called when it joins.
    pub fn joining_name(&self) -> String {
        if self.name.is_empty() { host_name() } else { self.name.clone() }
    }

    /// The credential's file, which `join` writes.
    pub fn credential_path(&self) -> PathBuf {
        self.credential_file.clone().unwrap_or_else(|| self.state_directory.join("worker.credential"))
    }
}

impl Configuration for WorkerConfig {
    const COMPONENT: &'static str = "worker";
    const RELOADABLE: &'static [&'static str] = &[
        "log.level",
        "slots",
        "name",
        "limits.output",
        "shutdown.grace",
        "kill_after",
        "prefetch.most",
        "outbox.bytes",
        "managers",
    ];
}

impl Validate for WorkerConfig {
    fn problems(&self) -> Vec<Problem> {
        let below = |part: Vec<Problem>, key| part.into_iter().map(move |problem| problem.below(key));
        let mut problems: Vec<_> = below(self.log.problems(), "log").collect();
        problems.extend(below(self.http.as_ref().map(Validate::problems).unwrap_or_default(), "http"));
        let mut check = |fine: bool, path: &str, message: String| {
            if !fine {
                problems.push(Problem::new(path, message));
            }
        };
        let own = self.http.as_ref().is_some_and(|http| http.tls == Some(HttpTls::Own));
        check(
            !own,
            "http.tls",
            "a worker has no certificate of its own: null, or chain and key are allowed".to_owned(),
        );
        let directory = &self.state_directory;
        let missing = "there is no home directory (HOME is not set): name the directory";
        check(!directory.as_os_str().is_empty(), "state_directory", missing.to_owned());
        check(self.kinds.command || self.kinds.skill, "kinds", "a worker accepts at least one kind of task".to_owned());
        for (at, address) in self.managers.iter().enumerate() {
            if let Err(what) = check_address(address) {
                check(false, &format!("managers[{at}]"), what);
            }
        }
        problems
    }
}

#[cfg(unix)]
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "worker".to_owned())
}

#[cfg(test)]
mod tests {
    use task_messenger_daemon::config::{ConfigError, Sources, load};

    use super::*;

    #[test]
    fn the_defaults_hold_and_what_is_not_allowed_is_named() {
        let home = WorkerConfig { state_directory: "/state".into(), ..WorkerConfig::default() };
        assert_eq!(home.problems(), []);
        assert!(home.slots >= 1 && !home.joining_name().is_empty());

        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.json");
        let content = r#"{"state_directory": "/s", "slots": 0, "name": "a\nb", "kinds": {"command": false, "skill": false},
            "limits": {"output": "1B"}, "outbox": {"bytes": "1B"}, "managers": ["a:1", "b"], "kill_after": "2days",
            "shutdown": {"grace": "2days"}, "prefetch": {"most": 9999999}, "log": {"level": "loud"}}"#;
        std::fs::write(&file, content).unwrap();
        let sources = Sources { file: Some(file), ..Sources::default() };
        let Err(ConfigError::Wrong { reports }) = load::<WorkerConfig>(&sources) else { panic!("it is accepted") };
        let paths: Vec<_> = reports.iter().map(|report| report.problem.path.as_str()).collect();
        let expected = [
            "slots",
            "name",
            "limits.output",
            "outbox.bytes",
            "kill_after",
            "shutdown.grace",
            "prefetch.most",
            "log.level",
            "kinds",
            "managers[1]",
        ];
        assert_eq!(paths, expected);
    }
}
