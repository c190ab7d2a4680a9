//! `/metrics`, and what `extras/monitoring` makes of it: counts that agree with what was done, pages and rules that speak of
//! nothing else, and a real Prometheus that reads both daemons while alerts fire and clear.
#![expect(clippy::float_cmp, reason = "counts are whole, and told as such")]

mod alerts;
mod counts;
mod exposition;
mod files;
mod prometheus;

use std::path::{Path, PathBuf};

use self::exposition::Exposition;
use crate::harness::{Site, Worker, json, wait_until};

/// The configuration of a daemon that answers HTTP.
fn http() -> serde_json::Value {
    json!({"http": {"listen": "127.0.0.1:0"}})
}

/// A manager and a worker with two slots, both of which answer HTTP and are connected.
fn scene() -> (Site, Worker) {
    let site = Site::start_with(http());
    let worker = site.worker_with("one", http());
    wait_until("the worker is connected", || Exposition::scrape(worker.http()).value("worker_connected") == 1.0);
    (site, worker)
}

/// A file of `extras/monitoring`, or of the repository.
fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

fn read(name: &str) -> String {
    let path = shipped(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of metrics in a text, without what they all begin with.
fn metrics_named_in(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |char: char| char.is_ascii_alphanumeric() || char == '_';
    text.split(move |char| !is_name(char)).filter_map(|word| word.strip_prefix("task_messenger_"))
}
