//! What records say of workers and tokens.

use std::collections::{BTreeMap, BTreeSet};

use task_messenger_core::record::{Record, WorkerMode};

use super::Reference;
use crate::stage::{Checked, ensure};

/// Workers and tokens.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    /// Enrolled workers: with which token, and what they get.
    workers: BTreeMap<u32, (u32, WorkerMode)>,
    removed: BTreeSet<u32>,
    revoked: BTreeSet<u32>,
}

impl Fleet {
    pub(super) fn apply(&mut self, record: &Record) {
        match record {
            Record::WorkerEnrolled { number, token, .. } => {
                self.workers.insert(number.0, (token.0, WorkerMode::Active));
            }
            Record::WorkerSet { worker, mode } => {
                if let Some((_, known)) = self.workers.get_mut(&worker.0) {
                    *known = *mode;
                }
            }
            Record::WorkerRemoved { worker, .. } => drop(self.removed.insert(worker.0)),
            Record::TokenRevoked { token, .. } => drop(self.revoked.insert(token.0)),
            _ => {}
        }
    }

    /// Whether a new record may be what it is.
    pub(super) fn judge(&self, record: &Record) -> Checked {
        match record {
            Record::WorkerEnrolled { token, .. } => {
                ensure!(!self.revoked.contains(&token.0), "a worker joins with token {token}, which was revoked");
            }
            Record::WorkerStarted { worker, .. } | Record::WorkerSet { worker, .. } => {
                ensure!(!self.removed.contains(&worker.0), "worker {worker} was removed");
            }
            Record::Dispatched { worker, .. } => {
                let mode = self.workers.get(&worker.0).map(|(_, mode)| *mode);
                let takes = mode == Some(WorkerMode::Active) && !self.removed.contains(&worker.0);
                ensure!(takes, "worker {worker} gets tasks though it is {mode:?}, or removed");
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn is_removed(&self, worker: u32) -> bool {
        self.removed.contains(&worker)
    }

    pub(super) fn is_active(&self, worker: u32) -> bool {
        self.workers.get(&worker).is_some_and(|(_, mode)| *mode == WorkerMode::Active) && !self.is_removed(worker)
    }

    fn let_in(&self) -> impl Iterator<Item = (u32, u32, WorkerMode)> + '_ {
        let known = self.workers.iter().map(|(worker, (token, mode))| (*worker, *token, *mode));
        known.filter(|(worker, ..)| !self.removed.contains(worker))
    }
}

impl Reference {
    /// Enrolled workers that were not removed.
    pub(crate) fn workers_let_in(&self) -> Vec<u32> {
        self.fleet.let_in().map(|(worker, ..)| worker).collect()
    }

    /// Those of them that get nothing for now.
    pub(crate) fn workers_held_up(&self) -> Vec<u32> {
        self.fleet.let_in().filter(|(.., mode)| *mode != WorkerMode::Active).map(|(worker, ..)| worker).collect()
    }

    /// Workers that enrolled with a token.
    pub(crate) fn enrolled_with(&self, token: u32) -> Vec<u32> {
        self.fleet.workers.iter().filter(|(_, (with, _))| *with == token).map(|(worker, _)| *worker).collect()
    }
}
