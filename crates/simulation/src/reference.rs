//! A second, plain reading of the records: slow, obvious, and made to be compared with. Every record is judged by it before
//! it is believed.

mod fleet;
mod judging;
mod work;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub(crate) use self::judging::Room;

use task_messenger_core::{
    ids::{Place, TaskNumber},
    input::Resume,
    record::{Appended, JobKey, Log, Record, Verdict},
    state::State,
    task::{Care, TaskState},
    template::{Kind, Template},
    time::WallTime,
    values::Value,
};
use task_messenger_store::journal::Front;

use crate::{
    counting::count,
    model::Model,
    stage::{Checked, Violation, ensure},
    totals::Totals,
};

/// What the records say, and the records themselves.
#[derive(Debug, Default)]
pub(crate) struct Reference {
    pub(crate) records: Vec<(Record, Place)>,
    pub(crate) jobs: BTreeMap<u64, Job>,
    pub(crate) tasks: BTreeMap<u64, Task>,
    /// Leases that have not ended: task and worker.
    pub(crate) leases: BTreeMap<u64, (u64, u32)>,
    /// Every lease that there ever was.
    pub(crate) handed: BTreeMap<u64, HandOut>,
    silenced: BTreeMap<u64, Silenced>,
    templates: BTreeMap<u32, Arc<Template>>,
    queue: BTreeMap<Lane, BTreeSet<u64>>,
    used: BTreeMap<u32, u32>,
    fleet: fleet::Fleet,
    /// Leases whose workers said that they start them, and those of which this process of the manager doesn't know.
    pub(crate) started: BTreeSet<u64>,
    delayed: Runs,
    deadlines: Runs,
    /// What the workers asked for, as this process of the manager was told.
    wants: BTreeMap<u32, Wants>,
    arrivals: u64,
    /// The same of processes that came while another with their identity stood; they count when they are let in.
    newcomers: BTreeMap<u32, (u64, Wants)>,
    /// The first violation that a record showed.
    violation: Option<Violation>,
}

/// Tasks that wait for a time by the wall clock: the time and the first one, and how many there are.
type Runs = BTreeMap<(u64, u64), u64>;

type Lane = (Reverse<i32>, Kind, u32, Care);

/// A lease that ended by silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Silenced {
    task: u64,
    worker: u32,
    counted: bool,
}

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) key: JobKey,
    pub(crate) opened_at: u64,
    pub(crate) closed_at: Option<u64>,
    /// Whether it is in the archive alone.
    pub(crate) archived: bool,
    /// The numbers of its tasks.
    pub(crate) tasks: Vec<u64>,
}

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) job: u64,
    pub(crate) index: u32,
    pub(crate) template: u32,
    pub(crate) state: TaskState,
    pub(crate) failures: u32,
    pub(crate) attempts: u32,
    /// How many workers died while it ran, at most 2.
    pub(crate) crashes: u32,
    /// Whether it was cancelled while it ran.
    pub(crate) cancelling: bool,
    pub(crate) submitted_at: u64,
    lease: Option<u64>,
    /// When it is to have started, while that lies ahead.
    deadline: Option<u64>,
    /// Whether that passed while it was handed out and not known to have started.
    is_late: bool,
    /// The last record that made it run again.
    pub(crate) run_again_at: u64,
    /// How it ended; several times if it was run again.
    pub(crate) ends: Vec<Ended>,
}

/// An end of a task.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// The record that says so.
    pub(crate) at: u64,
    pub(crate) state: TaskState,
    pub(crate) attempts: u32,
    /// What the worker said; nothing if it died, or none was asked.
    pub(crate) outcome: Option<Value>,
}

impl Task {
    /// Whether it is known to have been started: an attempt failed, or a worker died with it.
    fn has_started(&self) -> bool {
        self.failures > 0 || self.crashes > 0
    }
}

/// A hand-out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandOut {
    pub(crate) task: u64,
    pub(crate) worker: u32,
    pub(crate) at: u64,
    /// Where its outcome is recorded.
    pub(crate) finished_at: Option<u64>,
}

#[derive(Debug)]
struct Wants {
    slots: u32,
    window: u32,
    commands: bool,
    skills: BTreeSet<String>,
    /// The leases that it said it holds.
    claims: BTreeSet<u64>,
    /// How many came before it said so.
    arrival: u64,
}

impl Wants {
    fn runs(&self, kind: &Kind) -> bool {
        match kind {
            Kind::Command => self.commands,
            Kind::Skill(name) => self.skills.contains(name),
        }
    }
}

/// Where the engine's records go: to the journal, and to be judged.
pub(crate) struct Tee<'a> {
    pub(crate) front: &'a mut Front,
    pub(crate) reference: &'a mut Reference,
    pub(crate) model: &'a Model,
    pub(crate) totals: &'a mut Totals,
    pub(crate) wall: WallTime,
}

impl Log for Tee<'_> {
    fn append(&mut self, record: &Record) -> Appended {
        let appended = self.front.append(record);
        let reference = &mut *self.reference;
        if reference.violation.is_none() {
            let judged = reference.judge(record, self.model, self.wall).and_then(|()| {
                let expected = reference.records.len() as u64 + 1;
                ensure!(appended.number.0 == expected, "record {expected} got number {}", appended.number);
                count(record, self.totals);
                reference.apply(record, appended.values)
            });
            reference.violation = judged.err().map(|Violation(text)| Violation(format!("{text}, in {record:?}")));
        }
        appended
    }
}

impl Reference {
    /// What the records have shown so far.
    pub(crate) fn verdict(&self) -> Checked {
        self.violation.clone().map_or(Ok(()), Err)
    }

    /// A worker says what it wants. As a newcomer it has to wait until it is let in.
    pub(crate) fn resumed(&mut self, worker: u32, resume: &Resume, most: u32, newcomer: bool) {
        let Resume { slots, window, commands, skills, claims, .. } = resume.clone();
        let claims = claims.iter().map(|claim| claim.lease.0).collect();
        self.arrivals += 1;
        let (slots, window, arrival) = (slots.max(1), window.min(most), self.arrivals);
        let wants = Wants { slots, window, commands, skills, claims, arrival };
        if newcomer {
            self.newcomers.insert(worker, (resume.incarnation, wants));
        } else {
            self.newcomers.remove(&worker);
            self.wants.insert(worker, wants);
        }
    }

    /// A worker's session ended.
    pub(crate) fn left(&mut self, worker: u32) {
        self.wants.remove(&worker);
    }

    /// A worker changes its window.
    pub(crate) fn window(&mut self, worker: u32, slots: u32, most: u32) {
        if let Some(wants) = self.wants.get_mut(&worker) {
            wants.window = slots.min(most);
        }
    }

    /// The task of this name.
    pub(crate) fn task(&self, job: u64, index: u32) -> Option<&Task> {
        self.tasks.get(self.jobs.get(&job)?.tasks.get(index as usize)?)
    }

    pub(crate) fn slots(&self, task: u64) -> u32 {
        let template = self.tasks.get(&task).and_then(|task| self.templates.get(&task.template));
        template.map_or(1, |template| template.slots)
    }

    fn most_attempts(&self, task: &Task) -> u32 {
        self.templates.get(&task.template).map_or(0, |template| template.retry.max_attempts)
    }

    fn lane(&self, template: u32, crashes: u32) -> Lane {
        let template = &self.templates[&template];
        let care = match crashes {
            0 => Care::None,
            1 => Care::Apart,
            _ => Care::Alone,
        };
        (Reverse(template.priority), template.kind.clone(), template.slots, care)
    }

    /// Believes a record.
    pub(crate) fn apply(&mut self, record: &Record, place: Place) -> Checked {
        self.records.push((record.clone(), place));
        let at = self.records.len() as u64;
        self.fleet.apply(record);
        match record {
            Record::TemplateAdded { number, template } => {
                let last = self.templates.last_key_value().map(|(last, _)| *last);
                ensure!(last < Some(number.0), "template {number} comes after {last:?}");
                self.templates.insert(number.0, template.clone());
            }
            Record::JobOpened { job, key, .. } => {
                self.jobs.insert(
                    job.0,
                    Job { key: *key, opened_at: at, closed_at: None, archived: false, tasks: Vec::new() },
                );
            }
            Record::JobClosed { job } => {
                if let Some(job) = self.jobs.get_mut(&job.0) {
                    job.closed_at.get_or_insert(at);
                }
            }
            Record::Submitted { job, first_task, first_index, template, payloads, not_before, deadline, .. } => {
                let lane = self.lane(template.0, 0);
                let count = u64::from(payloads.count());
                if let Some(not_before) = not_before {
                    self.delayed.insert((not_before.0, first_task.0), count);
                }
                if let Some(deadline) = deadline {
                    self.deadlines.insert((deadline.0, first_task.0), count);
                }
                for (step, index) in (0..count).zip(*first_index..) {
                    let number = first_task.0 + step;
                    let task = Task {
                        job: job.0,
                        index,
                        template: template.0,
                        state: if not_before.is_some() { TaskState::Scheduled } else { TaskState::Queued },
                        failures: 0,
                        attempts: 0,
                        crashes: 0,
                        cancelling: false,
                        submitted_at: at,
                        lease: None,
                        deadline: deadline.map(|time| time.0),
                        is_late: false,
                        run_again_at: 0,
                        ends: Vec::new(),
                    };
                    self.tasks.insert(number, task);
                    if not_before.is_none() {
                        self.queue.entry(lane.clone()).or_default().insert(number);
                    }
                    if let Some(job) = self.jobs.get_mut(&job.0) {
                        job.tasks.push(number);
                    }
                }
            }
            Record::Dispatched { worker, first_lease, tasks, .. } => {
                for (lease, number) in (first_lease.0..).zip(tasks) {
                    self.change(number.0, TaskState::Running)?;
                    let task = self.known(number.0)?;
                    task.attempts += 1;
                    let earlier = task.lease.replace(lease);
                    earlier.and_then(|earlier| self.silenced.remove(&earlier));
                    self.hold(lease, number.0, worker.0);
                    let hand_out = HandOut { task: number.0, worker: worker.0, at, finished_at: None };
                    self.handed.insert(lease, hand_out);
                }
            }
            Record::Finished { ends, details, .. } => {
                for ((lease, verdict), (_, detail)) in ends.iter().zip(details.iter()) {
                    let task = self.let_go(lease.0)?.0;
                    if let Some(hand_out) = self.handed.get_mut(&lease.0) {
                        hand_out.finished_at = Some(at);
                    }
                    let state = match verdict {
                        Verdict::Succeeded => TaskState::Succeeded,
                        Verdict::Failed => TaskState::Failed,
                        Verdict::Retry { .. } => TaskState::Scheduled,
                        Verdict::Cancelled => TaskState::Cancelled,
                    };
                    let known = self.known(task)?;
                    known.failures += u32::from(matches!(verdict, Verdict::Failed | Verdict::Retry { .. }));
                    known.is_late = false;
                    if state.is_final() {
                        self.ends(task, state, at, Some(detail).filter(|_| state != TaskState::Cancelled))?;
                    } else {
                        self.change(task, state)?;
                    }
                }
            }
            Record::Released { leases, .. } => {
                for lease in leases {
                    let (task, _) = self.let_go(lease.0)?;
                    self.come_back(task, at)?;
                }
            }
            Record::WorkerLost { silent, ends, .. } => {
                for (lease, loss) in ends {
                    self.lost(lease.0, *loss, *silent, at)?;
                }
            }
            Record::Cancelled { tasks, .. } => self.cancelled(tasks, at)?,
            Record::Requeued { tasks, .. } => self.requeued(tasks, at)?,
            Record::Archived { jobs, .. } => jobs.iter().try_for_each(|job| self.archived(job.0))?,
            Record::Due { at: time, first_task } => self.due(*time, first_task.0)?,
            Record::Expired { at: time, first_task } => self.expired(*time, first_task.0, at)?,
            Record::Started { .. } => self.started = self.leases.keys().copied().collect(),
            Record::WorkerRemoved { worker, .. } => {
                self.wants.remove(&worker.0);
                self.newcomers.remove(&worker.0);
            }
            Record::WorkerStarted { worker, incarnation, .. } => {
                let is_in = self.newcomers.get(&worker.0).is_some_and(|(of, _)| of == incarnation);
                if is_in && let Some((_, wants)) = self.newcomers.remove(&worker.0) {
                    self.wants.insert(worker.0, wants);
                }
            }
            Record::Readopted { worker, leases, .. } => {
                for (lease, task) in leases {
                    let counted = self.silenced.remove(&lease.0).is_some_and(|silenced| silenced.counted);
                    self.change(task.0, TaskState::Running)?;
                    self.known(task.0)?.crashes -= u32::from(counted);
                    self.hold(lease.0, task.0, worker.0);
                    self.started.insert(lease.0);
                }
            }
            Record::Retried { tasks } => {
                for task in tasks {
                    self.change(task.0, TaskState::Queued)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn known(&mut self, number: u64) -> Checked<&mut Task> {
        self.tasks.get_mut(&number).ok_or_else(|| Violation(format!("task {number} does not exist")))
    }

    fn change(&mut self, number: u64, to: TaskState) -> Checked {
        let task = self.known(number)?;
        let from = std::mem::replace(&mut task.state, to);
        ensure!(!from.is_final(), "task {number} was {from:?} and becomes {to:?}");
        let lane = (task.template, task.crashes);
        let queued = self.queue.entry(self.lane(lane.0, lane.1)).or_default();
        if to == TaskState::Queued {
            queued.insert(number);
        } else {
            queued.remove(&number);
        }
        Ok(())
    }

    fn hold(&mut self, lease: u64, task: u64, worker: u32) {
        self.leases.insert(lease, (task, worker));
        *self.used.entry(worker).or_default() += self.slots(task);
    }

    fn let_go(&mut self, lease: u64) -> Checked<(u64, u32)> {
        let (task, worker) =
            self.leases.remove(&lease).ok_or_else(|| Violation(format!("lease {lease} ends twice")))?;
        self.started.remove(&lease);
        let slots = self.slots(task);
        if let Some(used) = self.used.get_mut(&worker) {
            *used -= slots;
        }
        Ok((task, worker))
    }

    /// Whether the engine reads the records in the same way.
    pub(crate) fn compare(&self, state: &State) -> Checked {
        let archived: usize = self.jobs.values().filter(|job| job.archived).map(|job| job.tasks.len()).sum();
        let tasks = self.tasks.len() - archived;
        ensure!(state.tasks.iter().count() == tasks, "the engine has another number of tasks");
        ensure!(state.leases.len() == self.leases.len(), "the engine has another number of leases");
        ensure!(state.silenced.len() == self.silenced.len(), "the engine has another number of silenced leases");
        let is_here = |task: &Task| self.jobs.get(&task.job).is_some_and(|job| !job.archived);
        let kept: BTreeSet<u32> = self.tasks.values().filter(|task| is_here(task)).map(|task| task.template).collect();
        let theirs: BTreeSet<u32> = state.templates.iter().map(|(number, _)| number.0).collect();
        // One whose tasks' record was lost may be there until the next start.
        let same = kept.is_subset(&theirs) && theirs.len() <= kept.len() + 1;
        ensure!(same, "the engine keeps templates {theirs:?} instead of {kept:?}");
        let times = (state.delayed.len(), state.deadlines.len());
        ensure!(times == (self.delayed.len(), self.deadlines.len()), "the engine waits for other times");
        for (number, task) in self.tasks.iter().filter(|(_, task)| is_here(task)) {
            let theirs = state.tasks.get(TaskNumber(*number));
            let same = theirs.is_some_and(|theirs| {
                let job = state.jobs.at(theirs.job).map(|job| job.number.0);
                theirs.state() == task.state
                    && theirs.failures == task.failures as u16
                    && theirs.attempts == task.attempts
                    && u32::from(theirs.crashes()) == task.crashes
                    && theirs.index == task.index
                    && job == Some(task.job)
                    && theirs.is_cancelling() == task.cancelling
                    && (task.state != TaskState::Running || theirs.is_overdue() == task.is_late)
                    && (task.state.is_final() || theirs.lease().map(|lease| lease.0) == task.lease)
            });
            ensure!(same, "task {number} is {theirs:?} for the engine, but {task:?}");
        }
        Ok(())
    }
}
