//! What the archive is given, and gives back.

use std::{ops::AddAssign, sync::Arc};

use rusqlite::{Row, types::Type};
use task_messenger_core::{
    ids::{JobNumber, OwnerNumber, RecordNumber, TaskId, TaskNumber, TemplateNumber},
    labels::Labels,
    record::JobKey,
    task::TaskState,
    template::Template,
    time::WallTime,
    values::Value,
};

use super::error::Problem;

/// What records up to a watermark brought about. All of it is committed in one transaction, if it stays below
/// [`super::TRANSACTION_TASKS`] and [`super::TRANSACTION_BYTES`].
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The last record all of whose consequences are held once this batch is. It must be synced. A record's consequences
    /// may be cut into several batches: all but the last then carry the watermark before it.
    pub watermark: RecordNumber,
    /// The jobs that the tasks belong to, as they are now, and those that changed otherwise.
    pub jobs: Vec<ArchivedJob>,
    /// The templates of the tasks; those that are there already are passed over.
    pub templates: Vec<ArchivedTemplate>,
    /// Tasks at their end. One that is there already is passed over.
    pub tasks: Vec<ArchivedTask>,
    /// Tasks, of this batch or an earlier one, whose results were delivered and acknowledged. Unknown ones are passed over.
    pub delivered: Vec<Delivered>,
    /// Jobs to be removed with all of their tasks. Readers find them no more; [`super::Archive::remove_purged`] does the work.
    pub purged: Vec<JobNumber>,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedJob {
    /// Its number.
    pub number: JobNumber,
    /// Whose it is.
    pub owner: OwnerNumber,
    /// Who that is, for people.
    pub owner_name: String,
    /// Its name.
    pub name: String,
    /// What people attached to it.
    pub labels: Labels,
    /// The key that its client made, if the job is to be found by it.
    pub key: Option<JobKey>,
    /// When it was opened.
    pub opened: WallTime,
    /// Whether it gets no more tasks.
    pub closed: bool,
    /// When the last of its tasks ended, of which there will be no more.
    pub ended: Option<WallTime>,
    /// CRC-32C over its templates and payloads, as the core computes it.
    pub digest: u32,
    /// How many tasks it has or had, wherever they are.
    pub tasks: u32,
    /// How many of those are at which end.
    pub counts: FinalCounts,
}

/// How many tasks are at which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FinalCounts {
    /// Done.
    pub succeeded: u64,
    /// Dead letters.
    pub failed: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Not started before their deadline.
    pub expired: u64,
}

impl FinalCounts {
    /// How many are in `state`; 0 for a state that is no end.
    pub fn get(&self, state: TaskState) -> u64 {
        match state {
            TaskState::Succeeded => self.succeeded,
            TaskState::Failed => self.failed,
            TaskState::Cancelled => self.cancelled,
            TaskState::Expired => self.expired,
            _ => 0,
        }
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.succeeded + self.failed + self.cancelled + self.expired
    }
}

/// A template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedTemplate {
    /// Its number.
    pub number: TemplateNumber,
    /// The program of a command; for a skill, its name is taken instead.
    pub program: String,
    /// The template.
    pub template: Arc<Template>,
}

/// A task at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedTask {
    /// Its number among all tasks.
    pub number: TaskNumber,
    /// Its name.
    pub id: TaskId,
    /// Its end.
    pub state: TaskState,
    /// What it shares with others.
    pub template: TemplateNumber,
    /// How often it was handed out.
    pub attempts: u32,
    /// How many failures were charged to it.
    pub failures: u32,
    /// How many workers died while it ran.
    pub crashes: u32,
    /// Whether its result was delivered and acknowledged.
    pub delivered: bool,
    /// When it was submitted, if that is known.
    pub submitted: Option<WallTime>,
    /// When it ended.
    pub finished: WallTime,
    /// Its payload's length in bytes, whether it is kept or not.
    pub payload_bytes: u64,
    /// Its last outcome's length in bytes, if there is one, whether it is kept or not.
    pub outcome_bytes: Option<u64>,
    /// Its payload, if it is kept (and was asked for).
    pub payload: Option<Value>,
    /// Its last outcome as the worker sent it, if it is kept (and was asked for).
    pub outcome: Option<Value>,
}

impl ArchivedTask {
    /// How many bytes of values are kept.
    pub fn kept_bytes(&self) -> u64 {
        [&self.payload, &self.outcome].into_iter().flatten().map(Value::len).sum()
    }
}

/// Tasks whose results were delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Their job.
    pub job: JobNumber,
    /// The first one.
    pub first_index: u32,
    /// The last one.
    pub last_index: u32,
}

/// What is kept in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many jobs.
    pub jobs: u64,
    /// How many tasks, by their end.
    pub tasks: FinalCounts,
    /// How many bytes of payloads and outcomes, those in files of their own included.
    pub bytes: u64,
}

/// By how much the totals change.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TotalsChange {
    pub(super) jobs: i64,
    pub(super) tasks: [i64; 4],
    pub(super) bytes: i64,
}

impl AddAssign<TotalsChange> for Totals {
    fn add_assign(&mut self, change: TotalsChange) {
        let [succeeded, failed, cancelled, expired] = change.tasks;
        let Totals { jobs, tasks, bytes } = self;
        for (count, change) in [
            (jobs, change.jobs),
            (bytes, change.bytes),
            (&mut tasks.succeeded, succeeded),
            (&mut tasks.failed, failed),
            (&mut tasks.cancelled, cancelled),
            (&mut tasks.expired, expired),
        ] {
            *count = count.saturating_add_signed(change);
        }
    }
}

/// A number as SQLite keeps it.
pub(super) fn integer(what: &'static str, value: u64) -> Result<i64, Problem> {
    i64::try_from(value).map_err(|_| Problem::OutOfRange { what, value })
}

/// A time as SQLite keeps it: one that is further off than 63 bits of milliseconds is never reached either way.
pub(super) fn milliseconds(time: WallTime) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<WallTime> {
    unsigned(row, column).map(WallTime)
}

pub(super) fn optional_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<WallTime>> {
    let value: Option<i64> = row.get(column)?;
    value.map(|_| time(row, column)).transpose()
}

/// How states are numbered in the file: as in the core.
pub(super) fn state_number(state: TaskState) -> i64 {
    state as i64
}

pub(super) fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<TaskState> {
    let number: i64 = row.get(column)?;
    final_states()
        .into_iter()
        .find(|state| state_number(*state) == number)
        .ok_or(rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// The position of a final state among them.
pub(super) fn state_position(state: TaskState) -> Option<usize> {
    final_states().iter().position(|other| *other == state)
}

fn final_states() -> [TaskState; 4] {
    [TaskState::Succeeded, TaskState::Failed, TaskState::Cancelled, TaskState::Expired]
}

pub(super) fn labels(row: &Row<'_>, column: usize) -> rusqlite::Result<Labels> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into()))
}

pub(super) fn job_key(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<JobKey>> {
    let bytes: Option<Vec<u8>> = row.get(column)?;
    let Some(bytes) = bytes else { return Ok(None) };
    let length = bytes.len();
    let key = bytes.try_into().map_err(|_| {
        let text = format!("a job's key has 16 bytes, not {length}");
        rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, text.into())
    })?;
    Ok(Some(JobKey(key)))
}
