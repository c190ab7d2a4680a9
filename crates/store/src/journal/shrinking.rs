//! What keeps the journal, and a start, short.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
};

use task_messenger_core::{
    ids::{Place, RecordNumber},
    image::{Image, NeededValue},
    values::Value,
};

use super::{Position, Reader, segments::Segments};
use crate::snapshot;

/// Takes snapshots and frees segments. Waits for the disk; clones share the store.
#[derive(Clone)]
pub struct Shrinker {
    segments: Arc<Segments>,
    reader: Reader,
}

/// Values read at a time.
const READ: usize = 64;

/// About what a value takes of a record besides its own bytes.
const VALUE_BYTES: u64 = 8;

/// A snapshot that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotWritten {
    /// The last record that it holds.
    pub last: RecordNumber,
    /// Its size in bytes.
    pub bytes: u64,
    /// The segments before it in which none of its values lie. They are needed only by who has their places from before.
    pub unneeded: Vec<u64>,
    /// What lies in segments that hold little else: written again, it makes them unneeded.
    pub sparse: Vec<(NeededValue, Value)>,
}

impl Shrinker {
    pub(super) fn new(segments: Arc<Segments>, reader: Reader) -> Self {
        Self { segments, reader }
    }

    /// Writes a snapshot: the state `image` at `position`, up to which everything is synced. Durable on return.
    pub fn write(&self, position: &Position, image: &Image) -> io::Result<SnapshotWritten> {
        let disk = &**self.segments.disk();
        let destination = snapshot::Destination {
            disk,
            room: self.segments.room(),
            store: self.segments.store(),
            seed: self.segments.checksum_seed(),
        };
        let bytes = destination.write(position, image.parts())?;
        snapshot::remove_others(disk, Some(position.last()))?;
        let unneeded = self.unneeded(position, image);
        let sparse = self.sparse(position, image, &unneeded);
        Ok(SnapshotWritten { last: position.last(), bytes, unneeded, sparse })
    }

    /// What lies in the emptiest segments before a snapshot's position, as much as a tenth of a segment holds. What can't be
    /// read is left to whoever needs it.
    fn sparse(&self, snapshot: &Position, state: &Image, unneeded: &[u64]) -> Vec<(NeededValue, Value)> {
        let mut counts: HashMap<u64, u64> = HashMap::new();
        for value in state.values() {
            *counts.entry(self.segment_of(value.place)).or_default() += 1;
        }
        let kept = self.segments.list().into_iter().filter(|segment| !unneeded.contains(segment));
        let before = kept.take_while(|segment| *segment < snapshot.tail.segment);
        let mut segments: Vec<(u64, u64)> =
            before.map(|segment| (counts.get(&segment).copied().unwrap_or(0), segment)).collect();
        segments.sort_unstable();
        // A value takes some bytes at least.
        let mut left = self.segments.segment_bytes() / 10;
        let fits = |(count, _): &(u64, u64)| {
            let least = left.checked_sub(count * VALUE_BYTES);
            left = least.unwrap_or(0);
            least.is_some()
        };
        let mut chosen: HashMap<u64, Vec<NeededValue>> = HashMap::new();
        let order: Vec<u64> = segments.into_iter().take_while(fits).map(|(_, segment)| segment).collect();
        chosen.extend(order.iter().map(|segment| (*segment, Vec::new())));
        for value in state.values() {
            if let Some(needed) = chosen.get_mut(&self.segment_of(value.place)) {
                needed.push(value);
            }
        }
        let mut left = self.segments.segment_bytes() / 10;
        let mut sparse = Vec::new();
        for needed in order.iter().filter_map(|segment| chosen.remove(segment)) {
            let Some(values) = self.read_some(&needed, &mut left) else { break };
            sparse.extend(needed.into_iter().zip(values));
        }
        sparse
    }

    /// Reads values that have `left` bytes at most, which become less.
    fn read_some(&self, needed: &[NeededValue], left: &mut u64) -> Option<Vec<Value>> {
        let mut values = Vec::with_capacity(needed.len());
        for some in needed.chunks(READ) {
            let places: Vec<Place> = some.iter().map(|value| value.place).collect();
            self.reader.read_many(&places, &mut values).ok()?;
            let read = values.iter().rev().take(some.len());
            *left = left.checked_sub(read.map(encoded_length).sum())?;
        }
        Some(values)
    }

    /// The segments before a snapshot's position in which nothing lies that a later state needs.
    pub fn unneeded(&self, snapshot: &Position, state: &Image) -> Vec<u64> {
        let needed: HashSet<u64> = state.values().map(|value| self.segment_of(value.place)).collect();
        let before = self.segments.list().into_iter().take_while(|segment| *segment < snapshot.tail.segment);
        before.filter(|segment| !needed.contains(segment)).collect()
    }

    /// Removes segments that no durable snapshot needs, nor anybody who has a place in them.
    pub fn free(&self, segments: &[u64]) -> io::Result<()> {
        self.reader.forget(segments);
        self.segments.free(segments)
    }

    /// How many segments there are.
    pub fn segments(&self) -> usize {
        self.segments.count()
    }

    /// A segment's size in bytes.
    pub fn segment_bytes(&self) -> u64 {
        self.segments.segment_bytes()
    }

    /// The segment in which a place lies.
    pub fn segment_of(&self, place: Place) -> u64 {
        place.0 / self.segments.segment_bytes()
    }
}

/// How much of a record a value takes.
fn encoded_length(value: &Value) -> u64 {
    match value {
        Value::Inline(bytes) => bytes.len() as u64 + VALUE_BYTES,
        Value::External { .. } => 2 * VALUE_BYTES,
    }
}
