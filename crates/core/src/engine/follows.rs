//! Who follows which job, and what each is still to be told.
//!
//! A follow looks through its job once, by index; what ends behind that point is remembered in a list of indexes. So what a
//! follow costs is bounded by the job's size, however slowly its client reads: results leave only against credit.

use std::collections::{BTreeMap, VecDeque};

use rustc_hash::FxHashMap;

use super::Engine;
use crate::{
    effect::{Effect, Refusal, TaskResult},
    ids::SessionNumber,
    input::{Follow, Target},
    job::Job,
    record::Caller,
    state::State,
};

/// Results in one effect.
const BATCH: usize = 1_024;
/// Tasks that one turn looks at for one follow.
const LOOK: u32 = 16_384;

type Key = (SessionNumber, u64);

/// All follows.
#[derive(Debug, Default)]
pub(super) struct Follows {
    all: BTreeMap<Key, Followed>,
    by_job: FxHashMap<u32, Vec<Key>>,
    busy: VecDeque<Key>,
}

#[derive(Debug)]
struct Followed {
    job: u32,
    follow: Follow,
    credit: u64,
    /// Indexes below this were looked at.
    looked: u32,
    /// Tasks below `looked` that ended since.
    ended: VecDeque<u32>,
    busy: bool,
}

impl Follows {
    pub(super) fn any(&self) -> bool {
        !self.all.is_empty()
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.busy.is_empty()
    }

    fn count(&self, session: SessionNumber) -> usize {
        self.all.range((session, 0)..=(session, u64::MAX)).count()
    }

    fn insert(&mut self, key: Key, job: u32, follow: Follow) {
        self.remove(key.0, key.1);
        self.by_job.entry(job).or_default().push(key);
        let looked = follow.only_index.unwrap_or(0);
        let credit = u64::from(follow.credit);
        self.all.insert(key, Followed { job, follow, credit, looked, ended: VecDeque::new(), busy: false });
        self.wake(key);
    }

    pub(super) fn remove(&mut self, session: SessionNumber, request: u64) {
        let key = (session, request);
        if let Some(followed) = self.all.remove(&key)
            && let Some(keys) = self.by_job.get_mut(&followed.job)
        {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.by_job.remove(&followed.job);
            }
        }
    }

    pub(super) fn close(&mut self, session: SessionNumber) {
        let requests: Vec<u64> =
            self.all.range((session, 0)..=(session, u64::MAX)).map(|((_, request), _)| *request).collect();
        for request in requests {
            self.remove(session, request);
        }
    }

    pub(super) fn credit(&mut self, session: SessionNumber, request: u64, more: u32) {
        if let Some(followed) = self.all.get_mut(&(session, request)) {
            followed.credit += u64::from(more);
            self.wake((session, request));
        }
    }

    /// Whether anybody follows the job.
    pub(super) fn is_followed(&self, job: Option<u32>) -> bool {
        job.is_some_and(|job| self.by_job.contains_key(&job))
    }

    /// The job got tasks, or was closed.
    pub(super) fn job_changed(&mut self, job: Option<u32>) {
        for key in job.and_then(|job| self.by_job.get(&job)).cloned().unwrap_or_default() {
            self.wake(key);
        }
    }

    /// Tasks of the job run again: of their ends there is nothing to be told any more.
    pub(super) fn run_again(&mut self, job: u32, is_over: impl Fn(u32) -> bool) {
        for key in self.by_job.get(&job).into_iter().flatten() {
            if let Some(followed) = self.all.get_mut(key) {
                followed.ended.retain(|index| is_over(*index));
            }
        }
    }

    /// The job is forgotten: who followed it.
    pub(super) fn job_gone(&mut self, job: Option<u32>) -> Vec<Key> {
        let keys = job.and_then(|job| self.by_job.get(&job)).cloned().unwrap_or_default();
        for (session, request) in &keys {
            self.remove(*session, *request);
        }
        keys
    }

    /// A task came to its end.
    pub(super) fn task_over(&mut self, job: u32, index: u32) {
        let Some(keys) = self.by_job.get(&job) else { return };
        for key in keys {
            let Some(followed) = self.all.get_mut(key) else { continue };
            let wanted = followed.follow.only_index.is_none_or(|only| only == index) && !followed.follow.only_end;
            if wanted && index < followed.looked && !followed.follow.skips(index) {
                followed.ended.push_back(index);
            }
            if !followed.busy {
                followed.busy = true;
                self.busy.push_back(*key);
            }
        }
    }

    fn wake(&mut self, key: Key) {
        if let Some(followed) = self.all.get_mut(&key)
            && !followed.busy
        {
            followed.busy = true;
            self.busy.push_back(key);
        }
    }
}

impl Followed {
    /// Results to tell now, within the credit, and whether there may be more to look at.
    fn next_results(&mut self, state: &State, job: &Job) -> (Vec<TaskResult>, bool) {
        let mut results = Vec::new();
        while results.len() < BATCH
            && self.credit > 0
            && let Some(index) = self.ended.pop_front()
        {
            self.push_result(&mut results, state, job, index);
        }
        let end = self.follow.only_index.map_or(job.next_index, |only| (only + 1).min(job.next_index));
        let stop = end.min(self.looked.saturating_add(LOOK));
        while results.len() < BATCH && self.credit > 0 && self.looked < stop {
            let index = self.looked;
            self.looked += 1;
            if !self.follow.skips(index) {
                self.push_result(&mut results, state, job, index);
            }
        }
        (results, self.credit > 0 && (self.looked < end || !self.ended.is_empty()))
    }

    fn push_result(&mut self, results: &mut Vec<TaskResult>, state: &State, job: &Job, index: u32) {
        if let Some(task) = job.task(index).and_then(|task| state.tasks.get(task))
            && task.state().is_final()
        {
            self.credit -= 1;
            let (state, attempts) = (task.state(), task.attempts);
            results.push(TaskResult { index, state, attempts, outcome: task.outcome() });
        }
    }

    /// Whether there will be nothing more to tell.
    fn is_over(&self, state: &State, job: &Job) -> bool {
        let only = self.follow.only_index;
        let end = only.map_or(job.next_index, |only| only + 1);
        let told = self.follow.only_end || (self.looked >= end && self.ended.is_empty());
        let ended = match only.map(|only| job.task(only).and_then(|task| state.tasks.get(task))) {
            Some(task) => task.is_some_and(|task| task.state().is_final()),
            None => job.is_over(),
        };
        told && (ended || self.follow.only_present)
    }
}

impl Engine {
    pub(super) fn follow(
        &mut self,
        session: SessionNumber,
        request: u64,
        caller: Caller,
        follow: Follow,
    ) -> Result<(), Refusal> {
        let (position, name) = match follow.target {
            Target::Number(job) => (self.state.jobs.position(job), job.to_string()),
            Target::Key(key) => (self.state.jobs.position_of_key(caller.owner, key), "with this key".to_owned()),
        };
        let visible = position.filter(|position| self.may_see(caller, *position));
        let Some(position) = visible else {
            return Err(Refusal::NotFound(format!("there is no job {name}; `task-messenger list` shows yours")));
        };
        let job = self.state.jobs.at(position);
        if let Some(index) = follow.only_index
            && job.is_none_or(|job| index >= job.next_index)
        {
            let tasks = job.map_or(0, |job| job.next_index);
            return Err(Refusal::NotFound(format!(
                "there is no task {name}.{index}: the job has {tasks} tasks, from index 0"
            )));
        }
        if self.follows.count(session) >= self.limits.follows {
            return Err(Refusal::Exhausted {
                what: "jobs followed at a time",
                limit: self.limits.follows as u64,
                retry_after: std::time::Duration::from_secs(1),
            });
        }
        self.follows.insert((session, request), position, follow);
        Ok(())
    }

    pub(super) fn may_see(&self, caller: Caller, job: u32) -> bool {
        caller.admin || self.state.jobs.at(job).is_some_and(|job| job.owner == caller.owner)
    }

    /// Tells each follow that something changed for what there is, within its credit and a bound a turn.
    pub(super) fn tell_followers(&mut self) {
        for _ in 0..self.follows.busy.len() {
            let Some(key) = self.follows.busy.pop_front() else { break };
            let Some(followed) = self.follows.all.get_mut(&key) else { continue };
            let Some(job) = self.state.jobs.at(followed.job) else { continue };
            followed.busy = false;
            let (session, request) = key;
            let (results, more) =
                if followed.follow.only_end { (Vec::new(), false) } else { followed.next_results(&self.state, job) };
            let over = !more && followed.is_over(&self.state, job);
            let fetched = over && followed.follow.takes_all_of(job.next_index) && job.is_over();
            let (number, ended) = (job.number, job.ended);
            if !results.is_empty() {
                self.tell(Effect::Results { session, request, job: number, results });
            }
            if over {
                if fetched {
                    let over = ended.filter(|over| self.may_depart(number, *over).is_none());
                    self.fetched.insert(number, over);
                }
                if let Some(job) = self.state.jobs.position(number).and_then(|at| self.state.jobs.at(at)) {
                    let job = self.summary(job);
                    self.tell(Effect::FollowEnded { session, request, job, all: fetched });
                }
                self.follows.remove(session, request);
            } else if more {
                self.follows.wake(key);
            }
        }
    }
}
