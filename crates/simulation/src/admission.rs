//! What the manager's sessions know and do before the engine gets an input, and what they see of silence.

use task_messenger_core::{
    input::Input,
    record::{Record, ReleaseReason},
};

use crate::{
    manager::Process,
    network::Peer,
    reference::Reference,
    stage::{Checked, Stage, ensure},
};

impl Process {
    /// What the session does with an input before the engine gets it; whether it gets it at all.
    pub(super) fn admit(&mut self, reference: &mut Reference, stage: &mut Stage, input: &mut Input) -> bool {
        let most = stage.scenario.limits.window;
        let state = self.engine.state();
        match input {
            Input::Submit { session, caller, .. }
            | Input::Follow { session, caller, .. }
            | Input::Query { session, caller, .. } => {
                let Some(Peer::Client(_, token)) = stage.network.peer(*session) else { return false };
                let Some(token) = state.access.token_at(token) else { return false };
                *caller = token.caller();
            }
            Input::Enrol { session, request, hash, .. } => {
                self.enrolling.insert((*session, *request), hash.0);
            }
            Input::Resume { session, worker, resume } => {
                self.workers.retain(|_, other| other != &worker.0);
                self.workers.insert(*session, worker.0);
                self.heard.insert(worker.0, stage.now);
                reference.resumed(worker.0, resume, most);
            }
            Input::SessionClosed { session } => {
                if let Some(worker) = self.workers.remove(session) {
                    reference.left(worker);
                }
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

    /// Whether only those workers lost leases by silence that were silent for the whole grace, since this process started
    /// at the earliest.
    pub(super) fn check_silence(&self, stage: &Stage, reference: &Reference, before: usize) -> Checked {
        for (record, _) in &reference.records[before..] {
            let Record::Released { leases, reason: ReleaseReason::Silence, .. } = record else { continue };
            for lease in leases {
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
