//! What was told to anybody. Nothing of it may ever be taken back, but for what a weaker durability allows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use task_messenger_core::{
    access::Access,
    ids::{JobNumber, LeaseNumber, TaskId, TokenNumber, WorkerNumber},
    query::{Answer, TaskSummary},
    record::JobKey,
    task::TaskState,
};

use crate::{
    admission::Change,
    network::{HandedOut, ToldResult},
    random::Random,
    reference::Reference,
    script::Script,
    stage::{Checked, Violation, ensure},
};

/// What was told, each with the record that says it.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// What the clients want, by the key of the job.
    pub(crate) scripts: BTreeMap<JobKey, Arc<Script>>,
    /// Workers die of tasks alone.
    pub(crate) only_killers: bool,
    /// What workers truly reported, by lease and worker: whether it succeeded, and what they said.
    pub(crate) reported: BTreeMap<(u64, u32), (bool, Bytes)>,
    /// What somebody wanted cancelled, and run again: tasks by job and index, and whole jobs.
    pub(crate) cancels: BTreeSet<(u64, Option<u32>)>,
    pub(crate) retries: BTreeSet<(u64, Option<u32>)>,
    /// Lease, task and job numbers below these were told: they are never used again.
    pub(crate) lease_end: u64,
    pub(crate) task_end: u64,
    pub(crate) job_end: u64,
    accepted: BTreeMap<u64, Accepted>,
    ends: BTreeMap<(u64, u32), End>,
    /// Results, with the records that say so.
    results: BTreeMap<(u64, u32), (u64, ToldResult)>,
    /// Leases: the record that hands each out, its worker and its task.
    assigned: BTreeMap<u64, (u64, u32, TaskId)>,
    /// What workers truly gave back, by lease and worker.
    pub(crate) given_back: BTreeSet<(u64, u32)>,
    /// Under an idempotency key: the job, and the record that opened it.
    idempotent: BTreeMap<[u8; 16], (u64, u64)>,
    tokens: BTreeSet<u32>,
    revoked: BTreeSet<u32>,
    removed: BTreeSet<u32>,
    /// The token with which workers join, while there is one.
    pub(crate) join: Option<TokenNumber>,
    workers: BTreeMap<[u8; 32], u32>,
    /// The latest record on which anything that was told depends, and what that was.
    latest: (u64, String),
}

#[derive(Clone, Copy, Debug)]
struct Accepted {
    next_index: u32,
    closed: bool,
    at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    state: TaskState,
    attempts: u32,
    at: u64,
}

impl Model {
    pub(crate) fn new(only_killers: bool) -> Self {
        Self { only_killers, ..Self::default() }
    }

    fn note(&mut self, at: u64, words: impl FnOnce() -> String) {
        if at > self.latest.0 {
            self.latest = (at, words());
        }
    }

    pub(crate) fn script_of(&self, key: JobKey) -> Checked<&Arc<Script>> {
        self.scripts.get(&key).ok_or_else(|| Violation(format!("nobody wants a job with the key {key:?}")))
    }

    /// A submit is acknowledged.
    pub(crate) fn told_accepted(
        &mut self,
        reference: &Reference,
        job: JobNumber,
        next_index: u32,
        digest: u32,
        closed: bool,
    ) -> Checked {
        let known = reference.jobs.get(&job.0);
        let known = known.ok_or_else(|| Violation(format!("job {job} was accepted, but does not exist")))?;
        let script = self.script_of(known.key)?;
        ensure!(known.tasks.len() >= next_index as usize, "job {job} has fewer tasks than were accepted");
        ensure!(script.digest(next_index) == Some(digest), "job {job} has other content than its client sent");
        let whole = next_index == script.size() || self.is_cancelled(job);
        ensure!(!closed || whole, "job {job} is closed with {next_index} tasks");
        if let Some(idempotency) = script.idempotency {
            let first = *self.idempotent.entry(idempotency.key).or_insert((job.0, known.opened_at));
            ensure!(first.0 == job.0, "one idempotency key opened two jobs, {} and {job}", first.0);
        }
        let mut at = known.opened_at;
        if let Some(last) = next_index.checked_sub(1).and_then(|last| reference.task(job.0, last)) {
            at = at.max(last.submitted_at);
            let number = known.tasks[next_index as usize - 1];
            self.task_end = self.task_end.max(number + 1);
        }
        if closed {
            at = at.max(known.closed_at.unwrap_or(u64::MAX));
        }
        let earlier = self.accepted.insert(job.0, Accepted { next_index, closed, at });
        let shrunk = earlier.is_some_and(|earlier| earlier.next_index > next_index || (earlier.closed && !closed));
        ensure!(!shrunk, "job {job} was told to have more than {next_index} tasks: {earlier:?}");
        self.job_end = self.job_end.max(job.0 + 1);
        self.note(at, || format!("job {job} was accepted with {next_index} tasks"));
        Ok(())
    }

    /// What somebody wanted to be changed is.
    pub(crate) fn told_changed(&mut self, change: &Change) {
        self.note(change.at, || "a change was acknowledged".to_owned());
        self.removed.extend(&change.removed);
        if let Some(token) = change.revoked {
            self.revoked.insert(token.0);
            self.join = self.join.filter(|join| *join != token);
        }
    }

    /// A submit is refused because its idempotency key was used for something else.
    pub(crate) fn told_other_content(&self, reference: &Reference, job: JobNumber) -> Checked {
        let script = reference.jobs.get(&job.0).map(|job| self.script_of(job.key)).transpose()?;
        ensure!(script.is_some_and(|script| script.has_rival), "job {job} has no rival, but is said to have one");
        Ok(())
    }

    /// A worker gets tasks.
    pub(crate) fn told_assigned(&mut self, reference: &Reference, worker: Option<u32>, tasks: &[HandedOut]) -> Checked {
        for HandedOut { lease, task, attempt, template, payload } in tasks {
            let hand_out = reference.handed.get(&lease.0);
            let hand_out = hand_out.ok_or_else(|| Violation(format!("lease {lease} was never handed out")))?;
            let right = worker.is_none_or(|worker| worker == hand_out.worker);
            ensure!(right, "lease {lease} is sent to worker {worker:?}, but is worker {}'s", hand_out.worker);
            let job = reference.jobs.get(&task.job.0);
            let job = job.ok_or_else(|| Violation(format!("job {} does not exist", task.job)))?;
            let number = job.tasks.get(task.index as usize).copied();
            ensure!(number == Some(hand_out.task), "lease {lease} is for another task than {task}");
            let wanted = self.script_of(job.key)?.tasks.get(task.index as usize);
            let wanted = wanted.ok_or_else(|| Violation(format!("nobody wants task {task}")))?;
            ensure!(wanted.payload == *payload, "task {task} is handed out with another payload than was sent");
            ensure!(wanted.template.body == *template, "task {task} is handed out with another template");
            ensure!(*attempt >= 1, "task {task} is handed out for the {attempt}th time");
            let again = self.assigned.insert(lease.0, (hand_out.at, hand_out.worker, *task));
            ensure!(again.is_none(), "lease {lease} is told twice");
            self.lease_end = self.lease_end.max(lease.0 + 1);
            self.task_end = self.task_end.max(hand_out.task + 1);
            self.job_end = self.job_end.max(task.job.0 + 1);
            self.note(hand_out.at, || format!("lease {lease} was handed out"));
        }
        Ok(())
    }

    /// A worker may forget outcomes.
    pub(crate) fn told_taken(&mut self, reference: &Reference, leases: &[u64]) {
        for lease in leases {
            if let Some(at) = reference.handed.get(lease).and_then(|hand_out| hand_out.finished_at) {
                self.note(at, || format!("the outcome of lease {lease} was taken"));
            }
        }
    }

    /// A follower gets a result.
    pub(crate) fn told_result(&mut self, reference: &Reference, job: JobNumber, result: &ToldResult) -> Checked {
        let ToldResult { index, state, attempts, outcome } = result;
        let has_outcome = outcome.is_some();
        let at = self.told_end(reference, job.0, *index, *state, *attempts, Some(has_outcome))?;
        if let Some(outcome) = outcome {
            self.check_outcome(reference, job, *index, *state, outcome)?;
        }
        let earlier = self.results.insert((job.0, *index), (at, result.clone()));
        let same = earlier.as_ref().is_none_or(|(before, earlier)| at > *before || earlier == result);
        ensure!(same, "{job}.{index} was told to be {earlier:?}, and now {result:?}");
        Ok(())
    }

    /// Whether this is what the worker said under whose lease the task ended.
    fn check_outcome(
        &self,
        reference: &Reference,
        job: JobNumber,
        index: u32,
        state: TaskState,
        outcome: &Bytes,
    ) -> Checked {
        let lease = outcome_lease(outcome).unwrap_or_default();
        let hand_out = reference.handed.get(&lease);
        let hand_out = hand_out.ok_or_else(|| Violation(format!("{job}.{index} ended by nobody's report")))?;
        let number = reference.jobs.get(&job.0).and_then(|job| job.tasks.get(index as usize));
        ensure!(number == Some(&hand_out.task), "{job}.{index} ended by the report of another task");
        let reported = self.reported.get(&(lease, hand_out.worker));
        let right =
            reported.is_some_and(|(succeeded, said)| said == outcome && *succeeded == (state == TaskState::Succeeded));
        ensure!(right, "{job}.{index} is told to have ended otherwise than worker {} said", hand_out.worker);
        Ok(())
    }

    /// A task is told to be at its end: at the one that was told before, or a later one of those that it came to, because
    /// it was run again. The record that says so.
    fn told_end(
        &mut self,
        reference: &Reference,
        job: u64,
        index: u32,
        state: TaskState,
        attempts: u32,
        has_outcome: Option<bool>,
    ) -> Checked<u64> {
        let task = reference.task(job, index);
        let task = task.ok_or_else(|| Violation(format!("task {job}.{index} does not exist")))?;
        let earlier = self.ends.get(&(job, index)).copied();
        let from = earlier.map_or(0, |end| end.at);
        let found = task.ends.iter().find(|end| {
            let same = (end.state, end.attempts) == (state, attempts);
            end.at >= from && same && has_outcome.is_none_or(|has| has == end.outcome.is_some())
        });
        let Some(at) = found.map(|end| end.at) else {
            let text = format!("{job}.{index} is told to be {state:?} after {earlier:?}, and has {:?}", task.ends);
            return Err(Violation(text));
        };
        self.ends.insert((job, index), End { state, attempts, at });
        self.note(at, || format!("task {job}.{index} was told to be {state:?}"));
        Ok(at)
    }

    /// Somebody gets an answer.
    pub(crate) fn told_answer(&mut self, reference: &Reference, answer: &Answer) -> Checked {
        match answer {
            Answer::Tasks { tasks, .. } => tasks.iter().try_for_each(|task| self.told_summary(reference, task)),
            Answer::Task(detail) => self.told_summary(reference, &detail.summary),
            Answer::Jobs { jobs, .. } => {
                for job in jobs {
                    let known = reference.jobs.get(&job.job.0);
                    let known = known.ok_or_else(|| Violation(format!("job {} is listed", job.job)))?;
                    ensure!(known.tasks.len() >= job.tasks as usize, "job {} is listed with too many tasks", job.job);
                    ensure!(job.counts.total() == u64::from(job.tasks), "job {} is listed with wrong counts", job.job);
                    self.job_end = self.job_end.max(job.job.0 + 1);
                    let opened_at = known.opened_at;
                    self.note(opened_at, || format!("job {} was listed", job.job));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn told_summary(&mut self, reference: &Reference, summary: &TaskSummary) -> Checked {
        let TaskSummary { task, state, attempts, .. } = summary;
        if state.is_final() {
            return self.told_end(reference, task.job.0, task.index, *state, *attempts, None).map(|_| ());
        }
        let known = reference.task(task.job.0, task.index);
        let known = known.ok_or_else(|| Violation(format!("task {task} is listed")))?;
        let at = known.submitted_at;
        let ended = self.ends.get(&(task.job.0, task.index)).filter(|end| end.at > known.run_again_at);
        ensure!(ended.is_none(), "task {task} is told to be {state:?} after {ended:?}");
        self.note(at, || format!("task {task} was listed"));
        Ok(())
    }

    /// A token was created: it stays, in every durability.
    pub(crate) fn told_token(&mut self, token: TokenNumber) {
        self.tokens.insert(token.0);
    }

    /// A worker was enrolled: it stays, in every durability.
    pub(crate) fn told_enrolled(&mut self, hash: [u8; 32], worker: WorkerNumber) -> Checked {
        let earlier = self.workers.insert(hash, worker.0);
        ensure!(earlier.is_none_or(|earlier| earlier == worker.0), "worker {earlier:?} is enrolled as {worker} again");
        Ok(())
    }

    /// One of the latest leases of other workers.
    pub(crate) fn foreign_lease(&self, random: &mut Random, worker: WorkerNumber) -> Option<(LeaseNumber, TaskId)> {
        let foreign = self.assigned.iter().rev().filter(|(_, (_, holder, _))| *holder != worker.0);
        let chosen = random.below(8) as usize;
        foreign.take(8).nth(chosen).map(|(lease, (_, _, task))| (LeaseNumber(*lease), *task))
    }

    /// Whether somebody wanted all of a job cancelled.
    pub(crate) fn is_cancelled(&self, job: JobNumber) -> bool {
        self.cancels.contains(&(job.0, None))
    }

    /// Whether somebody wanted something of a job run again.
    pub(crate) fn is_run_again(&self, job: JobNumber) -> bool {
        self.retries.range((job.0, None)..=(job.0, Some(u32::MAX))).next().is_some()
    }

    /// How many tokens were told to exist.
    pub(crate) fn tokens_told(&self) -> usize {
        self.tokens.len()
    }

    /// Whether this token was told to exist.
    pub(crate) fn has_token(&self, token: TokenNumber) -> bool {
        self.tokens.contains(&token.0)
    }

    /// The manager found so many records again. `everything` says that all that was told must be among them; otherwise it
    /// may have lost what lies behind, and that was never told. Whether anything was.
    pub(crate) fn recovered(&mut self, records: u64, everything: bool, access: &Access) -> Checked<bool> {
        let (at, words) = &self.latest;
        ensure!(!everything || *at <= records, "{words} (record {at}), but only {records} records are left");
        let lost = *at > records;
        if lost {
            self.latest = (records, "something that may not be lost".to_owned());
            self.accepted.retain(|_, accepted| accepted.at <= records);
            self.ends.retain(|_, end| end.at <= records);
            let ends = &self.ends;
            self.results.retain(|name, _| ends.contains_key(name));
            self.assigned.retain(|_, (at, _, _)| *at <= records);
            self.idempotent.retain(|_, (_, at)| *at <= records);
        }
        for token in &self.tokens {
            let known = access.token_at(TokenNumber(*token));
            ensure!(known.is_some(), "token {token} is lost");
            let revoked = known.is_some_and(|known| known.revoked.is_some());
            ensure!(revoked || !self.revoked.contains(token), "that token {token} was revoked is lost");
        }
        for (hash, worker) in &self.workers {
            let known = access.worker_at(WorkerNumber(*worker)).filter(|known| known.hash.0 == *hash);
            ensure!(known.is_some(), "worker {worker} is lost");
            let removed = known.is_some_and(|known| known.removed.is_some());
            ensure!(removed || !self.removed.contains(worker), "that worker {worker} was removed is lost");
        }
        Ok(lost)
    }

    /// What was told of a task's end.
    pub(crate) fn result(&self, job: JobNumber, index: u32) -> Option<&ToldResult> {
        self.results.get(&(job.0, index)).map(|(_, result)| result)
    }

    /// Whether everything that was acknowledged has ended.
    pub(crate) fn check_all_ended(&self, reference: &Reference) -> Checked {
        for (job, accepted) in &self.accepted {
            for index in 0..accepted.next_index {
                let state = reference.task(*job, index).map(|task| task.state);
                ensure!(state.is_some_and(TaskState::is_final), "the acknowledged task {job}.{index} is {state:?}");
            }
        }
        Ok(())
    }
}

/// The lease that an outcome says it was made under.
pub(crate) fn outcome_lease(outcome: &[u8]) -> Option<u64> {
    u64::from_le_bytes(*outcome.first_chunk()?).into()
}
