//! What the death of a worker means for the tasks that it held.
//!
//! A task can kill its worker, and nobody knows which of those that ran there did. So nobody is charged at first: every
//! task that had started counts a crash, and is placed with more care each time, until it runs alone. A death then is its
//! own.

use std::time::Duration;

use super::Engine;
use crate::{
    ids::{LeaseNumber, WorkerNumber},
    limits::RECORD_ITEMS,
    record::{Log, Loss, Record, Verdict},
    state::Start,
    task::{Care, Task},
    time::Now,
};

impl Engine {
    /// Ends leases of a worker that died.
    pub(super) fn lose(
        &mut self,
        now: Now,
        worker: WorkerNumber,
        silent: bool,
        leases: &[LeaseNumber],
        log: &mut impl Log,
    ) {
        for leases in leases.chunks(RECORD_ITEMS) {
            let mut ends = Vec::with_capacity(leases.len());
            let mut tasks = Vec::with_capacity(leases.len());
            for number in leases {
                let Some(lease) = self.state.leases.get(number).copied() else { continue };
                self.let_go(worker, lease.task);
                let loss = if lease.start == Start::No { Loss::Unstarted } else { self.loss_of(*number, lease.task) };
                if let Loss::Retry { backoff_milliseconds } = loss {
                    self.backoffs.insert(now.monotonic + Duration::from_millis(backoff_milliseconds), lease.task);
                }
                ends.push((*number, loss));
                tasks.push(lease.task);
            }
            self.commit(log, &Record::WorkerLost { worker, silent, ends, time: now.wall });
            self.tell_over(tasks);
        }
    }

    fn loss_of(&self, lease: LeaseNumber, task: crate::ids::TaskNumber) -> Loss {
        let known = self.state.tasks.get(task);
        if known.is_some_and(Task::is_cancelling) {
            return Loss::Unstarted;
        }
        let alone = known.is_some_and(|task| task.care() == Care::Alone);
        #[cfg(feature = "faults")]
        let alone = alone || self.faults.charge_neighbours;
        if !alone {
            return Loss::Crashed;
        }
        match self.judge(lease, task) {
            Verdict::Retry { backoff_milliseconds } => Loss::Retry { backoff_milliseconds },
            _ => Loss::Failed,
        }
    }
}
