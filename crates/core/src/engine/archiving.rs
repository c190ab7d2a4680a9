//! What goes to the archive, and who asks for what is there.
//!
//! A job goes as a whole, once all of its tasks have succeeded and nobody follows it. The caller writes it down there first;
//! only then the record leaves it to the archive ([`Engine::archived`]). What is asked about a job that isn't here is passed on.

use std::collections::VecDeque;

use rustc_hash::FxHashSet;

use super::Engine;
use crate::{
    effect::{ArchiveQuestion, Effect, Refusal},
    ids::{JobNumber, SessionNumber},
    input::{Follow, Input, Named, Target},
    job::Job,
    query::{Answer, Query},
    record::{Caller, Log, Record},
    task::TaskState,
    time::{Now, WallTime},
};

/// Jobs that may go, in the order in which they were over.
#[derive(Debug, Default)]
pub(super) struct Departures {
    waiting: VecDeque<Departure>,
    /// How many tasks they have, those under way included.
    tasks: u64,
}

/// A job that is over, and since when: if that is not so any more, it is another end of it that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The job.
    pub job: JobNumber,
    /// When it was over.
    pub over: WallTime,
    /// How many tasks it has.
    pub tasks: u32,
}

impl Engine {
    /// Notes which jobs are over.
    pub(super) fn note_departures(&mut self) {
        for (over, job) in self.state.take_newly_over() {
            if let Some(tasks) = self.may_depart(job, over).map(|job| job.next_index) {
                self.departures.tasks += u64::from(tasks);
                self.departures.waiting.push_back(Departure { job, over, tasks });
            }
        }
    }

    /// Jobs to be written to the archive, the first first: until they have so many tasks together, none that has been over
    /// only since after `before`, and none that is followed. They are not named again unless [`Engine::archived`] says so.
    pub fn departing(&mut self, before: WallTime, most: u64) -> Vec<Departure> {
        let (mut departing, mut tasks) = (Vec::new(), 0);
        for _ in 0..self.departures.waiting.len() {
            if tasks >= most {
                break;
            }
            let Some(departure) = self.departures.waiting.pop_front_if(|departure| departure.over <= before) else {
                break;
            };
            if self.may_depart(departure.job, departure.over).is_none() {
                self.departures.tasks -= u64::from(departure.tasks);
            } else if self.follows.is_followed(self.state.jobs.position(departure.job)) {
                self.departures.waiting.push_back(departure);
            } else {
                tasks += u64::from(departure.tasks).max(1);
                departing.push(departure);
            }
        }
        departing
    }

    /// These jobs are in the archive, durably. Those that are followed now stay here for now. Says which were purged since,
    /// and are to be purged there too.
    pub fn archived(&mut self, now: Now, departures: Vec<Departure>, log: &mut impl Log) -> Vec<JobNumber> {
        let (mut jobs, mut purged) = (Vec::new(), Vec::new());
        // Over twice within a millisecond, a job is named twice.
        let mut named = FxHashSet::default();
        for departure in departures {
            if !named.insert(departure.job) {
                self.departures.tasks -= u64::from(departure.tasks);
            } else if self.may_depart(departure.job, departure.over).is_none() {
                self.departures.tasks -= u64::from(departure.tasks);
                purged.push(departure.job);
            } else if self.follows.is_followed(self.state.jobs.position(departure.job)) {
                self.departures.waiting.push_back(departure);
            } else {
                self.departures.tasks -= u64::from(departure.tasks);
                self.fetched.remove(departure.job);
                jobs.push(departure.job);
            }
        }
        if !jobs.is_empty() {
            self.commit(log, &Record::Archived { jobs, time: now.wall });
        }
        purged
    }

    /// Whether all results of a job were told to somebody who follows it.
    pub fn is_fetched(&self, job: JobNumber) -> bool {
        self.fetched.contains(job)
    }

    /// How many tasks wait for the archive.
    pub fn archive_lag(&self) -> u64 {
        self.departures.tasks
    }

    /// The job, if it is over since then, all of it succeeded, and there is an archive for it.
    pub(super) fn may_depart(&self, job: JobNumber, over: WallTime) -> Option<&Job> {
        self.limits.archive_lag.filter(|_| !self.limits.forget_fetched)?;
        let job = self.state.jobs.position(job).and_then(|position| self.state.jobs.at(position))?;
        let all = job.counts.get(TaskState::Succeeded) == u64::from(job.next_index);
        (job.ended == Some(over) && all).then_some(job)
    }

    /// Passes on what the archive has to answer, and gives back what is answered here.
    pub(super) fn pass_on(&mut self, input: Input) -> Option<Input> {
        if self.limits.archive_lag.is_none() {
            return Some(input);
        }
        let (session, request, caller, question) = match input {
            Input::Follow { session, request, caller, follow } if self.is_elsewhere(caller, follow.target) => {
                (session, request, caller, ArchiveQuestion::Follow(Box::new(self.by_number(caller, follow))))
            }
            Input::Query { session, request, caller, query } if query.job().is_some_and(|job| self.is_past(job)) => {
                (session, request, caller, ArchiveQuestion::Query(query))
            }
            Input::Cancel { session, request, caller, named } if self.is_past(named.job()) => {
                (session, request, caller, ArchiveQuestion::Cancel(named))
            }
            Input::Retry { session, request, caller, named } if self.is_past(named.job()) => {
                (session, request, caller, ArchiveQuestion::Retry(named))
            }
            other => return Some(other),
        };
        self.tell(Effect::AskArchive { session, request, caller, question });
        None
    }

    /// Answers a question, or lets the archive complete the answer.
    pub(super) fn complete(
        &mut self,
        now: Now,
        session: SessionNumber,
        request: u64,
        caller: Caller,
        query: &Query,
    ) -> Result<(), Refusal> {
        let question = match (query, self.query(now, caller, query)?) {
            (Query::Jobs { before, limit, filter }, Answer::Jobs { jobs, next_before })
                if self.limits.archive_lag.is_some() =>
            {
                let (before, limit, filter) = (*before, *limit, filter.clone());
                ArchiveQuestion::Jobs { before, limit, filter, jobs, next_before }
            }
            (Query::Status, Answer::Status(status)) if self.limits.archive_lag.is_some() => {
                ArchiveQuestion::Status(status)
            }
            (_, answer) => {
                self.tell(Effect::Answer { session, request, answer });
                return Ok(());
            }
        };
        self.tell(Effect::AskArchive { session, request, caller, question });
        Ok(())
    }

    /// Whether a job had its number and is not here any more.
    fn is_past(&self, job: JobNumber) -> bool {
        job < self.state.next.job && self.state.jobs.position(job).is_none()
    }

    fn is_elsewhere(&self, caller: Caller, target: Target) -> bool {
        match target {
            Target::Number(job) => self.is_past(job),
            Target::Key(key) => self.state.jobs.position_of_key(caller.owner, key).is_none(),
        }
    }

    /// The follow, by number if the job's key is known.
    fn by_number(&self, caller: Caller, follow: Follow) -> Follow {
        match follow.target {
            Target::Key(key) if let Some(archived) = self.state.archived.get(caller.owner, key) => {
                Follow { target: Target::Number(archived.job), ..follow }
            }
            _ => follow,
        }
    }
}

impl Named {
    /// The job that is named, or whose task is.
    pub fn job(self) -> JobNumber {
        match self {
            Self::Task(task) => task.job,
            Self::Job(job) => job,
        }
    }
}
