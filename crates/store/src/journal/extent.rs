//! How far the journal goes: which segments there are, noted beside the journal, so that a missing one is missed even where
//! no other tells of it. A segment is noted before anything is written to it; the commit path never touches the note.

use std::{collections::BTreeSet, io};

use serde::{Deserialize, Serialize};

use crate::{disk::Disk, identity::StoreId};

/// The file's name.
pub(crate) const EXTENT_FILE: &str = "extent.json";

/// What it takes on the disk, at most.
pub(super) const EXTENT_BYTES: u64 = 1 << 16;

/// Why an `extent.json` is refused.
#[derive(Debug, thiserror::Error)]
pub enum ExtentError {
    /// It isn't what a store writes there.
    #[error("it does not say which segments the journal has")]
    Syntax {
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// It is another store's.
    #[error("it belongs to the store {found}, and this is the store {expected}")]
    Foreign {
        /// This store's id.
        expected: String,
        /// As found.
        found: String,
    },
}

/// Which segments there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    store: StoreId,
    /// None is before this one.
    pub(super) first: u64,
    /// All up to this one, but for those that were freed.
    pub(super) last: u64,
    /// Those that were freed among them.
    pub(super) freed: BTreeSet<u64>,
    /// Those that were made in a hurry, and may be shorter than the others.
    pub(super) short: BTreeSet<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    store: String,
    first_segment: u64,
    last_segment: u64,
    freed_segments: BTreeSet<u64>,
    short_segments: BTreeSet<u64>,
}

impl Extent {
    pub(super) fn new(store: StoreId) -> Self {
        Self { store, first: 1, last: 0, freed: BTreeSet::new(), short: BTreeSet::new() }
    }

    pub(super) fn parse(bytes: &[u8], store: StoreId) -> Result<Self, ExtentError> {
        let file: File = serde_json::from_slice(bytes).map_err(|source| ExtentError::Syntax { source })?;
        if file.store != store.to_string() {
            return Err(ExtentError::Foreign { expected: store.to_string(), found: file.store });
        }
        Ok(Self {
            store,
            first: file.first_segment,
            last: file.last_segment,
            freed: file.freed_segments,
            short: file.short_segments,
        })
    }

    /// Which segments there should be, as far as was noted.
    pub(super) fn segments(&self) -> impl Iterator<Item = u64> + '_ {
        (self.first..=self.last).filter(|segment| !self.freed.contains(segment))
    }

    /// Whether a segment was freed.
    pub(super) fn is_freed(&self, segment: u64) -> bool {
        segment < self.first || self.freed.contains(&segment)
    }

    /// The last segment that was freed.
    pub(super) fn last_freed(&self) -> Option<u64> {
        self.freed.last().copied().or_else(|| self.first.checked_sub(1).filter(|segment| *segment > 0))
    }

    /// Takes segments out; durable on return. The last one stays.
    pub(super) fn free(&mut self, disk: &dyn Disk, segments: &[u64]) -> io::Result<()> {
        let mut smaller = self.clone();
        for segment in segments.iter().filter(|segment| **segment < self.last && !self.is_freed(**segment)) {
            smaller.freed.insert(*segment);
            smaller.short.remove(segment);
        }
        while smaller.freed.remove(&smaller.first) {
            smaller.first += 1;
        }
        if smaller != *self {
            smaller.write(disk)?;
            *self = smaller;
        }
        Ok(())
    }

    /// Adds a segment; durable on return.
    pub(super) fn add(&mut self, disk: &dyn Disk, segment: u64, short: bool) -> io::Result<()> {
        let mut larger = Self { last: self.last.max(segment), ..self.clone() };
        if short {
            larger.short.insert(segment);
        } else {
            larger.short.remove(&segment);
        }
        if larger != *self {
            larger.write(disk)?;
            *self = larger;
        }
        Ok(())
    }

    pub(super) fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        let file = File {
            store: self.store.to_string(),
            first_segment: self.first,
            last_segment: self.last,
            freed_segments: self.freed.clone(),
            short_segments: self.short.clone(),
        };
        let mut text = serde_json::to_vec(&file)?;
        text.push(b'\n');
        disk.replace(EXTENT_FILE, &text)
    }
}
