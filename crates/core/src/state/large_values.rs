//! Values that lie in files of their own: which are needed, and which are needed no more.

use super::State;
use crate::{
    ids::{LeaseNumber, Place, TaskNumber},
    record::{ValueOf, Verdict},
    values::Values,
};

/// A value that lies in a file of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargeValue {
    /// The file's number.
    pub file: u64,
    /// Its length in bytes.
    pub length: u64,
}

impl State {
    /// The files of values that were needed and, by what was applied since the last call, are not any more. They may be
    /// removed once that is synced.
    pub fn take_dropped_files(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.dropped_files)
    }

    /// Keeps the large ones among values that lie at `place`.
    pub(super) fn keep_values(&mut self, values: &Values, place: Place) {
        for (at, value) in large(values, place) {
            self.large_values.insert(at, value);
        }
    }

    /// Keeps the large ones among outcomes, where the outcome is kept.
    pub(super) fn keep_outcomes(&mut self, ends: &[(LeaseNumber, Verdict)], details: &Values, place: Place) {
        let mut kept = large(details, place).peekable();
        if kept.peek().is_none() {
            return;
        }
        let places = details.layout().map(|(offset, _)| Place(place.0 + offset as u64));
        for ((lease, verdict), at) in ends.iter().zip(places) {
            let Some((_, value)) = kept.next_if(|(found, _)| *found == at) else { continue };
            let is_kept = matches!(verdict, Verdict::Succeeded | Verdict::Failed) && self.leases.contains_key(lease);
            if is_kept {
                self.large_values.insert(at, value);
            } else {
                self.dropped_files.push(value.file);
            }
        }
    }

    /// Values lie somewhere else now.
    pub(super) fn moved(&mut self, values_of: &[(TaskNumber, ValueOf)], values: &Values, place: Place) {
        for ((number, value_of), (offset, _)) in values_of.iter().zip(values.layout()) {
            let Some(task) = self.tasks.get_mut(*number) else { continue };
            let to = Place(place.0 + offset as u64);
            let from = match value_of {
                ValueOf::Payload => Some(std::mem::replace(&mut task.payload, to)),
                ValueOf::Outcome => task.outcome().inspect(|_| task.set_outcome(Some(to))),
            };
            if let Some(value) = from.and_then(|from| self.large_values.remove(&from)) {
                self.large_values.insert(to, value);
            }
        }
    }

    /// The value at this place is needed no more.
    pub(super) fn drop_value(&mut self, place: Place) {
        if !self.large_values.is_empty()
            && let Some(value) = self.large_values.remove(&place)
        {
            self.dropped_files.push(value.file);
        }
    }
}

/// The large ones of some values, with their places.
fn large(values: &Values, place: Place) -> impl Iterator<Item = (Place, LargeValue)> + '_ {
    values.external().map(move |(offset, file, length)| (Place(place.0 + offset as u64), LargeValue { file, length }))
}
