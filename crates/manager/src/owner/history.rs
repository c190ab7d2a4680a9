//! What is answered from the archive: beside the event loop, and straight to the session.

use rustc_hash::FxHashMap;
use task_messenger_core::{
    effect::{ArchiveQuestion, Refusal},
    ids::{JobNumber, SessionNumber, TaskId},
    input::{Follow, Named, Target},
    query::{Answer, JobSummary, PAGE, TaskDetail, TaskSummary},
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
use tokio::sync::{Semaphore, mpsc};
use tracing::warn;

use crate::{
    convert::{self, About},
    session::Outgoing,
};

/// Results that are read at a time.
const RESULTS: u32 = 1_024;

/// Bytes of outcomes after which no more are read at a time.
const RESULT_BYTES: u64 = 128 << 10;

/// Answers from the archive.
pub(crate) struct History {
    reader: Reader,
    blobs: Blobs,
    /// Follows of jobs that are there, each with where its credit goes.
    follows: FxHashMap<(SessionNumber, u64), mpsc::UnboundedSender<u32>>,
    delivered: mpsc::UnboundedSender<Delivered>,
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
    pub(crate) fn new(reader: Reader, blobs: Blobs, delivered: mpsc::UnboundedSender<Delivered>) -> Self {
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
        about: &About,
    ) {
        let asker = Asker { request, caller, outgoing };
        let reader = self.reader.clone();
        if let ArchiveQuestion::Follow(follow) = question {
            let (credit, more) = mpsc::unbounded_channel();
            self.follows.retain(|_, credit| !credit.is_closed());
            self.follows.insert((session, request), credit);
            let (blobs, delivered) = (self.blobs.clone(), self.delivered.clone());
            let following = Following { asker, reader, blobs, follow: *follow, more };
            tokio::task::spawn_local(following.run(delivered));
            return;
        }
        let about = about.clone();
        tokio::task::spawn_local(async move {
            let answer = blocking(move || answer(&reader, caller, question)).await;
            let message = match answer {
                Ok(Reply::Answer(answer)) => convert::answer(request, answer, &about).into(),
                Ok(Reply::NothingChanged) => messages::Changed { request, tasks: 0, running: 0 }.into(),
                Err(unanswered) => unanswered.message(request),
            };
            asker.answer(message).await;
        });
    }

    /// A follow may be sent more.
    pub(super) fn credit(&self, session: SessionNumber, request: u64, more: u32) {
        if let Some(credit) = self.follows.get(&(session, request)) {
            // It may have ended meanwhile.
            let _ = credit.send(more);
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
        ArchiveQuestion::Tasks { job, state, from_index, limit } => {
            visible(reader, caller, job)?;
            let page = reader.tasks(job, state, from_index, limit.clamp(1, PAGE))?;
            let tasks = page.tasks.iter().map(task_summary).collect();
            Reply::Answer(Answer::Tasks { tasks, next_index: page.next_index })
        }
        ArchiveQuestion::Task(id) => Reply::Answer(Answer::Task(Box::new(task_detail(reader, caller, id)?))),
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
        ArchiveQuestion::Status(status) => Reply::Answer(Answer::Status(status)),
        ArchiveQuestion::Follow(_) => Reply::NothingChanged,
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
    more: mpsc::UnboundedReceiver<u32>,
}

impl Following {
    async fn run(mut self, delivered: mpsc::UnboundedSender<Delivered>) {
        match self.tell().await {
            Ok(Some(job)) => {
                if self.follow.takes_all_of(job.tasks)
                    && let Some(last_index) = job.tasks.checked_sub(1)
                {
                    // Nobody listens when the manager stops.
                    let _ = delivered.send(Delivered { job: job.number, first_index: 0, last_index });
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
        let mut credit = u64::from(self.follow.credit);
        let mut next = (!self.follow.only_end).then_some(self.follow.only_index.unwrap_or(0));
        // One message at a time waits for the session.
        let turn = std::sync::Arc::new(Semaphore::new(1));
        while let Some(from) = next {
            if self.follow.only_index.is_some_and(|only| from > only) {
                break;
            }
            while credit == 0 {
                let Some(more) = self.more.recv().await else { return Ok(None) };
                credit += u64::from(more);
            }
            let limit = if self.follow.only_index.is_some() { 1 } else { RESULTS.min(credit as u32) };
            let Ok(written) = turn.clone().acquire_owned().await else { return Ok(None) };
            let (reader, blobs) = (self.reader.clone(), self.blobs.clone());
            let page = blocking(move || read(&reader, &blobs, number, from, limit)).await?;
            next = page.next_index;
            let (message, told) = results(self.asker.request, number, &self.follow, page.tasks);
            credit = credit.saturating_sub(told);
            while let Ok(more) = self.more.try_recv() {
                credit += u64::from(more);
            }
            if self.more.is_closed() && self.more.is_empty() {
                return Ok(None);
            }
            if told > 0 && self.asker.outgoing.send(Outgoing::Page { message, _written: written }).await.is_err() {
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
