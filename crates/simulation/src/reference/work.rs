//! What records say of many tasks at once: times that come, cancels, retries, deaths.

use task_messenger_core::{
    record::{Loss, Work},
    task::TaskState,
    time::WallTime,
    values::Value,
};

use super::{Ended, Reference, Silenced};
use crate::{
    model::Model,
    script::killing,
    stage::{Checked, Violation, ensure},
};

impl Reference {
    /// A task is at its end.
    pub(super) fn ends(&mut self, number: u64, state: TaskState, at: u64, outcome: Option<Value>) -> Checked {
        self.change(number, state)?;
        let task = self.known(number)?;
        task.cancelling &= state == TaskState::Cancelled;
        let attempts = task.attempts;
        task.ends.push(Ended { at, state, attempts, outcome });
        if let Some(lease) = task.lease {
            self.silenced.remove(&lease);
        }
        Ok(())
    }

    /// A task whose lease ended without an outcome is queued again, unless it was cancelled or is too late.
    pub(super) fn come_back(&mut self, number: u64, at: u64) -> Checked<TaskState> {
        let task = self.known(number)?;
        let state = if task.cancelling {
            TaskState::Cancelled
        } else if task.is_late {
            TaskState::Expired
        } else {
            TaskState::Queued
        };
        if state.is_final() {
            self.ends(number, state, at, None)?;
        } else {
            self.change(number, state)?;
        }
        Ok(state)
    }

    /// The numbers of the tasks that are meant.
    fn numbers_of(&self, work: &Work) -> Checked<Vec<u64>> {
        Ok(match work {
            Work::Tasks(tasks) => tasks.iter().map(|task| task.0).collect(),
            Work::Job(job) => {
                let job = self.jobs.get(&job.0);
                job.ok_or_else(|| Violation("a job that does not exist is meant".to_owned()))?.tasks.clone()
            }
        })
    }

    /// Only what is over and succeeded as a whole goes to the archive, and once.
    pub(super) fn archived(&mut self, job: u64) -> Checked {
        let known = self.jobs.get_mut(&job).ok_or_else(|| Violation(format!("job {job} goes to the archive")))?;
        ensure!(known.closed_at.is_some(), "job {job} goes to the archive, and may get more tasks");
        ensure!(!known.archived, "job {job} goes to the archive again");
        known.archived = true;
        let tasks = known.tasks.clone();
        for task in tasks {
            let state = self.known(task)?.state;
            ensure!(state == TaskState::Succeeded, "task {task} goes to the archive, and is {state:?}");
        }
        Ok(())
    }

    pub(super) fn cancelled(&mut self, work: &Work, at: u64) -> Checked {
        if let Work::Job(job) = work
            && let Some(job) = self.jobs.get_mut(&job.0)
        {
            job.closed_at.get_or_insert(at);
        }
        for number in self.numbers_of(work)? {
            let task = self.known(number)?;
            match task.state {
                TaskState::Running => task.cancelling = true,
                state if state.is_final() => {}
                _ => self.ends(number, TaskState::Cancelled, at, None)?,
            }
        }
        Ok(())
    }

    pub(super) fn requeued(&mut self, work: &Work, at: u64) -> Checked {
        for number in self.numbers_of(work)? {
            let task = self.known(number)?;
            if matches!(task.state, TaskState::Failed | TaskState::Cancelled | TaskState::Expired) {
                task.failures = 0;
                task.crashes = 0;
                task.cancelling = false;
                task.is_late = false;
                task.lease = None;
                task.run_again_at = at;
                // It leaves its end in the one way that there is.
                task.state = TaskState::Scheduled;
                self.change(number, TaskState::Queued)?;
            }
        }
        Ok(())
    }

    /// The tasks of a run that waits for a time.
    fn take_run(delayed: &mut super::Runs, time: WallTime, first: u64) -> Checked<std::ops::Range<u64>> {
        let count = delayed.remove(&(time.0, first));
        let count = count.ok_or_else(|| Violation(format!("no tasks from {first} wait for {time:?}")))?;
        Ok(first..first + count)
    }

    pub(super) fn due(&mut self, time: WallTime, first: u64) -> Checked {
        for number in Self::take_run(&mut self.delayed, time, first)? {
            let task = self.known(number)?;
            if task.state == TaskState::Scheduled && !task.has_started() {
                self.change(number, TaskState::Queued)?;
            }
        }
        Ok(())
    }

    pub(super) fn expired(&mut self, time: WallTime, first: u64, at: u64) -> Checked {
        for number in Self::take_run(&mut self.deadlines, time, first)? {
            let task = self.known(number)?;
            task.deadline = None;
            if task.has_started() || task.state.is_final() {
                continue;
            }
            if task.state == TaskState::Running {
                task.is_late = true;
            } else {
                self.ends(number, TaskState::Expired, at, None)?;
            }
        }
        Ok(())
    }

    /// What a worker's death means for a task.
    pub(super) fn lost(&mut self, lease: u64, loss: Loss, silent: bool, at: u64) -> Checked {
        let (number, worker) = self.let_go(lease)?;
        let task = self.known(number)?;
        let counted = loss == Loss::Crashed;
        if loss != Loss::Unstarted {
            task.is_late = false;
        }
        match loss {
            Loss::Unstarted => {}
            Loss::Crashed => task.crashes += 1,
            Loss::Failed | Loss::Retry { .. } => task.failures += 1,
        }
        match loss {
            Loss::Unstarted | Loss::Crashed => {
                if self.come_back(number, at)? == TaskState::Queued && silent {
                    self.silenced.insert(lease, Silenced { task: number, worker, counted });
                }
            }
            Loss::Failed => self.ends(number, TaskState::Failed, at, None)?,
            Loss::Retry { .. } => self.change(number, TaskState::Scheduled)?,
        }
        Ok(())
    }

    /// Whether everything whose time has come by the wall clock has been dealt with.
    pub(crate) fn check_times(&self, now: WallTime) -> Checked {
        for runs in [&self.delayed, &self.deadlines] {
            if let Some(((time, first), _)) = runs.first_key_value() {
                ensure!(*time > now.0, "the time {time} of the tasks from {first} came, and it is {}", now.0);
            }
        }
        Ok(())
    }

    /// Whether what kills its worker each time came to no good end, and a dead letter only by all of its attempts.
    pub(crate) fn check_killers(&self, model: &Model) -> Checked {
        for task in self.tasks.values() {
            let Some(job) = self.jobs.get(&task.job) else { continue };
            let wanted = model.script_of(job.key)?.tasks.get(task.index as usize);
            if wanted.is_some_and(|wanted| killing(&wanted.payload) == 100) {
                let (job, index, failures) = (task.job, task.index, task.failures);
                ensure!(task.state != TaskState::Succeeded, "{job}.{index} kills its worker, and succeeded");
                let most = self.most_attempts(task);
                let right = task.state != TaskState::Failed || (task.failures == most && task.crashes == 2);
                ensure!(right, "{job}.{index} is a dead letter after {failures} deaths alone of {most}");
            }
        }
        Ok(())
    }

    /// How many ends of this kind there were.
    pub(crate) fn ends_of(&self, state: TaskState) -> u64 {
        self.tasks.values().flat_map(|task| &task.ends).filter(|end| end.state == state).count() as u64
    }

    /// The next time for which tasks wait.
    pub(crate) fn next_due(&self) -> Option<WallTime> {
        self.delayed.first_key_value().map(|((time, _), _)| WallTime(*time))
    }
}
