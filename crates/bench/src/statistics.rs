//! Medians and spreads.

use std::time::Duration;

use serde::Serialize;

/// A figure that was measured several times.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    /// The median: of an even number, the mean of the middle two.
    pub(crate) median: f64,
    /// The least.
    pub(crate) least: f64,
    /// The most.
    pub(crate) most: f64,
}

impl Spread {
    /// Of these, in any order; `None` of none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (values.first().copied()?, values.last().copied()?);
        let (low, high) = (values.get((values.len() - 1) / 2)?, values.get(values.len() / 2)?);
        Some(Self { median: f64::midpoint(*low, *high), least, most })
    }

    /// Half of the range, as a share of the median in percent.
    pub(crate) fn percent(&self) -> f64 {
        if self.median == 0.0 { 0.0 } else { 50.0 * (self.most - self.least) / self.median }
    }
}

/// Of times in any order: the one below which `share` of them lie, in microseconds; 0 of none.
pub(crate) fn percentile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let at = (times.len() as f64 * share) as usize;
    times.get(at.min(times.len().saturating_sub(1))).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles_are_those_of_the_sorted_values() {
        let same = |a: f64, b: f64| (a - b).abs() < 1e-9;
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert!(same(spread.median, 2.5) && same(spread.least, 1.0) && same(spread.most, 4.0), "{spread:?}");
        assert!(same(spread.percent(), 60.0));
        assert!(same(Spread::of([7.0]).unwrap().median, 7.0));
        assert!(Spread::of([]).is_none());
        let mut times: Vec<_> = (0..100).rev().map(Duration::from_micros).collect();
        assert!(same(percentile(&mut times, 0.5), 50.0) && same(percentile(&mut times, 0.99), 99.0));
        assert!(same(percentile(&mut [], 0.5), 0.0));
    }
}
