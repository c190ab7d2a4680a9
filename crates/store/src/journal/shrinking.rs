//! What keeps the journal, and a start, short.

use std::{collections::HashSet, io, sync::Arc};

use task_messenger_core::{
    ids::{Place, RecordNumber},
    image::Image,
};

use super::{Position, segments::Segments};
use crate::snapshot;

/// Takes snapshots and frees segments. Waits for the disk; clones share the store.
#[derive(Clone)]
pub struct Shrinker {
    segments: Arc<Segments>,
}

/// A snapshot that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotWritten {
    /// The last record that it holds.
    pub last: RecordNumber,
    /// Its size in bytes.
    pub bytes: u64,
    /// The segments before it in which none of its values lie. They are needed only by who has their places from before.
    pub unneeded: Vec<u64>,
}

impl Shrinker {
    pub(super) fn new(segments: Arc<Segments>) -> Self {
        Self { segments }
    }

    /// Writes a snapshot: the state `image` at `position`, up to which everything is synced. Durable on return.
    pub fn write(&self, position: &Position, image: &Image) -> io::Result<SnapshotWritten> {
        let (disk, room) = (&**self.segments.disk(), self.segments.room());
        let (store, seed) = (self.segments.store(), self.segments.checksum_seed());
        let bytes = snapshot::write(disk, room, store, seed, position, image.parts())?;
        snapshot::remove_others(disk, Some(position.last()))?;
        Ok(SnapshotWritten { last: position.last(), bytes, unneeded: self.unneeded(position, image) })
    }

    /// The segments before a snapshot's position in which nothing lies that a later state needs.
    pub fn unneeded(&self, snapshot: &Position, state: &Image) -> Vec<u64> {
        let needed: HashSet<u64> = state.places().map(|place| self.segment_of(place)).collect();
        let before = self.segments.list().into_iter().take_while(|segment| *segment < snapshot.tail.segment);
        before.filter(|segment| !needed.contains(segment)).collect()
    }

    /// Removes segments that no durable snapshot needs, nor anybody who has a place in them.
    pub fn free(&self, segments: &[u64]) -> io::Result<()> {
        self.segments.free(segments)
    }

    /// How many segments there are.
    pub fn segments(&self) -> usize {
        self.segments.list().len()
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
