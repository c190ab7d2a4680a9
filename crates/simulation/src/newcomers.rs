//! Processes that come with the identity of a worker whose session stands: turned away while that one answers, let in when
//! it does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use task_messenger_core::{
    access::Access,
    effect::CloseReason,
    ids::{SessionNumber, WorkerNumber},
};

use crate::{
    reference::Reference,
    stage::{Checked, ensure},
};

/// The sessions of workers, and newcomers, as far as inputs and times say.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// Sessions of workers that are in.
    pub(crate) workers: BTreeMap<SessionNumber, u32>,
    /// When each worker was heard last.
    pub(crate) heard: BTreeMap<u32, Duration>,
    newcomers: BTreeMap<u32, Newcomer>,
    /// Sessions that are to be closed, because another process has their identity.
    clones: BTreeSet<SessionNumber>,
}

#[derive(Clone, Copy, Debug)]
struct Newcomer {
    session: SessionNumber,
    incarnation: u64,
    since: Duration,
}

impl Sessions {
    /// Whether a session with this worker's identity stands.
    pub(crate) fn stands(&self, worker: u32) -> bool {
        self.workers.values().any(|other| *other == worker)
    }

    /// A worker takes up its work.
    pub(crate) fn let_in(&mut self, session: SessionNumber, worker: u32, now: Duration) {
        self.turn_away(worker);
        self.workers.retain(|_, other| *other != worker);
        self.workers.insert(session, worker);
        self.heard.insert(worker, now);
    }

    /// A process comes with the identity of a worker whose session stands.
    pub(crate) fn comes(&mut self, session: SessionNumber, worker: u32, incarnation: u64, now: Duration) {
        self.turn_away(worker);
        self.newcomers.insert(worker, Newcomer { session, incarnation, since: now });
    }

    /// Whatever comes from a session shows that its worker is alive.
    pub(crate) fn hears(&mut self, session: SessionNumber, now: Duration) {
        if let Some(worker) = self.workers.get(&session).copied() {
            self.heard.insert(worker, now);
            self.turn_away(worker);
        }
    }

    /// A session ended.
    pub(crate) fn ends(&mut self, session: SessionNumber, reference: &mut Reference) {
        if let Some(worker) = self.workers.remove(&session) {
            reference.left(worker);
        }
        self.newcomers.retain(|_, newcomer| newcomer.session != session);
    }

    /// Something comes that only a worker that is in may say: a newcomer that does is done with.
    pub(crate) fn speaks(&mut self, session: SessionNumber) {
        self.newcomers.retain(|_, newcomer| newcomer.session != session);
    }

    fn turn_away(&mut self, worker: u32) {
        if let Some(newcomer) = self.newcomers.remove(&worker) {
            self.clones.insert(newcomer.session);
        }
    }

    /// A session is told that it ends.
    pub(crate) fn told(&mut self, session: SessionNumber, reason: CloseReason) -> Checked {
        let is_clone = self.clones.remove(&session);
        let as_clone = reason == CloseReason::Clone;
        ensure!(is_clone || !as_clone, "session {session} is closed as a clone, but none other answered");
        Ok(())
    }

    /// Takes note of the newcomers that the engine has let in, and of the workers that it has removed.
    pub(crate) fn follow(&mut self, access: &Access, now: Duration, probe: Duration) -> Checked {
        let known = |worker: u32| access.worker_at(WorkerNumber(worker));
        self.newcomers.retain(|worker, _| known(*worker).is_some_and(|known| known.removed.is_none()));
        let is_in = |worker: u32, newcomer: &Newcomer| {
            known(worker).is_some_and(|known| known.incarnation == newcomer.incarnation)
        };
        let all: Vec<(u32, Newcomer)> = self.newcomers.iter().map(|(worker, newcomer)| (*worker, *newcomer)).collect();
        for (worker, newcomer) in all.into_iter().filter(|(worker, newcomer)| is_in(*worker, newcomer)) {
            let waited = now.saturating_sub(newcomer.since);
            let may = !self.stands(worker) || waited >= probe;
            ensure!(may, "a clone of worker {worker} is let in after {waited:?}, though the first may answer");
            self.newcomers.remove(&worker);
            self.let_in(newcomer.session, worker, now);
        }
        Ok(())
    }

    /// A turn is over: whoever was silent for the whole grace has no session any more, and no newcomer waits for longer than
    /// it takes the other to answer.
    pub(crate) fn settled(&mut self, now: Duration, grace: Duration, probe: Duration) -> Checked {
        let heard = &self.heard;
        self.workers.retain(|_, worker| heard.get(worker).is_some_and(|heard| *heard + grace > now));
        for (worker, newcomer) in &self.newcomers {
            let waited = now.saturating_sub(newcomer.since);
            ensure!(waited < probe, "the new process of worker {worker} waits for {waited:?}");
        }
        Ok(())
    }
}
