//! Sets of indexes that are mostly neighbours.

use std::collections::BTreeMap;

/// A set of indexes, kept as ranges that neither touch nor overlap.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    /// First index to the index after the last.
    ranges: BTreeMap<u32, u64>,
}

impl Ranges {
    /// Whether the index is in the set.
    pub(crate) fn contains(&self, index: u32) -> bool {
        self.ranges.range(..=index).next_back().is_some_and(|(_, end)| u64::from(index) < *end)
    }

    /// Adds `count` indexes from `first` on, of which some may be there already.
    pub(crate) fn insert(&mut self, first: u32, count: u32) {
        if count == 0 {
            return;
        }
        let mut start = first;
        let mut end = u64::from(first) + u64::from(count);
        if let Some((before, before_end)) = self.ranges.range_mut(..=first).next_back()
            && *before_end >= u64::from(first)
        {
            // The usual case: the range before goes on.
            start = *before;
            end = end.max(*before_end);
            *before_end = end;
        } else {
            self.ranges.insert(start, end);
        }
        while let Some((next, next_end)) = self.following(start)
            && u64::from(next) <= end
        {
            self.ranges.remove(&next);
            end = end.max(next_end);
            self.ranges.insert(start, end);
        }
    }

    /// At most `limit` ranges in ascending order: first index and count.
    pub(crate) fn iter(&self, limit: usize) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.ranges
            .iter()
            .take(limit)
            .map(|(first, end)| (*first, (end - u64::from(*first)).min(u32::MAX.into()) as u32))
    }

    fn following(&self, start: u32) -> Option<(u32, u64)> {
        self.ranges.range(start.checked_add(1)?..).next().map(|(first, end)| (*first, *end))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ranges_hold_what_a_plain_set_holds() {
        // A fixed sequence of insertions that touches, bridges and overlaps in every way.
        let mut ranges = Ranges::default();
        let mut model = BTreeSet::new();
        let mut seed = 1_u32;
        for _ in 0..400 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (first, count) = (seed >> 8 & 0x1ff, seed >> 20 & 7);
            ranges.insert(first, count);
            model.extend(first..first + count);
            assert!((0..600).all(|index| ranges.contains(index) == model.contains(&index)));
            let listed: Vec<_> = ranges.iter(usize::MAX).collect();
            assert!(listed.windows(2).all(|pair| pair[0].0 + pair[0].1 < pair[1].0), "{listed:?}");
            assert_eq!(listed.iter().map(|(_, count)| *count as usize).sum::<usize>(), model.len());
        }
        ranges.insert(u32::MAX, 1);
        assert!(ranges.contains(u32::MAX) && !ranges.contains(u32::MAX - 1));
    }
}
