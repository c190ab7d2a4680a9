//! Places for connections: as many as there may be at a time, which can change.

use std::{cell::Cell, rc::Rc};

/// Counts connections.
#[derive(Clone, Debug)]
pub(crate) struct Places(Rc<Counts>);

#[derive(Debug)]
struct Counts {
    taken: Cell<usize>,
    limit: Cell<usize>,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Place(Places);

impl Places {
    pub(crate) fn new(limit: usize) -> Self {
        Self(Rc::new(Counts { taken: Cell::new(0), limit: Cell::new(limit) }))
    }

    /// How many there are.
    pub(crate) fn limit(&self) -> usize {
        self.0.limit.get()
    }

    /// Has more or fewer from now on. Nobody loses a place that is taken.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.0.limit.set(limit);
    }

    /// Takes a place, if one is free.
    pub(crate) fn take(&self) -> Option<Place> {
        let taken = self.0.taken.get();
        (taken < self.limit()).then(|| {
            self.0.taken.set(taken + 1);
            Place(self.clone())
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = &self.0.0.taken;
        taken.set(taken.get() - 1);
    }
}

#[cfg(test)]
#[test]
fn there_are_as_many_places_as_the_limit_says_now() {
    let places = Places::new(2);
    let (first, second) = (places.take(), places.take());
    assert!(first.is_some() && second.is_some() && places.take().is_none());
    places.set_limit(1);
    drop(first);
    assert!(places.take().is_none());
    drop(second);
    assert!(places.take().is_some());
}
