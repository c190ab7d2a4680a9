//! Jobs that are over and whose results somebody has: the first to go when too much is kept.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use crate::{ids::JobNumber, time::WallTime};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    jobs: FxHashMap<JobNumber, Option<WallTime>>,
    /// Those that stay here until they are forgotten, by when they were over.
    staying: BTreeSet<(WallTime, JobNumber)>,
}

impl Fetched {
    /// Notes a job; `over` says since when it is over, if it does not go to the archive.
    pub(super) fn insert(&mut self, job: JobNumber, over: Option<WallTime>) {
        self.remove(job);
        self.jobs.insert(job, over);
        self.staying.extend(over.map(|over| (over, job)));
    }

    pub(super) fn remove(&mut self, job: JobNumber) {
        if let Some(Some(over)) = self.jobs.remove(&job) {
            self.staying.remove(&(over, job));
        }
    }

    pub(super) fn contains(&self, job: JobNumber) -> bool {
        self.jobs.contains_key(&job)
    }

    /// Those that stay here, from the one on that was over first.
    pub(super) fn staying(&self) -> impl Iterator<Item = JobNumber> {
        self.staying.iter().map(|(_, job)| *job)
    }
}
