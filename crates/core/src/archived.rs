//! Jobs that are in the archive, as far as a client may still submit to them: compact entries, kept 24 hours, and no more
//! than a million.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::{
    idempotency::KEPT,
    ids::{JobNumber, OwnerNumber},
    job::Job,
    record::JobKey,
    time::WallTime,
};

/// So many are kept; of more, the latest.
const MOST: usize = 1_000_000;

/// What names a job for its client.
type Key = (OwnerNumber, JobKey);

/// The jobs of the last 24 hours.
#[derive(Clone, Debug, Default)]
pub struct ArchivedJobs {
    by_key: FxHashMap<Key, ArchivedJob>,
    by_age: VecDeque<(WallTime, Key)>,
}

/// A job that gets no more tasks, and whose tasks are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArchivedJob {
    /// Its number.
    pub job: JobNumber,
    /// How many tasks it had.
    pub tasks: u32,
    /// See [`crate::digest`].
    pub digest: u32,
}

impl ArchivedJobs {
    /// The owner's job with this key.
    pub fn get(&self, owner: OwnerNumber, key: JobKey) -> Option<ArchivedJob> {
        self.by_key.get(&(owner, key)).copied()
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.by_age.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    /// All that are kept, oldest first, with when they were archived.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (WallTime, OwnerNumber, JobKey, ArchivedJob)> {
        self.by_age.iter().filter_map(|(time, key)| Some((*time, key.0, key.1, *self.by_key.get(key)?)))
    }

    pub(crate) fn insert(&mut self, job: &Job, time: WallTime) {
        let archived = ArchivedJob { job: job.number, tasks: job.next_index, digest: job.digest };
        self.restore(time, job.owner, job.key, archived);
    }

    /// Keeps a job, and forgets those that are too old by its time, or too many.
    pub(crate) fn restore(&mut self, time: WallTime, owner: OwnerNumber, key: JobKey, job: ArchivedJob) {
        while let Some((oldest, key)) = self.by_age.front()
            && (oldest.plus(KEPT) <= time || self.by_age.len() >= MOST)
        {
            self.by_key.remove(key);
            self.by_age.pop_front();
        }
        self.by_key.insert((owner, key), job);
        self.by_age.push_back((time, (owner, key)));
    }
}
