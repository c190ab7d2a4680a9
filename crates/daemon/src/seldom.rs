//! Words about what happens again and again, said once a minute.

use std::time::{Duration, Instant};

/// For so long it is only counted after it was told.
const SILENCE: Duration = Duration::from_mins(1);

/// Counts what happens, and says when to tell of it.
#[derive(Debug, Default)]
pub struct Seldom {
    told: Option<Instant>,
    untold: u32,
}

impl Seldom {
    /// It happened once more. If it is to be told now: how often it happened since it was told last.
    pub fn count(&mut self, now: Instant) -> Option<u32> {
        if self.told.is_some_and(|told| now.duration_since(told) < SILENCE) {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        Some(self.tell(now))
    }

    /// It happened once more, and is told in any case.
    pub fn tell(&mut self, now: Instant) -> u32 {
        self.told = Some(now);
        std::mem::take(&mut self.untold).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_together() {
        let (mut seldom, start) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.count(start), Some(1));
        assert_eq!((1..60).filter_map(|second| seldom.count(start + Duration::from_secs(second))).count(), 0);
        assert_eq!(seldom.count(start + SILENCE), Some(60));
        assert_eq!(seldom.count(start + SILENCE + Duration::from_secs(1)), None);
        assert_eq!(seldom.tell(start + SILENCE + Duration::from_secs(2)), 2);
        assert_eq!(seldom.count(start + 2 * SILENCE + Duration::from_secs(1)), None, "a minute after that");
    }
}
