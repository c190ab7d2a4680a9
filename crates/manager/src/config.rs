//! The manager's configuration.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::owner::Bounds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use task_messenger_core::limits::Limits as CoreLimits;
use task_messenger_daemon::{
    config::{Allowed, ByteSize, ConfigDuration, Configuration, Problem, Validate, is_reloadable},
    directories,
    http::HttpConfig,
    logging::LogConfig,
};
use task_messenger_protocol::token::{MOST_ADDRESSES, check_address};
use task_messenger_store::journal::{Durability as StoreDurability, Options};

/// The port on which a manager listens when nothing else is said.
pub const PORT: u16 = 7400;

/// The port for HTTP when nothing else is said.
const HTTP_PORT: u16 = 7480;

/// Tasks of jobs that are over and wait for the archive, before nothing new is taken: about 200 MB of memory.
const ARCHIVE_LAG: u64 = 4_000_000;

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The directory where the manager keeps everything: its journal, its archive, its certificate. Flag: `--state-dir`.
    #[schemars(extend("x-wanted" = "a path", "x-default" = "`task-messenger/manager` in the user's state directory"))]
    pub state_directory: Option<PathBuf>,
    /// Where it listens for workers and clients; `[::]` takes IPv4 too. Flag: `--listen`.
    #[schemars(extend("x-wanted" = "an IP address and port such as \"[::]:7400\""), transform = Allowed::entries(1, 16))]
    pub listen: Vec<SocketAddr>,
    /// Its addresses as workers and clients reach them; they go into tokens. Empty: this machine's name and its address on
    /// the way out.
    #[schemars(extend("x-wanted" = "HOST:PORT"), transform = Allowed::entries(0, MOST_ADDRESSES))]
    pub advertise: Vec<String>,
    /// When the manager may tell anybody of something that it was given or that happened.
    pub durability: Durability,
    /// An operator's certificate. By default the manager makes its own, which tokens carry the fingerprint of.
    pub certificate: Option<Certificate>,
    /// For how long jobs that are over are kept, with their results; `null`: for ever. At a reload it changes from one
    /// duration, or `null`, to another; to and from `"none"` it changes at a restart.
    #[schemars(transform = Allowed::times(Duration::from_secs(1), DAY * 36_525))]
    pub retain: Option<Retain>,
    /// Leases: each is one hand-out of a task to a worker.
    pub lease: Lease,
    /// Links: the connections of workers and clients.
    pub link: Link,
    /// What it accepts and keeps. What exceeds a limit is refused with an error that names it.
    pub limits: Limits,
    /// The journal, where everything is written that must last.
    pub journal: Journal,
    /// The disk of the state directory.
    pub disk: Disk,
    /// Health and metrics over HTTP; `null`: none.
    pub http: Option<HttpConfig>,
    /// What is logged, and how.
    pub log: LogConfig,
}

/// When something may be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Once it is synced: neither `kill -9` nor a power cut loses what was told.
    #[default]
    Strict,
    /// Once it is written; it is synced every 100 ms: `kill -9` loses nothing that was told, a power cut at most that.
    Interval,
    /// At once; never synced, but for identities and number ranges.
    None,
}

impl Durability {
    /// As written in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Interval => "interval",
            Self::None => "none",
        }
    }

    fn store(self) -> StoreDurability {
        match self {
            Self::Strict => StoreDurability::Strict,
            Self::Interval => StoreDurability::Interval,
            Self::None => StoreDurability::None,
        }
    }
}

/// An operator's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The file of the chain, in PEM, the manager's own certificate first.
    #[schemars(extend("x-wanted" = "a path"))]
    pub chain: PathBuf,
    /// The file of the private key, in PEM, readable by its owner alone.
    #[schemars(extend("x-wanted" = "a path"))]
    pub key: PathBuf,
    /// The name that peers verify it for, by their machines' authorities. Absent or `null`: tokens carry the key's
    /// fingerprint.
    pub name: Option<String>,
}

/// Leases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Lease {
    /// Silence of a worker that ends its leases: its tasks are queued again. More than a third of `link.silence`.
    #[schemars(transform = Allowed::times(Duration::from_secs(1), DAY))]
    pub grace: ConfigDuration,
}

impl Default for Lease {
    fn default() -> Self {
        Self { grace: ConfigDuration(Duration::from_secs(30)) }
    }
}

/// Links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Link {
    /// How long a handshake may take, TLS and the first messages.
    #[schemars(transform = Allowed::times(Duration::from_millis(100), MINUTE * 5))]
    pub handshake_timeout: ConfigDuration,
    /// Silence that ends a session. Each side pings at a third of it.
    #[schemars(transform = Allowed::times(Duration::from_millis(500), MINUTE * 60))]
    pub silence: ConfigDuration,
    /// Connections at a time.
    #[schemars(transform = Allowed::numbers(1, 1_000_000))]
    pub connections: usize,
    /// Handshakes at a time from one address.
    #[schemars(transform = Allowed::numbers(1, 1_000_000))]
    pub handshakes_per_address: u32,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            handshake_timeout: ConfigDuration(Duration::from_secs(10)),
            silence: ConfigDuration(Duration::from_secs(15)),
            connections: 10_000,
            handshakes_per_address: 256,
        }
    }
}

/// What the manager accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The most bytes of a task's payload.
    #[schemars(transform = Allowed::sizes(1, 1 << 30))]
    pub payload: ByteSize,
    /// The most bytes that a worker may report of an attempt, captured output included.
    #[schemars(transform = Allowed::sizes(1 << 10, 1 << 30))]
    pub outcome: ByteSize,
    /// The most bytes of a message on a link: at least 1MiB more than `limits.payload`, `limits.outcome` and
    /// `limits.template` each.
    #[schemars(transform = Allowed::sizes((1 << 20) + (1 << 10), 2 << 30))]
    pub message: ByteSize,
    /// The most bytes of a template: everything that many tasks share.
    #[schemars(transform = Allowed::sizes(1 << 10, 512 << 10))]
    pub template: ByteSize,
    /// The most tasks that are not at an end.
    #[schemars(transform = Allowed::numbers(1, u64::MAX))]
    pub queue_tasks: u64,
    /// The most bytes of their payloads.
    pub queue: ByteSize,
    /// Finished tasks that are kept in memory, and in the archive, before the oldest jobs go whose results were fetched, and
    /// nothing new is taken when there are none of those. Also the most tasks of one job.
    #[schemars(transform = Allowed::numbers(1, u64::MAX))]
    pub finished_tasks: u64,
    /// Bytes of payloads and outcomes in the archive, in the same way.
    #[schemars(transform = Allowed::sizes(1 << 20, 1 << 50))]
    pub finished: ByteSize,
    /// The most bytes of memory for jobs, with their names and labels, and templates: about 400 bytes for a job, 256 for a
    /// template, and their words.
    #[schemars(transform = Allowed::sizes(1 << 20, 1 << 40))]
    pub descriptions: ByteSize,
    /// The most idempotency keys that are kept; each is kept for 24 hours.
    pub idempotency_keys: usize,
    /// The most slots' worth of tasks that one worker may hold.
    #[schemars(transform = Allowed::numbers(1, u32::MAX as u64))]
    pub worker_window: u32,
}

impl Default for Limits {
    fn default() -> Self {
        let core = CoreLimits::default();
        Self {
            payload: ByteSize(16 << 20),
            outcome: ByteSize(16 << 20),
            message: ByteSize(32 << 20),
            template: ByteSize(256 << 10),
            queue_tasks: core.open_tasks,
            queue: ByteSize(core.open_bytes),
            finished_tasks: 10_000_000,
            finished: ByteSize(64 << 30),
            descriptions: ByteSize(core.descriptions),
            idempotency_keys: core.idempotency_keys,
            worker_window: core.window,
        }
    }
}

/// The journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Journal {
    /// The size of a new store's segments, a multiple of 4KiB.
    #[schemars(transform = Allowed::sizes(2 << 20, 1 << 40))]
    pub segment: ByteSize,
    /// How much of what was written last stays in memory, so that payloads and outcomes need not be read back.
    pub memory: ByteSize,
}

impl Default for Journal {
    fn default() -> Self {
        Self { segment: ByteSize(64 << 20), memory: ByteSize(64 << 20) }
    }
}

/// The disk of the state directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Disk {
    /// How much of it is kept for what must be written though the disk is full: with less room, new tasks are refused.
    #[schemars(
        extend("x-default" = "a tenth of the disk, at least 32MiB and at most 256MiB"),
        transform = Allowed::sizes(16 << 20, 1 << 40)
    )]
    pub reserve: Option<ByteSize>,
}

/// How jobs that are over are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Retain {
    /// Until their client has acknowledged that it has all results.
    #[serde(rename = "none")]
    None,
    /// For so long.
    #[serde(untagged)]
    For(ConfigDuration),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_directory: None,
            listen: vec![SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, PORT))],
            advertise: Vec::new(),
            durability: Durability::default(),
            certificate: None,
            retain: Some(Retain::For(ConfigDuration(Duration::from_hours(7 * 24)))),
            lease: Lease::default(),
            link: Link::default(),
            limits: Limits::default(),
            journal: Journal::default(),
            disk: Disk::default(),
            http: Some(HttpConfig::at(HTTP_PORT)),
            log: LogConfig::default(),
        }
    }
}

impl Config {
    /// Where the manager keeps everything.
    pub fn state_directory(&self) -> Result<PathBuf, directories::NoHome> {
        match &self.state_directory {
            Some(directory) => Ok(directory.clone()),
            None => directories::state("manager"),
        }
    }

    /// For how long jobs that are over are kept; `None`: for ever, or until their client has them.
    pub(crate) fn retain_time(&self) -> Option<Duration> {
        match self.retain {
            Some(Retain::For(time)) => Some(time.0),
            Some(Retain::None) | None => None,
        }
    }

    /// What is kept in the archive.
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds { retain: self.retain_time(), tasks: self.limits.finished_tasks, bytes: self.limits.finished.0 }
    }

    pub(crate) fn core_limits(&self) -> CoreLimits {
        CoreLimits {
            open_tasks: self.limits.queue_tasks,
            open_bytes: self.limits.queue.0,
            retain: self.retain_time(),
            forget_fetched: self.retain == Some(Retain::None),
            finished_tasks: self.limits.finished_tasks,
            archive_lag: Some(ARCHIVE_LAG),
            descriptions: self.limits.descriptions.0,
            idempotency_keys: self.limits.idempotency_keys,
            window: self.limits.worker_window,
            lease_grace: self.lease.grace.0,
            probe: self.link.silence.0.min(CoreLimits::default().probe),
            ..CoreLimits::default()
        }
    }

    pub(crate) fn store_options(&self) -> Options {
        Options {
            segment_bytes: self.journal.segment.0,
            cache_bytes: usize::try_from(self.journal.memory.0).unwrap_or(usize::MAX),
            durability: self.durability.store(),
            reserve_bytes: self.disk.reserve.map(|size| size.0),
        }
    }
}

impl Configuration for Config {
    const COMPONENT: &'static str = "manager";
    const RELOADABLE: &'static [&'static str] = &[
        "log.level",
        "retain",
        "lease.grace",
        "link.connections",
        "link.handshakes_per_address",
        "limits.queue_tasks",
        "limits.queue",
        "limits.finished_tasks",
        "limits.finished",
        "limits.descriptions",
        "limits.idempotency_keys",
        "limits.worker_window",
    ];

    fn takes(&self, new: &Self, path: &str) -> bool {
        // Without an archive nothing goes there, and what is in one is not brought back.
        let changes_kind = (self.retain == Some(Retain::None)) != (new.retain == Some(Retain::None));
        is_reloadable::<Self>(path) && !(path == "retain" && changes_kind)
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<Problem> {
        let below = |part: Vec<Problem>, key| part.into_iter().map(move |problem| problem.below(key));
        let mut problems: Vec<Problem> = below(self.log.problems(), "log").collect();
        problems.extend(below(self.http.as_ref().map(Validate::problems).unwrap_or_default(), "http"));
        let mut require = |ok: bool, path: &str, message: String| {
            if !ok {
                problems.push(Problem::new(path, message));
            }
        };
        for (index, address) in self.advertise.iter().enumerate() {
            if let Err(message) = check_address(address) {
                require(false, &format!("advertise[{index}]"), message);
            }
        }
        let heard = self.link.silence.0 / 3;
        let least = format!(
            "{} is not allowed; more than a third of link.silence ({}) is wanted: workers are heard that often",
            self.lease.grace,
            ConfigDuration(heard)
        );
        require(self.lease.grace.0 > heard, "lease.grace", least);
        let largest = self.limits.payload.0.max(self.limits.outcome.0).max(self.limits.template.0);
        let least = ByteSize(largest + (1 << 20));
        let message = self.limits.message;
        let wanted = format!("{message} is not allowed; 1MiB more than the largest value ({least}) to 2GiB is wanted");
        require(message >= least, "limits.message", wanted);
        let segment = self.journal.segment;
        let wanted = format!("{segment} is not allowed; a multiple of 4KiB is wanted");
        require(segment.0.is_multiple_of(4096), "journal.segment", wanted);
        problems
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use task_messenger_daemon::config::check;

    use super::*;

    /// The paths with problems of a configuration with this value at this path, and all else as by default.
    fn problems(path: &str, value: &Value) -> Vec<String> {
        let mut config = serde_json::to_value(Config::default()).unwrap();
        *config.pointer_mut(&format!("/{}", path.replace('.', "/"))).unwrap() = value.clone();
        let config: Config = serde_json::from_value(config).unwrap();
        check(&config).unwrap().into_iter().map(|problem| problem.path).collect()
    }

    #[test]
    fn every_limit_is_allowed_up_to_its_edges_and_not_beyond() {
        assert_eq!(check(&Config::default()).unwrap(), []);
        let cases = [
            ("lease.grace", json!("6s"), json!("1day"), json!("999ms"), json!("86400001ms")),
            ("link.handshake_timeout", json!("100ms"), json!("5min"), json!("99ms"), json!("300001ms")),
            ("link.silence", json!("500ms"), json!("89s"), json!("499ms"), json!("3600001ms")),
            ("link.connections", json!(1), json!(1_000_000), json!(0), json!(1_000_001)),
            ("link.handshakes_per_address", json!(1), json!(1_000_000), json!(0), json!(1_000_001)),
            ("limits.payload", json!("1B"), json!("31MiB"), json!("0B"), json!("1073741825B")),
            ("limits.outcome", json!("1KiB"), json!("31MiB"), json!("1023B"), json!("1073741825B")),
            ("limits.template", json!("1KiB"), json!("512KiB"), json!("1023B"), json!("524289B")),
            ("limits.message", json!("17MiB"), json!("2GiB"), json!("17825791B"), json!("2147483649B")),
            ("limits.descriptions", json!("1MiB"), json!("1TiB"), json!("1048575B"), json!("1099511627777B")),
            ("limits.finished_tasks", json!(1), json!(u64::MAX), json!(0), json!(0)),
            ("limits.finished", json!("1MiB"), json!("1024TiB"), json!("1048575B"), json!("1025TiB")),
            ("limits.queue_tasks", json!(1), json!(u64::MAX), json!(0), json!(0)),
            ("limits.worker_window", json!(1), json!(u32::MAX), json!(0), json!(0)),
            ("journal.segment", json!("2MiB"), json!("1TiB"), json!("2093056B"), json!("2097153B")),
            ("disk.reserve", json!("16MiB"), json!("1TiB"), json!("16777215B"), json!("1099511627777B")),
        ];
        for (path, least, most, below, above) in cases {
            for value in [&least, &most] {
                assert_eq!(problems(path, value), [""; 0], "{path} = {value}");
            }
            for value in [&below, &above] {
                assert!(problems(path, value).iter().any(|found| found == path), "{path} = {value}");
            }
        }
    }
}
