//! Which requests of a session wait for their answer, so that a peer which only asks can't fill the memory.

use std::cell::{Cell, RefCell};

use rustc_hash::FxHashMap;
use tokio::sync::Notify;

/// Requests that may wait for their answer. More are not read from the connection.
const MOST: usize = 512;
/// Bytes of such requests; one alone may be larger.
const MOST_BYTES: usize = 64 << 20;

/// Requests under way.
#[derive(Debug)]
pub(super) struct Pending {
    requests: RefCell<FxHashMap<u64, usize>>,
    bytes: Cell<usize>,
    changed: Notify,
}

impl Pending {
    pub(super) fn new() -> Self {
        Self { requests: RefCell::default(), bytes: Cell::new(0), changed: Notify::new() }
    }

    /// Waits until there is room for a request of this size, and counts it.
    pub(super) async fn begin(&self, request: u64, bytes: usize) {
        loop {
            let count = self.requests.borrow().len();
            if count == 0 || (count < MOST && self.bytes.get() + bytes <= MOST_BYTES) {
                break;
            }
            self.changed.notified().await;
        }
        // A number that is used twice is answered twice; it is counted once.
        let earlier = self.requests.borrow_mut().insert(request, bytes).unwrap_or(0);
        self.bytes.set(self.bytes.get() + bytes - earlier);
    }

    /// A request was answered; one that was never counted changes nothing.
    pub(super) fn end(&self, request: u64) {
        if let Some(bytes) = self.requests.borrow_mut().remove(&request) {
            self.bytes.set(self.bytes.get() - bytes);
            self.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    async fn fits(pending: &Pending, request: u64, bytes: usize) -> bool {
        let begin = std::pin::pin!(pending.begin(request, bytes));
        let mut begin = begin;
        std::future::poll_fn(|context| Poll::Ready(begin.as_mut().poll(context).is_ready())).await
    }

    #[tokio::test]
    async fn requests_wait_by_number_and_by_size_and_a_foreign_answer_makes_no_room() {
        let pending = Pending::new();
        assert!(fits(&pending, 1, MOST_BYTES * 2).await, "one alone may be large");
        assert!(!fits(&pending, 2, 1).await);
        pending.end(7);
        assert!(!fits(&pending, 2, 1).await);
        pending.end(1);
        for request in 0..MOST as u64 {
            assert!(fits(&pending, request, 1).await);
        }
        assert!(!fits(&pending, 1_000, 1).await);
        pending.end(3);
        assert!(fits(&pending, 1_000, 1).await);
    }
}
