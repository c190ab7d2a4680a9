//! Results of a job, as they come.

use std::ops::Range;

use prost::Message;
use task_messenger_protocol::{
    messages::{self, JobSummary, Outcome, TaskState},
    values::{Value, Values},
};

use crate::{
    Client, Error, JobKey, JobNumber, TaskId,
    queries::acknowledge,
    state::{Follow, Handle, Taken},
};

/// What is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A job by its number.
    Job(JobNumber),
    /// A job by the key that its client made for it. It must be there already.
    Key(JobKey),
    /// One task of a job.
    Task(TaskId),
}

/// How a job is followed.
#[derive(Clone, Debug, Default)]
pub struct FollowOptions {
    /// Results that are not wanted.
    pub skip: Vec<Range<u32>>,
    /// No results are wanted, only the end.
    pub only_end: bool,
    /// It ends with the results that are there now, instead of waiting for the rest.
    pub only_present: bool,
}

/// A task that came to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskResult {
    /// Its index in its job.
    pub index: u32,
    /// Its final state.
    pub state: TaskState,
    /// How often it was handed out.
    pub attempts: u32,
    /// What its last attempt came to; empty for a task that never ran.
    pub outcome: Outcome,
}

/// Results that came together.
#[derive(Clone, Debug)]
pub struct ResultBatch {
    results: messages::Results,
    /// Positions of results that came before, in ascending order.
    repeated: Vec<u32>,
}

impl ResultBatch {
    /// Takes a message whose columns fit together.
    pub(crate) fn check(results: messages::Results) -> Option<Self> {
        let count = results.indexes.len();
        let fits = results.states.len() == count
            && results.attempts.len() == count
            && Values::check(results.outcomes.clone(), count as u32, u64::MAX >> 1).is_ok();
        fits.then_some(Self { results, repeated: Vec::new() })
    }

    pub(crate) fn leave_out(&mut self, repeated: Vec<u32>) {
        self.repeated = repeated;
    }

    pub(crate) fn bytes(&self) -> usize {
        self.results.outcomes.len() + self.results.indexes.len() * 16
    }

    pub(crate) fn indexes(&self) -> &[u32] {
        &self.results.indexes
    }

    /// The job.
    pub fn job(&self) -> JobNumber {
        JobNumber(self.results.job)
    }

    /// How many results there are, never 0.
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.results.indexes.len() - self.repeated.len()
    }

    /// The tasks with their states, without decoding what they came to.
    pub fn states(&self) -> impl Iterator<Item = (u32, TaskState)> + '_ {
        self.wanted().filter_map(|position| self.state_at(position))
    }

    /// Each result, decoded. One that a newer worker wrote in a way that can't be decoded comes with an outcome of which
    /// only the text says so.
    pub fn iter(&self) -> impl Iterator<Item = TaskResult> + '_ {
        let values = Values::trusted(self.results.outcomes.clone(), self.results.indexes.len() as u32);
        let mut offset = 0;
        let mut repeated = self.repeated.iter().copied().peekable();
        (0..self.results.indexes.len()).filter_map(move |position| {
            let (value, used) = task_messenger_protocol::values::decode(values.bytes(), offset)?;
            offset += used;
            if repeated.next_if_eq(&(position as u32)).is_some() {
                return None;
            }
            let (index, state) = self.state_at(position)?;
            let attempts = self.results.attempts.get(position).copied()?;
            Some(TaskResult { index, state, attempts, outcome: decode_outcome(&value) })
        })
    }

    fn wanted(&self) -> impl Iterator<Item = usize> + '_ {
        let mut repeated = self.repeated.iter().copied().peekable();
        (0..self.results.indexes.len()).filter(move |position| repeated.next_if_eq(&(*position as u32)).is_none())
    }

    fn state_at(&self, position: usize) -> Option<(u32, TaskState)> {
        let index = self.results.indexes.get(position).copied()?;
        let state = self.results.states.get(position).copied()?;
        Some((index, TaskState::try_from(i32::from(state)).unwrap_or(TaskState::StateUnspecified)))
    }
}

fn decode_outcome(value: &Value) -> Outcome {
    let decoded = match value {
        Value::Inline(bytes) => Outcome::decode(bytes.clone()).ok(),
        Value::External { .. } => None,
    };
    decoded.unwrap_or_else(|| Outcome { text: "the outcome can't be decoded".to_owned(), ..Outcome::default() })
}

/// Results of a job, each as soon as it is there, in no particular order; each exactly once, whatever becomes of the link.
///
/// Dropping it ends the following; the job goes on.
#[derive(Debug)]
pub struct Results {
    handle: Handle,
    number: u64,
    wake: std::sync::Arc<tokio::sync::Notify>,
    current: std::vec::IntoIter<TaskResult>,
    summary: Option<Box<JobSummary>>,
}

impl Client {
    /// Follows a job, or one task: yields each result, then ends. A job that is still being submitted ends when it is closed
    /// and all its tasks are at their ends.
    pub fn follow(&self, target: Target) -> Result<Results, Error> {
        self.follow_with(target, FollowOptions::default())
    }

    /// Follows a job as `options` say.
    pub fn follow_with(&self, target: Target, options: FollowOptions) -> Result<Results, Error> {
        let handle = self.handle().clone();
        let (number, wake) = handle.with(|state| state.add_follow(Follow::new(target, options)))?;
        Ok(Results { handle, number, wake, current: Vec::new().into_iter(), summary: None })
    }
}

impl Results {
    /// The next results, as many as came together; `None` at the end. The faster of the two ways.
    ///
    /// Where the manager keeps results only until they have been fetched, this tells it at the end that they have been:
    /// whoever asks for what comes behind a batch is done with it.
    ///
    /// Cancel-safe. Not to be mixed with [`Results::next`] in the middle of a batch.
    pub async fn next_batch(&mut self) -> Result<Option<ResultBatch>, Error> {
        loop {
            match self.handle.with(|state| state.take(self.number))? {
                Taken::Batch(batch) => return Ok(Some(batch)),
                Taken::Over(summary, kept) => {
                    let first = self.summary.is_none();
                    let job = summary.job;
                    self.summary = Some(summary);
                    if kept && first {
                        acknowledge(&self.handle, job).await?;
                    }
                    return Ok(None);
                }
                Taken::NothingYet => self.wake.notified().await,
            }
        }
    }

    /// The next result; `None` at the end.
    ///
    /// Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<TaskResult>, Error> {
        loop {
            if let Some(result) = self.current.next() {
                return Ok(Some(result));
            }
            let Some(batch) = self.next_batch().await? else { return Ok(None) };
            self.current = batch.iter().collect::<Vec<_>>().into_iter();
        }
    }

    /// The job as it was at its end; `None` until then.
    pub fn summary(&self) -> Option<&JobSummary> {
        self.summary.as_deref()
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        self.handle.with(|state| state.remove_follow(self.number));
    }
}
