//! Counts of what happened since the process started, for whoever watches it. Nothing is decided by them, and nothing of
//! them survives the process.

use std::{collections::VecDeque, time::Duration};

use crate::{
    ids::TaskNumber,
    task::{Counts, TaskState},
    time::WallTime,
};

/// The upper bounds of the buckets of a [`Histogram`], in microseconds: 1, 2.5 and 5 in each power of ten, from 0.1 ms to a
/// day and more.
pub const BUCKETS: [u64; 28] = {
    let mut bounds = [0; 28];
    let (mut at, mut power) = (0, 100);
    while at < bounds.len() {
        bounds[at] = match at % 3 {
            0 => power,
            1 => power / 2 * 5,
            _ => power * 5,
        };
        if at % 3 == 2 {
            power *= 10;
        }
        at += 1;
    }
    bounds
};

/// How many durations there were of which length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// By bucket, in the order of [`BUCKETS`]; the last one is for what is longer than all bounds.
    counts: [u64; BUCKETS.len() + 1],
    sum_microseconds: u64,
    /// The last duration and its bucket: the next one is often the same.
    last: (u64, usize),
}

impl Histogram {
    /// Counts a duration.
    pub fn observe(&mut self, duration: Duration) {
        self.observe_many(duration, 1);
    }

    /// Counts a duration that there was so many times.
    pub fn observe_many(&mut self, duration: Duration, count: u64) {
        let microseconds = duration.as_micros().try_into().unwrap_or(u64::MAX);
        if self.last.0 != microseconds {
            self.last = (microseconds, BUCKETS.partition_point(|bound| *bound < microseconds));
        }
        self.counts[self.last.1] += count;
        self.sum_microseconds = self.sum_microseconds.saturating_add(microseconds.saturating_mul(count));
    }

    /// How many durations there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All durations together, in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_microseconds as f64 / 1e6
    }

    /// Each bucket's upper bound in seconds, and how many durations are in it and in no lower one. The last bound is
    /// infinite.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = BUCKETS.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
        bounds.zip(self.counts)
    }
}

/// What happened to tasks.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    /// Tasks that were submitted.
    pub submitted: u64,
    /// Leases that were given.
    pub handed_out: u64,
    /// Tasks that came to an end, by their state.
    pub ended: Counts,
    /// Attempts that failed and whose tasks are tried again by themselves.
    pub retried: u64,
    /// Tasks that were run again because somebody asked for it.
    pub requeued: u64,
    /// Leases that ended because their worker died or was silent.
    pub leases_lost: u64,
    /// Leases that ended without an outcome for any other reason.
    pub leases_released: u64,
    /// How long tasks were queued before they were first handed out.
    pub queued: Histogram,
    /// How long leases lasted that ended with an outcome.
    pub running: Histogram,
}

/// More is not kept of when tasks came.
const ARRIVALS: usize = 65_536;

/// When tasks were queued first: they are numbered as they come, so one entry stands for all up to the next one.
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    runs: VecDeque<(TaskNumber, WallTime)>,
    /// The entry that was found last.
    hint: usize,
}

impl Arrivals {
    /// Tasks from `first` on were queued at `time`.
    pub(crate) fn note(&mut self, first: TaskNumber, time: WallTime) {
        if self.runs.back().is_some_and(|(_, last)| *last == time) {
            return;
        }
        if self.runs.len() >= ARRIVALS {
            // From here on the older half is known half as well.
            let mut number = 0;
            self.runs.retain(|_| {
                number += 1;
                number > ARRIVALS / 2 || number % 2 == 1
            });
        }
        self.runs.push_back((first, time));
    }

    /// When a task was queued first, if that is known.
    pub(crate) fn find(&mut self, task: TaskNumber) -> Option<WallTime> {
        let holds = |at: usize| {
            self.runs.get(at).is_some_and(|(first, _)| *first <= task)
                && self.runs.get(at + 1).is_none_or(|(first, _)| *first > task)
        };
        if !holds(self.hint) {
            self.hint = self.runs.partition_point(|(first, _)| *first <= task).checked_sub(1)?;
        }
        self.runs.get(self.hint).map(|(_, time)| *time)
    }
}

impl Meter {
    pub(crate) fn ended(&mut self, from: TaskState, to: TaskState, count: u64) {
        if to.is_final() && !from.is_final() {
            self.ended.add(to, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_in_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::default();
        for (microseconds, count) in [(0, 1), (100, 2), (101, 4), (1_000_000, 8), (u64::MAX, 16), (100, 32)] {
            histogram.observe_many(Duration::from_micros(microseconds), count);
        }
        let counts: Vec<(f64, u64)> = histogram.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counts, [(0.0001, 35), (0.00025, 4), (1.0, 8), (f64::INFINITY, 16)]);
        assert_eq!(histogram.count(), 63);
        assert!(BUCKETS.is_sorted() && BUCKETS[27] == 100_000_000_000 && BUCKETS[26] == 50_000_000_000);
    }

    #[test]
    fn when_a_task_came_is_known_and_less_well_when_much_came_since() {
        let mut arrivals = Arrivals::default();
        assert_eq!(arrivals.find(TaskNumber(3)), None);
        let count = 3 * ARRIVALS as u64;
        for number in 1..count {
            arrivals.note(TaskNumber(number * 10), WallTime(number));
            arrivals.note(TaskNumber(number * 10 + 5), WallTime(number));
        }
        assert_eq!(arrivals.find(TaskNumber(9)), None);
        assert_eq!(arrivals.find(TaskNumber(count * 10 - 1)), Some(WallTime(count - 1)));
        assert_eq!(arrivals.find(TaskNumber(count * 10 - 11)), Some(WallTime(count - 2)));
        let WallTime(found) = arrivals.find(TaskNumber(1_000_009)).unwrap();
        assert!((90_000..=100_000).contains(&found), "{found}");
        assert!(arrivals.runs.len() <= ARRIVALS);
    }
}
