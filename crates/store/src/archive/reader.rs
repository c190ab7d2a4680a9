//! Looking things up. Every question reads a bounded number of rows, from one state of the archive.

use std::{collections::HashSet, fmt, path::Path, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use task_messenger_core::{
    ids::{JobNumber, OwnerNumber, TaskId, TaskNumber, TemplateNumber},
    query::JobFilter,
    record::JobKey,
    task::TaskState,
    template::{Kind, RetryPolicy, Template},
    values::Value,
};

use super::{
    ArchiveError,
    append::{OUTCOME, PAYLOAD},
    error::Problem,
    pool::Pool,
    rows::{
        ArchivedJob, ArchivedTask, ArchivedTemplate, FinalCounts, Totals, integer, job_key, labels, optional_time,
        state, time, unsigned,
    },
};

/// The most rows that one question looks at; what asks further goes on from where its answer ended.
const LOOKED_AT_MAX: u32 = 100_000;

/// Reads the archive, from any thread, while it is written. Clones share their connections, of which there are at most 8.
#[derive(Clone)]
pub struct Reader {
    pub(super) pool: Arc<Pool>,
}

/// Which jobs are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobQuestion {
    /// Only this owner's.
    pub owner: Option<OwnerNumber>,
    /// Only those before this one: where the last page ended.
    pub before: Option<JobNumber>,
    /// Only those whose name contains this, whatever the case.
    pub name_contains: Option<String>,
    /// Only those of which this is true.
    pub filter: JobFilter,
    /// At most this many.
    pub limit: u32,
}

/// A page of jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobPage {
    /// The jobs, newest first. There may be none although more follow.
    pub jobs: Vec<KeptJob>,
    /// Unless this is the last page: what to ask for as [`JobQuestion::before`].
    pub next: Option<JobNumber>,
}

/// A job, and how much of it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptJob {
    /// The job.
    pub job: ArchivedJob,
    /// How many of its tasks are here.
    pub kept: u64,
}

/// A page of tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskPage {
    /// The tasks by index. There may be none although more follow.
    pub tasks: Vec<ArchivedTask>,
    /// The index where the next page begins, unless this is the last.
    pub next_index: Option<u32>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("path", &self.pool.path()).finish()
    }
}

impl Reader {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { pool: Arc::new(Pool::new(path)) }
    }

    /// Opens an archive for reading only, also one that nobody writes to.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        let reader = Self::new(path.to_owned());
        reader.ask(|_| Ok(()))?;
        Ok(reader)
    }

    /// The job with this number.
    pub fn job(&self, job: JobNumber) -> Result<Option<KeptJob>, ArchiveError> {
        self.ask(|connection| {
            let job = integer("the job's number", job.0)?;
            let mut statement =
                connection.prepare_cached(&format!("SELECT {JOB} WHERE jobs.job = ?1 AND jobs.purged = 0"))?;
            Ok(statement.query_row([job], kept_job).optional()?)
        })
    }

    /// The number of the owner's job with this key: the newest, should there be several.
    pub fn job_with_key(&self, owner: OwnerNumber, key: JobKey) -> Result<Option<JobNumber>, ArchiveError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT max(job) FROM jobs WHERE owner = ?1 AND key = ?2 AND key IS NOT NULL AND purged = 0",
            )?;
            let job = statement.query_row(params![owner.0, &key.0[..]], |row| row.get::<_, Option<i64>>(0))?;
            Ok(job.map(|job| JobNumber(job.unsigned_abs())))
        })
    }

    /// Jobs, newest first.
    pub fn jobs(&self, question: &JobQuestion) -> Result<JobPage, ArchiveError> {
        self.ask(|connection| jobs(connection, question))
    }

    /// A task with its payload and outcome.
    pub fn task(&self, task: TaskId) -> Result<Option<ArchivedTask>, ArchiveError> {
        self.ask(|connection| {
            let job = integer("the job's number", task.job.0)?;
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {TASK}, payload, outcome FROM tasks WHERE job = ?1 AND task_index = ?2
                     AND EXISTS (SELECT 1 FROM jobs WHERE jobs.job = ?1 AND purged = 0)"
            ))?;
            let found = statement.query_row(params![job, task.index], |row| {
                let mut found = TaskRow::read(row)?;
                found.task.payload = inline(row, TASK_COLUMNS)?;
                found.task.outcome = inline(row, TASK_COLUMNS + 1)?;
                Ok(found)
            });
            let Some(mut found) = found.optional()? else { return Ok(None) };
            if found.files > 0 {
                let number = found.task.number;
                found.task.payload = found.task.payload.take().or(external(connection, number, PAYLOAD)?);
                found.task.outcome = found.task.outcome.take().or(external(connection, number, OUTCOME)?);
            }
            Ok(Some(found.task))
        })
    }

    /// Tasks of a job by index, without their values.
    pub fn tasks(
        &self,
        job: JobNumber,
        state: Option<TaskState>,
        from_index: u32,
        limit: u32,
    ) -> Result<TaskPage, ArchiveError> {
        let takes = |task: &ArchivedTask| state.is_none_or(|state| task.state == state);
        self.ask(|connection| tasks(connection, job, from_index, Values::None, takes, |found, _| found < limit))
    }

    /// Tasks of a job by index, with their outcomes: at most `limit`, and no further ones once the outcomes have
    /// `bytes_max` bytes.
    pub fn results(
        &self,
        job: JobNumber,
        from_index: u32,
        limit: u32,
        bytes_max: u64,
    ) -> Result<TaskPage, ArchiveError> {
        let wants_more = |found, bytes| found < limit && bytes < bytes_max;
        self.ask(|connection| tasks(connection, job, from_index, Values::Outcome, |_| true, wants_more))
    }

    /// The template with this number, as long as a task of it is here.
    pub fn template(&self, template: TemplateNumber) -> Result<Option<ArchivedTemplate>, ArchiveError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT template, kind, program, priority, slots, max_attempts, backoff_first, backoff_longest, body
                 FROM templates WHERE template = ?1",
            )?;
            Ok(statement.query_row([template.0], archived_template).optional()?)
        })
    }

    /// How much is kept of an owner, or of all of them.
    pub fn totals(&self, owner: Option<OwnerNumber>) -> Result<Totals, ArchiveError> {
        self.ask(|connection| totals(connection, owner))
    }

    /// How much is kept, by owner.
    pub fn totals_by_owner(&self) -> Result<Vec<(OwnerNumber, Totals)>, ArchiveError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT owner, jobs, succeeded, failed, cancelled, expired, bytes FROM owners ORDER BY owner",
            )?;
            let owners = statement.query_map([], |row| {
                let totals = Totals { jobs: unsigned(row, 1)?, tasks: counts(row, 2)?, bytes: unsigned(row, 6)? };
                Ok((OwnerNumber(row.get(0)?), totals))
            })?;
            Ok(owners.collect::<Result<_, _>>()?)
        })
    }

    /// The files of values that the archive still needs.
    pub fn files(&self) -> Result<HashSet<u64>, ArchiveError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached("SELECT file FROM files")?;
            let files = statement.query_map([], |row| unsigned(row, 0))?;
            Ok(files.collect::<Result<_, _>>()?)
        })
    }

    /// Looks through the whole file for damage, and says what it finds, at most 100 things. Takes as long as reading it all.
    pub fn check(&self) -> Result<Vec<String>, ArchiveError> {
        self.ask(|connection| {
            let mut statement = connection.prepare("PRAGMA quick_check")?;
            let findings: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok(findings.into_iter().filter(|finding| finding != "ok").collect())
        })
    }

    pub(super) fn ask<T>(&self, question: impl FnOnce(&Connection) -> Result<T, Problem>) -> Result<T, ArchiveError> {
        let failed = |problem| ArchiveError::new(self.pool.path(), "read", problem);
        self.pool.with(|connection| {
            // One state of the archive for all that the question reads.
            let transaction = connection.unchecked_transaction().map_err(|error| failed(error.into()))?;
            question(&transaction).map_err(failed)
        })
    }
}

/// The columns of a job, and where they come from.
const JOB: &str =
    "jobs.job, jobs.owner, owners.name, jobs.name, jobs.labels, jobs.key, jobs.opened, jobs.closed, jobs.ended, jobs.digest,
    jobs.tasks, jobs.succeeded, jobs.failed, jobs.cancelled, jobs.expired, jobs.kept
    FROM jobs LEFT JOIN owners ON owners.owner = jobs.owner";

fn kept_job(row: &Row<'_>) -> rusqlite::Result<KeptJob> {
    let job = ArchivedJob {
        number: JobNumber(unsigned(row, 0)?),
        owner: OwnerNumber(row.get(1)?),
        owner_name: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
        name: row.get(3)?,
        labels: labels(row, 4)?,
        key: job_key(row, 5)?,
        opened: time(row, 6)?,
        closed: row.get(7)?,
        ended: optional_time(row, 8)?,
        digest: row.get(9)?,
        tasks: row.get(10)?,
        counts: counts(row, 11)?,
    };
    Ok(KeptJob { job, kept: unsigned(row, 15)? })
}

fn counts(row: &Row<'_>, first: usize) -> rusqlite::Result<FinalCounts> {
    Ok(FinalCounts {
        succeeded: unsigned(row, first)?,
        failed: unsigned(row, first + 1)?,
        cancelled: unsigned(row, first + 2)?,
        expired: unsigned(row, first + 3)?,
    })
}

fn jobs(connection: &Connection, question: &JobQuestion) -> Result<JobPage, Problem> {
    let JobQuestion { owner, before, name_contains, filter, limit } = question;
    let before = before.map_or(Ok(i64::MAX), |before| integer("the job's number", before.0))?;
    let of_owner = if owner.is_some() { "AND jobs.owner = ?2" } else { "AND ?2 IS NULL" };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {JOB} WHERE jobs.job < ?1 {of_owner} AND jobs.purged = 0 ORDER BY jobs.job DESC"
    ))?;
    let mut rows = statement.query(params![before, owner.map(|owner| owner.0)])?;
    let part = name_contains.as_ref().map(|part| part.to_lowercase());
    let mut page = JobPage { jobs: Vec::new(), next: None };
    let mut last = None;
    let mut looked_at = 0;
    while let Some(row) = rows.next()? {
        if page.jobs.len() >= *limit as usize || looked_at >= LOOKED_AT_MAX {
            page.next = last;
            break;
        }
        let job = kept_job(row)?;
        looked_at += 1;
        last = Some(job.job.number);
        if part.as_ref().is_none_or(|part| job.job.name.to_lowercase().contains(part)) && takes(filter, &job.job) {
            page.jobs.push(job);
        }
    }
    Ok(page)
}

fn takes(filter: &JobFilter, job: &ArchivedJob) -> bool {
    let JobFilter { state, since, labels } = filter;
    state.is_none_or(|state| job.counts.get(state) > 0)
        && since.is_none_or(|since| job.opened >= since)
        && labels.iter().all(|(key, value)| job.labels.get(key) == Some(value))
}

/// The columns of a task without its values.
const TASK: &str =
    "task, job, task_index, state, template, attempts, failures, crashes, delivered, submitted, finished,
    payload_bytes, outcome_bytes, files";
const TASK_COLUMNS: usize = 14;

struct TaskRow {
    task: ArchivedTask,
    files: i64,
}

impl TaskRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let task = ArchivedTask {
            number: TaskNumber(unsigned(row, 0)?),
            id: TaskId { job: JobNumber(unsigned(row, 1)?), index: row.get(2)? },
            state: state(row, 3)?,
            template: TemplateNumber(row.get(4)?),
            attempts: row.get(5)?,
            failures: row.get(6)?,
            crashes: row.get(7)?,
            delivered: row.get(8)?,
            submitted: optional_time(row, 9)?,
            finished: time(row, 10)?,
            payload_bytes: unsigned(row, 11)?,
            outcome_bytes: row.get::<_, Option<i64>>(12)?.map(|_| unsigned(row, 12)).transpose()?,
            payload: None,
            outcome: None,
        };
        Ok(Self { task, files: row.get(13)? })
    }
}

/// Which values are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    None,
    Outcome,
}

fn tasks(
    connection: &Connection,
    job: JobNumber,
    from_index: u32,
    values: Values,
    takes: impl Fn(&ArchivedTask) -> bool,
    wants_more: impl Fn(u32, u64) -> bool,
) -> Result<TaskPage, Problem> {
    let job = integer("the job's number", job.0)?;
    let outcome = if values == Values::Outcome { ", outcome" } else { "" };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {TASK}{outcome} FROM tasks WHERE job = ?1 AND task_index >= ?2
             AND EXISTS (SELECT 1 FROM jobs WHERE jobs.job = ?1 AND purged = 0)
         ORDER BY task_index"
    ))?;
    let mut rows = statement.query(params![job, from_index])?;
    let mut page = TaskPage { tasks: Vec::new(), next_index: None };
    let (mut found, mut bytes, mut looked_at) = (0, 0, 0);
    while let Some(row) = rows.next()? {
        if !wants_more(found, bytes) || looked_at >= LOOKED_AT_MAX {
            page.next_index = Some(row.get(2)?);
            break;
        }
        let TaskRow { mut task, files } = TaskRow::read(row)?;
        looked_at += 1;
        if !takes(&task) {
            continue;
        }
        if values == Values::Outcome {
            task.outcome = inline(row, TASK_COLUMNS)?;
            if task.outcome.is_none() && files > 0 {
                task.outcome = external(connection, task.number, OUTCOME)?;
            }
            bytes += task.outcome.as_ref().map_or(0, Value::len);
        }
        found += 1;
        page.tasks.push(task);
    }
    Ok(page)
}

fn inline(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Value>> {
    let bytes: Option<Vec<u8>> = row.get(column)?;
    Ok(bytes.map(|bytes| Value::Inline(Bytes::from(bytes))))
}

fn external(connection: &Connection, task: TaskNumber, part: i64) -> Result<Option<Value>, Problem> {
    let task = integer("the task's number", task.0)?;
    let mut statement = connection.prepare_cached("SELECT file, bytes FROM files WHERE task = ?1 AND part = ?2")?;
    let found = statement
        .query_row((task, part), |row| Ok(Value::External { file: unsigned(row, 0)?, length: unsigned(row, 1)? }));
    Ok(found.optional()?)
}

const COMMAND: &str = "command";
const SKILL: &str = "skill";

/// How a template's kind is written, and its program or skill.
pub(super) fn kind_and_program<'a>(kind: &'a Kind, program: &'a str) -> (&'static str, &'a str) {
    match kind {
        Kind::Command => (COMMAND, program),
        Kind::Skill(name) => (SKILL, name),
    }
}

fn archived_template(row: &Row<'_>) -> rusqlite::Result<ArchivedTemplate> {
    let kind: String = row.get(1)?;
    let program: String = row.get(2)?;
    let kind = match kind.as_str() {
        COMMAND => Kind::Command,
        SKILL => Kind::Skill(program.clone()),
        other => {
            let text = format!("{other:?} is no kind of task");
            return Err(rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, text.into()));
        }
    };
    let template = Template {
        kind,
        priority: row.get(3)?,
        slots: row.get(4)?,
        retry: RetryPolicy {
            max_attempts: row.get(5)?,
            backoff_first: Duration::from_millis(unsigned(row, 6)?),
            backoff_longest: Duration::from_millis(unsigned(row, 7)?),
        },
        body: Bytes::from(row.get::<_, Vec<u8>>(8)?),
    };
    Ok(ArchivedTemplate { number: TemplateNumber(row.get(0)?), program, template: Arc::new(template) })
}

/// The sums over owners.
pub(super) fn totals(connection: &Connection, owner: Option<OwnerNumber>) -> Result<Totals, Problem> {
    let mut statement = connection.prepare_cached(
        "SELECT coalesce(sum(jobs), 0), coalesce(sum(bytes), 0), coalesce(sum(succeeded), 0), coalesce(sum(failed), 0),
             coalesce(sum(cancelled), 0), coalesce(sum(expired), 0)
         FROM owners WHERE ?1 IS NULL OR owner = ?1",
    )?;
    Ok(statement.query_row([owner.map(|owner| owner.0)], |row| {
        Ok(Totals { jobs: unsigned(row, 0)?, bytes: unsigned(row, 1)?, tasks: counts(row, 2)? })
    })?)
}
