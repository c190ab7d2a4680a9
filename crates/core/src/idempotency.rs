//! Idempotency keys: compact entries, kept 24 hours, with a limit of their own.

use std::{collections::VecDeque, time::Duration};

use rustc_hash::FxHashMap;

use crate::{ids::JobNumber, record::Idempotency, time::WallTime};

/// How long a key is kept.
pub const KEPT: Duration = Duration::from_hours(24);

/// The keys of the last 24 hours.
#[derive(Clone, Debug, Default)]
pub struct IdempotencyKeys {
    jobs: FxHashMap<[u8; 16], Entry>,
    by_age: VecDeque<(WallTime, [u8; 16])>,
}

/// What was submitted under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The job.
    pub job: JobNumber,
    /// Hash of the content.
    pub content: [u8; 16],
    opened: WallTime,
}

impl IdempotencyKeys {
    /// What was submitted under this key in the 24 hours before `now`.
    pub fn get(&self, key: [u8; 16], now: WallTime) -> Option<Entry> {
        self.jobs.get(&key).copied().filter(|entry| entry.opened.plus(KEPT) > now)
    }

    /// All that are kept, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Idempotency, JobNumber, WallTime)> {
        self.by_age.iter().filter_map(|(opened, key)| {
            let entry = self.jobs.get(key).filter(|entry| entry.opened == *opened)?;
            Some((Idempotency { key: *key, content: entry.content }, entry.job, *opened))
        })
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Whether `limit` keys are kept that are not too old at `now`. (Old ones are forgotten when a key comes in.)
    pub fn is_full(&self, limit: usize, now: WallTime) -> bool {
        self.len() >= limit && {
            let old = self.by_age.iter().take_while(|(opened, _)| opened.plus(KEPT) <= now).count();
            self.len().saturating_sub(old) >= limit
        }
    }

    /// Keeps a key, and forgets those that are too old by its time.
    pub(crate) fn insert(&mut self, idempotency: Idempotency, job: JobNumber, opened: WallTime) {
        while let Some((oldest, key)) = self.by_age.front()
            && oldest.plus(KEPT) <= opened
        {
            if self.jobs.get(key).is_some_and(|entry| entry.opened == *oldest) {
                self.jobs.remove(key);
            }
            self.by_age.pop_front();
        }
        self.jobs.insert(idempotency.key, Entry { job, content: idempotency.content, opened });
        self.by_age.push_back((opened, idempotency.key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_forgotten_after_a_day_and_may_be_used_anew() {
        let mut keys = IdempotencyKeys::default();
        let idempotency = |key, content| Idempotency { key: [key; 16], content: [content; 16] };
        let day = KEPT.as_millis() as u64;
        keys.insert(idempotency(1, 1), JobNumber(1), WallTime(0));
        assert_eq!(keys.get([1; 16], WallTime(day - 1)).unwrap().job, JobNumber(1));
        assert!(keys.get([1; 16], WallTime(day)).is_none());
        keys.insert(idempotency(1, 2), JobNumber(2), WallTime(day));
        assert_eq!(keys.get([1; 16], WallTime(day)).unwrap().job, JobNumber(2));
        keys.insert(idempotency(3, 3), JobNumber(3), WallTime(day + 1));
        assert_eq!(keys.len(), 2);
        assert!(keys.is_full(2, WallTime(day + 2)) && !keys.is_full(3, WallTime(day + 2)));
        assert!(!keys.is_full(2, WallTime(2 * day)), "a day later one of them is too old");
        assert!(keys.is_full(2, WallTime(2 * day - 1)) && keys.is_full(1, WallTime(2 * day)));
        assert!(!keys.is_empty() && IdempotencyKeys::default().is_empty());
    }

    #[test]
    fn a_key_that_is_used_anew_after_the_clock_was_set_back_stays_for_a_day() {
        let mut keys = IdempotencyKeys::default();
        let idempotency = |key| Idempotency { key: [key; 16], content: [key; 16] };
        let day = KEPT.as_millis() as u64;
        keys.insert(idempotency(1), JobNumber(1), WallTime(100));
        keys.insert(idempotency(2), JobNumber(2), WallTime(50));
        // The second is too old, and behind one that is not.
        assert!(keys.get([2; 16], WallTime(day + 60)).is_none());
        keys.insert(idempotency(2), JobNumber(3), WallTime(day + 60));
        keys.insert(idempotency(4), JobNumber(4), WallTime(day + 100));
        assert_eq!(keys.get([2; 16], WallTime(day + 100)).unwrap().job, JobNumber(3));
        let kept: Vec<_> = keys.iter().map(|(_, job, _)| job.0).collect();
        assert_eq!((kept, keys.len()), (vec![3, 4], 2));
    }
}
