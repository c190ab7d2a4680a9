//! The archive's rows of jobs that are over.

use std::{collections::VecDeque, error::Error, ops::Range};

use rustc_hash::FxHashSet;
use task_messenger_core::{
    engine::Engine,
    ids::{JobNumber, Place, RecordNumber, TaskId, TaskNumber, TemplateNumber},
    job::Job,
    state::State,
    task::{Task, TaskState},
    template::{Kind, Template},
    time::WallTime,
    values::Value,
};
use task_messenger_protocol::{messages, template};
use task_messenger_store::{
    archive::{ArchivedJob, ArchivedTask, ArchivedTemplate, Batch, FinalCounts},
    journal::Reader,
};

use super::shrinking::Pin;

/// Bytes of outcomes in a batch: what is more goes into the next one.
const BYTES: u64 = 16 << 20;

/// Outcomes read at a time.
const READ: usize = 64;

/// Tasks of some jobs.
pub(super) type Piece = Vec<(JobNumber, Range<u32>)>;

/// What goes into the archive, but for the outcomes.
pub(super) struct Rows {
    batch: Batch,
    tasks: VecDeque<Row>,
    /// Their places are kept.
    pin: Pin,
}

struct Row {
    number: TaskNumber,
    task: Task,
    id: TaskId,
    delivered: bool,
    submitted: Option<WallTime>,
    finished: WallTime,
}

impl Rows {
    /// Those of a piece, in addition to what is in `batch`, as of a record that is synced.
    pub(super) fn new(engine: &Engine, piece: &Piece, synced: RecordNumber, batch: Batch, pin: Pin) -> Self {
        let state = engine.state();
        let mut rows = Self { batch: Batch { watermark: synced, ..batch }, tasks: VecDeque::new(), pin };
        let mut templates = FxHashSet::default();
        for (number, indexes) in piece {
            let job = state.jobs.position(*number).and_then(|position| state.jobs.at(position));
            // A job that was purged meanwhile goes nowhere.
            let Some((job, ended)) = job.and_then(|job| Some((job, job.ended?))) else { continue };
            rows.batch.jobs.push(archived_job(state, job));
            // When each task came is known only of what came at once.
            let delivered = engine.is_fetched(job.number);
            let submitted = (job.runs.len() == 1).then_some(job.opened);
            for index in indexes.clone() {
                let Some((number, task)) = job.task(index).and_then(|task| Some((task, *state.tasks.get(task)?)))
                else {
                    continue;
                };
                if templates.insert(task.template)
                    && let Some(template) = state.templates.get(task.template)
                {
                    rows.batch.templates.push(archived_template(task.template, template));
                }
                let id = TaskId { job: job.number, index };
                rows.tasks.push_back(Row { number, task, id, delivered, submitted, finished: ended });
            }
        }
        rows
    }

    /// Reads outcomes. What is too much for one batch comes back.
    pub(super) fn read(self, journal: &Reader) -> Result<(Batch, Option<Self>), Box<dyn Error + Send + Sync>> {
        let Self { mut batch, mut tasks, pin } = self;
        let mut bytes = 0;
        while bytes < BYTES && !tasks.is_empty() {
            let some: Vec<Row> = tasks.drain(..READ.min(tasks.len())).collect();
            let places: Vec<Place> = some.iter().filter_map(|row| row.task.outcome()).collect();
            let mut values = Vec::with_capacity(places.len());
            journal.read_many(&places, &mut values)?;
            let mut values = values.into_iter();
            for row in some {
                let outcome = row.task.outcome().and_then(|_| values.next());
                if let Some(Value::Inline(outcome)) = &outcome {
                    bytes += outcome.len() as u64;
                }
                batch.tasks.push(row.with(outcome));
            }
        }
        let rest = (!tasks.is_empty()).then(|| {
            let (watermark, jobs, templates) = (batch.watermark, batch.jobs.clone(), batch.templates.clone());
            Self { batch: Batch { watermark, jobs, templates, ..Batch::default() }, tasks, pin }
        });
        Ok((batch, rest))
    }
}

impl Row {
    fn with(self, outcome: Option<Value>) -> ArchivedTask {
        let Self { number, task, id, delivered, submitted, finished } = self;
        ArchivedTask {
            number,
            id,
            state: task.state(),
            template: task.template,
            attempts: task.attempts,
            failures: task.failures.into(),
            crashes: task.crashes().into(),
            delivered,
            submitted,
            finished,
            payload_bytes: task.payload_length.into(),
            outcome_bytes: outcome.as_ref().map(Value::len),
            payload: None,
            outcome,
        }
    }
}

fn archived_job(state: &State, job: &Job) -> ArchivedJob {
    ArchivedJob {
        number: job.number,
        owner: job.owner,
        owner_name: state.access.owner(job.owner).to_owned(),
        name: job.name.to_string(),
        labels: job.labels.clone(),
        key: Some(job.key),
        opened: job.opened,
        closed: job.closed,
        ended: job.ended,
        digest: job.digest,
        tasks: job.next_index,
        counts: FinalCounts {
            succeeded: job.counts.get(TaskState::Succeeded),
            failed: job.counts.get(TaskState::Failed),
            cancelled: job.counts.get(TaskState::Cancelled),
            expired: job.counts.get(TaskState::Expired),
        },
    }
}

fn archived_template(number: TemplateNumber, found: &std::sync::Arc<Template>) -> ArchivedTemplate {
    let program = match &found.kind {
        Kind::Skill(name) => name.clone(),
        // It was checked when it came in.
        Kind::Command => match template::decode(&found.body, u64::MAX).ok().and_then(|template| template.kind) {
            Some(messages::template::Kind::Command(command)) => command.program,
            _ => String::new(),
        },
    };
    ArchivedTemplate { number, program, template: found.clone() }
}
