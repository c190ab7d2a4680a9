//! The manager: the real core and the real journal in a process that can be killed at any moment.

use std::{
    collections::{BTreeMap, VecDeque},
    error::Error,
    io,
    time::Duration,
};

use task_messenger_core::{
    engine::Engine,
    ids::{RecordNumber, SessionNumber, TokenNumber},
    input::Input,
    record::Role,
    time::{Now, WallTime},
};
use task_messenger_store::{Durability, Store, disk::SimulatedDisk, journal::Block};

use crate::{
    admission::{Change, change_of},
    archiving::{Archive, Departing, PastFollow},
    newcomers::Sessions,
    reference::{Reference, Tee},
    shrinking::Shrinking,
    stage::{Checked, Event, ManagerEvent, Stage, ensure},
    waiting::Waiting,
};

/// The manager's machine: its disk, and its process, if it runs.
pub(crate) struct Manager {
    pub(crate) disk: SimulatedDisk,
    pub(super) archive: Archive,
    /// Called with every new engine.
    pub(super) prepare: fn(&mut Engine),
    pub(super) process: Option<Process>,
    /// What the records say, of the process that runs or of the last one.
    pub(crate) reference: Reference,
    pub(super) starts: u64,
    /// What the next start must find.
    pub(super) owed: Owed,
    /// The process is to be killed as soon as its next write is done, before anybody learns of it.
    pub(crate) kill_after_write: bool,
}

/// What must be found again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Owed {
    /// Records up to this one.
    pub(super) records: u64,
    /// Records up to this one, should the power be cut before they are recovered.
    pub(super) synced: u64,
    /// Whether everything that was told must be there.
    pub(super) everything: bool,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is killed; what was written stays.
    Kill,
    /// The machine loses power.
    PowerCut,
}

/// A running process.
pub(super) struct Process {
    pub(super) number: u64,
    pub(super) engine: Engine,
    pub(super) store: Store,
    /// When it started, and what its monotonic clock said then.
    pub(super) started: (Duration, Duration),
    pub(super) inbox: VecDeque<Input>,
    turn_at: Option<Duration>,
    turns: u64,
    journal: Journal,
    /// Blocks that were taken while the journal's thread was busy.
    backlog: Vec<Block>,
    sync_due: bool,
    pub(super) shrinking: Shrinking,
    pub(super) departing: Departing,
    pub(super) past_follows: BTreeMap<(SessionNumber, u64), PastFollow>,
    pub(super) sessions: Sessions,
    waiting: Waiting,
    /// Changes that were handled and not acknowledged.
    pub(super) changing: BTreeMap<(SessionNumber, u64), Change>,
    /// The leases that count of each message of outcomes that was handled and not answered.
    pub(super) reports: BTreeMap<(SessionNumber, u64), Vec<u64>>,
    /// The secrets of those that enrol.
    pub(super) enrolling: BTreeMap<(SessionNumber, u64), [u8; 32]>,
}

/// What the journal's thread does.
enum Journal {
    Idle,
    /// It writes these, and syncs if it is told to.
    Writing(Vec<Block>, bool),
    /// It is done, and nobody knows yet.
    Done,
}

/// How often what was written is synced when it may be told before.
const SYNC_INTERVAL: Duration = Duration::from_millis(100);

impl Process {
    pub(super) fn new(number: u64, engine: Engine, store: Store, started: (Duration, Duration)) -> Self {
        Self {
            number,
            engine,
            store,
            started,
            inbox: VecDeque::new(),
            turn_at: None,
            turns: 0,
            journal: Journal::Idle,
            backlog: Vec::new(),
            sync_due: false,
            shrinking: Shrinking::default(),
            departing: Departing::default(),
            past_follows: BTreeMap::new(),
            sessions: Sessions::default(),
            waiting: Waiting::default(),
            changing: BTreeMap::new(),
            reports: BTreeMap::new(),
            enrolling: BTreeMap::new(),
        }
    }

    pub(super) fn now(&self, stage: &Stage) -> Now {
        let (at, clock) = self.started;
        Now { monotonic: clock + stage.now.saturating_sub(at), wall: stage.wall() }
    }

    /// Takes note of what the engine did with sessions.
    fn follow_sessions(&mut self, stage: &Stage) -> Checked {
        self.sessions.follow(&self.engine.state().access, stage.now, stage.scenario.limits.probe)
    }

    /// Lets the engine do something; what it writes down is judged and goes to the journal.
    pub(super) fn with_log(
        &mut self,
        reference: &mut Reference,
        stage: &mut Stage,
        wall: WallTime,
        act: impl FnOnce(&mut Engine, &mut Tee<'_>),
    ) {
        let front = &mut self.store.front;
        let mut log = Tee { front, reference, model: &stage.model, totals: &mut stage.totals, wall };
        act(&mut self.engine, &mut log);
    }

    /// Sees to it that there is a turn at this time or earlier.
    fn turn_by(&mut self, stage: &mut Stage, time: Duration) {
        let time = time.max(stage.now);
        if self.turn_at.is_none_or(|at| at > time) {
            self.turn_at = Some(time);
            stage.at(time, Event::Manager { process: self.number, event: ManagerEvent::Turn });
        }
    }
}

impl Manager {
    pub(crate) fn new(seed: u64, prepare: fn(&mut Engine)) -> Self {
        Self {
            disk: SimulatedDisk::new(seed),
            archive: Archive::new(),
            prepare,
            process: None,
            reference: Reference::default(),
            starts: 0,
            owed: Owed::default(),
            kill_after_write: false,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Something arrives, or a session is known to have ended.
    pub(crate) fn receive(&mut self, stage: &mut Stage, input: Input) {
        if let Some(process) = &mut self.process {
            process.inbox.push_back(input);
            let soon = stage.now + stage.delay(1, 200);
            process.turn_by(stage, soon);
        }
    }

    pub(crate) fn handle(&mut self, stage: &mut Stage, number: u64, event: ManagerEvent) -> Checked {
        let Some(process) = self.process.as_mut().filter(|process| process.number == number) else { return Ok(()) };
        match event {
            ManagerEvent::Turn => {
                if process.turn_at == Some(stage.now) {
                    process.turn_at = None;
                    self.turn(stage)?;
                }
                Ok(())
            }
            ManagerEvent::Written => self.written(stage),
            ManagerEvent::News => self.news(stage),
            ManagerEvent::Sync => {
                process.sync_due = process.store.front.sync_owed();
                stage.after(SYNC_INTERVAL, Event::Manager { process: number, event: ManagerEvent::Sync });
                self.kick(stage);
                Ok(())
            }
        }
    }

    /// The first turn of a process: tokens are made if they aren't there.
    pub(super) fn begin(&mut self, stage: &mut Stage) -> Checked {
        let Some(process) = &mut self.process else { return Ok(()) };
        if process.store.front.durability() != Durability::Strict {
            stage.after(SYNC_INTERVAL, Event::Manager { process: process.number, event: ManagerEvent::Sync });
        }
        let access = &process.engine.state().access;
        let there = access.next_token().0;
        for token in 0..there {
            stage.model.told_token(TokenNumber(token));
        }
        let joins = access.tokens().filter(|(_, token)| token.role == Role::Worker && token.revoked.is_none());
        stage.model.join = joins.map(|(number, _)| number).last();
        for token in there..=stage.scenario.clients as u32 {
            let role = if token == 0 { Role::Worker } else { Role::Client };
            process.inbox.push_back(Input::CreateToken {
                session: SessionNumber(0),
                request: u64::from(token),
                role,
                label: format!("token {token}"),
                // Two clients share an owner.
                owner: format!("owner {}", token.div_ceil(2)),
                expires_in: None,
                hash: task_messenger_core::record::SecretHash([token as u8; 32]),
            });
        }
        self.turn(stage)
    }

    /// The event loop's turn.
    fn turn(&mut self, stage: &mut Stage) -> Checked {
        let before = self.reference.records.len();
        let most = stage.random.between(1, 8);
        for _ in 0..most {
            let Some(mut input) = self.process.as_mut().and_then(|process| process.inbox.pop_front()) else { break };
            self.hear_of_past(stage, &input)?;
            let Self { process: Some(process), reference, .. } = self else { return Ok(()) };
            if !process.admit(reference, stage, &mut input) {
                continue;
            }
            let input = match process.externalize(input) {
                Ok(input) => input,
                Err(error) => return self.fail(stage, &error),
            };
            let now = process.now(stage);
            let change = change_of(&input, reference);
            process.with_log(reference, stage, now.wall, |engine, log| engine.handle(now, input, log));
            process.note_change(change, reference.records.len());
            process.follow_sessions(stage)?;
        }
        let Self { process: Some(process), reference, .. } = self else { return Ok(()) };
        let now = process.now(stage);
        process.with_log(reference, stage, now.wall, |engine, log| engine.settle(now, log));
        process.follow_sessions(stage)?;
        process.sessions.settled(stage.now, stage.scenario.limits.lease_grace, stage.scenario.limits.probe)?;
        reference.verdict()?;
        reference.check_times(now.wall)?;
        process.waiting.check(reference, &process.sessions, process.engine.state(), stage.now)?;
        process.check_silence(stage, reference, before)?;
        process.turns += 1;
        if reference.tasks.len() < 120 || process.turns.is_multiple_of(32) {
            process.engine.check_invariants().map_err(|violation| crate::stage::Violation(violation.to_string()))?;
        }
        if process.turns.is_multiple_of(64) {
            reference.compare(process.engine.state())?;
        }
        self.kick(stage);
        self.tell(stage)?;
        let Some(process) = &mut self.process else { return Ok(()) };
        if !process.inbox.is_empty() {
            let soon = stage.now + stage.delay(1, 100);
            process.turn_by(stage, soon);
        }
        if let Some((at, _)) = process.engine.timeout() {
            let (started, clock) = process.started;
            process.turn_by(stage, started + at.saturating_sub(clock));
        }
        Ok(())
    }

    /// Gives the journal's thread something to do, if it is idle and there is something.
    fn kick(&mut self, stage: &mut Stage) {
        let Some(process) = &mut self.process else { return };
        let front = &mut process.store.front;
        let idle = matches!(process.journal, Journal::Idle);
        if idle || front.durability() == Durability::None {
            process.backlog.extend(front.take_blocks());
            process.shrinking.begin(stage, &process.engine, front);
        }
        let strict = front.durability() == Durability::Strict;
        let sync = strict || front.wants_sync() || process.sync_due || process.shrinking.wants_sync();
        let sync = sync || process.departing.wants_sync();
        if !idle || (process.backlog.is_empty() && !(sync && front.sync_owed())) {
            return;
        }
        let longest = stage.scenario.slowest_write.as_micros() as u64;
        process.sync_due &= !sync;
        process.journal = Journal::Writing(std::mem::take(&mut process.backlog), sync);
        let delay = stage.delay(20, longest);
        stage.after(delay, Event::Manager { process: process.number, event: ManagerEvent::Written });
    }

    /// The journal's thread has written, or failed to.
    fn written(&mut self, stage: &mut Stage) -> Checked {
        let Some(process) = &mut self.process else { return Ok(()) };
        let Journal::Writing(blocks, sync) = std::mem::replace(&mut process.journal, Journal::Done) else {
            return Ok(());
        };
        stage.totals.writes += 1;
        if let Err(error) = process.store.writer.write(blocks, sync) {
            return self.fail(stage, &error);
        }
        if std::mem::take(&mut self.kill_after_write) {
            stage.totals.kills_between += 1;
            stage.trace.say(stage.now, || "killed between write and news".to_owned());
            self.end(stage, End::Kill);
            return Ok(());
        }
        if stage.random.percent(30)
            && let Err(error) = process.store.allocator.step()
            && !self.disk.is_running()
        {
            return self.fail(stage, &error);
        }
        let Some(process) = &mut self.process else { return Ok(()) };
        let delay = stage.delay(1, 500);
        stage.after(delay, Event::Manager { process: process.number, event: ManagerEvent::News });
        Ok(())
    }

    /// The disk failed: the process ends, or the machine did already.
    pub(super) fn fail(&mut self, stage: &mut Stage, error: &(dyn Error + 'static)) -> Checked {
        ensure!(!stage.calm, "the disk fails though nothing is wrong with it: {error:?}");
        let end = self.count_failure(stage, error);
        self.end(stage, end);
        Ok(())
    }

    /// How an error of the disk ends the process.
    pub(super) fn count_failure(&self, stage: &mut Stage, error: &(dyn Error + 'static)) -> End {
        stage.trace.say(stage.now, || format!("the disk fails: {error:?}"));
        if !self.disk.is_running() {
            stage.totals.torn += 1;
            return End::PowerCut;
        }
        let mut cause = Some(error);
        let mut full = false;
        while let Some(error) = cause {
            full |= error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::StorageFull);
            cause = error.source();
        }
        if full {
            stage.totals.disk_full += 1;
        } else {
            stage.totals.disk_errors += 1;
        }
        End::Kill
    }

    fn news(&mut self, stage: &mut Stage) -> Checked {
        let Some(process) = &mut self.process else { return Ok(()) };
        process.journal = Journal::Idle;
        process.store.front.progress(process.store.writer.progress());
        self.tell(stage)?;
        self.shrink(stage)?;
        self.depart(stage)?;
        self.kick(stage);
        // In durability `none` what was just taken may be told.
        self.tell(stage)
    }

    /// Ends the process. What it owes is what it told, and what is known to be on the disk.
    pub(crate) fn end(&mut self, stage: &mut Stage, end: End) {
        if end == End::PowerCut {
            stage.totals.power_cuts += 1;
        } else {
            stage.totals.manager_kills += 1;
        }
        self.kill_after_write = false;
        if let Some(process) = self.process.take() {
            let progress = process.store.writer.progress();
            let told = process.store.front.told_through().0;
            let strict = process.store.front.durability() == Durability::Strict;
            let synced = if strict { progress.synced.0.max(told) } else { progress.synced.0 };
            self.owed = Owed {
                records: synced.max(progress.written.0),
                synced,
                everything: process.store.front.durability() != Durability::None,
            };
            if strict {
                self.owed.records = synced;
            }
            stage.manager_up = false;
            stage.end_all_sessions();
            let delay = stage.delay(1_000, 3_000_000);
            stage.after(delay, Event::StartManager);
        }
        match end {
            End::Kill => self.disk.kill(),
            End::PowerCut => {
                self.disk.cut();
                self.power_was_cut(stage);
            }
        }
    }

    /// What wasn't synced may be gone now.
    pub(super) fn power_was_cut(&mut self, stage: &Stage) {
        self.owed.records = self.owed.synced;
        self.owed.everything = stage.scenario.durability == Durability::Strict;
    }

    /// A clean stop: everything is made durable and told, then the process ends.
    pub(crate) fn stop(&mut self, stage: &mut Stage) -> Checked {
        let Some(process) = &mut self.process else { return Ok(()) };
        let blocks = match std::mem::replace(&mut process.journal, Journal::Idle) {
            Journal::Writing(blocks, _) => blocks,
            Journal::Idle | Journal::Done => Vec::new(),
        };
        let mut blocks = blocks;
        blocks.append(&mut process.backlog);
        blocks.extend(process.store.front.take_blocks());
        match process.store.writer.write(blocks, true) {
            Ok(progress) => process.store.front.progress(progress),
            Err(error) => return self.fail(stage, &error),
        }
        self.tell(stage)?;
        let Some(process) = self.process.take() else { return Ok(()) };
        let last = process.store.front.last();
        ensure!(process.store.front.told_through() == last, "not everything is durable at a clean stop");
        ensure!(process.engine.waiting_effects() == 0, "not everything is told at a clean stop");
        let closed = process.store.writer.close();
        self.owed = Owed { records: last.0, synced: last.0, everything: true };
        stage.manager_up = false;
        stage.end_all_sessions();
        let delay = stage.delay(1_000, 3_000_000);
        stage.after(delay, Event::StartManager);
        stage.totals.manager_restarts += 1;
        if closed.is_err() && !self.disk.is_running() {
            stage.totals.torn += 1;
            stage.totals.power_cuts += 1;
        } else {
            self.disk.kill();
        }
        Ok(())
    }

    /// Faults that were still to come don't.
    pub(crate) fn calm(&mut self) {
        self.kill_after_write = false;
        if self.disk.is_running() {
            self.disk.restart();
        }
    }

    /// Whether it runs, and has nothing left to do or to remember of what it did.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.engine.check_at_rest().is_ok())
    }

    /// Why it is not.
    pub(crate) fn waits_for(&self) -> Option<String> {
        self.process.as_ref().and_then(|process| process.engine.check_at_rest().err()).map(|why| why.to_string())
    }

    /// Whether everything is over, and the engine and the reference agree about it.
    pub(crate) fn check_end(&self, stage: &Stage) -> Checked {
        let Some(process) = &self.process else { return Ok(()) };
        stage.model.check_all_ended(&self.reference)?;
        self.reference.compare(process.engine.state())?;
        process.engine.check_invariants().map_err(|violation| crate::stage::Violation(violation.to_string()))?;
        self.reference.check_killers(&stage.model)
    }

    pub(super) fn told_through(&self) -> RecordNumber {
        self.process.as_ref().map_or(RecordNumber(0), |process| process.store.front.told_through())
    }
}
