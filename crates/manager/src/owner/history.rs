//! What is answered from the archive: beside the event loop, and straight to the session.

use std::time::Duration;

use rustc_hash::FxHashMap;
use task_messenger_core::{
    effect::{ArchiveQuestion, Refusal},
    ids::{JobNumber, SessionNumber, TaskId},
    input::{Follow, Named, Target},
    query::{Answer, JobSummary, PAGE, Query, TaskDetail, TaskSummary},
    record::Caller,
    task::{Counts, TaskState},
    values::{Value, ValuesBuilder},
};
use task_messenger_daemon::exit::chain;
use task_messenger_protocol::messages::{self, from_manager};
use task_messenger_store::{
    archive::{ArchiveError, ArchivedJob, ArchivedTask, Delivered, JobQuestion, KeptJob, Reader},
    blobs::Blobs,
};
use tokio::sync::{Semaphore, mpsc, watch};
use tracing::warn;

use crate::{convert, session::Outgoing};

/// Results that are read at a time.
const RESULTS: u32 = 1_024;

/// Bytes of outcomes after which no more are read at a time.
const RESULT_BYTES: u64 = 128 << 10;

/// Jobs there that one session follows at a time.
const FOLLOWS: usize = 1_000;

/// Deliveries that may wait to be noted: follows wait beyond that.
pub(crate) const DELIVERIES: usize = 1_024;

/// Answers from the archive.
pub(crate) struct History {
    reader: Reader,
    blobs: Blobs,
    /// Follows of jobs that are there, each with its credit.
    follows: FxHashMap<(SessionNumber, u64), watch::Sender<u64>>,
    delivered: mpsc::Sender<Delivered>,
}

/// Who asked, and where the answer goes.
struct Asker {
    request: u64,
    caller: Caller,
    outgoing: mpsc::Sender<Outgoing>,
}

/// What is read from the archive cannot be, or may not be seen.
enum Unanswered {
    Refused(Refusal),
    Archive(ArchiveError),
}

impl From<ArchiveError> for Unanswered {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl From<Refusal> for Unanswered {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl History {
    pub(crate) fn new(reader: Reader, blobs: Blobs, delivered: mpsc::Sender<Delivered>) -> Self {
        Self { reader, blobs, follows: FxHashMap::default(), delivered }
    }

    /// Answers a question, soon.
    pub(super) fn ask(
        &mut self,
        session: SessionNumber,
        request: u64,
        caller: Caller,
        outgoing: mpsc::Sender<Outgoing>,
        question: ArchiveQuestion,
    ) {
        let asker = Asker { request, caller, outgoing };
        let reader = self.reader.clone();
        if let ArchiveQuestion::Follow(follow) = question {
            self.follows.retain(|_, credit| !credit.is_closed());
            if self.follows.keys().filter(|(of, _)| *of == session).count() >= FOLLOWS {
                let (what, limit, retry_after) = ("jobs followed at a time", FOLLOWS as u64, Duration::from_secs(1));
                let refusal = Refusal::Exhausted { what, limit, retry_after };
                tokio::task::spawn_local(async move {
                    asker.answer(convert::refused(request, &refusal).into()).await;
                });
                return;
            }
            let (credit, granted) = watch::channel(u64::from(follow.credit));
            self.follows.insert((session, request), credit);
            let (blobs, delivered) = (self.blobs.clone(), self.delivered.clone());
            let following = Following { asker, reader, blobs, follow: *follow, granted };
            tokio::task::spawn_local(following.run(delivered));
            return;
        }
        tokio::task::spawn_local(async move {
            let answer = blocking(move || answer(&reader, caller, question)).await;
            let message = match answer {
                Ok(Reply::Answer(answer)) => convert::answer(request, answer).into(),
                Ok(Reply::NothingChanged) => messages::Changed { request, tasks: 0, running: 0 }.into(),
                Err(unanswered) => unanswered.message(request),
            };
            asker.answer(message).await;
        });
    }

    /// A follow may be sent more.
    pub(super) fn credit(&self, session: SessionNumber, request: u64, more: u32) {
        if let Some(credit) = self.follows.get(&(session, request)) {
            credit.send_modify(|granted| *granted = granted.saturating_add(more.into()));
        }
    }

    /// Nobody wants the follow any more.
    pub(super) fn unfollow(&mut self, session: SessionNumber, request: u64) {
        self.follows.remove(&(session, request));
    }

    /// A session ended.
    pub(super) fn close(&mut self, ended: SessionNumber) {
        self.follows.retain(|(session, _), _| *session != ended);
    }
}

impl Asker {
    async fn answer(&self, message: from_manager::Message) {
        // A session that has ended needs no answer.
        let _ = self.outgoing.send(Outgoing::Answer { request: self.request, message }).await;
    }
}

impl Unanswered {
    fn message(self, request: u64) -> from_manager::Message {
        let refusal = match self {
            Self::Refused(refusal) => refusal,
            Self::Archive(error) => {
                warn!(error = chain(&error), "a question about what is over can't be answered");
                Refusal::Precondition(format!("what is over can't be read now: {error}"))
            }
        };
        convert::refused(request, &refusal).into()
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Unanswered> + Send + 'static,
) -> Result<T, Unanswered> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// An answer that fits into one message.
enum Reply {
    Answer(Answer),
    NothingChanged,
}

fn answer(reader: &Reader, caller: Caller, question: ArchiveQuestion) -> Result<Reply, Unanswered> {
    Ok(match question {
        ArchiveQuestion::Query(Query::Tasks { job, state, from_index, limit }) => {
            visible(reader, caller, job)?;
            let page = reader.tasks(job, state, from_index, limit.clamp(1, PAGE))?;
            let tasks = page.tasks.iter().map(task_summary).collect();
            Reply::Answer(Answer::Tasks { tasks, next_index: page.next_index })
        }
        ArchiveQuestion::Query(Query::Task(id)) => {
            Reply::Answer(Answer::Task(Box::new(task_detail(reader, caller, id)?)))
        }
        ArchiveQuestion::Cancel(named) => {
            let job = visible(reader, caller, named.job())?;
            if let Named::Task(id) = named
                && id.index >= job.job.tasks
            {
                return Err(no_such_task(&job, id).into());
            }
            Reply::NothingChanged
        }
        ArchiveQuestion::Retry(named) => {
            visible(reader, caller, named.job())?;
            if let Named::Task(id) = named {
                let task = task_detail(reader, caller, id)?;
                let state = format!("{:?}", task.summary.state).to_lowercase();
                return Err(Refusal::Precondition(format!(
                    "task {id} is {state}: only what failed, expired or was cancelled, and has ended, can be run again"
                ))
                .into());
            }
            Reply::NothingChanged
        }
        ArchiveQuestion::Jobs { before, limit, filter, jobs, next_before } => {
            let limit = limit.clamp(1, PAGE);
            let owner = (!caller.admin).then_some(caller.owner);
            let page = reader.jobs(&JobQuestion { owner, before, name_contains: None, filter, limit })?;
            let there: Vec<JobSummary> = page.jobs.iter().map(|kept| job_summary(&kept.job)).collect();
            Reply::Answer(merge((jobs, next_before), (there, page.next), limit as usize))
        }
        // The core asks nothing else; and what it answers by itself, or is followed, isn't asked here.
        ArchiveQuestion::Query(_) | ArchiveQuestion::Status(_) | ArchiveQuestion::Follow(_) => {
            return Err(Refusal::Invalid("the archive has no answer to that".to_owned()).into());
        }
    })
}

/// A page of jobs, newest first, of those that are here and those that are there: each with where its next page begins.
fn merge(
    (here, next_here): (Vec<JobSummary>, Option<JobNumber>),
    (there, next_there): (Vec<JobSummary>, Option<JobNumber>),
    limit: usize,
) -> Answer {
    // Both have told all jobs from this one on.
    let from = next_here.max(next_there);
    let mut jobs = here;
    jobs.extend(there);
    jobs.retain(|job| from.is_none_or(|from| job.job >= from));
    // What is on its way is in both: the one that is here comes first.
    jobs.sort_by_key(|job| std::cmp::Reverse(job.job));
    jobs.dedup_by_key(|job| job.job);
    let next_before = if jobs.len() > limit {
        jobs.truncate(limit);
        jobs.last().map(|job| job.job)
    } else {
        from
    };
    Answer::Jobs { jobs, next_before }
}

fn visible(reader: &Reader, caller: Caller, job: JobNumber) -> Result<KeptJob, Unanswered> {
    let kept = reader.job(job)?.filter(|kept| caller.admin || kept.job.owner == caller.owner);
    Ok(kept.ok_or_else(|| no_such_job(&job.to_string()))?)
}

fn no_such_job(name: &str) -> Refusal {
    Refusal::NotFound(format!("there is no job {name}; `task-messenger list` shows yours"))
}

fn no_such_task(job: &KeptJob, id: TaskId) -> Refusal {
    Refusal::NotFound(format!("there is no task {id}: job {} has {} tasks, from index 0", id.job, job.job.tasks))
}

fn task_detail(reader: &Reader, caller: Caller, id: TaskId) -> Result<TaskDetail, Unanswered> {
    let job = visible(reader, caller, id.job)?;
    let task = reader.task(id)?.ok_or_else(|| no_such_task(&job, id))?;
    let template = reader.template(task.template)?.ok_or_else(|| no_such_task(&job, id))?;
    Ok(TaskDetail {
        summary: task_summary(&task),
        template: template.template,
        payload_bytes: task.payload_bytes,
        job_name: job.job.name,
        opened: job.job.opened,
    })
}

fn job_summary(job: &ArchivedJob) -> JobSummary {
    let mut counts = Counts::default();
    for state in TaskState::ALL {
        counts.add(state, job.counts.get(state));
    }
    JobSummary {
        job: job.number,
        name: job.name.clone(),
        owner: job.owner_name.clone(),
        tasks: job.tasks,
        closed: job.closed,
        counts,
        opened: job.opened,
        labels: job.labels.clone(),
    }
}

fn task_summary(task: &ArchivedTask) -> TaskSummary {
    TaskSummary {
        task: task.id,
        state: task.state,
        attempts: task.attempts,
        failures: task.failures,
        worker: None,
        started: false,
        cancelling: false,
        crashes: task.crashes,
        has_outcome: task.outcome_bytes.is_some(),
    }
}

/// Tells a client the results of a job that is over, as much as its credit allows.
struct Following {
    asker: Asker,
    reader: Reader,
    blobs: Blobs,
    follow: Follow,
    /// How many results may be told in all.
    granted: watch::Receiver<u64>,
}

impl Following {
    async fn run(mut self, delivered: mpsc::Sender<Delivered>) {
        match self.tell().await {
            Ok(Some(job)) => {
                if self.follow.takes_all_of(job.tasks)
                    && let Some(last_index) = job.tasks.checked_sub(1)
                {
                    // Nobody listens when the manager stops.
                    let _ = delivered.send(Delivered { job: job.number, first_index: 0, last_index }).await;
                }
                let request = self.asker.request;
                let job = Some(convert::job(job_summary(&job)));
                let ended = messages::FollowEnded { request, job, acknowledge: false };
                let _ = self.asker.outgoing.send(Outgoing::Message(ended.into())).await;
            }
            Ok(None) => {}
            Err(unanswered) => {
                let message = unanswered.message(self.asker.request);
                self.asker.answer(message).await;
            }
        }
    }

    /// Tells everything; the job, unless nobody wants to know any more.
    async fn tell(&mut self) -> Result<Option<ArchivedJob>, Unanswered> {
        let (reader, caller, target) = (self.reader.clone(), self.asker.caller, self.follow.target);
        let job = blocking(move || find(&reader, caller, target)).await?;
        let number = job.job.number;
        if let Some(index) = self.follow.only_index
            && index >= job.job.tasks
        {
            return Err(no_such_task(&job, TaskId { job: number, index }).into());
        }
        let mut told = 0;
        let mut next = (!self.follow.only_end).then_some(self.follow.only_index.unwrap_or(0));
        // One message at a time waits for the session.
        let turn = std::sync::Arc::new(Semaphore::new(1));
        while let Some(from) = next {
            if self.follow.only_index.is_some_and(|only| from > only) {
                break;
            }
            // Nobody grants anything any more when the follow is given up, or its session has ended.
            let Ok(granted) = self.granted.wait_for(|granted| *granted > told).await.map(|granted| *granted) else {
                return Ok(None);
            };
            if self.granted.has_changed().is_err() {
                return Ok(None);
            }
            let credit = u32::try_from(granted - told).unwrap_or(u32::MAX);
            let limit = if self.follow.only_index.is_some() { 1 } else { RESULTS.min(credit) };
            let Ok(written) = turn.clone().acquire_owned().await else { return Ok(None) };
            let (reader, blobs) = (self.reader.clone(), self.blobs.clone());
            let page = blocking(move || read(&reader, &blobs, number, from, limit)).await?;
            next = page.next_index;
            let (message, count) = results(self.asker.request, number, &self.follow, page.tasks);
            told += count;
            if count > 0 && self.asker.outgoing.send(Outgoing::Page { message, _written: written }).await.is_err() {
                return Ok(None);
            }
        }
        Ok(Some(job.job))
    }
}

fn find(reader: &Reader, caller: Caller, target: Target) -> Result<KeptJob, Unanswered> {
    match target {
        Target::Number(job) => visible(reader, caller, job),
        Target::Key(key) => match reader.job_with_key(caller.owner, key)? {
            Some(job) => visible(reader, caller, job),
            None => Err(no_such_job("with this key").into()),
        },
    }
}

/// A page of results, with the bytes of their outcomes.
struct Page {
    tasks: Vec<(ArchivedTask, bytes::Bytes)>,
    next_index: Option<u32>,
}

fn read(reader: &Reader, blobs: &Blobs, job: JobNumber, from: u32, limit: u32) -> Result<Page, Unanswered> {
    let page = reader.results(job, from, limit, RESULT_BYTES)?;
    let (mut tasks, mut bytes) = (Vec::new(), 0);
    for mut task in page.tasks {
        if bytes >= RESULT_BYTES {
            // Large ones lie in files of their own: the rest is for the next page.
            return Ok(Page { next_index: Some(task.id.index), tasks });
        }
        let outcome = match task.outcome.take() {
            Some(Value::Inline(outcome)) => outcome,
            Some(Value::External { file, .. }) => blobs.read(file).map_err(|error| {
                Refusal::Precondition(format!("the outcome of task {} can't be read: {}", task.id, chain(&error)))
            })?,
            None => bytes::Bytes::new(),
        };
        bytes += outcome.len() as u64;
        tasks.push((task, outcome));
    }
    Ok(Page { tasks, next_index: page.next_index })
}

/// The message for those results that are wanted, and how many those are.
fn results(
    request: u64,
    job: JobNumber,
    follow: &Follow,
    tasks: Vec<(ArchivedTask, bytes::Bytes)>,
) -> (from_manager::Message, u64) {
    let mut message = messages::Results { request, job: job.0, ..messages::Results::default() };
    let (mut states, mut outcomes) = (Vec::new(), ValuesBuilder::default());
    let wanted = |index| follow.only_index.is_none_or(|only| only == index) && !follow.skips(index);
    for (task, outcome) in tasks.into_iter().filter(|(task, _)| wanted(task.id.index)) {
        message.indexes.push(task.id.index);
        message.attempts.push(task.attempts);
        states.push(task.state as u8);
        outcomes.push(&outcome);
    }
    let told = message.indexes.len() as u64;
    message.states = states.into();
    message.outcomes = outcomes.take().bytes().clone();
    (message.into(), told)
}
