//! How long to wait before the next attempt to connect.

use std::time::Duration;

use task_messenger_protocol::secret::random_bytes;

/// The first wait is at most this.
const FIRST: Duration = Duration::from_millis(100);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(15);

/// Exponential backoff with full jitter: workers that lost their manager together don't come back together.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The wait before the next attempt.
    pub(crate) fn next(&mut self) -> Duration {
        let most = FIRST.saturating_mul(1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX)).min(LONGEST);
        self.attempts = (self.attempts + 1).min(16);
        jitter(most)
    }

    /// The longest wait, for what doesn't pass by itself: half of it at least.
    pub(crate) fn slow(&mut self) -> Duration {
        self.attempts = 16;
        LONGEST / 2 + jitter(LONGEST / 2)
    }

    /// There was a link that held.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }
}

fn jitter(most: Duration) -> Duration {
    // Without randomness in the system there is no jitter either.
    let random = random_bytes().map_or(u32::MAX, u32::from_le_bytes);
    most.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_start_again() {
        let mut backoff = Backoff::default();
        for attempt in 0..40 {
            let most = FIRST * 2_u32.pow(attempt.min(10));
            assert!(backoff.next() <= most.min(LONGEST));
        }
        assert!((0..20).any(|_| backoff.next() > Duration::from_secs(3)));
        assert!(backoff.slow() >= LONGEST / 2);
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
