//! Prometheus itself, as Debian ships it.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs::File,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

use super::read;
use crate::harness::{Process, get, skip, wait_until};

/// Whether it is here; if not, says so loudly.
pub(super) fn is_installed() -> bool {
    let there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let installed = there("promtool") && there("prometheus");
    if !installed {
        skip("a real Prometheus", "`promtool` and `prometheus` (Debian's package `prometheus`) are not here");
    }
    installed
}

/// What `promtool` says of something, which has to be good. It runs in this directory, with this on its standard input.
#[track_caller]
pub(super) fn promtool(directory: &Path, arguments: &[&str], input: Option<&Path>) -> String {
    let input = input.map_or_else(Stdio::null, |path| File::open(path).unwrap().into());
    let output = Command::new("promtool").args(arguments).current_dir(directory).stdin(input).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {arguments:?}: {}\n{said}", output.status);
    said
}

/// The rules that are shipped, with times for a test: a condition has to hold for no time, and what is counted over a time
/// is counted over [`RANGE`].
pub(super) fn shortened_rules() -> String {
    let mut shortened = String::new();
    for line in read("extras/monitoring/alerts.yml").lines() {
        match line.split_once("for: ") {
            Some((indent, _)) if indent.trim().is_empty() => writeln!(shortened, "{indent}for: 0s").unwrap(),
            _ => writeln!(shortened, "{}", shorten_ranges(line)).unwrap(),
        }
    }
    shortened
}

/// How far back shortened rules look.
pub(super) const RANGE: &str = "8s";

fn shorten_ranges(line: &str) -> String {
    let is_range = |text: &str| {
        text.strip_suffix(['s', 'm', 'h', 'd']).is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut parts = line.split('[');
    let mut shortened = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(']') {
            Some((range, rest)) if is_range(range) => write!(shortened, "[{RANGE}]{rest}").unwrap(),
            _ => write!(shortened, "[{part}").unwrap(),
        }
    }
    shortened
}

/// A running one. It ends when this is dropped.
pub(super) struct Prometheus {
    _process: Process,
    address: SocketAddr,
}

/// What an expression comes to at one place.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) labels: Value,
    pub(super) value: f64,
}

impl Prometheus {
    /// Starts one with the `prometheus.yml` of this directory, where it keeps its data too.
    pub(super) fn start(directory: &Path) -> Self {
        let log = directory.join("prometheus.log");
        let mut command = Command::new("prometheus");
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:0"]);
        command.current_dir(directory).stdin(Stdio::null());
        let process = Process::start("prometheus", command, &log, &log);
        let mut address = None;
        let text = || std::fs::read_to_string(&log).unwrap_or_default();
        wait_until("prometheus listens", || {
            let text = text();
            let line = text.lines().find(|line| line.contains("Listening on"));
            let word = line.and_then(|line| line.split_whitespace().find_map(|word| word.strip_prefix("address=")));
            address = word.and_then(|word| word.parse().ok());
            address.is_some()
        });
        let prometheus = Self { _process: process, address: address.unwrap() };
        wait_until("prometheus is ready", || get(prometheus.address, "/-/ready").0 == 200);
        prometheus
    }

    fn ask(&self, path: &str) -> Result<Value, String> {
        let (_, body) = get(self.address, path);
        let answer: Value = serde_json::from_str(&body).map_err(|error| format!("{path}: {error}: {body}"))?;
        if answer["status"] == "success" { Ok(answer["data"].clone()) } else { Err(format!("{path}: {answer}")) }
    }

    /// What an expression comes to now.
    pub(super) fn query(&self, expression: &str) -> Result<Vec<Found>, String> {
        let data = self.ask(&format!("/api/v1/query?query={}", encoded(expression)))?;
        let found = |found: &Value| Found {
            labels: found["metric"].clone(),
            value: found["value"][1].as_str().unwrap().parse().unwrap(),
        };
        Ok(data["result"].as_array().ok_or("no vector")?.iter().map(found).collect())
    }

    /// The sum of what an expression comes to, if it is anything.
    #[track_caller]
    pub(super) fn value(&self, expression: &str) -> Option<f64> {
        let found = self.query(expression).unwrap();
        (!found.is_empty()).then(|| found.iter().map(|found| found.value).sum())
    }

    /// Jobs of targets and how they are.
    #[track_caller]
    pub(super) fn targets(&self) -> Vec<(String, String)> {
        let data = self.ask("/api/v1/targets").unwrap();
        let target = |target: &Value| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (text(&target["labels"]["job"]), text(&target["health"]))
        };
        data["activeTargets"].as_array().unwrap().iter().map(target).collect()
    }

    /// All rules.
    #[track_caller]
    pub(super) fn rules(&self) -> Vec<Value> {
        let data = self.ask("/api/v1/rules").unwrap();
        let groups = data["groups"].as_array().unwrap();
        groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
    }

    /// The alerts that fire, whose texts are whole.
    #[track_caller]
    pub(super) fn firing(&self) -> Vec<Value> {
        let data = self.ask("/api/v1/alerts").unwrap();
        let alerts = data["alerts"].as_array().unwrap();
        for alert in alerts {
            let texts = alert["annotations"].to_string();
            assert!(!texts.contains("<error") && !texts.contains("<no value>"), "{alert}");
        }
        alerts.iter().filter(|alert| alert["state"] == "firing").cloned().collect()
    }

    /// Waits until an alert has fired, be it over or not.
    #[track_caller]
    pub(super) fn wait_for_alert(&self, name: &str) {
        let expression = format!("count_over_time(ALERTS{{alertname=\"{name}\", alertstate=\"firing\"}}[1h])");
        wait_until(&format!("{name} has fired"), || self.value(&expression).is_some());
    }

    /// Waits until nothing fires.
    #[track_caller]
    pub(super) fn wait_for_silence(&self) {
        let mut told = String::new();
        wait_until("no alert fires but those told above", || {
            let firing = self.firing();
            let names = firing.iter().filter_map(|alert| alert["labels"]["alertname"].as_str());
            let names: Vec<&str> = names.collect::<BTreeSet<_>>().into_iter().collect();
            if told != names.join(", ") {
                told = names.join(", ");
                println!("firing: {told}");
            }
            names.is_empty()
        });
    }
}

/// As in a query's URL.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => encoded.push(char::from(byte)),
            _ => write!(encoded, "%{byte:02X}").unwrap(),
        }
        encoded
    })
}
