//! Questions, and what administrators may do.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use task_messenger_protocol::messages::{
    Acknowledge, Cancel, Changed, Code, CreateToken, JobSummary, JobsQuestion, Purge, Query, RemoveWorker, Retry,
    RevokeToken, Role, SetWorker, Status, StatusQuestion, TaskDetail, TaskQuestion, TaskState, TaskSummary,
    TasksQuestion, TokenCreated, TokenSummary, TokensQuestion, WorkerMode, WorkerSummary, WorkersQuestion,
    answer::Answer, from_manager, from_peer, query::Question,
};

use crate::{Client, Error, JobNumber, Target, TaskId, TaskResult, state::Handle};

/// Jobs or tasks that are asked for at a time.
const PAGE: u32 = 1_000;

impl Client {
    /// How the manager is.
    pub async fn status(&self) -> Result<Status, Error> {
        match self.ask(Question::Status(StatusQuestion {})).await? {
            Answer::Status(status) => Ok(*status),
            _ => Err(OTHER_ANSWER),
        }
    }

    /// The caller's jobs (an administrator's: all), newest first.
    pub fn jobs(&self) -> JobPages {
        self.jobs_before(None)
    }

    /// The caller's jobs from the one before this on, newest first; without one, from the newest on.
    pub fn jobs_before(&self, job: Option<JobNumber>) -> JobPages {
        self.jobs_with(JobFilter::default(), job)
    }

    /// Those of the caller's jobs that the filter takes, newest first, from the one before `job` on.
    pub fn jobs_with(&self, filter: JobFilter, job: Option<JobNumber>) -> JobPages {
        let over = job == Some(JobNumber(0));
        JobPages { client: self.clone(), filter, before: job.map_or(0, |job| job.0), over }
    }

    /// The tasks of a job, in order, from `from_index` on; with a state, only those that are in it.
    pub fn tasks(&self, job: JobNumber, state: Option<TaskState>, from_index: u32) -> TaskPages {
        TaskPages { client: self.clone(), job, state, from_index: Some(from_index) }
    }

    /// One job as it is now.
    pub async fn job_summary(&self, job: JobNumber) -> Result<Option<JobSummary>, Error> {
        let question = JobsQuestion { before: job.0.saturating_add(1), limit: 1, ..JobsQuestion::default() };
        match self.ask(Question::Jobs(question)).await? {
            Answer::Jobs(jobs) => Ok(jobs.jobs.into_iter().find(|summary| summary.job == job.0)),
            _ => Err(OTHER_ANSWER),
        }
    }

    /// One task as it is now.
    pub async fn task(&self, task: TaskId) -> Result<TaskDetail, Error> {
        match self.ask(Question::Task(TaskQuestion { job: task.job.0, index: task.index })).await? {
            Answer::Task(detail) => Ok(detail),
            _ => Err(OTHER_ANSWER),
        }
    }

    /// The result of a task, once it is at its end.
    pub async fn result(&self, task: TaskId) -> Result<TaskResult, Error> {
        let mut results = self.follow(Target::Task(task))?;
        results.next().await?.ok_or(Error::Nonsense { what: "the task's end without its result" })
    }

    /// The enrolled workers.
    pub async fn workers(&self) -> Result<Vec<WorkerSummary>, Error> {
        match self.ask(Question::Workers(WorkersQuestion {})).await? {
            Answer::Workers(workers) => Ok(workers.workers),
            _ => Err(OTHER_ANSWER),
        }
    }

    /// The tokens, revoked ones among them. Only for administrators.
    pub async fn tokens(&self) -> Result<Vec<TokenSummary>, Error> {
        match self.ask(Question::Tokens(TokensQuestion {})).await? {
            Answer::Tokens(tokens) => Ok(tokens.tokens),
            _ => Err(OTHER_ANSWER),
        }
    }

    /// Makes a token that expires after a time, or never. An empty owner makes a new one. Only for administrators.
    ///
    /// If the link is cut meanwhile the error is [`Error::Unknown`]: the token may have been made, but nobody has its text.
    pub async fn create_token(
        &self,
        role: Role,
        label: &str,
        expires_in: Option<Duration>,
        owner: &str,
    ) -> Result<TokenCreated, Error> {
        let body = CreateToken {
            request: 0,
            role: role.into(),
            label: label.to_owned(),
            expires_in_milliseconds: expires_in.map_or(0, |time| (time.as_millis() as u64).max(1)),
            owner: owner.to_owned(),
        };
        match self.call(body.into(), Some("a token was being made")).await? {
            from_manager::Message::TokenCreated(created) => Ok(created),
            _ => Err(OTHER_ANSWER),
        }
    }

    /// Ends a task, or all tasks of a job: those that wait at once, those that run once their worker has stopped them.
    pub async fn cancel(&self, named: Named) -> Result<Changed, Error> {
        let (job, index_plus_one) = named.numbers();
        self.change(Cancel { request: 0, job, index_plus_one }.into()).await
    }

    /// Queues a task, or the tasks of a job, again that failed, expired or were cancelled. Their failures start again.
    pub async fn retry(&self, named: Named) -> Result<Changed, Error> {
        let (job, index_plus_one) = named.numbers();
        self.change(Retry { request: 0, job, index_plus_one }.into()).await
    }

    /// Forgets jobs that have been over for so long: one's own, an administrator all. How many tasks they had.
    pub async fn purge(&self, older_than: Duration) -> Result<u64, Error> {
        let older_than_milliseconds = older_than.as_millis() as u64;
        Ok(self.change(Purge { request: 0, older_than_milliseconds }.into()).await?.tasks)
    }

    async fn change(&self, body: from_peer::Message) -> Result<Changed, Error> {
        match self.call(body, None).await? {
            from_manager::Message::Changed(changed) => Ok(changed),
            _ => Err(OTHER_ANSWER),
        }
    }

    /// Says what a worker gets; how many slots' worth of tasks it still holds. Only for administrators.
    pub async fn set_worker(&self, worker: u32, mode: WorkerMode) -> Result<u32, Error> {
        self.change_worker(SetWorker { request: 0, worker, mode: mode.into() }.into()).await
    }

    /// Lets a worker in no more: it stops its tasks, which are queued again. Only for administrators.
    pub async fn remove_worker(&self, worker: u32) -> Result<(), Error> {
        self.change_worker(RemoveWorker { request: 0, worker }.into()).await.map(drop)
    }

    async fn change_worker(&self, body: from_peer::Message) -> Result<u32, Error> {
        match self.call(body, None).await? {
            from_manager::Message::WorkerChanged(changed) => Ok(changed.slots_used),
            _ => Err(OTHER_ANSWER),
        }
    }

    /// Revokes a token, and removes the workers that enrolled with it if that is wanted. Only for administrators.
    pub async fn revoke_token(&self, token: u32, with_workers: bool) -> Result<(), Error> {
        match self.call(RevokeToken { request: 0, token, with_workers }.into(), None).await? {
            from_manager::Message::TokenRevoked(_) => Ok(()),
            _ => Err(OTHER_ANSWER),
        }
    }

    async fn ask(&self, question: Question) -> Result<Answer, Error> {
        let body = Query { request: 0, question: Some(question) };
        match self.call(body.into(), None).await? {
            from_manager::Message::Answer(answer) => answer.answer.ok_or(OTHER_ANSWER),
            _ => Err(OTHER_ANSWER),
        }
    }

    async fn call(&self, body: from_peer::Message, once: Option<&'static str>) -> Result<from_manager::Message, Error> {
        call(self.handle(), body, once).await
    }
}

async fn call(
    handle: &Handle,
    body: from_peer::Message,
    once: Option<&'static str>,
) -> Result<from_manager::Message, Error> {
    let answer = handle.with(|state| state.call(body, once))?;
    answer.await.unwrap_or(Err(Error::Nonsense { what: "the link's task ended" }))
}

/// Tells the manager that all results of a job are here. That it knows the job no more is what was wanted.
pub(crate) async fn acknowledge(handle: &Handle, job: u64) -> Result<(), Error> {
    match call(handle, Acknowledge { request: 0, job }.into(), None).await {
        Ok(_) | Err(Error::Refused { code: Code::NotFound, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

const OTHER_ANSWER: Error = Error::Nonsense { what: "an answer to another question" };

/// Which jobs are meant: those of which all of this is true.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// A task of the job is in this state.
    pub state: Option<TaskState>,
    /// The job was opened then or later, by the manager's clock; to the millisecond.
    pub since: Option<SystemTime>,
    /// The job has all of these labels.
    pub labels: BTreeMap<String, String>,
}

/// Jobs, page by page.
#[derive(Clone, Debug)]
pub struct JobPages {
    client: Client,
    filter: JobFilter,
    before: u64,
    over: bool,
}

impl JobPages {
    /// At most `limit` more jobs; none at the end.
    pub async fn next(&mut self, limit: u32) -> Result<Vec<JobSummary>, Error> {
        let since = self.filter.since.and_then(|since| since.duration_since(SystemTime::UNIX_EPOCH).ok());
        while !self.over {
            let question = JobsQuestion {
                before: self.before,
                limit: limit.clamp(1, PAGE),
                state: self.filter.state.unwrap_or_default().into(),
                opened_since_milliseconds: since.map_or(0, |since| since.as_millis() as u64),
                labels: self.filter.labels.clone(),
            };
            let Answer::Jobs(page) = self.client.ask(Question::Jobs(question)).await? else {
                return Err(OTHER_ANSWER);
            };
            self.before = page.next_before;
            self.over = !page.more || page.next_before == 0;
            if !page.jobs.is_empty() {
                return Ok(page.jobs);
            }
        }
        Ok(Vec::new())
    }

    /// Whether there are more.
    pub fn more(&self) -> bool {
        !self.over
    }
}

/// Tasks of a job, page by page.
#[derive(Clone, Debug)]
pub struct TaskPages {
    client: Client,
    job: JobNumber,
    state: Option<TaskState>,
    from_index: Option<u32>,
}

impl TaskPages {
    /// At most `limit` more tasks; none at the end.
    pub async fn next(&mut self, limit: u32) -> Result<Vec<TaskSummary>, Error> {
        while let Some(from_index) = self.from_index {
            let state = self.state.unwrap_or_default().into();
            let question = TasksQuestion { job: self.job.0, state, from_index, limit: limit.clamp(1, PAGE) };
            let Answer::Tasks(page) = self.client.ask(Question::Tasks(question)).await? else {
                return Err(OTHER_ANSWER);
            };
            self.from_index = page.more.then_some(page.next_index);
            if !page.tasks.is_empty() {
                return Ok(page.tasks);
            }
        }
        Ok(Vec::new())
    }

    /// Whether there are more.
    pub fn more(&self) -> bool {
        self.from_index.is_some()
    }
}

/// A task or a whole job, to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// All tasks of a job.
    Job(JobNumber),
    /// One task.
    Task(TaskId),
}

impl Named {
    /// The job's number, and one more than the task's index in it; 0 for the whole job.
    fn numbers(self) -> (u64, u32) {
        match self {
            Self::Job(job) => (job.0, 0),
            Self::Task(task) => (task.job.0, task.index.saturating_add(1)),
        }
    }
}
