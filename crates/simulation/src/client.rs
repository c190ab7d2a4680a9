//! A client: submits its scripts, follows its jobs, and checks what it is told. It knows after a restart what it wanted,
//! and perhaps which results it has.

pub(crate) mod changes;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use task_messenger_core::{
    effect::{Effect, Refusal},
    ids::{JobNumber, OwnerNumber, SessionNumber, TaskId, TokenNumber},
    input::{Follow, Input, Submit, Target},
    labels::Labels,
    query::{JobFilter, JobSummary, Query},
    record::Caller,
    task::TaskState,
};
use task_messenger_store::Durability;

use crate::{
    network::{Down, Peer, ToldResult},
    pursuit::{Following, Pursuit, What},
    script::Script,
    stage::{Checked, ClientEvent, Event, Stage, Violation, ensure},
};

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    at: usize,
    token: TokenNumber,
    jobs: Vec<Pursuit>,
    running: bool,
    starts: u64,
    session: Option<SessionNumber>,
    requests: u64,
    work_due: bool,
}

/// The manager says who calls.
const NOBODY: Caller = Caller { owner: OwnerNumber(0), admin: false };

impl Client {
    pub(crate) fn new(at: usize, scripts: Vec<(Arc<Script>, Duration)>) -> Self {
        Self {
            at,
            token: TokenNumber(at as u32 + 1),
            jobs: scripts.into_iter().map(|(script, begins)| Pursuit::new(script, begins)).collect(),
            running: false,
            starts: 0,
            session: None,
            requests: 0,
            work_due: false,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.jobs.iter().all(|job| job.done)
    }

    fn after(&self, stage: &mut Stage, delay: Duration, event: ClientEvent) {
        stage.after(delay, Event::Client { at: self.at, start: self.starts, event });
    }

    pub(crate) fn start_after(&self, stage: &mut Stage, delay: Duration) {
        self.after(stage, delay, ClientEvent::Start);
    }

    pub(crate) fn handle(&mut self, stage: &mut Stage, start: u64, event: ClientEvent) {
        if start != self.starts {
            return;
        }
        match event {
            ClientEvent::Start => {
                self.starts += 1;
                self.running = true;
                self.connect(stage);
                self.after(stage, Duration::from_millis(50), ClientEvent::Ask);
            }
            ClientEvent::Connect => self.connect(stage),
            ClientEvent::Work => {
                self.work_due = false;
                self.work(stage);
            }
            ClientEvent::Ask => {
                self.ask(stage);
                let pause = stage.delay(50_000, 3_000_000);
                self.after(stage, pause, ClientEvent::Ask);
            }
        }
    }

    fn connect(&mut self, stage: &mut Stage) {
        if self.session.is_some() || self.is_done() {
            return;
        }
        let may = stage.model.has_token(self.token);
        self.session = may.then(|| stage.connect(Peer::Client(self.at, self.token))).flatten();
        if self.session.is_some() {
            self.work_soon(stage);
        } else {
            let pause = stage.delay(10_000, 500_000);
            self.after(stage, pause, ClientEvent::Connect);
        }
    }

    fn work_soon(&mut self, stage: &mut Stage) {
        self.work_after(stage, Duration::from_micros(50));
    }

    fn work_after(&mut self, stage: &mut Stage, delay: Duration) {
        if !std::mem::replace(&mut self.work_due, true) {
            self.after(stage, delay, ClientEvent::Work);
        }
    }

    /// Sends what can be sent.
    fn work(&mut self, stage: &mut Stage) {
        let Some(session) = self.session else { return };
        let mut later = false;
        for at in 0..self.jobs.len() {
            let job = &self.jobs[at];
            if job.done {
                continue;
            }
            if stage.now < job.begins || stage.now < job.hold_until {
                later = true;
                continue;
            }
            self.submit(stage, session, at);
            let job = &self.jobs[at];
            let there = job.acknowledged > 0 || job.cut;
            if job.follow.is_none() && job.retrying.is_none() && there && stage.random.percent(70) {
                self.follow(stage, session, at);
            }
            later |= self.jobs[at].follow.is_none();
        }
        if later {
            self.work_after(stage, Duration::from_millis(20));
        }
    }

    fn submit(&mut self, stage: &mut Stage, session: SessionNumber, at: usize) {
        let job = &mut self.jobs[at];
        while job.sending.len() < 3 && !job.confirmed {
            let size = job.script.size();
            if job.next >= size && !job.sending.is_empty() {
                return;
            }
            let (template, payloads) = job.script.batch_at(job.next);
            let first_index = job.next;
            let end = first_index + payloads.count();
            if first_index < job.ever_sent {
                stage.totals.resubmits += 1;
            }
            job.ever_sent = job.ever_sent.max(end);
            job.next = end;
            self.requests += 1;
            job.sending.insert(self.requests);
            // An idempotency key is for a job that is submitted at once, so a repeated submit is the whole again.
            let whole = first_index == 0 && end == size;
            let submit = Submit {
                key: job.script.key,
                name: format!("job of client {}", self.at),
                labels: Labels::new(),
                idempotency: job.script.idempotency.filter(|_| whole),
                first_index,
                template,
                payloads,
                delay: job.script.delay,
                deadline: job.script.deadline,
                last: end == size && (!job.script.closes_late || first_index == size),
            };
            stage.send_up(session, Input::Submit { session, request: self.requests, caller: NOBODY, submit });
        }
    }

    fn follow(&mut self, stage: &mut Stage, session: SessionNumber, at: usize) {
        let job = &mut self.jobs[at];
        let what = match stage.random.below(10) {
            _ if job.looks_again => What::Again,
            _ if job.cut => What::Everything,
            0 => What::End,
            1 => What::Task(stage.random.below(u64::from(job.acknowledged.max(1))) as u32),
            _ => What::Everything,
        };
        let skip = if what == What::Everything { job.skip() } else { Vec::new() };
        let credit = stage.random.pick(&[1, 3, 20, 5_000]);
        self.requests += 1;
        let by_number = job.number.filter(|_| job.script.idempotency.is_some() || stage.random.percent(50));
        let follow = Follow {
            target: by_number.map_or(Target::Key(job.script.key), Target::Number),
            skip: skip.clone(),
            credit,
            only_end: what == What::End,
            only_index: if let What::Task(index) = what { Some(index) } else { None },
            only_present: false,
        };
        let credit = u64::from(credit);
        job.follow = Some(Following { request: self.requests, what, credit, skip, seen: BTreeSet::new() });
        stage.send_up(session, Input::Follow { session, request: self.requests, caller: NOBODY, follow });
    }

    fn next_request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    fn ask(&mut self, stage: &mut Stage) {
        let Some(session) = self.session else { return };
        let known = self.jobs.iter().filter_map(|job| job.number).next_back();
        let job = known.unwrap_or(JobNumber(stage.random.between(1, 5)));
        let index = stage.random.below(20) as u32;
        let query = match stage.random.below(6) {
            0 => Query::Status,
            1 => Query::Jobs { before: None, limit: 10, filter: JobFilter::default() },
            2 => Query::Workers,
            3 => Query::Task(TaskId { job, index }),
            _ => Query::Tasks { job, state: None, from_index: index, limit: 50 },
        };
        self.requests += 1;
        stage.send_up(session, Input::Query { session, request: self.requests, caller: NOBODY, query });
        self.change_something(stage, session);
        // In the end every follow must come to its end by itself.
        if !stage.calm
            && stage.random.percent(10)
            && let Some(following) = self.jobs.iter_mut().find_map(|job| job.follow.take())
        {
            stage.send_up(session, Input::Unfollow { session, request: following.request });
            self.work_soon(stage);
        }
        // Now and then a client believes its link to be dead and repeats itself over another, while all arrives.
        if stage.random.percent(4) && !stage.calm {
            stage.hang_up(session);
            self.link_lost(stage, session);
        }
    }

    pub(crate) fn receive(&mut self, stage: &mut Stage, session: SessionNumber, down: Down) -> Checked {
        if self.session != Some(session) {
            return Ok(());
        }
        match down {
            Down::Plain(Effect::Accepted { request, job, next_index, digest, closed, .. }) => {
                self.accepted(stage, request, job, next_index, digest, closed)
            }
            Down::Plain(Effect::Refused { request, refusal, .. }) => self.refused(stage, request, &refusal),
            Down::Plain(Effect::FollowEnded { request, job, .. }) => self.follow_ended(stage, request, &job),
            Down::Plain(Effect::Changed { request, .. }) => {
                self.changed(stage, request, true);
                Ok(())
            }
            Down::Results { request, job, results } => self.results(stage, session, request, job, results),
            Down::Plain(_) | Down::Assign(_) => Ok(()),
        }
    }

    fn accepted(
        &mut self,
        stage: &mut Stage,
        request: u64,
        number: JobNumber,
        next_index: u32,
        digest: u32,
        closed: bool,
    ) -> Checked {
        let Some(job) = self.jobs.iter_mut().find(|job| job.sending.contains(&request)) else { return Ok(()) };
        job.sending.remove(&request);
        ensure!(job.script.digest(next_index) == Some(digest), "job {number} has other content than was sent");
        if job.number.is_some_and(|known| known != number) {
            ensure!(is_weak(stage), "a job was {:?}, and is {number} now", job.number);
            job.results.clear();
        }
        if job.script.idempotency.is_some() && job.number.is_some() {
            stage.totals.idempotent += 1;
        }
        job.number = Some(number);
        ensure!(is_weak(stage) || next_index >= job.acknowledged, "job {number} has lost tasks");
        job.acknowledged = job.acknowledged.max(next_index);
        job.next = job.next.max(job.acknowledged);
        job.confirmed |= closed;
        job.cut |= closed && next_index < job.script.size();
        if !closed && job.next == job.script.size() {
            job.hold_until = stage.now + stage.delay(1_000, 2_000_000);
        }
        self.work_soon(stage);
        Ok(())
    }

    fn refused(&mut self, stage: &mut Stage, request: u64, refusal: &Refusal) -> Checked {
        let weak = is_weak(stage);
        if self.changed(stage, request, false) {
            return Ok(());
        }
        if let Some(job) = self.jobs.iter_mut().find(|job| job.sending.contains(&request)) {
            job.sending.clear();
            match refusal {
                Refusal::Exhausted { .. } => {
                    job.hold_until = stage.now + Duration::from_millis(150);
                    job.next = job.acknowledged;
                }
                Refusal::Precondition(text) if text.contains("is closed") => {
                    ensure!(job.number.is_none_or(|job| stage.model.is_cancelled(job)), "nobody cancelled: {text}");
                    job.cut = true;
                    job.confirmed = true;
                }
                Refusal::Precondition(_) => {
                    // Either an earlier part was refused, or (with weak durability) what was acknowledged is gone.
                    job.next = if weak { 0 } else { job.acknowledged };
                    job.acknowledged = job.next;
                }
                Refusal::OtherContent { .. } if job.script.has_rival => job.done = true,
                other => return Err(Violation(format!("a submit is refused: {other}"))),
            }
            if job.script.idempotency.is_some() {
                job.next = 0;
            }
        } else if let Some(job) = self.jobs.iter_mut().find(|job| job.follows(request)) {
            ensure!(weak, "a follow of an acknowledged job is refused: {refusal}");
            job.begin_again();
        }
        self.work_soon(stage);
        Ok(())
    }

    fn results(
        &mut self,
        stage: &mut Stage,
        session: SessionNumber,
        request: u64,
        number: JobNumber,
        results: Vec<ToldResult>,
    ) -> Checked {
        let Some(job) = self.jobs.iter_mut().find(|job| job.follows(request)) else { return Ok(()) };
        let Some(following) = &mut job.follow else { return Ok(()) };
        for result in results {
            let index = result.index;
            ensure!(following.credit > 0, "{number}.{index} is told without credit");
            following.credit -= 1;
            let wanted = match following.what {
                What::Again => true,
                What::Everything => {
                    !following.skip.iter().any(|(first, count)| (*first..first + count).contains(&index))
                }
                What::End => false,
                What::Task(only) => only == index,
            };
            ensure!(wanted, "{number}.{index} is told though nobody wants it");
            let again = !following.seen.insert(index);
            ensure!(!again || stage.model.is_run_again(number), "{number}.{index} is told twice to one follow");
            if let Some(earlier) = job.results.insert(index, result.clone()) {
                let may = is_weak(stage) || stage.model.is_run_again(number);
                ensure!(may || earlier == result, "{number}.{index} was {earlier:?}, and is {result:?}");
            }
        }
        if following.credit < 3 {
            let more = stage.random.pick(&[2, 5, 50]);
            following.credit += u64::from(more);
            stage.send_up(session, Input::FollowCredit { session, request, more });
        }
        Ok(())
    }

    fn follow_ended(&mut self, stage: &mut Stage, request: u64, summary: &JobSummary) -> Checked {
        let Some(at) = self.jobs.iter().position(|job| job.follows(request)) else { return Ok(()) };
        let job = &mut self.jobs[at];
        let Some(following) = job.follow.take() else { return Ok(()) };
        let number = summary.job;
        match following.what {
            What::Task(index) => {
                ensure!(following.seen.contains(&index), "the follow of {number}.{index} ends without its result");
            }
            What::End | What::Everything | What::Again => {
                ensure!(summary.closed && summary.counts.open() == 0, "the follow of job {number} ends too early");
                let all = summary.tasks == job.script.size() || stage.model.is_cancelled(number);
                ensure!(all, "job {number} ends with {} tasks", summary.tasks);
            }
        }
        if matches!(following.what, What::Everything | What::Again) {
            let again = is_weak(stage) || stage.model.is_run_again(number);
            for index in 0..summary.tasks {
                let result = job.results.get(&index);
                ensure!(result.is_some(), "the follow of job {number} ends without result {index}");
                let told = stage.model.result(number, index);
                ensure!(again || result == told, "{number}.{index} is {result:?}, but was told as {told:?}");
            }
            let succeeded = job.results.values().filter(|result| result.state == TaskState::Succeeded).count() as u64;
            let counted = summary.counts.get(TaskState::Succeeded);
            ensure!(again || succeeded == counted, "job {number}: {succeeded} succeeded, not {counted}");
            if following.what == What::Again {
                ensure!(following.seen.len() == summary.tasks as usize, "job {number} is not told again as a whole");
            }
            // Now and then all of it is asked for once more, whatever has happened since.
            job.looks_again = following.what == What::Everything && stage.random.percent(25);
            job.done = !job.looks_again;
            if job.done {
                self.try_again(stage, at);
            }
        }
        self.work_soon(stage);
        Ok(())
    }

    pub(crate) fn link_lost(&mut self, stage: &mut Stage, session: SessionNumber) {
        if self.session != Some(session) {
            return;
        }
        self.forget_session();
        let pause = stage.delay(100, 500_000);
        self.after(stage, pause, ClientEvent::Connect);
    }

    fn forget_session(&mut self) {
        self.session = None;
        self.jobs.iter_mut().for_each(Pursuit::forget_session);
    }

    /// Its process is killed, and starts again with what it wants, and perhaps with the results that it has.
    pub(crate) fn kill(&mut self, stage: &mut Stage) {
        if !std::mem::take(&mut self.running) {
            return;
        }
        stage.totals.client_kills += 1;
        if let Some(session) = self.session {
            stage.hang_up(session);
        }
        self.forget_session();
        let keeps_results = stage.random.percent(50);
        for job in self.jobs.iter_mut().filter(|job| !job.done) {
            job.forget_acknowledgements();
            if !keeps_results {
                job.results.clear();
            }
        }
        self.work_due = false;
        self.starts += 1;
        let pause = stage.delay(1_000, 2_000_000);
        self.start_after(stage, pause);
    }

    /// What it still waits for.
    pub(crate) fn waits_for(&self) -> String {
        let open = self.jobs.iter().filter(|job| !job.done);
        open.map(Pursuit::to_string).collect::<Vec<_>>().join("; ")
    }
}

/// Whether a power cut may take back what was told.
fn is_weak(stage: &Stage) -> bool {
    stage.scenario.durability != Durability::Strict
}
