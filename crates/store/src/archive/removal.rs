//! Taking tasks out again: what is too old, too much, or purged. Each call is one transaction of bounded size.

use rusqlite::{Connection, OptionalExtension, Params, Rows, Transaction, TransactionBehavior};
use task_messenger_core::time::WallTime;

use super::{
    Archive, ArchiveError, TRANSACTION_BYTES, TRANSACTION_TASKS,
    changes::{Changes, Counted, SPAN_BITS, jobs_removed, raise_oldest},
    error::Problem,
    rows::{Batch, Totals, milliseconds, state, unsigned},
};

/// What was removed by one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many tasks.
    pub tasks: u64,
    /// How many bytes of their values.
    pub bytes: u64,
    /// The files of those values: nobody needs them any more, and they may be deleted at once.
    pub files: Vec<u64>,
    /// Whether there may be more to remove: call again.
    pub more: bool,
}

impl Archive {
    /// Removes tasks that ended before `time`, and jobs that ended before it and have none left: at most
    /// [`TRANSACTION_TASKS`] at a time, the first submitted first.
    pub fn remove_older_than(&mut self, time: WallTime) -> Result<Removed, ArchiveError> {
        self.remove(|step| step.older_than(time))
    }

    /// Removes delivered tasks, the first submitted first, until at most so many tasks with so many bytes of values are
    /// left: at most [`TRANSACTION_TASKS`] at a time. What was not delivered stays, however much it is.
    pub fn shrink_to(&mut self, tasks: u64, bytes: u64) -> Result<Removed, ArchiveError> {
        let Totals { tasks: kept, bytes: kept_bytes, .. } = self.totals;
        let excess = Excess { tasks: kept.total().saturating_sub(tasks), bytes: kept_bytes.saturating_sub(bytes) };
        if excess.is_none() {
            return Ok(Removed::default());
        }
        self.remove(|step| step.delivered(excess))
    }

    /// Removes tasks of jobs that were purged, and the jobs: at most [`TRANSACTION_TASKS`] at a time.
    pub fn remove_purged(&mut self) -> Result<Removed, ArchiveError> {
        #[expect(
            clippy::redundant_closure_for_method_calls,
            reason = "the method is of one lifetime, the closure of any"
        )]
        self.remove(|step| step.purged())
    }

    /// Gives up to so many unused pages at the end of the file back to the file system, and says how many stay unused. The
    /// file gets shorter when its log is carried over.
    pub fn vacuum_some(&mut self, pages: u32) -> Result<u64, ArchiveError> {
        let vacuumed = vacuum(&self.connection, pages).map_err(|problem| self.error("shorten", problem))?;
        self.watch_log();
        Ok(vacuumed)
    }

    /// How many pages the file has, and how many of those are unused.
    pub fn pages(&self) -> Result<(u64, u64), ArchiveError> {
        pages(&self.connection).map_err(|problem| self.error("read", problem))
    }

    fn remove(&mut self, work: impl FnOnce(&mut Step<'_>) -> Result<bool, Problem>) -> Result<Removed, ArchiveError> {
        let removed = remove(&mut self.connection, &mut self.totals, work);
        let removed = removed.map_err(|problem| self.error("remove tasks from", problem))?;
        self.watch_log();
        Ok(removed)
    }
}

fn vacuum(connection: &Connection, pages_max: u32) -> Result<u64, Problem> {
    let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({pages_max})"))?;
    let mut steps = vacuum.query([])?;
    // Each step moves a page.
    while steps.next()?.is_some() {}
    Ok(pages(connection)?.1)
}

fn pages(connection: &Connection) -> Result<(u64, u64), Problem> {
    let ask = |name| connection.pragma_query_value(None, name, |row| unsigned(row, 0));
    Ok((ask("page_count")?, ask("freelist_count")?))
}

fn remove(
    connection: &mut Connection,
    totals: &mut Totals,
    work: impl FnOnce(&mut Step<'_>) -> Result<bool, Problem>,
) -> Result<Removed, Problem> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut step = Step {
        transaction: &transaction,
        budget: Budget::new(),
        changes: Changes::default(),
        owners_of_jobs: Vec::new(),
        removed: Removed::default(),
    };
    let more = work(&mut step)?;
    let Step { changes, owners_of_jobs, removed, .. } = step;
    let of_tasks = changes.apply(&transaction, &Batch::default())?;
    let of_jobs = jobs_removed(&transaction, &owners_of_jobs)?;
    transaction.commit()?;
    *totals += of_tasks;
    *totals += of_jobs;
    Ok(Removed { more, ..removed })
}

/// How much is too much.
#[derive(Clone, Copy)]
struct Excess {
    tasks: u64,
    bytes: u64,
}

impl Excess {
    fn is_none(self) -> bool {
        self.tasks == 0 && self.bytes == 0
    }
}

/// How much more a transaction may do.
pub(super) struct Budget {
    tasks: u64,
    bytes: u64,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { tasks: TRANSACTION_TASKS.into(), bytes: TRANSACTION_BYTES }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.tasks == 0 || self.bytes == 0
    }

    /// Whether a task with so many bytes may be done too. The first one may, however large it is.
    pub(super) fn take(&mut self, bytes: u64) -> bool {
        let may = !self.is_spent();
        if may {
            self.tasks -= 1;
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        may
    }
}

/// How far a walk came.
pub(super) struct Cut {
    /// The last row that was taken.
    pub(super) last: i64,
    /// Whether no row is left behind it.
    pub(super) is_all: bool,
}

/// Walks over rows (a number, how many bytes) until one is not taken. `None` if none was.
pub(super) fn walk(mut rows: Rows<'_>, mut take: impl FnMut(u64) -> bool) -> Result<Option<Cut>, Problem> {
    let mut last = None;
    while let Some(row) = rows.next()? {
        if !take(unsigned(row, 1)?) {
            return Ok(last.map(|last| Cut { last, is_all: false }));
        }
        last = Some(row.get(0)?);
    }
    Ok(last.map(|last| Cut { last, is_all: true }))
}

/// One transaction's removals.
struct Step<'a> {
    transaction: &'a Transaction<'a>,
    budget: Budget,
    changes: Changes,
    /// Of jobs that were removed by themselves.
    owners_of_jobs: Vec<i64>,
    removed: Removed,
}

impl Step<'_> {
    fn older_than(&mut self, time: WallTime) -> Result<bool, Problem> {
        let transaction = self.transaction;
        let mut spans = transaction
            .prepare_cached("SELECT span FROM spans WHERE oldest < ?1 AND span > ?2 ORDER BY span LIMIT 1")?;
        let mut tasks = transaction.prepare_cached(
            "SELECT task, bytes FROM tasks WHERE task BETWEEN ?1 AND ?2 AND finished < ?3 ORDER BY task",
        )?;
        let limit = milliseconds(time);
        let mut span = -1;
        while let Some(next) = spans.query_row((limit, span), |row| row.get(0)).optional()? {
            if self.budget.is_spent() {
                return Ok(true);
            }
            span = next;
            let (first, last) = bounds(span);
            let cut = walk(tasks.query((first, last, limit))?, |bytes| self.budget.take(bytes))?;
            if let Some(Cut { last, is_all }) = cut {
                self.delete("task BETWEEN ?1 AND ?2 AND finished < ?3", (first, last, limit))?;
                if !is_all {
                    return Ok(true);
                }
            }
            raise_oldest(transaction, span, time)?;
        }
        self.jobs_older_than(limit)
    }

    /// Jobs none of whose tasks are here. Those that lose their last one in this transaction go with it.
    fn jobs_older_than(&mut self, limit: i64) -> Result<bool, Problem> {
        let mut remove = self.transaction.prepare_cached(
            "DELETE FROM jobs WHERE job IN (SELECT job FROM jobs WHERE kept = 0 AND ended < ?1 LIMIT ?2)
             RETURNING owner",
        )?;
        let mut removed = remove.query((limit, TRANSACTION_TASKS))?;
        while let Some(row) = removed.next()? {
            self.owners_of_jobs.push(row.get(0)?);
        }
        Ok(self.owners_of_jobs.len() >= TRANSACTION_TASKS as usize)
    }

    fn delivered(&mut self, mut excess: Excess) -> Result<bool, Problem> {
        let mut spans = self
            .transaction
            .prepare_cached("SELECT span FROM spans WHERE tasks > undelivered AND span > ?1 ORDER BY span LIMIT 1")?;
        let mut tasks = self.transaction.prepare_cached(
            "SELECT task, bytes FROM tasks WHERE task BETWEEN ?1 AND ?2 AND delivered = 1 ORDER BY task",
        )?;
        let mut span = -1;
        while let Some(next) = spans.query_row([span], |row| row.get(0)).optional()? {
            if excess.is_none() || self.budget.is_spent() {
                return Ok(!excess.is_none());
            }
            span = next;
            let (first, last) = bounds(span);
            let take = |bytes| {
                let takes = !excess.is_none() && self.budget.take(bytes);
                if takes {
                    excess.tasks = excess.tasks.saturating_sub(1);
                    excess.bytes = excess.bytes.saturating_sub(bytes);
                }
                takes
            };
            if let Some(Cut { last, .. }) = walk(tasks.query((first, last))?, take)? {
                self.delete("task BETWEEN ?1 AND ?2 AND delivered = 1", (first, last))?;
            }
        }
        Ok(false)
    }

    fn purged(&mut self) -> Result<bool, Problem> {
        let mut jobs = self
            .transaction
            .prepare_cached("SELECT job FROM jobs WHERE purged = 1 AND job > ?1 ORDER BY job LIMIT 1")?;
        let mut tasks = self
            .transaction
            .prepare_cached("SELECT task_index, bytes FROM tasks WHERE job = ?1 ORDER BY task_index")?;
        let mut remove = self.transaction.prepare_cached("DELETE FROM jobs WHERE job = ?1 RETURNING owner")?;
        let mut job = -1;
        while let Some(next) = jobs.query_row([job], |row| row.get(0)).optional()? {
            if self.budget.is_spent() {
                return Ok(true);
            }
            job = next;
            match walk(tasks.query([job])?, |bytes| self.budget.take(bytes))? {
                Some(Cut { last, is_all }) => {
                    self.delete("job = ?1 AND task_index <= ?2", (job, last))?;
                    if !is_all {
                        return Ok(true);
                    }
                }
                None => self.owners_of_jobs.push(remove.query_row([job], |row| row.get(0))?),
            }
        }
        Ok(false)
    }

    fn delete(&mut self, which: &str, params: impl Params) -> Result<(), Problem> {
        let mut delete = self.transaction.prepare_cached(&format!(
            "DELETE FROM tasks WHERE {which} RETURNING task, job, template, state, delivered, bytes, files"
        ))?;
        let mut files = self.transaction.prepare_cached("DELETE FROM files WHERE task = ?1 RETURNING file")?;
        let mut rows = delete.query(params)?;
        while let Some(row) = rows.next()? {
            let counted = Counted {
                task: row.get(0)?,
                job: row.get(1)?,
                template: row.get(2)?,
                state: state(row, 3)?,
                delivered: row.get(4)?,
                bytes: row.get(5)?,
            };
            self.changes.removed(counted);
            self.removed.tasks += 1;
            self.removed.bytes += unsigned(row, 5)?;
            if row.get::<_, i64>(6)? > 0 {
                let mut rows = files.query([counted.task])?;
                while let Some(row) = rows.next()? {
                    self.removed.files.push(unsigned(row, 0)?);
                }
            }
        }
        Ok(())
    }
}

/// The first and the last task number of a span.
fn bounds(span: i64) -> (i64, i64) {
    let first = span << SPAN_BITS;
    (first, first + ((1 << SPAN_BITS) - 1))
}
