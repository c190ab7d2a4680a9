//! What the tests stand on: processes that end with their test, files that explain a failure, and waiting with a deadline.

mod held;
mod http;
mod invocation;
mod notify;
mod process;
mod proxy;
mod site;
mod small_disk;

use std::{
    io::Write,
    time::{Duration, Instant},
};

pub(crate) use self::{
    held::{Held, Start},
    http::{get, get_with},
    invocation::{Ended, Invocation},
    notify::NotifySocket,
    process::{Process, program},
    proxy::Proxy,
    site::{Site, Worker, json},
    small_disk::SmallDisk,
};
pub(crate) use rustix::process::Signal;

/// How long anything may take. Only failures wait that long, so it is generous.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// How often a condition is looked at.
const TURN: Duration = Duration::from_millis(10);

/// Waits until a condition holds; fails with `what` if that takes too long.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "not so after {} s: {what}", DEADLINE.as_secs());
        std::thread::sleep(TURN);
    }
}

/// The same for something that is asked over a link.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < deadline, "not so after {} s: {what}", DEADLINE.as_secs());
        tokio::time::sleep(TURN).await;
    }
}

/// Says loudly that something is not tested here, past the capture of the tests' output. `.ci/run` fails when it is said.
pub(crate) fn skip(what: &str, reason: &str) {
    std::io::stderr().write_all(format!("SKIPPED: {what}, because {}\n", reason.trim()).as_bytes()).unwrap();
}

/// An error and its causes in one text.
pub(crate) fn said(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A random number below a limit.
pub(crate) fn random(below: u64) -> u64 {
    let bytes = task_messenger_protocol::secret::random_bytes().unwrap();
    u64::from_le_bytes(bytes) % below
}
