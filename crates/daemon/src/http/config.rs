//! Where the HTTP side listens, and what it accepts.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::host::is_name;
use crate::config::{Allowed, ConfigDuration, Problem, Validate};

/// The HTTP side: health and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Where it listens. Any address but the machine's own (`127.0.0.1`, `[::1]`) needs `tls` or `insecure`.
    #[schemars(extend("x-wanted" = "an IP address and port such as \"127.0.0.1:7480\""))]
    pub listen: SocketAddr,
    /// Encryption: `null` (none), `"own"` (the certificate that the manager shows on its links), or a certificate of its own.
    pub tls: Option<HttpTls>,
    /// Allows others to read it without encryption. It is warned of at every start.
    pub insecure: bool,
    /// Names by which browsers and scrapers may address it, besides IP addresses and `localhost`. Others are refused, so that
    /// no web page can reach it by a name of its own (DNS rebinding).
    #[schemars(extend("x-wanted" = "a host's name without a port"), transform = Allowed::entries(0, 64))]
    pub hosts: Vec<String>,
    /// Connections at a time. More are closed at once.
    #[schemars(transform = Allowed::numbers(1, 65_536))]
    pub connections: usize,
    /// How long a request's head may take to come, also the next one of an idle connection, and how long an answer may take.
    #[schemars(transform = Allowed::times(Duration::from_millis(100), Duration::from_mins(5)))]
    pub timeout: ConfigDuration,
}

/// Which certificate the HTTP side shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HttpTls {
    /// The one that the manager shows on its links.
    #[serde(rename = "own")]
    Own,
    /// One of its own.
    #[serde(untagged)]
    Files(HttpCertificate),
}

/// A certificate for the HTTP side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpCertificate {
    /// The chain, PEM.
    #[schemars(extend("x-wanted" = "a path"))]
    pub chain: PathBuf,
    /// The private key, PEM, readable by its owner alone.
    #[schemars(extend("x-wanted" = "a path"))]
    pub key: PathBuf,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            tls: None,
            insecure: false,
            hosts: Vec::new(),
            connections: 1_024,
            timeout: ConfigDuration(Duration::from_secs(10)),
        }
    }
}

impl HttpConfig {
    /// On loopback, by default.
    pub fn at(port: u16) -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, port).into(), ..Self::default() }
    }

    /// Whether others can read it, unencrypted.
    pub(super) fn is_open(&self) -> bool {
        !self.listen.ip().to_canonical().is_loopback() && self.tls.is_none()
    }
}

impl Validate for HttpConfig {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut check = |fine: bool, path: &str, message: &str| {
            if !fine {
                problems.push(Problem::new(path, message));
            }
        };
        let text = "others could read what is said there: set http.tls, or http.insecure to allow it, or listen on \
                    127.0.0.1 or [::1]";
        check(!self.is_open() || self.insecure, "listen", text);
        for (at, name) in self.hosts.iter().enumerate() {
            check(
                is_name(name),
                &format!("hosts[{at}]"),
                "a host's name is wanted, without a port, such as \"rack7.example\"",
            );
        }
        problems
    }
}
