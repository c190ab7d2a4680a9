//! The archive: a map that every crash leaves as it is. What it holds is written before the journal lets go of it, and both
//! may be killed in between.

use std::collections::{BTreeMap, VecDeque};

use task_messenger_core::{
    effect::{ArchiveQuestion, Effect, Refusal},
    engine::Departure,
    ids::{OwnerNumber, RecordNumber, SessionNumber},
    input::{Follow, Input, Target},
    job::Job,
    query::{Answer, JobSummary},
    record::{Caller, JobKey},
};

use crate::{
    manager::Manager,
    network::{Down, ToldResult},
    stage::{Checked, Stage},
};

/// The archive of a manager.
pub(crate) type Archive = BTreeMap<u64, Past>;

/// A job that is over.
pub(crate) struct Past {
    owner: OwnerNumber,
    key: JobKey,
    summary: JobSummary,
    results: Vec<ToldResult>,
}

/// A follow that the archive answers.
pub(super) struct PastFollow {
    summary: JobSummary,
    /// What is left to be told.
    results: VecDeque<ToldResult>,
    credit: usize,
}

/// What is on its way.
#[derive(Default)]
pub(super) struct Departing {
    departures: Vec<Departure>,
    over_by: RecordNumber,
    /// Whether it is in the archive.
    written: bool,
}

impl Departing {
    /// Whether a sync is waited for.
    pub(super) fn wants_sync(&self) -> bool {
        !self.departures.is_empty()
    }
}

impl Manager {
    /// Chooses what goes next, writes it, or lets go of it: one of these at a time.
    pub(super) fn depart(&mut self, stage: &mut Stage) -> Checked {
        let Some(process) = &mut self.process else { return Ok(()) };
        if process.departing.departures.is_empty() {
            if stage.random.percent(stage.scenario.archived) {
                let before = process.now(stage).wall;
                let departures = process.engine.departing(before, stage.random.between(1, 60));
                process.departing = Departing { departures, over_by: process.store.front.last(), written: false };
            }
        } else if process.departing.written {
            let departures = std::mem::take(&mut process.departing).departures;
            stage.totals.archived += departures.len() as u64;
            let now = process.now(stage);
            let reference = &mut self.reference;
            process.with_log(reference, stage, now.wall, |engine, log| {
                engine.archived(now, departures, log);
            });
            reference.verdict()?;
        } else if process.store.writer.progress().synced >= process.departing.over_by {
            process.departing.written = true;
            for departure in process.departing.departures.clone() {
                self.write_past(stage, departure)?;
            }
        }
        Ok(())
    }

    fn write_past(&mut self, stage: &mut Stage, departure: Departure) -> Checked {
        let Some(process) = &self.process else { return Ok(()) };
        let state = process.engine.state();
        let Some(job) = state.jobs.position(departure.job).and_then(|position| state.jobs.at(position)) else {
            return Ok(());
        };
        let (owner, key, summary) = (job.owner, job.key, summary(job));
        let tasks: Vec<_> = job.tasks().filter_map(|number| state.tasks.get(number).copied()).collect();
        let mut results = Vec::new();
        for task in tasks {
            let outcome = match task.outcome() {
                Some(place) => Some(self.value(stage, place)?),
                None => None,
            };
            results.push(ToldResult { index: task.index, state: task.state(), attempts: task.attempts, outcome });
        }
        self.archive.insert(departure.job.0, Past { owner, key, summary, results });
        Ok(())
    }

    /// Answers from the archive.
    pub(super) fn answer_from_archive(
        &mut self,
        stage: &mut Stage,
        session: SessionNumber,
        request: u64,
        caller: Caller,
        question: ArchiveQuestion,
    ) -> Checked {
        stage.totals.asked_archive += 1;
        let answer = match question {
            ArchiveQuestion::Status(status) => Answer::Status(status),
            ArchiveQuestion::Jobs { jobs, next_before, .. } => Answer::Jobs { jobs, next_before },
            ArchiveQuestion::Follow(follow) => return self.follow_past(stage, session, request, caller, &follow),
            ArchiveQuestion::Cancel(_) | ArchiveQuestion::Retry(_) => {
                let effect = Effect::Changed { session, request, tasks: 0, running: 0 };
                return self.tell_one(stage, effect);
            }
            ArchiveQuestion::Query(_) => return self.not_found(stage, session, request),
        };
        self.tell_one(stage, Effect::Answer { session, request, answer })
    }

    fn follow_past(
        &mut self,
        stage: &mut Stage,
        session: SessionNumber,
        request: u64,
        caller: Caller,
        follow: &Follow,
    ) -> Checked {
        let past = match follow.target {
            Target::Number(job) => self.archive.get(&job.0),
            Target::Key(key) => self.archive.values().rev().find(|past| past.owner == caller.owner && past.key == key),
        };
        let Some(past) = past.filter(|past| past.owner == caller.owner) else {
            return self.not_found(stage, session, request);
        };
        let wanted = |index| follow.only_index.is_none_or(|only| only == index) && !follow.skips(index);
        let results = past.results.iter().filter(|result| !follow.only_end && wanted(result.index)).cloned().collect();
        let following = PastFollow { summary: past.summary.clone(), results, credit: follow.credit as usize };
        let Some(process) = &mut self.process else { return Ok(()) };
        process.past_follows.insert((session, request), following);
        self.tell_past(stage, session, request)
    }

    /// Tells what a follow's credit allows.
    fn tell_past(&mut self, stage: &mut Stage, session: SessionNumber, request: u64) -> Checked {
        let follows = self.process.as_mut().map(|process| &mut process.past_follows);
        let Some(mut following) = follows.and_then(|follows| follows.remove(&(session, request))) else {
            return Ok(());
        };
        let count = following.credit.min(following.results.len());
        following.credit -= count;
        let results: Vec<ToldResult> = following.results.drain(..count).collect();
        let job = following.summary.job;
        for result in &results {
            stage.model.told_result(&self.reference, job, result)?;
        }
        stage.totals.results_of_archive += results.len() as u64;
        if !results.is_empty() {
            stage.send_down(session, Down::Results { request, job, results });
        }
        if following.results.is_empty() {
            return self.tell_one(stage, Effect::FollowEnded { session, request, job: following.summary, all: true });
        }
        if let Some(process) = &mut self.process {
            process.past_follows.insert((session, request), following);
        }
        Ok(())
    }

    /// An input may be about a follow that the archive answers.
    pub(super) fn hear_of_past(&mut self, stage: &mut Stage, input: &Input) -> Checked {
        let follows = self.process.as_mut().map(|process| &mut process.past_follows);
        match (input, follows) {
            (Input::FollowCredit { session, request, more }, Some(follows)) => {
                if let Some(following) = follows.get_mut(&(*session, *request)) {
                    following.credit += *more as usize;
                }
                self.tell_past(stage, *session, *request)
            }
            (Input::Unfollow { session, request }, Some(follows)) => {
                follows.remove(&(*session, *request));
                Ok(())
            }
            (Input::SessionClosed { session }, Some(follows)) => {
                follows.retain(|(of, _), _| of != session);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn not_found(&mut self, stage: &mut Stage, session: SessionNumber, request: u64) -> Checked {
        let refusal = Refusal::NotFound("there is no such job".to_owned());
        self.tell_one(stage, Effect::Refused { session, request, refusal })
    }
}

fn summary(job: &Job) -> JobSummary {
    JobSummary {
        job: job.number,
        name: job.name.to_string(),
        owner: String::new(),
        tasks: job.next_index,
        closed: job.closed,
        counts: job.counts,
        opened: job.opened,
        labels: job.labels.clone(),
    }
}
