//! What the manager's sessions know and do before the engine gets an input, and what they see of silence.

use std::time::Duration;

use task_messenger_core::{
    ids::{SessionNumber, WorkerNumber},
    input::{Input, Named},
    record::Record,
};

use crate::{
    manager::Process,
    network::Peer,
    reference::Reference,
    stage::{Checked, Stage, ensure},
};

/// The session and number of a request that changes something and is answered by saying so.
pub(crate) fn change_of(input: &Input) -> Option<(SessionNumber, u64)> {
    match input {
        Input::Cancel { session, request, .. } | Input::Retry { session, request, .. } => Some((*session, *request)),
        _ => None,
    }
}

fn name_of(named: Named) -> (u64, Option<u32>) {
    match named {
        Named::Job(job) => (job.0, None),
        Named::Task(task) => (task.job.0, Some(task.index)),
    }
}

impl Process {
    /// What the session does with an input before the engine gets it; whether it gets it at all.
    pub(super) fn admit(&mut self, reference: &mut Reference, stage: &mut Stage, input: &mut Input) -> bool {
        let most = stage.scenario.limits.window;
        let state = self.engine.state();
        match input {
            Input::Submit { session, caller, .. }
            | Input::Follow { session, caller, .. }
            | Input::Query { session, caller, .. }
            | Input::Cancel { session, caller, .. }
            | Input::Retry { session, caller, .. } => {
                let Some(Peer::Client(_, token)) = stage.network.peer(*session) else { return false };
                let Some(token) = state.access.token_at(token) else { return false };
                *caller = token.caller();
                match input {
                    Input::Cancel { named, .. } => stage.model.cancels.insert(name_of(*named)),
                    Input::Retry { named, .. } => stage.model.retries.insert(name_of(*named)),
                    _ => false,
                };
            }
            Input::Enrol { session, request, hash, .. } => {
                self.enrolling.insert((*session, *request), hash.0);
            }
            Input::Resume { session, worker, resume } => {
                let stands = self.workers.values().any(|other| other == &worker.0);
                let known = state.access.worker_at(*worker).map_or(0, |known| known.incarnation);
                let newcomer = stands && known != resume.incarnation;
                reference.resumed(worker.0, resume, most, newcomer);
                if newcomer {
                    stage.totals.newcomers += 1;
                    self.newcomers.insert(worker.0, (*session, resume.incarnation));
                } else {
                    self.let_in(*session, worker.0, stage.now);
                }
            }
            Input::SessionClosed { session } => {
                if let Some(worker) = self.workers.remove(session) {
                    reference.left(worker);
                }
                self.newcomer_left(reference, *session);
            }
            Input::Heard { session } => {
                if let Some(worker) = self.workers.get(session) {
                    self.heard.insert(*worker, stage.now);
                }
            }
            Input::Window { session, slots } => {
                if let Some(worker) = self.workers.get(session) {
                    reference.window(*worker, *slots, most);
                }
            }
            Input::Outcomes { session, number, ends, .. } => {
                let worker = self.workers.get(session).copied();
                let mut current: Vec<u64> = ends.iter().map(|(lease, _)| lease.0).collect();
                let reported = current.len();
                current.retain(|lease| reference.leases.get(lease).is_some_and(|(_, holder)| Some(*holder) == worker));
                stage.totals.fenced += (reported - current.len()) as u64;
                self.reports.insert((*session, *number), current);
            }
            _ => {}
        }
        true
    }

    /// What was just handled was such a change: its acknowledgement depends on all that was written down by now.
    pub(super) fn note_change(&mut self, change: Option<(SessionNumber, u64)>, records: usize) {
        if let Some(change) = change {
            self.changing.insert(change, records as u64);
        }
    }

    /// If this was a newcomer's session, it is no more.
    pub(super) fn newcomer_left(&mut self, reference: &mut Reference, session: SessionNumber) {
        let of_session =
            |(worker, (of_newcomer, _)): (&u32, &(SessionNumber, u64))| (*of_newcomer == session).then_some(*worker);
        if let Some(worker) = self.newcomers.iter().find_map(of_session) {
            self.newcomers.remove(&worker);
            reference.newcomer_left(worker);
        }
    }

    fn let_in(&mut self, session: SessionNumber, worker: u32, now: Duration) {
        self.workers.retain(|_, other| *other != worker);
        self.workers.insert(session, worker);
        self.heard.insert(worker, now);
    }

    /// Newcomers whose predecessors turned out to be gone have their sessions now.
    pub(super) fn let_newcomers_in(&mut self, now: Duration) {
        let access = &self.engine.state().access;
        let is_in = |worker: u32, incarnation: u64| {
            access.worker_at(WorkerNumber(worker)).is_some_and(|known| known.incarnation == incarnation)
        };
        let let_in: Vec<(u32, SessionNumber)> = self
            .newcomers
            .iter()
            .filter(|(worker, (_, incarnation))| is_in(**worker, *incarnation))
            .map(|(worker, (session, _))| (*worker, *session))
            .collect();
        for (worker, session) in let_in {
            self.newcomers.remove(&worker);
            self.let_in(session, worker, now);
        }
    }

    /// Whether only those workers lost leases by silence that were silent for the whole grace, since this process started
    /// at the earliest.
    pub(super) fn check_silence(&self, stage: &Stage, reference: &Reference, before: usize) -> Checked {
        for (record, _) in &reference.records[before..] {
            let Record::WorkerLost { ends, silent: true, .. } = record else { continue };
            for (lease, _) in ends {
                let worker = reference.handed.get(&lease.0).map(|hand_out| hand_out.worker);
                let heard = worker.and_then(|worker| self.heard.get(&worker)).copied().unwrap_or(self.started.0);
                let silent = stage.now.saturating_sub(heard);
                let long = silent >= stage.scenario.limits.lease_grace;
                ensure!(long, "lease {lease} ends after a silence of {silent:?} only");
            }
        }
        Ok(())
    }
}
