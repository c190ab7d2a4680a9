//! Forgetting jobs that are over: those that are too old, the oldest that were fetched when there are too many, and what
//! somebody purges.

use std::{collections::VecDeque, time::Duration};

use rustc_hash::FxHashSet;

use super::Engine;
use crate::{
    effect::{Effect, Refusal},
    ids::{JobNumber, SessionNumber},
    job::Job,
    record::{Caller, Log, Record},
    task::TaskState,
    time::{Now, WallTime},
};

/// Tasks that are forgotten in one turn, but for those of a single job that has more.
const TURN: u64 = 50_000;
/// The wall clock is looked at this often at least while something waits to be forgotten.
const LOOK_AT_CLOCK: Duration = Duration::from_mins(1);

/// What somebody purges, in the order in which it was asked for.
#[derive(Debug, Default)]
pub(super) struct Purges(VecDeque<Purge>);

#[derive(Debug)]
struct Purge {
    session: SessionNumber,
    request: u64,
    caller: Caller,
    /// Jobs that were over by then.
    before: WallTime,
    tasks: u64,
}

impl Engine {
    pub(super) fn purge(
        &mut self,
        now: Now,
        session: SessionNumber,
        request: u64,
        caller: Caller,
        older_than: Duration,
    ) {
        let before = now.wall.minus(older_than);
        self.purges.0.push_back(Purge { session, request, caller, before, tasks: 0 });
    }

    /// Forgets a job whose results somebody has, if it is over and nobody wants it kept.
    pub(super) fn acknowledge(
        &mut self,
        now: Now,
        session: SessionNumber,
        request: u64,
        caller: Caller,
        job: JobNumber,
        log: &mut impl Log,
    ) -> Result<(), Refusal> {
        let mut tasks = 0;
        let known = self.visible_job(caller, job)?;
        if self.limits.forget_fetched && known.is_over() {
            tasks = u64::from(known.next_index);
            self.purge_jobs(now, vec![job], log);
        }
        self.tell(Effect::Changed { session, request, tasks, running: 0 });
        Ok(())
    }

    /// Whether there is something left to purge.
    pub(super) fn is_purging(&self) -> bool {
        !self.purges.0.is_empty() || self.has_too_many()
    }

    /// Forgets some of what is to be forgotten.
    pub(super) fn forget_jobs(&mut self, now: Now, log: &mut impl Log) {
        self.state.trim_over();
        if let Some(mut purge) = self.purges.0.pop_front() {
            let mine = |job: &Job| purge.caller.admin || job.owner == purge.caller.owner;
            let (jobs, tasks) = self.oldest(TURN, |time, job| time <= purge.before && mine(job));
            if jobs.is_empty() {
                let Purge { session, request, tasks, .. } = purge;
                self.tell(Effect::Changed { session, request, tasks, running: 0 });
            } else {
                purge.tasks += tasks;
                self.purges.0.push_front(purge);
                self.purge_jobs(now, jobs, log);
            }
        }
        if let Some(retain) = self.limits.retain {
            let before = now.wall.minus(retain);
            let (jobs, _) = self.oldest(TURN, |time, _| time <= before);
            self.purge_jobs(now, jobs, log);
        }
        if self.has_too_many() {
            let surplus = self.kept().saturating_sub(self.limits.finished_tasks).min(TURN);
            let (mut jobs, mut tasks) = (Vec::new(), 0);
            for number in self.fetched.staying() {
                if tasks >= surplus {
                    break;
                }
                let job = self.state.jobs.position(number).and_then(|position| self.state.jobs.at(position));
                tasks += job.map_or(0, |job| u64::from(job.next_index)).max(1);
                jobs.push(number);
            }
            self.purge_jobs(now, jobs, log);
        }
    }

    /// When the next job is too old.
    pub(super) fn retention_timeout(&self) -> Option<Duration> {
        let (oldest, _) = self.state.over.front()?;
        let wait = oldest.plus(self.limits.retain?).0.saturating_sub(self.turned.wall.0);
        Some(self.turned.monotonic + Duration::from_millis(wait).min(LOOK_AT_CLOCK))
    }

    /// Finished tasks that are kept here, but for those that are on their way to the archive.
    pub(super) fn kept(&self) -> u64 {
        let counts = &self.state.counts;
        let finished: u64 =
            TaskState::ALL.iter().filter(|state| state.is_final()).map(|state| counts.get(*state)).sum();
        finished.saturating_sub(self.archive_lag())
    }

    /// Whether more finished tasks are kept than may be, and some could go because somebody has them.
    fn has_too_many(&self) -> bool {
        self.kept() > self.limits.finished_tasks && self.fetched.staying().next().is_some()
    }

    /// The jobs that were over first, of those that are wanted, until they have so many tasks together.
    fn oldest(&self, most: u64, wanted: impl Fn(WallTime, &Job) -> bool) -> (Vec<JobNumber>, u64) {
        let (mut jobs, mut tasks) = (Vec::new(), 0);
        let mut seen = FxHashSet::default();
        for (time, number) in &self.state.over {
            if tasks >= most {
                break;
            }
            let job = self.state.jobs.position(*number).and_then(|position| self.state.jobs.at(position));
            if let Some(job) = job.filter(|job| job.ended == Some(*time) && wanted(*time, job))
                && seen.insert(*number)
            {
                jobs.push(*number);
                // A job without tasks costs something too.
                tasks += u64::from(job.next_index).max(1);
            }
        }
        (jobs, tasks)
    }

    fn purge_jobs(&mut self, now: Now, jobs: Vec<JobNumber>, log: &mut impl Log) {
        if jobs.is_empty() {
            return;
        }
        for job in &jobs {
            self.fetched.remove(*job);
            for (session, request) in self.follows.job_gone(self.state.jobs.position(*job)) {
                let refusal = Refusal::NotFound(format!("job {job} was over for so long that it is kept no longer"));
                self.tell(Effect::Refused { session, request, refusal });
            }
        }
        self.commit(log, &Record::Purged { jobs, time: now.wall });
    }
}
