//! Workers that connect: what they keep of what they held, and whether they are who they say.

use std::time::Duration;

use rustc_hash::FxHashSet;

use super::{Engine, workers::Presence};
use crate::{
    effect::{CloseReason, Effect},
    ids::{LeaseNumber, SessionNumber, TaskNumber, WorkerNumber},
    input::Resume,
    limits::RECORD_ITEMS,
    record::{Claim, Log, Record, ReleaseReason, WorkerMode},
    state::Silenced,
    task::Task,
    time::Now,
};

/// A process that comes with the identity of a worker whose session stands. If that one shows that it is alive, the
/// newcomer is a clone; if not, it is the same machine after a crash, and the old session ends.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) session: SessionNumber,
    pub(super) until: Duration,
    resume: Resume,
}

impl Engine {
    /// A worker connected: it takes up its work at once, unless it has to be seen first whether it is a clone.
    pub(super) fn arrive(
        &mut self,
        now: Now,
        session: SessionNumber,
        worker: WorkerNumber,
        resume: Resume,
        log: &mut impl Log,
    ) {
        let known = self.state.access.worker_at(worker);
        if known.is_none_or(|known| known.removed.is_some()) {
            return self.close(session, CloseReason::Removed);
        }
        if self.sessions.contains_key(&session) || self.newcomers.values().any(|other| other.session == session) {
            return self.close(session, CloseReason::Protocol);
        }
        let same = known.is_some_and(|known| known.incarnation == resume.incarnation);
        let standing = self.presences.get(&worker).and_then(|presence| presence.session);
        match standing {
            Some(earlier) if same => {
                self.sessions.remove(&earlier);
                self.close(earlier, CloseReason::Replaced);
            }
            Some(earlier) => {
                let until = now.monotonic + self.limits.probe;
                if let Some(other) = self.newcomers.insert(worker, Newcomer { session, until, resume }) {
                    self.close(other.session, CloseReason::Clone);
                }
                return self.tell(Effect::Probe { session: earlier });
            }
            None => {}
        }
        self.resume(now, session, worker, resume, log);
    }

    /// A connected worker was heard: whoever else came with its identity is a clone.
    pub(super) fn refuse_clone_of(&mut self, session: SessionNumber) {
        if self.newcomers.is_empty() {
            return;
        }
        if let Some(worker) = self.sessions.get(&session)
            && let Some(newcomer) = self.newcomers.remove(worker)
        {
            self.close(newcomer.session, CloseReason::Clone);
        }
    }

    /// Lets in those whose predecessors did not show that they are alive.
    pub(super) fn probes_due(&mut self, now: Now, log: &mut impl Log) {
        let silent = |presence: Option<&Presence>| presence.is_none_or(|presence| presence.session.is_none());
        let due: Vec<WorkerNumber> = self
            .newcomers
            .iter()
            .filter(|(worker, newcomer)| newcomer.until <= now.monotonic || silent(self.presences.get(worker)))
            .map(|(worker, _)| *worker)
            .collect();
        for worker in due {
            let Some(Newcomer { session, resume, .. }) = self.newcomers.remove(&worker) else { continue };
            if let Some(earlier) = self.presences.get_mut(&worker).and_then(|presence| presence.session.take()) {
                self.sessions.remove(&earlier);
                self.close(earlier, CloseReason::Silent);
            }
            self.resume(now, session, worker, resume, log);
        }
    }

    fn resume(&mut self, now: Now, session: SessionNumber, worker: WorkerNumber, resume: Resume, log: &mut impl Log) {
        // Who resumes is alive: whoever waited for an earlier session to show that is a clone now.
        if let Some(newcomer) = self.newcomers.remove(&worker) {
            self.close(newcomer.session, CloseReason::Clone);
        }
        let known = self.state.access.worker_at(worker);
        let mode = known.map(|known| known.mode).unwrap_or_default();
        let is_new = known.is_none_or(|known| known.incarnation != resume.incarnation);
        self.sessions.insert(session, worker);
        let window = resume.window.min(self.limits.window);
        self.parted.remove(&worker);
        let presence = self.presences.entry(worker).or_insert_with(|| Presence::absent(now.monotonic));
        presence.session = Some(session);
        presence.heard = now.monotonic;
        presence.contact = Some(now.monotonic);
        presence.arrived = now.monotonic;
        presence.slots = resume.slots.max(1);
        presence.window = window;
        presence.commands = resume.commands;
        presence.skills = resume.skills;
        presence.fits.clear();
        presence.name = resume.name;
        presence.software = resume.software;
        presence.address = resume.address;
        presence.mode = mode;
        self.arm_silence(worker);
        if is_new {
            let incarnation = resume.incarnation;
            self.commit(log, &Record::WorkerStarted { worker, incarnation, time: now.wall });
        }
        let dropped = self.settle_claims(now, worker, is_new, &resume.claims, log);
        self.update_room(worker);
        if self.presences.get(&worker).is_some_and(|presence| presence.used > presence.slots) {
            self.balance.arm(now);
        }
        self.tell(Effect::Resumed { session, dropped });
        self.tell_again(worker);
    }

    /// Tells a worker what it may not have heard in its last session.
    fn tell_again(&mut self, worker: WorkerNumber) {
        let mut cancelled: Vec<(LeaseNumber, TaskNumber)> = Vec::new();
        for number in self.leases_of(worker) {
            let Some(lease) = self.state.leases.get_mut(&number) else { continue };
            lease.asked_back = false;
            if self.state.tasks.get(lease.task).is_some_and(Task::is_cancelling) {
                cancelled.push((number, lease.task));
            }
        }
        self.tell_cancelled(&cancelled);
        if self.presences.get(&worker).is_some_and(|presence| presence.mode != WorkerMode::Active) {
            self.ask_back_all(worker);
        }
    }

    /// Keeps, readopts or drops each lease that the worker says it holds, and ends those it doesn't hold: they never
    /// arrived, or died with an earlier process of it.
    fn settle_claims(
        &mut self,
        now: Now,
        worker: WorkerNumber,
        is_new: bool,
        claims: &[Claim],
        log: &mut impl Log,
    ) -> Vec<LeaseNumber> {
        let mut held = FxHashSet::default();
        let mut dropped = Vec::new();
        let mut readopted = Vec::new();
        for Claim { lease, .. } in claims {
            if self.state.leases.get(lease).is_some_and(|lease| lease.worker == worker) {
                held.insert(*lease);
            } else if let Some(Silenced { task, worker: by, .. }) = self.state.silenced.get(lease).copied()
                && by == worker
                && held.insert(*lease)
            {
                readopted.push((*lease, task));
            } else if !held.contains(lease) {
                dropped.push(*lease);
            }
        }
        let missing: Vec<LeaseNumber> =
            self.leases_of(worker).into_iter().filter(|number| !held.contains(number)).collect();
        if is_new {
            self.lose(now, worker, false, &missing, log);
        } else {
            self.release(now, &missing, ReleaseReason::NotHeld, log);
        }
        for leases in readopted.chunks(RECORD_ITEMS) {
            self.commit(log, &Record::Readopted { worker, leases: leases.to_vec(), time: now.wall });
        }
        for (_, task) in readopted {
            let load = self.load_of(task);
            if let Some(presence) = self.presences.get_mut(&worker) {
                presence.hold(load);
            }
        }
        dropped
    }
}
