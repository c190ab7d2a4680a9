//! The manager's configuration.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use task_messenger_core::limits::Limits as CoreLimits;
use task_messenger_daemon::{
    config::{ByteSize, ConfigDuration, Problem, Validate},
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

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the manager keeps everything; by default below the user's state directory.
    pub state_directory: Option<PathBuf>,
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// Its addresses as workers and clients reach them, `HOST:PORT`; they go into tokens. Empty: this machine's name and
    /// its address on the way out.
    pub advertise: Vec<String>,
    /// When something may be told.
    pub durability: Durability,
    /// An operator's certificate; by default the manager makes its own.
    pub certificate: Option<Certificate>,
    /// For how long jobs that are over are kept, with their results; `null`: for ever; `"none"`: until their client has
    /// them.
    pub retain: Option<Retain>,
    /// Leases.
    pub lease: Lease,
    /// Links.
    pub link: Link,
    /// What it accepts.
    pub limits: Limits,
    /// The journal.
    pub journal: Journal,
    /// The disk.
    pub disk: Disk,
    /// Health and metrics over HTTP; `null`: none.
    pub http: Option<HttpConfig>,
    /// Logging.
    pub log: LogConfig,
}

/// When something may be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Once it is synced.
    #[default]
    Strict,
    /// Once it is written; synced every 100 ms.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The chain, PEM.
    pub chain: PathBuf,
    /// The private key, PEM, readable by its owner alone.
    pub key: PathBuf,
    /// The name that peers verify it for. Absent: tokens carry the key's fingerprint.
    pub name: Option<String>,
}

/// Leases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lease {
    /// Silence of a worker that ends its leases.
    pub grace: ConfigDuration,
}

impl Default for Lease {
    fn default() -> Self {
        Self { grace: ConfigDuration(Duration::from_secs(30)) }
    }
}

/// Links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Link {
    /// How long a handshake may take.
    pub handshake_timeout: ConfigDuration,
    /// Silence that ends a session. Each side pings at a third of it.
    pub silence: ConfigDuration,
    /// Connections at a time.
    pub connections: usize,
    /// Handshakes at a time from one address.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// A task's payload.
    pub payload: ByteSize,
    /// What a worker may report of an attempt, captured output included.
    pub outcome: ByteSize,
    /// A message on a link.
    pub message: ByteSize,
    /// A template.
    pub template: ByteSize,
    /// Tasks that are not at an end.
    pub queue_tasks: u64,
    /// Bytes of their payloads.
    pub queue: ByteSize,
    /// Finished tasks that are kept in memory, and in the archive, before the oldest jobs go whose results were fetched, and
    /// nothing new is taken when there are none of those. Also the most tasks of one job.
    pub finished_tasks: u64,
    /// Bytes of payloads and outcomes in the archive, in the same way.
    pub finished: ByteSize,
    /// Memory for jobs, with their names and labels, and templates.
    pub descriptions: ByteSize,
    /// Idempotency keys kept.
    pub idempotency_keys: usize,
    /// Slots' worth of tasks that one worker may hold.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Journal {
    /// The size of a new store's segments.
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Disk {
    /// How much of it is kept for what must be written though the disk is full; by default a tenth of the disk, at least
    /// 32 MiB and at most 256 MiB.
    pub reserve: Option<ByteSize>,
}

/// How jobs that are over are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

    /// The file that is read when no other is named.
    pub fn default_file() -> Option<PathBuf> {
        directories::config().ok().map(|directory| directory.join(Path::new("config-manager.json")))
    }

    /// For how long jobs that are over are kept; `None`: for ever, or until their client has them.
    pub(crate) fn retain_time(&self) -> Option<Duration> {
        match self.retain {
            Some(Retain::For(time)) => Some(time.0),
            Some(Retain::None) | None => None,
        }
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
        let within = |value: u64, least: u64, most: u64| (least..=most).contains(&value);
        let listens = !self.listen.is_empty() && self.listen.len() <= 16;
        require(listens, "listen", "1 to 16 addresses are wanted, such as \"[::]:7400\"".to_owned());
        let few = self.advertise.len() <= MOST_ADDRESSES;
        require(few, "advertise", format!("at most {MOST_ADDRESSES} addresses fit into a token"));
        for (index, address) in self.advertise.iter().enumerate() {
            if let Err(message) = check_address(address) {
                require(false, &format!("advertise[{index}]"), message);
            }
        }
        let ok = self.retain_time().is_none_or(|retain| within(retain.as_millis() as u64, 1_000, 3_155_760_000_000));
        let allowed = "1s to 100years, null (for ever), or \"none\" (until their client has them) is allowed";
        require(ok, "retain", allowed.to_owned());
        let grace = self.lease.grace.0;
        let ok = within(grace.as_millis() as u64, 1_000, 86_400_000);
        require(ok, "lease.grace", "1s to 1day is allowed".to_owned());
        let heard = self.link.silence.0 / 3;
        let ok = grace > heard;
        let least = format!(
            "more than a third of link.silence ({}) is wanted: workers are heard that often",
            ConfigDuration(heard)
        );
        require(ok, "lease.grace", least);
        let ok = within(self.link.handshake_timeout.0.as_millis() as u64, 100, 300_000);
        require(ok, "link.handshake_timeout", "100ms to 5min is allowed".to_owned());
        let ok = within(self.link.silence.0.as_millis() as u64, 500, 3_600_000);
        require(ok, "link.silence", "500ms to 1h is allowed".to_owned());
        let ok = within(self.link.connections as u64, 1, 1_000_000);
        require(ok, "link.connections", "1 to 1000000 is allowed".to_owned());
        let ok = within(self.link.handshakes_per_address.into(), 1, 1_000_000);
        require(ok, "link.handshakes_per_address", "1 to 1000000 is allowed".to_owned());
        let ok = within(self.limits.payload.0, 1, 1 << 30);
        require(ok, "limits.payload", "1B to 1GiB is allowed".to_owned());
        let ok = within(self.limits.outcome.0, 1 << 10, 1 << 30);
        require(ok, "limits.outcome", "1KiB to 1GiB is allowed".to_owned());
        let ok = within(self.limits.template.0, 1 << 10, 512 << 10);
        require(ok, "limits.template", "1KiB to 512KiB is allowed".to_owned());
        let largest = self.limits.payload.0.max(self.limits.outcome.0).max(self.limits.template.0);
        let ok = within(self.limits.message.0, largest + (1 << 20), 2 << 30);
        let least = ByteSize(largest + (1 << 20));
        require(ok, "limits.message", format!("1MiB more than the largest value ({least}), up to 2GiB, is allowed"));
        let ok = within(self.limits.descriptions.0, 1 << 20, 1 << 40);
        require(ok, "limits.descriptions", "1MiB to 1TiB is allowed".to_owned());
        require(self.limits.finished_tasks > 0, "limits.finished_tasks", "at least 1 is wanted".to_owned());
        let ok = within(self.limits.finished.0, 1 << 20, 1 << 50);
        require(ok, "limits.finished", "1MiB to 1PiB is allowed".to_owned());
        require(self.limits.queue_tasks > 0, "limits.queue_tasks", "at least 1 is wanted".to_owned());
        require(self.limits.worker_window > 0, "limits.worker_window", "at least 1 is wanted".to_owned());
        let ok = self.journal.segment.0.is_multiple_of(4096) && within(self.journal.segment.0, 1 << 21, 1 << 40);
        require(ok, "journal.segment", "a multiple of 4KiB from 2MiB to 1TiB is allowed".to_owned());
        let ok = self.disk.reserve.is_none_or(|size| within(size.0, 16 << 20, 1 << 40));
        require(ok, "disk.reserve", "16MiB to 1TiB is allowed".to_owned());
        problems
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The paths with problems of a configuration with this value at this path, and all else as by default.
    fn problems(path: &str, value: &Value) -> Vec<String> {
        let mut config = serde_json::to_value(Config::default()).unwrap();
        *config.pointer_mut(&format!("/{}", path.replace('.', "/"))).unwrap() = value.clone();
        let config: Config = serde_json::from_value(config).unwrap();
        config.problems().into_iter().map(|problem| problem.path).collect()
    }

    #[test]
    fn every_limit_is_allowed_up_to_its_edges_and_not_beyond() {
        assert!(Config::default().problems().is_empty());
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
