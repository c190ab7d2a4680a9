//! Random numbers from a seed (`SplitMix64`).

/// A source of random numbers.
#[derive(Clone, Debug)]
pub(super) struct Random {
    state: u64,
    /// Of 8, how much of what is not durable survives a cut.
    survival: u64,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed, survival: 4 }
    }

    /// Another source for a cut of its own, in which nothing, everything, or something between survives.
    pub(super) fn of_a_cut(&mut self) -> Self {
        let survival = [0, 1, 4, 4, 4, 7, 8][self.below(7) as usize];
        Self { state: self.next(), survival }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Whether something survives.
    pub(super) fn survives(&mut self) -> bool {
        self.below(8) < self.survival
    }

    /// Which of several versions survives, if any; often the last.
    pub(super) fn one_or_none<'a, T>(&mut self, versions: &'a [T]) -> Option<&'a T> {
        if versions.is_empty() || !self.survives() {
            return None;
        }
        let any = self.survival < 8 && self.below(4) == 0;
        if any { versions.get(self.below(versions.len() as u64) as usize) } else { versions.last() }
    }
}
