//! Workers: coming, going, what they hold, and what they report.

use std::{collections::BTreeSet, time::Duration};

use rustc_hash::FxHashSet;

use super::Engine;
use crate::{
    effect::{CloseReason, Effect},
    ids::{LeaseNumber, SessionNumber, TaskNumber, WorkerNumber},
    limits::{Limits, RECORD_ITEMS, RECORD_VALUES},
    record::{Log, Record, ReleaseReason, Verdict, WorkerMode},
    state::{Lease, Start},
    task::{Care, TaskState},
    template::Kind,
    templates::{ClassNumber, Templates},
    time::Now,
    values::{Value, Values, ValuesBuilder},
};

/// What holding a task means for a worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) slots: u32,
    pub(super) care: Care,
}

/// What is known of a worker that is connected or holds leases.
#[derive(Debug)]
pub(super) struct Presence {
    pub(super) session: Option<SessionNumber>,
    /// From when on its silence counts.
    pub(super) heard: Duration,
    /// When it was really heard last; `None`: not since this process started.
    pub(super) contact: Option<Duration>,
    /// When its session began.
    pub(super) arrived: Duration,
    silence_armed: bool,
    pub(super) slots: u32,
    pub(super) window: u32,
    /// Slots' worth of tasks that it holds.
    pub(super) used: u32,
    pub(super) leases: u32,
    /// Of them, those of tasks that share no worker with each other.
    pub(super) apart: u32,
    /// Of them, the one of a task that runs alone.
    pub(super) alone: u32,
    /// What an administrator set.
    pub(super) mode: WorkerMode,
    pub(super) commands: bool,
    pub(super) skills: BTreeSet<String>,
    /// By class, whether it can run it; filled as classes come up.
    pub(super) fits: Vec<bool>,
    /// How many of the classes' numbers had been given to others when this was found out.
    reused_classes: u64,
    pub(super) name: String,
    pub(super) software: String,
    pub(super) address: String,
}

/// What is still known of a worker that was there.
#[derive(Debug)]
pub(super) struct Parted {
    pub(super) contact: Option<Duration>,
    pub(super) software: String,
    pub(super) address: String,
}

impl Presence {
    pub(super) fn absent(heard: Duration) -> Self {
        Self {
            session: None,
            heard,
            contact: None,
            arrived: heard,
            silence_armed: false,
            slots: 0,
            window: 0,
            used: 0,
            leases: 0,
            apart: 0,
            alone: 0,
            mode: WorkerMode::Active,
            commands: false,
            skills: BTreeSet::new(),
            fits: Vec::new(),
            reused_classes: 0,
            name: String::new(),
            software: String::new(),
            address: String::new(),
        }
    }

    pub(super) fn hold(&mut self, load: Load) {
        self.used += load.slots;
        self.leases += 1;
        match load.care {
            Care::None => {}
            Care::Apart => self.apart += 1,
            Care::Alone => self.alone += 1,
        }
    }

    fn let_go(&mut self, load: Load) {
        self.used = self.used.saturating_sub(load.slots);
        self.leases = self.leases.saturating_sub(1);
        match load.care {
            Care::None => {}
            Care::Apart => self.apart = self.apart.saturating_sub(1),
            Care::Alone => self.alone = self.alone.saturating_sub(1),
        }
    }

    /// Whether it may get tasks, as far as it is its own affair.
    pub(super) fn takes_tasks(&self) -> bool {
        self.session.is_some() && self.mode == WorkerMode::Active && self.alone == 0
    }

    pub(super) fn learn_classes(&mut self, templates: &Templates) {
        if self.reused_classes != templates.reused() {
            self.reused_classes = templates.reused();
            self.fits.clear();
        }
        while let Some(needs) = templates.needs(ClassNumber(self.fits.len() as u32)) {
            let kind = match &needs.kind {
                Kind::Command => self.commands,
                Kind::Skill(name) => self.skills.contains(name),
            };
            self.fits.push(kind && needs.slots <= self.slots);
        }
    }

    pub(super) fn fits(&self, class: ClassNumber) -> bool {
        self.fits.get(class.0 as usize).copied().unwrap_or(false)
    }
}

impl Engine {
    pub(super) fn worker_left(&mut self, session: SessionNumber) {
        if let Some(worker) = self.sessions.remove(&session)
            && let Some(presence) = self.presences.get_mut(&worker)
        {
            presence.session = None;
            self.update_room(worker);
        }
        self.newcomers.retain(|_, newcomer| newcomer.session != session);
    }

    pub(super) fn heard(&mut self, now: Now, session: SessionNumber) {
        if let Some(presence) = self.sessions.get(&session).and_then(|worker| self.presences.get_mut(worker)) {
            presence.heard = now.monotonic;
            presence.contact = Some(now.monotonic);
            self.refuse_clone_of(session);
        }
    }

    pub(super) fn window(&mut self, session: SessionNumber, slots: u32) {
        let Some(worker) = self.worker_of(session) else { return };
        if let Some(presence) = self.presences.get_mut(&worker) {
            presence.window = slots.min(self.limits.window);
        }
        self.update_room(worker);
    }

    pub(super) fn started(&mut self, session: SessionNumber, leases: &[LeaseNumber]) {
        let Some(worker) = self.worker_of(session) else { return };
        for lease in leases {
            if let Some(lease) = self.state.leases.get_mut(lease)
                && lease.worker == worker
            {
                lease.start = Start::Yes;
            }
        }
    }

    pub(super) fn outcomes(
        &mut self,
        now: Now,
        session: SessionNumber,
        number: u64,
        ends: &[(LeaseNumber, bool)],
        details: &Values,
        log: &mut impl Log,
    ) {
        let Some(worker) = self.worker_of(session) else { return };
        // The usual case: every lease is current, in order, and all of it fits into one record.
        let current = ends.is_sorted_by(|(a, _), (b, _)| a < b)
            && ends.iter().all(|(lease, _)| self.holder(*lease) == Some(worker))
            && details.bytes().len() <= RECORD_VALUES
            && ends.len() <= RECORD_ITEMS;
        if current {
            self.finish(now, ends.to_vec(), details.clone(), log);
        } else {
            self.finish_current(now, worker, ends, details, log);
        }
        self.update_room(worker);
        self.tell(Effect::OutcomesTaken { session, number });
    }

    /// Finishes those leases that are the worker's, each once, in as many records as it takes; drops what others report.
    fn finish_current(
        &mut self,
        now: Now,
        worker: WorkerNumber,
        ends: &[(LeaseNumber, bool)],
        details: &Values,
        log: &mut impl Log,
    ) {
        let mut batch = Vec::new();
        let mut builder = ValuesBuilder::default();
        let mut seen = FxHashSet::default();
        for ((lease, succeeded), (_, detail)) in ends.iter().zip(details.iter()) {
            let Some(lease) = self.current_lease(*lease, worker).filter(|lease| seen.insert(*lease)) else {
                if let Value::External { file, .. } = detail {
                    self.unused_files.push(file);
                }
                continue;
            };
            let full = builder.encoded_len_with(&detail) > RECORD_VALUES || batch.len() == RECORD_ITEMS;
            if full && !batch.is_empty() {
                self.finish(now, std::mem::take(&mut batch), builder.take(), log);
            }
            batch.push((lease, *succeeded));
            builder.push_value(&detail);
        }
        if !batch.is_empty() {
            self.finish(now, batch, builder.take(), log);
        }
    }

    /// The lease under which a report counts: itself, if it has not ended and is the worker's.
    fn current_lease(&self, lease: LeaseNumber, worker: WorkerNumber) -> Option<LeaseNumber> {
        let current = (self.holder(lease) == Some(worker)).then_some(lease);
        #[cfg(feature = "faults")]
        let current = current.or_else(|| {
            let (task, _) = self.state.retired.get(&lease).filter(|_| self.faults.no_fencing)?;
            self.state.tasks.get(*task)?.lease().filter(|lease| self.state.leases.contains_key(lease))
        });
        current
    }

    fn finish(&mut self, now: Now, ends: Vec<(LeaseNumber, bool)>, details: Values, log: &mut impl Log) {
        let mut verdicts = Vec::with_capacity(ends.len());
        let mut over = Vec::with_capacity(ends.len());
        for (lease, succeeded) in ends {
            let Some(Lease { task, worker, .. }) = self.state.leases.get(&lease).copied() else { continue };
            self.let_go(worker, task);
            let verdict = match self.state.tasks.get(task) {
                Some(task) if task.is_cancelling() => Verdict::Cancelled,
                _ if succeeded => Verdict::Succeeded,
                _ => self.judge(lease, task),
            };
            if let Verdict::Retry { backoff_milliseconds } = verdict {
                self.backoffs.insert(now.monotonic + Duration::from_millis(backoff_milliseconds), task);
            } else {
                over.push(task);
            }
            verdicts.push((lease, verdict));
        }
        self.commit(log, &Record::Finished { ends: verdicts, details, time: now.wall });
        self.tell_over(over);
    }

    /// What becomes of a task whose attempt failed.
    pub(super) fn judge(&self, lease: LeaseNumber, task: TaskNumber) -> Verdict {
        let Some(task) = self.state.tasks.get(task) else { return Verdict::Failed };
        let failures = u32::from(task.failures) + 1;
        let retry = self.state.templates.get(task.template).map(|template| template.retry).unwrap_or_default();
        if failures >= retry.max_attempts {
            return Verdict::Failed;
        }
        Verdict::Retry { backoff_milliseconds: retry.backoff(failures, lease.0).as_millis() as u64 }
    }

    pub(super) fn given_back(&mut self, now: Now, session: SessionNumber, leases: &[LeaseNumber], log: &mut impl Log) {
        let Some(worker) = self.worker_of(session) else { return };
        let mut held: Vec<_> = leases.iter().copied().filter(|lease| self.holder(*lease) == Some(worker)).collect();
        held.sort_unstable();
        held.dedup();
        self.release(now, &held, ReleaseReason::GivenBack, log);
        self.update_room(worker);
    }

    /// Queues the tasks of these leases, which have not ended, again.
    pub(super) fn release(&mut self, now: Now, leases: &[LeaseNumber], reason: ReleaseReason, log: &mut impl Log) {
        for leases in leases.chunks(RECORD_ITEMS) {
            let mut tasks = Vec::with_capacity(leases.len());
            for lease in leases {
                if let Some(Lease { task, worker, .. }) = self.state.leases.get(lease).copied() {
                    self.let_go(worker, task);
                    tasks.push(task);
                }
            }
            self.commit(log, &Record::Released { leases: leases.to_vec(), reason, time: now.wall });
            // Those that were cancelled or are too late end by it.
            self.tell_over(tasks);
        }
    }

    /// Ends the leases of workers that were silent for longer than the grace.
    pub(super) fn end_silent(&mut self, now: Now, log: &mut impl Log) {
        while let Some((at, worker)) = self.silences.first().copied().filter(|(at, _)| *at <= now.monotonic) {
            self.silences.remove(&(at, worker));
            let Some(presence) = self.presences.get_mut(&worker) else { continue };
            presence.silence_armed = false;
            if presence.heard + self.limits.lease_grace > now.monotonic {
                self.arm_silence(worker);
                continue;
            }
            if let Some(session) = presence.session.take() {
                self.sessions.remove(&session);
                self.close(session, CloseReason::Silent);
            }
            let leases = self.leases_of(worker);
            self.lose(now, worker, true, &leases, log);
            self.part(worker);
            self.update_room(worker);
        }
    }

    /// Has other limits from now on. A worker's window follows when it says next how much it wants.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        for (_, worker) in std::mem::take(&mut self.silences) {
            if let Some(presence) = self.presences.get_mut(&worker) {
                presence.silence_armed = false;
            }
            self.arm_silence(worker);
        }
    }

    /// Keeps no more of a worker than where it was and when it was heard last.
    fn part(&mut self, worker: WorkerNumber) {
        let Some(Presence { contact, software, address, .. }) = self.presences.remove(&worker) else { return };
        if self.state.access.worker_at(worker).is_some_and(|known| known.removed.is_none()) {
            self.parted.insert(worker, Parted { contact, software, address });
        }
    }

    /// Gives every worker the full grace again: it was the manager that could not hear.
    pub fn forgive_silence(&mut self, now: Now) {
        for presence in self.presences.values_mut() {
            presence.heard = now.monotonic;
        }
    }

    /// Sees to it that a worker's silence is looked at when its grace is over.
    pub(super) fn arm_silence(&mut self, worker: WorkerNumber) {
        if let Some(presence) = self.presences.get_mut(&worker)
            && !presence.silence_armed
        {
            presence.silence_armed = true;
            self.silences.insert((presence.heard + self.limits.lease_grace, worker));
        }
    }

    pub(super) fn update_room(&mut self, worker: WorkerNumber) {
        let has_room = self.has_room(worker);
        if has_room {
            self.roomy.insert(worker);
        } else {
            self.roomy.remove(&worker);
        }
    }

    /// Whether a worker may get more than it holds.
    pub(super) fn has_room(&self, worker: WorkerNumber) -> bool {
        self.presences.get(&worker).is_some_and(|presence| {
            let reserved = self.vacating == Some(worker) && presence.leases > 0;
            presence.takes_tasks() && presence.used < presence.window && !reserved
        })
    }

    /// The leases that a worker holds, in order.
    pub(super) fn leases_of(&self, worker: WorkerNumber) -> Vec<LeaseNumber> {
        let held = self.state.leases.iter().filter(|(_, lease)| lease.worker == worker);
        let mut leases: Vec<_> = held.map(|(number, _)| *number).collect();
        leases.sort_unstable();
        leases
    }

    /// The worker whose session it is; one that speaks before it resumed is closed.
    fn worker_of(&mut self, session: SessionNumber) -> Option<WorkerNumber> {
        let worker = self.sessions.get(&session).copied();
        if worker.is_none() {
            self.newcomers.retain(|_, newcomer| newcomer.session != session);
            self.close(session, CloseReason::Protocol);
        }
        worker
    }

    fn holder(&self, lease: LeaseNumber) -> Option<WorkerNumber> {
        self.state.leases.get(&lease).map(|lease| lease.worker)
    }

    pub(super) fn let_go(&mut self, worker: WorkerNumber, task: TaskNumber) {
        let load = self.load_of(task);
        if let Some(presence) = self.presences.get_mut(&worker) {
            presence.let_go(load);
        }
        debug_assert!(self.state.tasks.get(task).is_some_and(|task| task.state() == TaskState::Running));
    }
}
