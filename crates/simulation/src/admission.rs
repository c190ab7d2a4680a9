//! What the manager's sessions know and do before the engine gets an input, and what they see of silence.

use task_messenger_core::{
    ids::{SessionNumber, TokenNumber},
    input::{Input, Named},
    record::Record,
};

use crate::{
    manager::Process,
    network::Peer,
    reference::Reference,
    stage::{Checked, Stage, ensure},
};

/// A change that was asked for, handled and not yet acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// The records on which the acknowledgement depends: all up to this one.
    pub(crate) at: u64,
    /// Workers that are removed by it.
    pub(crate) removed: Vec<u32>,
    /// The token that is revoked by it.
    pub(crate) revoked: Option<TokenNumber>,
}

/// The session and number of a request that changes something, with what is known of the change before it is carried out.
pub(crate) fn change_of(input: &Input, reference: &Reference) -> Option<((SessionNumber, u64), Change)> {
    let mut change = Change { at: 0, removed: Vec::new(), revoked: None };
    let key = match input {
        Input::Cancel { session, request, .. }
        | Input::Retry { session, request, .. }
        | Input::SetWorker { session, request, .. } => (*session, *request),
        Input::RemoveWorker { session, request, worker } => {
            change.removed = vec![worker.0];
            (*session, *request)
        }
        Input::RevokeToken { session, request, token, with_workers } => {
            change.revoked = Some(*token);
            if *with_workers {
                change.removed = reference.enrolled_with(token.0);
            }
            (*session, *request)
        }
        _ => return None,
    };
    Some((key, change))
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
        if let Input::Window { session, .. }
        | Input::Started { session, .. }
        | Input::Outcomes { session, .. }
        | Input::GivenBack { session, .. } = input
        {
            self.sessions.speaks(*session);
        }
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
            Input::Resume { worker, .. }
                if state.access.worker_at(*worker).is_none_or(|known| known.removed.is_some()) => {}
            Input::Resume { session, worker, resume } => {
                let known = state.access.worker_at(*worker).map_or(0, |known| known.incarnation);
                let newcomer = self.sessions.stands(worker.0) && known != resume.incarnation;
                reference.resumed(worker.0, resume, most, newcomer);
                if newcomer {
                    stage.totals.newcomers += 1;
                    self.sessions.comes(*session, worker.0, resume.incarnation, stage.now);
                } else {
                    self.sessions.let_in(*session, worker.0, stage.now);
                }
            }
            Input::SessionClosed { session } => self.sessions.ends(*session, reference),
            Input::Heard { session } => self.sessions.hears(*session, stage.now),
            Input::Started { session, leases } => {
                let worker = self.sessions.workers.get(session).copied();
                let held = |lease: u64| reference.leases.get(&lease).is_some_and(|(_, holder)| Some(*holder) == worker);
                let held: Vec<u64> = leases.iter().map(|lease| lease.0).filter(|lease| held(*lease)).collect();
                reference.started.extend(held);
            }
            Input::Window { session, slots } => {
                if let Some(worker) = self.sessions.workers.get(session) {
                    reference.window(*worker, *slots, most);
                }
            }
            Input::Outcomes { session, number, ends, .. } => {
                let worker = self.sessions.workers.get(session).copied();
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
    pub(super) fn note_change(&mut self, change: Option<((SessionNumber, u64), Change)>, records: usize) {
        if let Some((key, mut change)) = change {
            change.at = records as u64;
            self.changing.insert(key, change);
        }
    }

    /// Whether only those workers lost leases by silence that were silent for the whole grace, since this process started
    /// at the earliest.
    pub(super) fn check_silence(&self, stage: &Stage, reference: &Reference, before: usize) -> Checked {
        for (record, _) in &reference.records[before..] {
            let Record::WorkerLost { ends, silent: true, .. } = record else { continue };
            for (lease, _) in ends {
                let worker = reference.handed.get(&lease.0).map(|hand_out| hand_out.worker);
                let heard =
                    worker.and_then(|worker| self.sessions.heard.get(&worker)).copied().unwrap_or(self.started.0);
                let silent = stage.now.saturating_sub(heard);
                let long = silent >= stage.scenario.limits.lease_grace;
                ensure!(long, "lease {lease} ends after a silence of {silent:?} only");
            }
        }
        Ok(())
    }
}
