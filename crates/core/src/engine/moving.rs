//! Writing values again, so that the segments in which they lay can go.

use super::Engine;
use crate::{
    image::NeededValue,
    limits::{RECORD_ITEMS, RECORD_VALUES},
    record::{Log, Record, ValueOf},
    task::Task,
    values::{Value, ValuesBuilder},
};

impl Engine {
    /// Writes values again that were read from their places. One that isn't needed there any more is passed over.
    pub fn move_values(&mut self, values: Vec<(NeededValue, Value)>, log: &mut impl Log) {
        let mut builder = ValuesBuilder::default();
        let mut values_of = Vec::new();
        for (needed, value) in values {
            let place = self.state.tasks.get(needed.task).and_then(|task| place_of(task, needed.value_of));
            if place != Some(needed.place) {
                continue;
            }
            let full = builder.encoded_len_with(&value) > RECORD_VALUES || values_of.len() == RECORD_ITEMS;
            if full && !values_of.is_empty() {
                let values_of = std::mem::take(&mut values_of);
                self.commit(log, &Record::Moved { values_of, values: builder.take() });
            }
            builder.push_value(&value);
            values_of.push((needed.task, needed.value_of));
        }
        if !values_of.is_empty() {
            self.commit(log, &Record::Moved { values_of, values: builder.take() });
        }
    }
}

fn place_of(task: &Task, value_of: ValueOf) -> Option<crate::ids::Place> {
    match value_of {
        ValueOf::Payload => task.needed_payload(),
        ValueOf::Outcome => task.outcome(),
    }
}
