//! A worker: what it holds, runs and reports. Its identity and its outbox survive its process.

mod leaving;

use std::{collections::BTreeMap, collections::BTreeSet, time::Duration};

use bytes::Bytes;
use task_messenger_core::{
    digest::INLINE_LIMIT,
    effect::Effect,
    ids::{LeaseNumber, SessionNumber, TaskId, TokenNumber, WorkerNumber},
    input::{Input, Resume},
    record::SecretHash,
    values::ValuesBuilder,
};

use crate::{
    network::{Down, HandedOut, Peer},
    script::{Behaviour, MOST_SLOTS, SKILLS, behaviour},
    stage::{Checked, Event, Stage, WorkerEvent, ensure},
};

/// A worker.
#[derive(Debug)]
pub(crate) struct Worker {
    at: usize,
    hash: SecretHash,
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
    settled: bool,
    /// The largest window that it asked for in this session.
    widest: u32,
    held: BTreeMap<u64, Held>,
    /// What it gave back and runs nevertheless.
    ghosts: BTreeMap<u64, Held>,
    /// Outcomes to be sent.
    reports: Vec<Report>,
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
    started: bool,
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
        let hash = SecretHash([100 + at as u8; 32]);
        Self {
            at,
            hash,
            number: None,
            outbox: Vec::new(),
            process: None,
            starts: 0,
            frozen_until: None,
            gone: false,
            postponed: Vec::new(),
        }
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
            stubborn: random.percent(30),
            confused: random.percent(20),
            session: None,
            settled: false,
            widest: 0,
            held: BTreeMap::new(),
            ghosts: BTreeMap::new(),
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
        let may = stage.model.has_token(TokenNumber(0));
        let Some(session) = may.then(|| stage.connect(Peer::Worker(self.at))).flatten() else {
            let pause = stage.delay(10_000, 500_000);
            self.after(stage, pause, WorkerEvent::Connect);
            return;
        };
        process.session = Some(session);
        process.settled = false;
        if self.number.is_some() {
            self.resume(stage);
        } else {
            let name = format!("worker {}", self.at);
            let hash = self.hash;
            stage.send_up(session, Input::Enrol { session, request: 1, token: TokenNumber(0), name, hash });
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
                self.start_tasks(stage);
            }
            Down::Plain(Effect::OutcomesTaken { number, .. }) => {
                let taken = process.sent.remove(&number).unwrap_or_default();
                self.outbox.retain(|report| taken.iter().all(|taken| taken.lease != report.lease));
                self.leave(stage, false);
            }
            Down::Plain(Effect::TakeBack { leases, .. }) => {
                stage.totals.asked_back += leases.len() as u64;
                let asked: BTreeSet<u64> = leases.iter().map(|lease| lease.0).collect();
                self.give_back(stage, 100, Some(&asked));
            }
            Down::Plain(Effect::Cancel { leases, .. }) => {
                let cancelled: BTreeSet<u64> = leases.iter().map(|lease| lease.0).collect();
                self.give_back(stage, 100, Some(&cancelled));
                for lease in cancelled {
                    // What runs is stopped, and ends otherwise if it was about to end anyway.
                    let takes = stage.delay(100, 300_000);
                    self.after(stage, takes, WorkerEvent::TaskEnds(lease));
                }
            }
            Down::Plain(Effect::Probe { .. }) => stage.send_up(session, Input::Heard { session }),
            Down::Assign(tasks) => self.assign(stage, tasks)?,
            Down::Plain(_) | Down::Results { .. } => {}
        }
        Ok(())
    }

    fn assign(&mut self, stage: &mut Stage, tasks: Vec<HandedOut>) -> Checked {
        let Some(process) = &mut self.process else { return Ok(()) };
        ensure!(process.settled, "worker {} gets tasks before its claims are settled", self.at);
        for HandedOut { lease, task, attempt, template, .. } in tasks {
            let held = Held { task, attempt, behaviour: behaviour(&template), started: false };
            let again = process.held.insert(lease.0, held);
            ensure!(again.is_none(), "worker {} gets lease {lease} twice", self.at);
        }
        let slots: u32 = process.held.values().map(|held| held.behaviour.slots).sum();
        let widest = process.widest;
        ensure!(slots <= widest, "worker {} holds {slots} slots' worth, and asked for {widest}", self.at);
        if process.stopping {
            self.give_back(stage, 100, None);
        }
        self.start_tasks(stage);
        Ok(())
    }

    fn start_tasks(&mut self, stage: &mut Stage) {
        let Some(process) = &mut self.process else { return };
        let mut free = process.slots;
        for held in process.held.values().filter(|held| held.started) {
            free = free.saturating_sub(held.behaviour.slots);
        }
        let mut started = Vec::new();
        for (lease, held) in process.held.iter_mut().filter(|(_, held)| !held.started) {
            if process.stopping || held.behaviour.slots > free {
                break;
            }
            free -= held.behaviour.slots;
            held.started = true;
            started.push((*lease, held.behaviour));
        }
        if let Some(session) = process.session.filter(|_| !started.is_empty()) {
            let leases = started.iter().map(|(lease, _)| LeaseNumber(*lease)).collect();
            stage.send_up(session, Input::Started { session, leases });
        }
        for (lease, behaviour) in started {
            let takes = stage.random.duration(behaviour.shortest, behaviour.longest);
            self.after(stage, takes, WorkerEvent::TaskEnds(lease));
        }
    }

    fn task_ends(&mut self, stage: &mut Stage, lease: u64) {
        let Some(process) = &mut self.process else { return };
        let Some(held) = process.held.remove(&lease).or_else(|| process.ghosts.remove(&lease)) else { return };
        let succeeded = !stage.random.percent(held.behaviour.failing);
        let mut detail = lease.to_le_bytes().to_vec();
        let words = format!("{} attempt {} by {}: {succeeded}", held.task, held.attempt, self.at);
        detail.extend_from_slice(words.as_bytes());
        if stage.scenario.large_values && stage.random.percent(3) {
            detail.resize(INLINE_LIMIT as usize + 1 + stage.random.below(100) as usize, b'!');
        }
        process.reports.push(Report { lease, task: held.task, succeeded, detail: detail.into() });
        if process.session.is_none() {
            self.save();
        } else if !std::mem::replace(&mut process.report_due, true) {
            let pause = stage.delay(10, 5_000);
            self.after(stage, pause, WorkerEvent::Report);
        }
        self.start_tasks(stage);
        self.leave(stage, false);
    }

    /// Writes what the manager has not taken to the outbox.
    fn save(&mut self) {
        if let Some(process) = &self.process {
            self.outbox = process.sent.values().flatten().chain(&process.reports).cloned().collect();
        }
    }

    fn report(&mut self, stage: &mut Stage) -> Checked {
        let (Some(process), Some(worker)) = (&mut self.process, self.number) else { return Ok(()) };
        process.report_due = false;
        let Some(session) = process.session else { return Ok(()) };
        if process.reports.is_empty() || (!process.settled && !process.eager) {
            return Ok(());
        }
        let reports = std::mem::take(&mut process.reports);
        for report in &reports {
            let said = (report.succeeded, report.detail.clone());
            let earlier = stage.model.reported.insert((report.lease, worker.0), said.clone());
            ensure!(earlier.is_none_or(|earlier| earlier == said), "lease {} is reported twice", report.lease);
        }
        let repeats = if stage.random.percent(4) { 2 } else { 1 };
        let mut ends = Vec::new();
        let mut details = ValuesBuilder::default();
        for report in &reports {
            let times = if process.confused && stage.random.percent(10) { 2 } else { 1 };
            for _ in 0..times {
                ends.push((LeaseNumber(report.lease), report.succeeded));
                details.push(&report.detail);
            }
        }
        if process.confused
            && let Some((lease, _)) = stage.model.foreign_lease(&mut stage.random, worker)
        {
            ends.push((lease, true));
            details.push(&lease.0.to_le_bytes());
        }
        let details = details.take();
        for _ in 0..repeats {
            process.messages += 1;
            let (ends, details) = (ends.clone(), details.clone());
            let number = process.messages;
            stage.send_up(session, Input::Outcomes { session, number, ends, details });
        }
        process.sent.insert(process.messages, reports);
        Ok(())
    }

    /// The link is gone: what was not taken goes to the outbox, and the worker comes back.
    pub(crate) fn link_lost(&mut self, stage: &mut Stage, session: SessionNumber) {
        let Some(process) = self.process.as_mut().filter(|process| process.session == Some(session)) else { return };
        process.session = None;
        process.settled = false;
        self.save();
        let pause = stage.delay(1_000, 1_000_000);
        self.after(stage, pause, WorkerEvent::Connect);
        self.leave(stage, false);
    }

    /// Gives back so many in a hundred of what has not started, or of those that are asked for.
    pub(crate) fn give_back(&mut self, stage: &mut Stage, percent: u64, asked: Option<&BTreeSet<u64>>) {
        let (Some(process), Some(worker)) = (&mut self.process, self.number) else { return };
        let Some(session) = process.session else { return };
        let mut leases = Vec::new();
        let waiting: Vec<u64> =
            process.held.iter().filter(|(_, held)| !held.started).map(|(lease, _)| *lease).collect();
        for lease in waiting.into_iter().filter(|lease| asked.is_none_or(|asked| asked.contains(lease))) {
            if stage.random.percent(percent)
                && let Some(held) = process.held.remove(&lease)
            {
                leases.push(lease);
                if process.stubborn {
                    process.ghosts.insert(lease, held);
                }
            }
        }
        if leases.is_empty() {
            return;
        }
        let stubborn = process.stubborn;
        let mut back: Vec<_> = leases.iter().map(|lease| LeaseNumber(*lease)).collect();
        if process.confused {
            back.push(back[0]);
            back.extend(stage.model.foreign_lease(&mut stage.random, worker).map(|(lease, _)| lease));
        }
        stage.model.given_back.extend(back.iter().map(|lease| (lease.0, worker.0)));
        stage.send_up(session, Input::GivenBack { session, leases: back });
        for lease in leases.into_iter().filter(|_| stubborn) {
            let pause = stage.delay(1_000, 2_000_000);
            self.after(stage, pause, WorkerEvent::TaskEnds(lease));
        }
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
