//! A worker: what it holds, runs and reports. Its identity and its outbox survive its process.

mod leaving;
mod running;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use task_messenger_core::{
    effect::{CloseReason, Effect},
    ids::{LeaseNumber, SessionNumber, TaskId, WorkerNumber},
    input::{Input, Resume},
    record::SecretHash,
};

use crate::{
    network::{Down, Peer},
    script::{Behaviour, MOST_SLOTS, SKILLS},
    stage::{Checked, Event, Stage, WorkerEvent},
};

/// A worker.
#[derive(Debug)]
pub(crate) struct Worker {
    at: usize,
    /// How often it was joined; each time it has another secret.
    identities: u8,
    /// The worker whose state it was copied with, unless it is the first with its identity.
    copy_of: Option<usize>,
    /// Who it is, once it is enrolled; survives its process.
    number: Option<WorkerNumber>,
    /// Outcomes that the manager has not taken, as they are in its file.
    outbox: Vec<Report>,
    process: Option<Process>,
    starts: u64,
    pub(crate) frozen_until: Option<Duration>,
    /// It never comes back.
    gone: bool,
    /// What comes while it is frozen.
    pub(crate) postponed: Vec<Event>,
}

/// One run of its program.
#[derive(Debug)]
struct Process {
    slots: u32,
    window: u32,
    commands: bool,
    skills: BTreeSet<String>,
    /// It reports what it has before its claims are settled.
    eager: bool,
    /// It goes on with what it gave back.
    stubborn: bool,
    /// It claims, reports and gives back what is not its own, and says things twice.
    confused: bool,
    session: Option<SessionNumber>,
    /// How much longer than usual it waits before it connects again.
    patience: u32,
    settled: bool,
    /// The largest window that it asked for in this session.
    widest: u32,
    held: BTreeMap<u64, Held>,
    /// What it gave back and runs nevertheless.
    ghosts: BTreeMap<u64, Held>,
    /// Outcomes to be sent.
    reports: Vec<Report>,
    /// What the manager asked for in this session and was not answered yet.
    answers: VecDeque<Answer>,
    /// Outcomes that were sent in this session and not taken yet.
    sent: BTreeMap<u64, Vec<Report>>,
    messages: u64,
    report_due: bool,
    stopping: bool,
}

#[derive(Clone, Debug)]
struct Held {
    task: TaskId,
    attempt: u32,
    behaviour: Behaviour,
    /// In a hundred attempts, so many kill the worker.
    killing: u64,
    started: bool,
}

/// What the manager waits for.
#[derive(Clone, Debug)]
enum Answer {
    /// These, unless they have started.
    GiveBack(BTreeSet<u64>),
    /// The end of these.
    End(BTreeSet<u64>),
}

/// What it says of an attempt that ended.
#[derive(Clone, Debug)]
struct Report {
    lease: u64,
    task: TaskId,
    succeeded: bool,
    detail: Bytes,
}

impl Worker {
    pub(crate) fn new(at: usize) -> Self {
        Self {
            at,
            identities: 0,
            copy_of: None,
            number: None,
            outbox: Vec::new(),
            process: None,
            starts: 0,
            frozen_until: None,
            gone: false,
            postponed: Vec::new(),
        }
    }

    /// Another machine with a copy of its state: with its identity, and without what it runs.
    pub(crate) fn copy(&self, at: usize) -> Option<Self> {
        self.number.filter(|_| !self.gone)?;
        let (identities, number) = (self.identities, self.number);
        Some(Self { identities, number, copy_of: Some(self.copy_of.unwrap_or(self.at)), ..Self::new(at) })
    }

    pub(crate) fn is_copy(&self) -> bool {
        self.copy_of.is_some()
    }

    fn hash(&self) -> SecretHash {
        let mut hash = [100 + self.at as u8; 32];
        hash[0] = self.identities;
        SecretHash(hash)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Whether it holds nothing and has nothing to report, or is gone for good.
    pub(crate) fn is_idle(&self) -> bool {
        self.gone
            || self.process.as_ref().is_some_and(|process| {
                process.held.is_empty() && process.reports.is_empty() && process.sent.is_empty() && process.settled
            })
    }

    fn after(&self, stage: &mut Stage, delay: Duration, event: WorkerEvent) {
        stage.after(delay, Event::Worker { at: self.at, start: self.starts, event });
    }

    pub(crate) fn start_after(&self, stage: &mut Stage, delay: Duration) {
        self.after(stage, delay, WorkerEvent::Start);
    }

    pub(crate) fn handle(&mut self, stage: &mut Stage, start: u64, event: WorkerEvent) -> Checked {
        if start != self.starts {
            return Ok(());
        }
        match event {
            WorkerEvent::Start if self.process.is_none() && !self.gone => self.start(stage),
            WorkerEvent::Start => {}
            WorkerEvent::Connect => self.connect(stage),
            WorkerEvent::Ping => {
                if let Some(session) = self.process.as_ref().and_then(|process| process.session) {
                    stage.send_up(session, Input::Heard { session });
                }
                let pause = stage.scenario.limits.lease_grace / 3;
                self.after(stage, pause, WorkerEvent::Ping);
            }
            WorkerEvent::TaskEnds(lease) => self.task_ends(stage, lease),
            WorkerEvent::Report => self.report(stage)?,
            WorkerEvent::Answer => self.answer(stage),
            WorkerEvent::GraceOver => self.leave(stage, true),
        }
        Ok(())
    }

    fn start(&mut self, stage: &mut Stage) {
        self.starts += 1;
        let random = &mut stage.random;
        // Worker 0 can do everything, and in the end all can, so that nothing waits for ever.
        let all = self.at == 0 || stage.calm;
        let slots = if all { MOST_SLOTS as u32 } else { random.between(1, MOST_SLOTS) as u32 };
        let mut skills = BTreeSet::new();
        for skill in SKILLS {
            if all || random.percent(60) {
                skills.insert(skill.to_owned());
            }
        }
        let process = Process {
            slots,
            window: slots + if random.percent(60) { random.below(8) as u32 } else { 0 },
            commands: all || random.percent(70),
            skills,
            eager: random.percent(50),
            stubborn: random.percent(30) && !stage.scenario.only_killers,
            confused: random.percent(20),
            session: None,
            patience: 1,
            settled: false,
            widest: 0,
            held: BTreeMap::new(),
            ghosts: BTreeMap::new(),
            answers: VecDeque::new(),
            reports: self.outbox.clone(),
            sent: BTreeMap::new(),
            messages: 0,
            report_due: false,
            stopping: false,
        };
        self.process = Some(process);
        self.connect(stage);
        self.after(stage, Duration::ZERO, WorkerEvent::Ping);
    }

    fn connect(&mut self, stage: &mut Stage) {
        let Some(process) = &mut self.process else { return };
        if process.session.is_some() {
            return;
        }
        let join = stage.model.join;
        let may = self.number.is_some() || join.is_some();
        let Some(session) = may.then(|| stage.connect(Peer::Worker(self.at))).flatten() else {
            let pause = stage.delay(10_000, 500_000);
            self.after(stage, pause, WorkerEvent::Connect);
            return;
        };
        process.session = Some(session);
        process.settled = false;
        if self.number.is_some() {
            self.resume(stage);
        } else if let Some(token) = join {
            let name = format!("worker {}", self.at);
            let hash = self.hash();
            stage.send_up(session, Input::Enrol { session, request: 1, token, name, hash });
        }
    }

    fn resume(&mut self, stage: &mut Stage) {
        let (Some(process), Some(worker)) = (&mut self.process, self.number) else { return };
        let Some(session) = process.session else { return };
        let unconfirmed = std::mem::take(&mut process.sent).into_values().flatten();
        process.reports = unconfirmed.chain(process.reports.drain(..)).collect();
        let mut resume = Resume {
            incarnation: (self.at as u64 + 1) * 1_000_000 + self.starts,
            slots: process.slots,
            window: if process.stopping { 0 } else { process.window },
            commands: process.commands,
            skills: process.skills.clone(),
            claims: Vec::new(),
            name: format!("worker {}", self.at),
            software: "simulated".to_owned(),
            address: String::new(),
        };
        process.held.iter().for_each(|(lease, held)| resume.claim(LeaseNumber(*lease), held.task));
        process.reports.iter().for_each(|report| resume.claim(LeaseNumber(report.lease), report.task));
        if process.confused
            && let Some((lease, task)) = stage.model.foreign_lease(&mut stage.random, worker)
        {
            resume.claim(lease, task);
        }
        process.widest = resume.window;
        let eager = process.eager;
        stage.send_up(session, Input::Resume { session, worker, resume });
        if eager {
            self.after(stage, Duration::ZERO, WorkerEvent::Report);
        }
    }

    pub(crate) fn receive(&mut self, stage: &mut Stage, session: SessionNumber, down: Down) -> Checked {
        let Some(process) = self.process.as_mut().filter(|process| process.session == Some(session)) else {
            return Ok(());
        };
        match down {
            Down::Plain(Effect::Enrolled { worker, .. }) => {
                self.number = Some(worker);
                self.resume(stage);
            }
            Down::Plain(Effect::Resumed { dropped, .. }) => {
                let dropped: BTreeSet<u64> = dropped.iter().map(|lease| lease.0).collect();
                process.settled = true;
                process.held.retain(|lease, _| !dropped.contains(lease));
                process.reports.retain(|report| !dropped.contains(&report.lease));
                self.outbox.retain(|report| !dropped.contains(&report.lease));
                self.after(stage, Duration::ZERO, WorkerEvent::Report);
                self.say_started(stage);
                self.start_tasks(stage);
            }
            Down::Plain(Effect::Refused { .. }) => {
                // The join token was revoked meanwhile, or it was removed before it learned that it had joined.
                stage.hang_up(session);
                self.link_lost(stage, session);
                self.identities += 1;
            }
            Down::Plain(Effect::Close { reason: CloseReason::Removed, .. }) => self.removed(stage),
            Down::Plain(Effect::Close { reason: CloseReason::Clone, .. }) => process.patience = 8,
            Down::Plain(Effect::OutcomesTaken { number, .. }) => {
                let taken = process.sent.remove(&number).unwrap_or_default();
                self.outbox.retain(|report| taken.iter().all(|taken| taken.lease != report.lease));
                self.leave(stage, false);
            }
            Down::Plain(Effect::TakeBack { leases, .. }) => {
                stage.totals.asked_back += leases.len() as u64;
                let asked: BTreeSet<u64> = leases.iter().map(|lease| lease.0).collect();
                self.answer_later(stage, Answer::GiveBack(asked));
            }
            Down::Plain(Effect::Cancel { leases, .. }) => {
                let cancelled: BTreeSet<u64> = leases.iter().map(|lease| lease.0).collect();
                self.answer_later(stage, Answer::End(cancelled));
            }
            Down::Plain(Effect::Probe { .. }) => stage.send_up(session, Input::Heard { session }),
            Down::Assign(tasks) => self.assign(stage, tasks)?,
            Down::Plain(_) | Down::Results { .. } => {}
        }
        Ok(())
    }

    /// Writes what the manager has not taken to the outbox.
    fn save(&mut self) {
        if let Some(process) = &self.process {
            self.outbox = process.sent.values().flatten().chain(&process.reports).cloned().collect();
        }
    }

    /// The link is gone: what was not taken goes to the outbox, and the worker comes back.
    pub(crate) fn link_lost(&mut self, stage: &mut Stage, session: SessionNumber) {
        let Some(process) = self.process.as_mut().filter(|process| process.session == Some(session)) else { return };
        process.session = None;
        process.settled = false;
        process.answers.clear();
        let patience = std::mem::replace(&mut process.patience, 1);
        self.save();
        let pause = stage.delay(1_000, 1_000_000) * patience;
        self.after(stage, pause, WorkerEvent::Connect);
        self.leave(stage, false);
    }

    pub(crate) fn change_window(&mut self, stage: &mut Stage, slots: u32) {
        let Some(process) = &mut self.process else { return };
        process.window = slots;
        process.widest = process.widest.max(slots);
        if let Some(session) = process.session.filter(|_| !process.stopping) {
            stage.send_up(session, Input::Window { session, slots });
        }
    }
}
