//! Cancelling, and running again.

use rustc_hash::FxHashMap;

use super::Engine;
use crate::{
    effect::{Effect, Refusal},
    ids::{JobNumber, LeaseNumber, SessionNumber, TaskNumber},
    input::Named,
    job::Job,
    record::{Caller, Log, Record, Work},
    state::Lease,
    task::{Task, TaskState},
    time::Now,
};

impl Engine {
    pub(super) fn cancel(
        &mut self,
        now: Now,
        session: SessionNumber,
        request: u64,
        caller: Caller,
        named: Named,
        log: &mut impl Log,
    ) -> Result<(), Refusal> {
        let work = self.named_work(caller, named)?;
        let mut waiting = Vec::new();
        let mut running = Vec::new();
        let mut held = 0;
        for number in self.state.numbers_of(&work) {
            match self.state.tasks.get(number) {
                Some(task) if task.state() == TaskState::Running && task.is_cancelling() => held += 1,
                Some(task) if task.state() == TaskState::Running => {
                    running.extend(task.lease().map(|lease| (lease, number)));
                }
                Some(task) if !task.state().is_final() => waiting.push(number),
                _ => {}
            }
        }
        let closes = matches!(named, Named::Job(job) if !self.is_closed(job));
        if !waiting.is_empty() || !running.is_empty() || closes {
            self.commit(log, &Record::Cancelled { tasks: work, time: now.wall });
        }
        if !self.backoffs.is_empty() {
            for task in &waiting {
                self.backoffs.remove(*task);
            }
        }
        let ended = waiting.len() as u64;
        held += running.len() as u64;
        self.tell_over(waiting);
        if let Named::Job(job) = named {
            self.follows.job_changed(self.state.jobs.position(job));
        }
        self.tell_cancelled(&running);
        self.tell(Effect::Changed { session, request, tasks: ended, running: held });
        Ok(())
    }

    /// Tells workers which of their leases were cancelled.
    pub(super) fn tell_cancelled(&mut self, running: &[(LeaseNumber, TaskNumber)]) {
        let mut by_session: FxHashMap<SessionNumber, Vec<LeaseNumber>> = FxHashMap::default();
        for (number, _) in running {
            if let Some(Lease { worker, .. }) = self.state.leases.get(number)
                && let Some(session) = self.presences.get(worker).and_then(|presence| presence.session)
            {
                by_session.entry(session).or_default().push(*number);
            }
        }
        let mut told: Vec<_> = by_session.into_iter().collect();
        told.sort_unstable_by_key(|(session, _)| *session);
        for (session, mut leases) in told {
            leases.sort_unstable();
            self.tell(Effect::Cancel { session, leases });
        }
    }

    pub(super) fn requeue(
        &mut self,
        now: Now,
        session: SessionNumber,
        request: u64,
        caller: Caller,
        named: Named,
        log: &mut impl Log,
    ) -> Result<(), Refusal> {
        let work = self.named_work(caller, named)?;
        let again = |state| matches!(state, TaskState::Failed | TaskState::Cancelled | TaskState::Expired);
        let (mut tasks, mut bytes) = (0, 0);
        for number in self.state.numbers_of(&work) {
            let Some(task) = self.state.tasks.get(number) else { continue };
            if again(task.state()) {
                tasks += 1;
                bytes += u64::from(task.payload_length);
            } else if let Named::Task(id) = named {
                let state = task.state();
                return Err(Refusal::Precondition(format!(
                    "task {id} is {}: only what failed, expired or was cancelled, and has ended, can be run again",
                    format!("{state:?}").to_lowercase()
                )));
            }
        }
        if tasks > 0 {
            self.check_open(tasks, bytes)?;
            self.commit(log, &Record::Requeued { tasks: work, time: now.wall });
            self.forget_ends(match named {
                Named::Job(job) => job,
                Named::Task(task) => task.job,
            });
        }
        self.tell(Effect::Changed { session, request, tasks, running: 0 });
        Ok(())
    }

    /// What followers of the job were still to be told of ends that are none any more.
    fn forget_ends(&mut self, job: JobNumber) {
        self.fetched.remove(job);
        let Self { state, follows, .. } = self;
        let Some(position) = state.jobs.position(job) else { return };
        let Some(job) = state.jobs.at(position) else { return };
        let is_over = |index| job.task(index).and_then(|task| state.tasks.get(task)).is_some_and(Task::is_over);
        follows.run_again(position, is_over);
    }

    /// The tasks that are named, if the caller may see them.
    fn named_work(&self, caller: Caller, named: Named) -> Result<Work, Refusal> {
        match named {
            Named::Job(job) => self.visible_job(caller, job).map(|job| Work::Job(job.number)),
            Named::Task(id) => {
                let job = self.visible_job(caller, id.job)?;
                let task = job.task(id.index).ok_or_else(|| no_such_task(job, id.index))?;
                Ok(Work::Tasks(vec![task]))
            }
        }
    }

    fn is_closed(&self, job: JobNumber) -> bool {
        self.state.jobs.position(job).and_then(|position| self.state.jobs.at(position)).is_some_and(|job| job.closed)
    }
}

fn no_such_task(job: &Job, index: u32) -> Refusal {
    Refusal::NotFound(format!(
        "there is no task {}.{index}: the job has {} tasks, from index 0",
        job.number, job.next_index
    ))
}
