//! Whether the peer is alive, and what it waits for as a sign that the manager is.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// Signs of life in both directions.
#[derive(Debug)]
pub(super) struct Pulse {
    heard: Cell<Instant>,
    /// The manager itself has not come to reading further.
    busy: Cell<bool>,
    ping: Cell<Option<u64>>,
    pinged: Notify,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self { heard: Cell::new(Instant::now()), busy: Cell::new(false), ping: Cell::new(None), pinged: Notify::new() }
    }

    /// A message has come, and is worked on: until the next [`Pulse::reads`] the peer can't be heard.
    pub(super) fn heard(&self) {
        self.heard.set(Instant::now());
        self.busy.set(true);
    }

    /// The next message is waited for.
    pub(super) fn reads(&self) {
        if self.busy.replace(false) {
            self.heard.set(Instant::now());
        }
    }

    /// For how long the peer was silent though it could have been heard.
    pub(super) fn silence(&self) -> Duration {
        if self.busy.get() { Duration::ZERO } else { self.heard.get().elapsed() }
    }

    /// A ping has come that is to be answered.
    pub(super) fn pinged(&self, number: u64) {
        self.ping.set(Some(number));
        self.pinged.notify_one();
    }

    /// The next ping to be answered. Cancel-safe.
    pub(super) async fn next_ping(&self) -> u64 {
        loop {
            if let Some(number) = self.ping.take() {
                return number;
            }
            self.pinged.notified().await;
        }
    }
}
