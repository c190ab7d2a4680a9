//! What many tasks share, kept once by content.

use std::time::Duration;

use bytes::Bytes;

/// Everything that many tasks share. The core looks at what placing and retrying need; the worker's part is opaque to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Template {
    /// What a worker must be able to run.
    pub kind: Kind,
    /// Higher goes first.
    pub priority: i32,
    /// How many slots of a worker a task takes, at least 1.
    pub slots: u32,
    /// When a failing task is tried again, and how often.
    pub retry: RetryPolicy,
    /// The whole template as the client sent it: what the worker decodes, and what makes two templates the same.
    pub body: Bytes,
}

/// A kind of task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A program of the worker's machine.
    Command,
    /// A named function linked into the worker.
    Skill(String),
}

/// How a failing task is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RetryPolicy {
    /// How many charged failures end the task as `failed`, at least 1.
    pub max_attempts: u32,
    /// The wait after the first failure; it doubles with each further one.
    pub backoff_first: Duration,
    /// The longest wait.
    pub backoff_longest: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_attempts: 3, backoff_first: Duration::from_secs(1), backoff_longest: Duration::from_mins(5) }
    }
}

impl RetryPolicy {
    /// The wait after the `failures`-th failure: doubling, and a quarter up or down by `seed`, so that tasks which failed
    /// together don't come back together.
    pub fn backoff(&self, failures: u32, seed: u64) -> Duration {
        let doubled =
            self.backoff_first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        let base = doubled.min(self.backoff_longest).as_millis() as u64;
        // A step of SplitMix64 (Steele, Lea, Flood 2014) spreads neighbouring seeds.
        let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        Duration::from_millis(base - base / 4 + mixed % (base / 2 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_within_a_quarter_and_ends_at_the_longest() {
        let retry = RetryPolicy::default();
        for seed in 0..100 {
            for (failures, middle) in [(1, 1_000), (2, 2_000), (3, 4_000), (9, 256_000), (10, 300_000), (200, 300_000)]
            {
                let wait = retry.backoff(failures, seed).as_millis();
                assert!((middle * 3 / 4..=middle * 5 / 4).contains(&wait), "{failures}: {wait}");
            }
        }
    }

    #[test]
    fn tasks_that_failed_together_come_back_spread_over_all_of_that_half() {
        let four = RetryPolicy { backoff_first: Duration::from_millis(4), ..RetryPolicy::default() };
        let waits: std::collections::BTreeSet<_> = (0..100).map(|seed| four.backoff(1, seed).as_millis()).collect();
        assert_eq!(waits.into_iter().collect::<Vec<_>>(), [3, 4, 5]);
        let mut tenths = [0; 10];
        for seed in 0..1_000 {
            let wait = RetryPolicy::default().backoff(1, seed).as_millis() as usize;
            tenths[((wait - 750) / 50).min(9)] += 1;
        }
        assert!(tenths.iter().all(|count| (60..160).contains(count)), "{tenths:?}");
    }
}
