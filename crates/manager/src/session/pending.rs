//! How many requests of a session wait for their answer, so that a peer which only asks can't fill the memory.

use std::cell::Cell;

use tokio::sync::Notify;

/// Requests that may wait for their answer. More are not read from the connection.
const MOST: u32 = 512;

/// Requests under way.
#[derive(Debug)]
pub(super) struct Pending {
    count: Cell<u32>,
    changed: Notify,
}

impl Pending {
    pub(super) fn new() -> Self {
        Self { count: Cell::new(0), changed: Notify::new() }
    }

    /// Waits until there is room for a request, and counts it.
    pub(super) async fn begin(&self) {
        while self.count.get() >= MOST {
            self.changed.notified().await;
        }
        self.count.set(self.count.get() + 1);
    }

    /// A request was answered.
    pub(super) fn end(&self) {
        self.count.set(self.count.get().saturating_sub(1));
        self.changed.notify_one();
    }
}
