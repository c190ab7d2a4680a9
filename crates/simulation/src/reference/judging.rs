//! Whether a new record may be what it is.

use std::collections::BTreeSet;

use task_messenger_core::{
    ids::TaskNumber,
    record::{Loss, Record, ReleaseReason, Verdict, Work},
    task::{Care, TaskState},
    template::Kind,
    time::WallTime,
    values::Value,
};

use super::{Reference, Task};
use crate::{
    model::Model,
    script::killing,
    stage::{Checked, Violation, ensure},
};

impl Reference {
    /// Whether a new record may be what it is.
    pub(super) fn judge(&self, record: &Record, model: &Model, wall: WallTime) -> Checked {
        self.fleet.judge(record)?;
        match record {
            Record::JobOpened { job, .. } => {
                ensure!(job.0 >= model.job_end && !self.jobs.contains_key(&job.0), "job number {job} is used again");
            }
            Record::Submitted { job, first_task, first_index, payloads, not_before, deadline, .. } => {
                let job = self.jobs.get(&job.0).ok_or_else(|| Violation("tasks without a job".to_owned()))?;
                ensure!(job.closed_at.is_none(), "tasks for a closed job");
                ensure!(job.tasks.len() as u32 == *first_index, "tasks from {first_index} after {}", job.tasks.len());
                let script = model.script_of(job.key)?;
                let times = (script.delay.map(|delay| wall.plus(delay)), script.deadline.map(|late| wall.plus(late)));
                ensure!((*not_before, *deadline) == times, "tasks for {not_before:?} and {deadline:?}, not {times:?}");
                for number in first_task.0..first_task.0 + u64::from(payloads.count()) {
                    let again = number < model.task_end || self.tasks.contains_key(&number);
                    ensure!(!again, "task number {number} is used again");
                }
            }
            Record::Dispatched { worker, first_lease, tasks, .. } => {
                for lease in (first_lease.0..).take(tasks.len()) {
                    let again = lease < model.lease_end || self.handed.contains_key(&lease);
                    ensure!(!again, "lease number {lease} is used again");
                }
                self.judge_order(worker.0, tasks, wall)?;
            }
            Record::Finished { ends, details, .. } => {
                ensure!(ends.len() as u32 == details.count(), "{} ends, {} details", ends.len(), details.count());
                let mut seen = BTreeSet::new();
                for ((lease, verdict), (_, detail)) in ends.iter().zip(details.iter()) {
                    ensure!(seen.insert(*lease), "lease {lease} ends twice");
                    self.judge_end(lease.0, *verdict, &detail, model)?;
                }
            }
            Record::Released { leases, reason, .. } => {
                for lease in leases {
                    let held = self.leases.get(&lease.0);
                    let (_, worker) =
                        held.ok_or_else(|| Violation(format!("lease {lease} is released, but has ended")))?;
                    let right = match reason {
                        ReleaseReason::GivenBack => model.given_back.contains(&(lease.0, *worker)),
                        ReleaseReason::NotHeld => {
                            self.wants.get(worker).is_some_and(|wants| !wants.claims.contains(&lease.0))
                        }
                        ReleaseReason::Removed => self.fleet.is_removed(*worker),
                    };
                    ensure!(right, "lease {lease} is released though worker {worker} holds it");
                }
            }
            Record::WorkerLost { worker, silent, ends, .. } => {
                let removed = self.fleet.is_removed(worker.0);
                ensure!(!removed, "worker {worker} dies, but was removed");
                for (lease, loss) in ends {
                    self.judge_loss(worker.0, *silent, lease.0, *loss, model)?;
                }
            }
            Record::Readopted { worker, leases, .. } => {
                for (lease, task) in leases {
                    let silenced = self
                        .silenced
                        .get(&lease.0)
                        .is_some_and(|silenced| (silenced.task, silenced.worker) == (task.0, worker.0));
                    let queued = self.tasks.get(&task.0).is_some_and(|task| task.state == TaskState::Queued);
                    ensure!(silenced && queued, "lease {lease} can't be taken up again");
                }
            }
            Record::Retried { tasks } => {
                for number in tasks {
                    let waits = self.tasks.get(&number.0).is_some_and(|task| task.state == TaskState::Scheduled);
                    ensure!(waits, "task {number} is retried without having waited");
                }
            }
            Record::Due { at, .. } | Record::Expired { at, .. } => {
                ensure!(*at <= wall, "the time {at:?} has not come: it is {wall:?}");
            }
            Record::Cancelled { tasks, .. } | Record::Requeued { tasks, .. } => {
                let names = match tasks {
                    Work::Job(job) => vec![(job.0, None)],
                    Work::Tasks(tasks) => {
                        let name = |task: &Task| (task.job, Some(task.index));
                        tasks.iter().filter_map(|task| self.tasks.get(&task.0).map(name)).collect()
                    }
                };
                let asked = if matches!(record, Record::Cancelled { .. }) { &model.cancels } else { &model.retries };
                ensure!(names.iter().all(|name| asked.contains(name)), "nobody asked for that");
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether these tasks were next for this worker, one after the other, and fit into what it asked for.
    fn judge_order(&self, worker: u32, tasks: &[TaskNumber], wall: WallTime) -> Checked {
        let wants = self.wants.get(&worker);
        let wants = wants.ok_or_else(|| Violation(format!("worker {worker} gets tasks without a session")))?;
        let runs = |kind: &Kind| wants.runs(kind);
        let mut held = self.carried_by(worker);
        let mut used = self.used.get(&worker).copied().unwrap_or_default();
        let mut taken = BTreeSet::new();
        for number in tasks {
            let task = self.tasks.get(&number.0).ok_or_else(|| Violation(format!("task {number} does not exist")))?;
            ensure!(task.state == TaskState::Queued, "task {number} is handed out though it is {:?}", task.state);
            let late = task.is_late || task.deadline.is_some_and(|deadline| deadline <= wall.0);
            ensure!(!late || task.has_started(), "task {number} is handed out after its deadline");
            ensure!(taken.insert(number.0), "task {number} is handed out twice at once");
            let (priority, kind, slots, care) = self.lane(task.template, task.crashes);
            ensure!(runs(&kind) && slots <= wants.slots, "task {number} does not fit worker {worker}");
            ensure!(held.may_add(care), "task {number} is to be placed {care:?}, and worker {worker} holds {held:?}");
            let in_slots = wants.slots.min(wants.window).saturating_sub(used);
            let in_window = wants.window.saturating_sub(used);
            ensure!(slots <= in_window, "worker {worker} holds {used} of {}, and gets {slots} more", wants.window);
            let room = if slots <= in_slots { in_slots } else { in_window };
            for ((other_priority, kind, slots, care), queued) in &self.queue {
                if *other_priority > priority {
                    break;
                }
                let placeable = runs(kind) && *slots <= wants.slots && *slots <= room && held.may_add(*care);
                let first = queued.iter().find(|number| !taken.contains(number)).filter(|_| placeable);
                let earlier = first.is_some_and(|other| (*other_priority, *other) < (priority, number.0));
                ensure!(!earlier, "task {number} goes before task {first:?}, which could be placed too");
            }
            used += slots;
            held.add(care);
        }
        Ok(())
    }

    /// Whether an attempt may end like this.
    fn judge_end(&self, lease: u64, verdict: Verdict, detail: &Value, model: &Model) -> Checked {
        let held = self.leases.get(&lease);
        let (task, worker) = held.ok_or_else(|| Violation(format!("lease {lease} counts, but has ended")))?;
        let reported = model.reported.get(&(lease, *worker));
        let (succeeded, said) = reported
            .ok_or_else(|| Violation(format!("lease {lease} counts, but worker {worker} reported no such thing")))?;
        let same = match detail {
            Value::Inline(bytes) => bytes == said,
            Value::External { length, .. } => *length == said.len() as u64,
        };
        ensure!(same, "lease {lease} counts with another outcome than was reported");
        let task = &self.tasks[task];
        ensure!(task.lease == Some(lease) && task.state == TaskState::Running, "lease {lease} was replaced");
        let last = task.failures + 1 >= self.most_attempts(task);
        let right = match verdict {
            Verdict::Cancelled => task.cancelling,
            _ if task.cancelling => false,
            Verdict::Succeeded => *succeeded,
            Verdict::Failed => !succeeded && last,
            Verdict::Retry { .. } => !succeeded && !last,
        };
        ensure!(right, "lease {lease} ends with {verdict:?} after {} failures", task.failures);
        Ok(())
    }

    /// Whether a worker's death may mean this for a task.
    fn judge_loss(&self, worker: u32, silent: bool, lease: u64, loss: Loss, model: &Model) -> Checked {
        let held = self.leases.get(&lease).filter(|(_, holder)| *holder == worker);
        let (task, _) = held.ok_or_else(|| Violation(format!("lease {lease} is lost with worker {worker}")))?;
        let claimed = self.wants.get(&worker).is_some_and(|wants| wants.claims.contains(&lease));
        ensure!(silent || !claimed, "lease {lease} is lost though a new process of worker {worker} holds it");
        let task = &self.tasks[task];
        let last = task.failures + 1 >= self.most_attempts(task);
        let counts = self.started.contains(&lease) && !task.cancelling;
        let right = match loss {
            Loss::Unstarted => !counts,
            Loss::Crashed => counts && task.crashes < 2,
            Loss::Failed => counts && task.crashes == 2 && last,
            Loss::Retry { .. } => counts && task.crashes == 2 && !last,
        };
        ensure!(right, "lease {lease} is lost as {loss:?} with {} crashes (counts: {counts})", task.crashes);
        let beside = self.leases.values().filter(|(_, holder)| *holder == worker).count() - 1;
        let alone = beside == 0 || matches!(loss, Loss::Unstarted | Loss::Crashed);
        ensure!(alone, "lease {lease} is charged for a death beside {beside} others");
        if model.only_killers && matches!(loss, Loss::Failed | Loss::Retry { .. }) {
            let job = self.jobs.get(&task.job).map(|job| model.script_of(job.key)).transpose()?;
            let wanted = job.and_then(|script| script.tasks.get(task.index as usize));
            let kills = wanted.is_some_and(|wanted| killing(&wanted.payload) > 0);
            ensure!(kills, "task {}.{} is charged for a death, and kills nobody", task.job, task.index);
        }
        Ok(())
    }

    /// What room a connected worker has.
    pub(crate) fn room_of(&self, worker: u32) -> Option<Room> {
        let wants = self.wants.get(&worker)?;
        let used = self.used.get(&worker).copied().unwrap_or_default();
        let carried = self.carried_by(worker);
        let takes = self.fleet.is_active(worker) && carried.alone == 0;
        let most = if takes { wants.slots.min(wants.window) } else { 0 };
        let (free, over) = (most.saturating_sub(used), used.saturating_sub(wants.slots));
        Some(Room { free, over, apart: carried.apart > 0, arrival: wants.arrival })
    }

    /// Whether anything is queued that is to run alone.
    pub(crate) fn has_lone_tasks(&self) -> bool {
        self.queue.iter().any(|((.., care), queued)| *care == Care::Alone && !queued.is_empty())
    }

    /// Whether a worker with so many slots free could run a task that another holds.
    pub(crate) fn could_take(&self, worker: u32, free: u32, task: u64) -> bool {
        let (Some(wants), Some(task)) = (self.wants.get(&worker), self.tasks.get(&task)) else { return false };
        let (_, kind, slots, care) = self.lane(task.template, task.crashes);
        wants.runs(&kind) && slots <= free && care != Care::Alone && self.carried_by(worker).may_add(care)
    }

    /// What a worker holds, as far as it matters for what may come beside it.
    fn carried_by(&self, worker: u32) -> Carried {
        let mut carried = Carried::default();
        for (task, _) in self.leases.values().filter(|(_, holder)| *holder == worker) {
            if let Some(task) = self.tasks.get(task) {
                carried.add(self.lane(task.template, task.crashes).3);
            }
        }
        carried
    }
}

/// What room a worker has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Slots that are free for more tasks.
    pub(crate) free: u32,
    /// By how many slots it holds more than it has.
    pub(crate) over: u32,
    /// Whether it holds a task that is kept apart from others like it.
    pub(crate) apart: bool,
    /// Which of all arrivals of workers was its last: it may be able to do other things each time.
    pub(crate) arrival: u64,
}

/// What a worker holds, as far as it matters for what may come beside it.
#[derive(Clone, Copy, Debug, Default)]
struct Carried {
    tasks: u32,
    apart: u32,
    alone: u32,
}

impl Carried {
    fn may_add(&self, care: Care) -> bool {
        self.alone == 0
            && match care {
                Care::None => true,
                Care::Apart => self.apart == 0,
                Care::Alone => self.tasks == 0,
            }
    }

    fn add(&mut self, care: Care) {
        self.tasks += 1;
        self.apart += u32::from(care == Care::Apart);
        self.alone += u32::from(care == Care::Alone);
    }
}
