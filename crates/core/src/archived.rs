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
        self.forget(time, MOST);
        self.by_key.insert((owner, key), job);
        self.by_age.push_back((time, (owner, key)));
    }

    /// Makes room for one more among `most`.
    fn forget(&mut self, time: WallTime, most: usize) {
        while let Some((oldest, key)) = self.by_age.front()
            && (oldest.plus(KEPT) <= time || self.by_age.len() >= most)
        {
            self.by_key.remove(key);
            self.by_age.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archived_job_is_known_to_its_owner_for_a_day_and_the_latest_of_many_are() {
        let mut jobs = ArchivedJobs::default();
        assert!(jobs.is_empty());
        let day = KEPT.as_millis() as u64;
        let key = |at: u64| JobKey([at as u8; 16]);
        let archived = |at: u64| ArchivedJob { job: JobNumber(at), tasks: at as u32, digest: 7 };
        for at in 1..=4 {
            jobs.restore(WallTime(at), OwnerNumber(0), key(at), archived(at));
        }
        assert_eq!(jobs.get(OwnerNumber(0), key(3)), Some(archived(3)));
        assert_eq!(jobs.get(OwnerNumber(1), key(3)), None, "it is another's");
        jobs.restore(WallTime(day), OwnerNumber(0), key(5), archived(5));
        assert_eq!((jobs.len(), jobs.get(OwnerNumber(0), key(1))), (5, Some(archived(1))), "not yet a day ago");
        jobs.restore(WallTime(day + 2), OwnerNumber(0), key(6), archived(6));
        let kept = |jobs: &ArchivedJobs| jobs.iter().map(|(_, _, _, job)| job.job.0).collect::<Vec<_>>();
        assert_eq!(kept(&jobs), [3, 4, 5, 6]);
        assert_eq!(jobs.get(OwnerNumber(0), key(2)), None);
        jobs.forget(WallTime(day + 2), 5);
        assert_eq!(kept(&jobs), [3, 4, 5, 6], "there is room for one");
        jobs.forget(WallTime(day + 2), 3);
        assert_eq!((kept(&jobs), jobs.len(), jobs.is_empty()), (vec![5, 6], 2, false));
        assert_eq!(jobs.get(OwnerNumber(0), key(4)), None);
    }
}
