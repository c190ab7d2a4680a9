//! Answering questions. Everybody sees what is their owner's, an administrator sees all.

use super::{
    Engine,
    workers::{Parted, Presence},
};
use crate::{
    effect::Refusal,
    ids::{JobNumber, OwnerNumber, TaskId},
    job::Job,
    query::{
        Answer, Contact, JobFilter, JobSummary, PAGE, Query, Status, TaskDetail, TaskSummary, TokenSummary,
        WorkerSummary,
    },
    record::Caller,
    state::Start,
    task::{Counts, Task, TaskState},
    time::Now,
};

/// Tasks or jobs that one question looks at, so that what is rare among many stalls nobody.
const LOOK: u32 = 100_000;

impl Engine {
    pub(super) fn query(&self, now: Now, caller: Caller, query: &Query) -> Result<Answer, Refusal> {
        match query {
            Query::Status => Ok(Answer::Status(self.status(caller))),
            Query::Jobs { before, limit, filter } => Ok(self.list_jobs(caller, *before, *limit, filter)),
            Query::Tasks { job, state, from_index, limit } => {
                self.list_tasks(caller, *job, *state, *from_index, *limit)
            }
            Query::Task(task) => self.task_detail(caller, *task),
            Query::Workers => Ok(Answer::Workers(self.list_workers(now))),
            Query::Tokens if caller.admin => Ok(Answer::Tokens(self.list_tokens())),
            Query::Tokens => Err(Refusal::Denied("only an administrator's token may list tokens".to_owned())),
        }
    }

    /// How things are in all, as an administrator is told.
    pub fn overview(&self) -> Status {
        self.status(Caller { owner: OwnerNumber(u32::MAX), admin: true })
    }

    /// Workers with a session.
    pub fn connected_workers(&self) -> usize {
        self.sessions.len()
    }

    /// Slots that a task could have now: those of workers that are connected, are not drained or paused, and want tasks.
    pub fn free_slots(&self) -> u64 {
        let free = |presence: &Presence| u64::from(presence.slots.min(presence.window).saturating_sub(presence.used));
        self.presences.values().filter(|presence| presence.takes_tasks()).map(free).sum()
    }

    fn status(&self, caller: Caller) -> Status {
        let mine = |job: &&Job| caller.admin || job.owner == caller.owner;
        let tasks = if caller.admin {
            self.state.counts
        } else {
            let mut counts = Counts::default();
            for job in self.state.jobs.iter().filter(mine) {
                for state in TaskState::ALL {
                    counts.add(state, job.counts.get(state));
                }
            }
            counts
        };
        let connected = || self.presences.values().filter(|presence| presence.session.is_some());
        Status {
            tasks,
            jobs: if caller.admin { self.state.jobs.len() } else { self.state.jobs.iter().filter(mine).count() } as u64,
            workers_connected: connected().count() as u32,
            workers_enrolled: self.state.access.workers().filter(|(_, worker)| worker.removed.is_none()).count() as u32,
            slots: connected().map(|presence| u64::from(presence.slots)).sum(),
            slots_used: connected().map(|presence| u64::from(presence.used.min(presence.slots))).sum(),
            open_bytes: self.state.open_bytes,
        }
    }

    fn list_jobs(&self, caller: Caller, before: Option<JobNumber>, limit: u32, filter: &JobFilter) -> Answer {
        let limit = limit.clamp(1, PAGE) as usize;
        let before = before.unwrap_or(JobNumber(u64::MAX));
        let mut jobs = Vec::new();
        let mut next_before = None;
        for (looked, job) in self.state.jobs.before(before).rev().enumerate() {
            let wanted = (caller.admin || job.owner == caller.owner) && filter.takes(job);
            if looked == LOOK as usize || wanted && jobs.len() == limit {
                next_before = Some(job.number.next());
                break;
            }
            if wanted {
                jobs.push(self.summary(job));
            }
        }
        Answer::Jobs { jobs, next_before }
    }

    fn list_tasks(
        &self,
        caller: Caller,
        job: JobNumber,
        state: Option<TaskState>,
        from_index: u32,
        limit: u32,
    ) -> Result<Answer, Refusal> {
        let job = self.visible_job(caller, job)?;
        let limit = limit.clamp(1, PAGE) as usize;
        let mut tasks = Vec::new();
        let end = job.next_index.min(from_index.saturating_add(LOOK));
        let mut index = from_index;
        while index < end && tasks.len() < limit {
            if let Some(task) = job.task(index).and_then(|task| self.state.tasks.get(task))
                && state.is_none_or(|state| state == task.state())
            {
                tasks.push(self.task_summary(job, task));
            }
            index += 1;
        }
        Ok(Answer::Tasks { tasks, next_index: (index < job.next_index).then_some(index) })
    }

    fn task_detail(&self, caller: Caller, id: TaskId) -> Result<Answer, Refusal> {
        let job = self.visible_job(caller, id.job)?;
        let task = job.task(id.index).and_then(|task| self.state.tasks.get(task));
        let found = task.and_then(|task| Some((task, self.state.templates.get(task.template)?)));
        let Some((task, template)) = found else {
            return Err(Refusal::NotFound(format!(
                "there is no task {id}: job {} has {} tasks, from index 0",
                job.number, job.next_index
            )));
        };
        Ok(Answer::Task(Box::new(TaskDetail {
            summary: self.task_summary(job, task),
            template: template.clone(),
            payload_bytes: u64::from(task.payload_length),
            job_name: job.name.to_string(),
            opened: job.opened,
        })))
    }

    pub(super) fn visible_job(&self, caller: Caller, job: JobNumber) -> Result<&Job, Refusal> {
        let position = self.state.jobs.position(job).filter(|position| self.may_see(caller, *position));
        position
            .and_then(|position| self.state.jobs.at(position))
            .ok_or_else(|| Refusal::NotFound(format!("there is no job {job}; `task-messenger list` shows yours")))
    }

    pub(super) fn summary(&self, job: &Job) -> JobSummary {
        JobSummary {
            job: job.number,
            name: job.name.to_string(),
            owner: self.state.access.owner(job.owner).to_owned(),
            tasks: job.next_index,
            closed: job.closed,
            counts: job.counts,
            opened: job.opened,
            labels: job.labels.clone(),
        }
    }

    fn task_summary(&self, job: &Job, task: &Task) -> TaskSummary {
        let running = task.state() == TaskState::Running;
        let lease = task.lease().filter(|_| running).and_then(|lease| self.state.leases.get(&lease));
        let worker = lease.and_then(|lease| self.state.access.worker_at(lease.worker));
        TaskSummary {
            task: TaskId { job: job.number, index: task.index },
            state: task.state(),
            attempts: task.attempts,
            failures: u32::from(task.failures),
            worker: worker.map(|worker| worker.name.clone()),
            started: lease.is_some_and(|lease| lease.start == Start::Yes),
            cancelling: running && task.is_cancelling(),
            crashes: u32::from(task.crashes()),
            has_outcome: task.outcome().is_some(),
        }
    }

    fn list_workers(&self, now: Now) -> Vec<WorkerSummary> {
        let summary = |(worker, enrolled): (_, &crate::access::EnrolledWorker)| {
            let presence = self.presences.get(&worker);
            let parted = self.parted.get(&worker);
            let ago = |moment| now.monotonic.saturating_sub(moment);
            let connected = presence.is_some_and(|presence| presence.session.is_some());
            let (software, address, contact) = match (presence, parted) {
                (Some(presence), _) => (&*presence.software, &*presence.address, presence.contact),
                (None, Some(Parted { software, address, contact })) => (&**software, &**address, *contact),
                (None, None) => ("", "", None),
            };
            WorkerSummary {
                worker,
                name: presence
                    .map(|presence| presence.name.as_str())
                    .filter(|name| !name.is_empty())
                    .unwrap_or(&enrolled.name)
                    .to_owned(),
                connected,
                slots: presence.map_or(0, |presence| presence.slots),
                slots_used: presence.map_or(0, |presence| presence.used),
                leases: presence.map_or(0, |presence| presence.leases),
                software: software.to_owned(),
                address: address.to_owned(),
                enrolled: enrolled.enrolled,
                mode: enrolled.mode,
                contact: match presence {
                    Some(_) if connected => Contact::Connected,
                    Some(_) => Contact::Silent,
                    None => Contact::Gone,
                },
                heard: contact.map(ago),
                connected_for: presence.filter(|_| connected).map(|presence| ago(presence.arrived)),
            }
        };
        self.state.access.workers().filter(|(_, worker)| worker.removed.is_none()).map(summary).collect()
    }

    fn list_tokens(&self) -> Vec<TokenSummary> {
        let summary = |(token, kept): (_, &crate::access::Token)| TokenSummary {
            token,
            role: kept.role,
            label: kept.label.clone(),
            owner: self.state.access.owner(kept.owner).to_owned(),
            created: kept.created,
            expires: kept.expires,
            revoked: kept.revoked.is_some(),
            workers: kept.workers,
        };
        self.state.access.tokens().map(summary).collect()
    }
}

impl JobFilter {
    fn takes(&self, job: &Job) -> bool {
        self.state.is_none_or(|state| job.counts.get(state) > 0)
            && self.since.is_none_or(|since| job.opened >= since)
            && self.labels.iter().all(|(key, value)| job.labels.get(key) == Some(value))
    }
}
