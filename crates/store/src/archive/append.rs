//! Putting batches in.

use std::collections::VecDeque;

use rusqlite::{CachedStatement, Connection, Transaction, TransactionBehavior, params};
use task_messenger_core::{ids::JobNumber, values::Value};

use super::{
    changes::{Changes, Counted},
    error::Problem,
    removal::{Budget, Cut, walk},
    rows::{ArchivedTask, Batch, Delivered, Totals, integer, milliseconds, state_number},
};

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is in, with this many tasks that had not been there.
    Added {
        /// How many.
        tasks: u64,
    },
    /// The watermark is beyond it already: nothing was looked at.
    Known,
}

/// A payload's place in `files`.
pub(super) const PAYLOAD: i64 = 0;

/// An outcome's place in `files`.
pub(super) const OUTCOME: i64 = 1;

/// Puts a batch in, its watermark last of all.
pub(super) fn append(connection: &mut Connection, batch: &Batch, totals: &mut Totals) -> Result<u64, Problem> {
    let watermark = integer("the watermark", batch.watermark.0)?;
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut changes = Changes::default();
    let added = insert_tasks(&transaction, &batch.tasks, &mut changes)?;
    let mut change = changes.apply(&transaction, batch)?;
    mark_purged(&transaction, &batch.purged)?;
    let mut rest = batch.delivered.iter().copied().collect();
    loop {
        mark_delivered(&transaction, &mut rest)?;
        if rest.is_empty() {
            break;
        }
        // More than one transaction should hold. Without the watermark, a batch may be put in again.
        transaction.commit()?;
        *totals += std::mem::take(&mut change);
        transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    }
    transaction.prepare_cached("UPDATE meta SET watermark = ?1 WHERE id = 0")?.execute([watermark])?;
    transaction.commit()?;
    *totals += change;
    Ok(added)
}

fn insert_tasks(transaction: &Transaction<'_>, tasks: &[ArchivedTask], changes: &mut Changes) -> Result<u64, Problem> {
    // In the order of their numbers most go to the end of the table, which is the cheapest place.
    let mut tasks: Vec<&ArchivedTask> = tasks.iter().collect();
    tasks.sort_unstable_by_key(|task| task.number);
    let mut insert = transaction.prepare_cached(
        "INSERT INTO tasks (task, job, task_index, state, template, attempts, failures, crashes, delivered, submitted,
             finished, payload_bytes, outcome_bytes, bytes, files, payload, outcome)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
         ON CONFLICT (task) DO NOTHING",
    )?;
    let mut added = 0;
    for task in tasks {
        if !task.state.is_final() {
            return Err(Problem::NotFinal(task.number));
        }
        let counted = Counted {
            task: integer("the task's number", task.number.0)?,
            job: integer("the job's number", task.id.job.0)?,
            template: i64::from(task.template.0),
            state: task.state,
            delivered: task.delivered,
            bytes: integer("the length of the values", task.kept_bytes())?,
        };
        let finished = milliseconds(task.finished);
        if insert_task(&mut insert, task, counted, finished)? {
            insert_files(transaction, task, counted.task)?;
            changes.added(counted, finished);
            added += 1;
        }
    }
    Ok(added)
}

fn insert_task(
    insert: &mut CachedStatement<'_>,
    task: &ArchivedTask,
    counted: Counted,
    finished: i64,
) -> Result<bool, Problem> {
    let (payload, outcome) = (task.payload.as_ref(), task.outcome.as_ref());
    let files: i64 = [payload, outcome].into_iter().map(|value| i64::from(file_of(value).is_some())).sum();
    let outcome_bytes = task.outcome_bytes.map(|bytes| integer("the outcome's length", bytes)).transpose()?;
    let inserted = insert.execute(params![
        counted.task,
        counted.job,
        task.id.index,
        state_number(task.state),
        counted.template,
        task.attempts,
        task.failures,
        task.crashes,
        task.delivered,
        task.submitted.map(milliseconds),
        finished,
        integer("the payload's length", task.payload_bytes)?,
        outcome_bytes,
        counted.bytes,
        files,
        payload.and_then(in_row),
        outcome.and_then(in_row),
    ])?;
    Ok(inserted > 0)
}

fn in_row(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Inline(bytes) => Some(bytes),
        Value::External { .. } => None,
    }
}

/// The file that a value lies in, and its length.
fn file_of(value: Option<&Value>) -> Option<(u64, u64)> {
    match value {
        Some(Value::External { file, length }) => Some((*file, *length)),
        _ => None,
    }
}

fn insert_files(transaction: &Transaction<'_>, task: &ArchivedTask, number: i64) -> Result<(), Problem> {
    for (part, value) in [(PAYLOAD, task.payload.as_ref()), (OUTCOME, task.outcome.as_ref())] {
        if let Some((file, length)) = file_of(value) {
            let mut insert =
                transaction.prepare_cached("INSERT INTO files (task, part, file, bytes) VALUES (?1, ?2, ?3, ?4)")?;
            insert.execute((
                number,
                part,
                integer("the file's number", file)?,
                integer("the file's length", length)?,
            ))?;
        }
    }
    Ok(())
}

fn mark_purged(transaction: &Transaction<'_>, jobs: &[JobNumber]) -> Result<(), Problem> {
    let mut mark = transaction.prepare_cached("UPDATE jobs SET purged = 1 WHERE job = ?1")?;
    for job in jobs {
        mark.execute([integer("the job's number", job.0)?])?;
    }
    Ok(())
}

/// Marks as many as one transaction should, and leaves the rest.
fn mark_delivered(transaction: &Transaction<'_>, rest: &mut VecDeque<Delivered>) -> Result<(), Problem> {
    let mut tasks = transaction.prepare_cached(
        "SELECT task_index, bytes FROM tasks
         WHERE job = ?1 AND task_index BETWEEN ?2 AND ?3 AND delivered = 0 ORDER BY task_index",
    )?;
    let mut mark = transaction.prepare_cached(
        "UPDATE tasks SET delivered = 1
         WHERE job = ?1 AND task_index BETWEEN ?2 AND ?3 AND delivered = 0 RETURNING task",
    )?;
    let mut changes = Changes::default();
    let mut budget = Budget::new();
    while !budget.is_spent()
        && let Some(Delivered { job, first_index, last_index }) = rest.front_mut()
    {
        let job = integer("the job's number", job.0)?;
        let cut = walk(tasks.query((job, *first_index, *last_index))?, |bytes| budget.take(bytes))?;
        if let Some(Cut { last, .. }) = cut {
            let mut marked = mark.query((job, *first_index, last))?;
            while let Some(row) = marked.next()? {
                changes.delivered(row.get(0)?);
            }
        }
        match cut {
            Some(Cut { last, is_all: false }) => *first_index = u32::try_from(last + 1).unwrap_or(u32::MAX),
            _ => drop(rest.pop_front()),
        }
    }
    changes.apply(transaction, &Batch::default())?;
    Ok(())
}

impl super::Archive {
    /// Puts a batch in. When this returns without an error, it is durable; after an error, it may be put in again.
    pub fn append(&mut self, batch: &Batch) -> Result<Appended, super::ArchiveError> {
        if batch.watermark < self.watermark {
            return Ok(Appended::Known);
        }
        let appended = append(&mut self.connection, batch, &mut self.totals);
        let tasks = appended.map_err(|problem| self.error("append to", problem))?;
        self.watermark = batch.watermark;
        self.watch_log();
        Ok(Appended::Added { tasks })
    }
}
