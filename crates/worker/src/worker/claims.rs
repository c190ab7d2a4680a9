//! How much a worker may hold, so that all of it fits into one `Resume`.
//!
//! One that could not say all that it holds would either lose some of it or never be let in again. So a part is for what it
//! holds, twice (what it has, and what is on its way when it says that it wants no more), and the rest for outcomes.

/// The most claims that a manager takes.
const MOST: usize = 1_000_000;
/// The longest claim: two numbers of up to ten bytes, one of up to five, and a byte.
const BYTES: usize = 26;
/// Room for the tags and lengths of the columns.
const REST_BYTES: usize = 64;

/// What fits into one `Resume`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claims {
    most: usize,
}

impl Default for Claims {
    fn default() -> Self {
        Self { most: MOST }
    }
}

impl Claims {
    /// Into messages of at most `limit` bytes, of which `taken` are for the rest of it.
    pub(super) fn fit(&mut self, limit: u64, taken: usize) {
        let room = limit.saturating_sub((taken + REST_BYTES) as u64) / BYTES as u64;
        self.most = room.min(MOST as u64) as usize;
    }

    /// All of them.
    pub(super) fn most(self) -> usize {
        self.most
    }

    /// With so many outcomes nothing new is taken.
    pub(super) fn outcomes(self) -> usize {
        self.most / 2
    }

    /// The largest window.
    pub(super) fn window(self) -> u32 {
        (self.most / 4).max(1) as u32
    }
}
