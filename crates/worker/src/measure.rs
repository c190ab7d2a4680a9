//! How long tasks take here, and how many more than the slots the worker asks for.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// What is prefetched is run within about this time, by the worker's own measure,
const AHEAD: Duration = Duration::from_millis(10);
/// or within two of the manager's turns if those take longer, up to this: else slots would be empty whenever the disk or the
/// network is slow.
const FURTHEST_AHEAD: Duration = Duration::from_millis(100);
/// How much a new time counts.
const WEIGHT: f64 = 1.0 / 16.0;

/// A moving average of how long a task takes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measure {
    typical: Option<f64>,
}

impl Measure {
    /// Counts tasks that took this long all together.
    pub(crate) fn record(&mut self, tasks: usize, busy: Duration) {
        if tasks == 0 {
            return;
        }
        let each = busy.as_secs_f64() / tasks as f64;
        let weight = 1.0 - (1.0 - WEIGHT).powf(tasks as f64);
        self.typical = Some(match self.typical {
            // One that takes long is believed at once: what waits behind it is better off elsewhere.
            Some(typical) if each < typical => typical + weight * (each - typical),
            Some(typical) => typical + weight.max(0.5) * (each - typical),
            None => each,
        });
    }

    /// How many tasks fit into `time`; at least one, and one when nothing is known.
    pub(crate) fn fit(&self, time: Duration, most: usize) -> usize {
        match self.typical {
            Some(typical) => ((time.as_secs_f64() / typical.max(1e-9)) as usize).clamp(1, most),
            None => 1,
        }
    }

    /// How many slots' worth of tasks to ask for beyond `slots`: what is run within `ahead`, none of what takes longer.
    pub(crate) fn prefetch(&self, slots: u32, most: u32, ahead: Duration) -> u32 {
        let Some(typical) = self.typical else { return 0 };
        let rounds = ahead.as_secs_f64() / typical.max(1e-9);
        if rounds < 1.0 { 0 } else { (f64::from(slots) * rounds).min(f64::from(most)) as u32 }
    }
}

/// How long the manager takes from a report to its acknowledgement: about as long as from an end to the next task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turnaround {
    reported: VecDeque<(u64, Instant)>,
    typical: Duration,
}

impl Turnaround {
    /// A report has left.
    pub(crate) fn reported(&mut self, number: u64, now: Instant) {
        self.reported.push_back((number, now));
    }

    /// All reports up to `number` are acknowledged.
    pub(crate) fn acknowledged(&mut self, number: u64, now: Instant) {
        let mut last = None;
        while let Some((first, at)) = self.reported.front().copied()
            && first <= number
        {
            last = Some(at);
            self.reported.pop_front();
        }
        if let Some(at) = last {
            self.typical = self.typical.mul_f64(1.0 - WEIGHT) + (now - at).mul_f64(WEIGHT);
        }
    }

    /// A new session counts its reports anew.
    pub(crate) fn begin_session(&mut self) {
        self.reported.clear();
    }

    /// How far ahead to ask for tasks.
    pub(crate) fn ahead(&self) -> Duration {
        (2 * self.typical).clamp(AHEAD, FURTHEST_AHEAD)
    }
}

/// Whether a window differs so much from the one that was sent that the manager should know.
pub(crate) fn is_noticeable(sent: u32, wanted: u32) -> bool {
    sent != wanted && (wanted == 0 || sent == 0 || sent.abs_diff(wanted) * 4 > sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tasks_are_prefetched_and_long_ones_are_not() {
        let mut measure = Measure::default();
        assert_eq!((measure.prefetch(4, 4096, AHEAD), measure.fit(Duration::from_millis(2), 512)), (0, 1));
        measure.record(1, Duration::from_millis(1));
        assert_eq!((measure.prefetch(4, 4096, AHEAD), measure.fit(Duration::from_millis(2), 512)), (40, 2));
        measure.record(1_000, Duration::from_millis(1));
        assert_eq!((measure.prefetch(4, 4096, AHEAD), measure.fit(Duration::from_millis(2), 512)), (4096, 512));
        measure.record(1, Duration::from_secs(1));
        assert_eq!(
            (measure.prefetch(4, 4096, AHEAD), measure.fit(Duration::from_millis(2), 512)),
            (0, 1),
            "one is enough"
        );
        measure.record(200, Duration::from_millis(200));
        assert!((30..=40).contains(&measure.prefetch(4, 4096, AHEAD)));
    }

    #[test]
    fn a_slow_manager_is_asked_further_ahead() {
        let (mut turnaround, start) = (Turnaround::default(), Instant::now());
        assert_eq!(turnaround.ahead(), AHEAD);
        for number in 1..=100 {
            turnaround.reported(2 * number, start);
            turnaround.reported(2 * number + 1, start + Duration::from_millis(10));
            turnaround.acknowledged(2 * number + 1, start + Duration::from_millis(30));
        }
        assert!((39..=40).contains(&turnaround.ahead().as_millis()), "{:?}", turnaround.ahead());
        for number in 300..400 {
            turnaround.reported(number, start);
            turnaround.acknowledged(number, start + Duration::from_secs(9));
        }
        assert_eq!(turnaround.ahead(), FURTHEST_AHEAD);
    }

    #[test]
    fn small_changes_of_the_window_are_not_told() {
        assert!(!is_noticeable(100, 100) && !is_noticeable(100, 110) && !is_noticeable(100, 80));
        assert!(is_noticeable(100, 126) && is_noticeable(100, 74) && is_noticeable(1, 0) && is_noticeable(0, 1));
        assert!(is_noticeable(2, 3), "a small window counts by ones");
    }
}
