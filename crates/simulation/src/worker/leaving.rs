//! How a worker's process ends.

use task_messenger_core::{ids::LeaseNumber, input::Input};

use super::Worker;
use crate::stage::{Stage, WorkerEvent};

impl Worker {
    /// A graceful stop begins.
    pub(crate) fn stop(&mut self, stage: &mut Stage) {
        let Some(process) = &mut self.process else { return };
        if std::mem::replace(&mut process.stopping, true) {
            return;
        }
        stage.totals.worker_stops += 1;
        if let Some(session) = process.session {
            stage.send_up(session, Input::Window { session, slots: 0 });
        }
        self.give_back(stage, 100, None);
        let grace = stage.delay(100_000, 2_000_000);
        self.after(stage, grace, WorkerEvent::GraceOver);
        self.leave(stage, false);
    }

    /// A stopping worker exits as soon as it has nothing left, or when its time is over.
    pub(super) fn leave(&mut self, stage: &mut Stage, over: bool) {
        let Some(process) = self.process.as_mut().filter(|process| process.stopping) else { return };
        let done = process.held.is_empty() && process.reports.is_empty() && process.sent.is_empty();
        if !done && !over {
            return;
        }
        if let (Some(session), Some(worker)) = (process.session, self.number)
            && !process.held.is_empty()
        {
            let leases: Vec<_> = process.held.keys().map(|lease| LeaseNumber(*lease)).collect();
            stage.model.given_back.extend(leases.iter().map(|lease| (lease.0, worker.0)));
            process.held.clear();
            stage.send_up(session, Input::GivenBack { session, leases });
        }
        self.save();
        self.exit(stage);
    }

    /// Its process is killed.
    pub(crate) fn kill(&mut self, stage: &mut Stage) {
        if self.process.is_some() {
            stage.totals.worker_kills += 1;
            self.exit(stage);
        }
    }

    /// A task kills it, and now and then its machine with it.
    pub(super) fn die_of_it(&mut self, stage: &mut Stage) {
        stage.totals.killed_by_tasks += 1;
        if self.at > 0 && stage.random.percent(4) {
            return self.lose(stage);
        }
        self.exit(stage);
    }

    /// It is let in no more: it forgets who it was and joins anew, unless it was a copy.
    pub(super) fn removed(&mut self, stage: &mut Stage) {
        stage.totals.workers_removed += 1;
        if self.is_copy() {
            return self.lose(stage);
        }
        self.exit(stage);
        self.outbox.clear();
        self.number = None;
        self.identities += 1;
    }

    /// Its machine is lost.
    pub(crate) fn lose(&mut self, stage: &mut Stage) {
        stage.totals.workers_lost += 1;
        self.gone = true;
        self.exit(stage);
    }

    pub(super) fn exit(&mut self, stage: &mut Stage) {
        if let Some(process) = self.process.take()
            && let Some(session) = process.session
        {
            stage.hang_up(session);
        }
        self.starts += 1;
        self.frozen_until = None;
        let pause = stage.delay(1_000, 3_000_000);
        self.start_after(stage, pause);
    }
}
