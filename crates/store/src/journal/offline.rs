//! Looking into a store that nobody uses, and leaving it as it is.

use std::io;

use bytes::Bytes;
use task_messenger_core::{
    ids::{Place, RecordNumber},
    values::Value,
};

use super::{ReadError, Recovered, Recovery, open_error::io_error, reader::Files, segments};
use crate::{
    blobs,
    disk::{Access, Disk},
    journal::OpenError,
    snapshot,
};

/// How large a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// The first segment that is kept.
    pub first_segment: u64,
    /// The last one.
    pub last_segment: u64,
    /// How many there are.
    pub segments: u64,
    /// How many bytes their files have.
    pub journal_bytes: u64,
    /// A segment's size in bytes.
    pub segment_bytes: u64,
    /// The last record.
    pub last: RecordNumber,
    /// What it was read from.
    pub recovered: Recovered,
    /// The file of the snapshot that it was read from, by its name in the store.
    pub snapshot: Option<String>,
}

/// Finds the values of a journal that nobody writes to.
pub struct ValueReader {
    files: Files,
    segment_bytes: u64,
    disk: std::sync::Arc<dyn Disk>,
    checksum_seed: u32,
}

/// Why a value can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ValueReadError {
    /// It lies in the journal.
    #[error(transparent)]
    Journal(#[from] ReadError),
    /// It lies in a file of its own.
    #[error("{file} can't be read")]
    Large {
        /// The file's name in the store.
        file: String,
        /// What is wrong.
        source: io::Error,
    },
}

impl Recovery {
    /// How large the store is. All of it must have been handed out.
    pub fn overview(&self) -> Result<Overview, OpenError> {
        let files = self.disk.list(segments::DIRECTORY);
        let files = files.map_err(|source| io_error("list", segments::DIRECTORY.to_owned(), source))?;
        let mut numbers: Vec<u64> = files.iter().filter_map(|file| segments::parse(file)).collect();
        numbers.retain(|segment| !self.extent.is_freed(*segment));
        let mut journal_bytes = 0;
        for segment in &numbers {
            let name = segments::name(*segment);
            let length = self.disk.open(&name, Access::Read).and_then(|file| file.length());
            journal_bytes += length.map_err(|source| io_error("read", name, source))?;
        }
        Ok(Overview {
            first_segment: numbers.iter().min().copied().unwrap_or(0),
            last_segment: numbers.iter().max().copied().unwrap_or(0),
            segments: numbers.len() as u64,
            journal_bytes,
            segment_bytes: self.identity.segment_bytes,
            last: self.tail.last,
            recovered: Recovered { snapshot: self.recovered, replayed_bytes: self.replayed_bytes },
            snapshot: self.recovered.map(|snapshot| snapshot::name(snapshot.position.last())),
        })
    }

    /// The last record that was handed out.
    pub fn last(&self) -> RecordNumber {
        self.tail.last
    }

    /// Whether a place lies in a segment that was freed, which the next start removes if it is still there.
    pub(crate) fn has_freed(&self, place: Place) -> bool {
        self.extent.is_freed(place.0 / self.identity.segment_bytes)
    }

    /// Finds values as long as nobody writes to the store.
    pub fn values(&self) -> ValueReader {
        ValueReader {
            files: Files::new(self.disk.clone(), self.identity.checksum_seed),
            segment_bytes: self.identity.segment_bytes,
            disk: self.disk.clone(),
            checksum_seed: self.identity.checksum_seed,
        }
    }
}

impl ValueReader {
    /// The value at a place, as it stands there.
    pub fn at(&mut self, place: Place) -> Result<Value, ReadError> {
        self.files.value_at(place, self.segment_bytes)
    }

    /// The bytes of a value, from wherever they are.
    pub fn bytes(&self, value: &Value) -> Result<Bytes, ValueReadError> {
        match value {
            Value::Inline(bytes) => Ok(bytes.clone()),
            Value::External { file, .. } => blobs::read(&*self.disk, self.checksum_seed, *file)
                .map_err(|source| ValueReadError::Large { file: blobs::name(*file), source }),
        }
    }

    /// The segment's file, by its name in the store, and the offset in it of a place.
    pub(crate) fn locate(&self, place: Place) -> (String, u64) {
        (segments::name(place.0 / self.segment_bytes), place.0 % self.segment_bytes)
    }
}
