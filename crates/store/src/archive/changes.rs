//! Sums that are kept beside the rows, and how they follow what is added and removed.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Transaction, params};
use task_messenger_core::{
    ids::{JobNumber, TemplateNumber},
    task::TaskState,
    time::WallTime,
};

use super::{
    error::Problem,
    rows::{ArchivedJob, ArchivedTemplate, Batch, TotalsChange, integer, milliseconds, state_position},
};

/// Task numbers to a span, as a power of two.
pub(super) const SPAN_BITS: u32 = 13;

/// The span of a task number.
pub(super) fn span_of(task: i64) -> i64 {
    task >> SPAN_BITS
}

/// How many tasks came or went, and what that means for the sums.
#[derive(Debug, Default)]
pub(super) struct Changes {
    spans: Tally<SpanChange>,
    jobs: Tally<JobChange>,
    templates: Tally<i64>,
}

/// A task that came or went, as far as the sums care.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) task: i64,
    pub(super) job: i64,
    pub(super) template: i64,
    pub(super) state: TaskState,
    pub(super) delivered: bool,
    pub(super) bytes: i64,
}

#[derive(Clone, Copy, Debug)]
struct SpanChange {
    tasks: i64,
    undelivered: i64,
    oldest: i64,
}

impl SpanChange {
    fn new(tasks: i64, undelivered: i64) -> Self {
        Self { tasks, undelivered, oldest: i64::MAX }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct JobChange {
    states: [i64; 4],
    bytes: i64,
}

impl JobChange {
    fn count(&self) -> i64 {
        self.states.iter().sum()
    }
}

trait Merge {
    fn merge(&mut self, other: Self);
}

impl Merge for i64 {
    fn merge(&mut self, other: Self) {
        *self += other;
    }
}

impl Merge for SpanChange {
    fn merge(&mut self, other: Self) {
        self.tasks += other.tasks;
        self.undelivered += other.undelivered;
        self.oldest = self.oldest.min(other.oldest);
    }
}

impl Merge for JobChange {
    fn merge(&mut self, other: Self) {
        for (count, other) in self.states.iter_mut().zip(other.states) {
            *count += other;
        }
        self.bytes += other.bytes;
    }
}

/// Changes by number. Neighbours mostly have the same number, so that most additions find their place at once.
#[derive(Debug)]
struct Tally<T> {
    runs: Vec<(i64, T)>,
}

impl<T> Default for Tally<T> {
    fn default() -> Self {
        Self { runs: Vec::new() }
    }
}

impl<T: Merge> Tally<T> {
    fn add(&mut self, number: i64, change: T) {
        match self.runs.last_mut() {
            Some((last, sum)) if *last == number => sum.merge(change),
            _ => self.runs.push((number, change)),
        }
    }

    /// Each number once, in order.
    fn sums(self) -> BTreeMap<i64, T> {
        let mut sums: BTreeMap<i64, T> = BTreeMap::new();
        for (number, change) in self.runs {
            match sums.entry(number) {
                std::collections::btree_map::Entry::Vacant(entry) => drop(entry.insert(change)),
                std::collections::btree_map::Entry::Occupied(mut entry) => entry.get_mut().merge(change),
            }
        }
        sums
    }
}

impl Changes {
    pub(super) fn added(&mut self, task: Counted, finished: i64) {
        let span = SpanChange { oldest: finished, ..SpanChange::new(1, i64::from(!task.delivered)) };
        self.spans.add(span_of(task.task), span);
        self.count(task, 1);
    }

    pub(super) fn removed(&mut self, task: Counted) {
        self.spans.add(span_of(task.task), SpanChange::new(-1, -i64::from(!task.delivered)));
        self.count(task, -1);
    }

    pub(super) fn delivered(&mut self, task: i64) {
        self.spans.add(span_of(task), SpanChange::new(0, -1));
    }

    fn count(&mut self, task: Counted, one: i64) {
        let mut change = JobChange { states: [0; 4], bytes: one * task.bytes };
        if let Some(count) = state_position(task.state).and_then(|at| change.states.get_mut(at)) {
            *count = one;
        }
        self.jobs.add(task.job, change);
        self.templates.add(task.template, one);
    }

    /// Carries the changes over, with the jobs and templates that a batch brings. Jobs of which nothing is left and nothing
    /// will come, templates and owners of which nothing is left are removed.
    pub(super) fn apply(self, transaction: &Transaction<'_>, batch: &Batch) -> Result<TotalsChange, Problem> {
        apply_spans(transaction, self.spans.sums())?;
        apply_templates(transaction, self.templates.sums(), &batch.templates)?;
        let owners = apply_jobs(transaction, self.jobs.sums(), &batch.jobs)?;
        apply_owners(transaction, owners)
    }
}

fn apply_spans(transaction: &Transaction<'_>, spans: BTreeMap<i64, SpanChange>) -> Result<(), Problem> {
    let mut change = transaction.prepare_cached(
        "INSERT INTO spans (span, tasks, undelivered, oldest) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (span) DO UPDATE SET tasks = tasks + excluded.tasks,
             undelivered = undelivered + excluded.undelivered, oldest = min(oldest, excluded.oldest)",
    )?;
    let mut remove = transaction.prepare_cached("DELETE FROM spans WHERE span = ?1 AND tasks = 0")?;
    for (span, SpanChange { tasks, undelivered, oldest }) in spans {
        change.execute((span, tasks, undelivered, oldest))?;
        if tasks < 0 {
            remove.execute([span])?;
        }
    }
    Ok(())
}

fn apply_templates(
    transaction: &Transaction<'_>,
    changes: BTreeMap<i64, i64>,
    brought: &[ArchivedTemplate],
) -> Result<(), Problem> {
    let brought: BTreeMap<i64, &ArchivedTemplate> =
        brought.iter().map(|template| (i64::from(template.number.0), template)).collect();
    let mut change = transaction.prepare_cached("UPDATE templates SET tasks = tasks + ?2 WHERE template = ?1")?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO templates
             (template, kind, program, priority, slots, max_attempts, backoff_first, backoff_longest, tasks, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    let mut remove = transaction.prepare_cached("DELETE FROM templates WHERE template = ?1 AND tasks = 0")?;
    for (number, tasks) in changes {
        if change.execute((number, tasks))? == 0 {
            let Some(ArchivedTemplate { number, program, template }) = brought.get(&number) else {
                return Err(Problem::NoTemplate(TemplateNumber(number as u32)));
            };
            let (kind, program) = super::reader::kind_and_program(&template.kind, program);
            insert.execute(params![
                number.0,
                kind,
                program,
                template.priority,
                template.slots,
                template.retry.max_attempts,
                i64::try_from(template.retry.backoff_first.as_millis()).unwrap_or(i64::MAX),
                i64::try_from(template.retry.backoff_longest.as_millis()).unwrap_or(i64::MAX),
                tasks,
                &template.body[..],
            ])?;
        } else if tasks < 0 {
            remove.execute([number])?;
        }
    }
    Ok(())
}

/// An owner's changes: its name, if it is known, how many jobs, which tasks.
#[derive(Default)]
struct OwnerChange<'a> {
    name: Option<&'a str>,
    jobs: i64,
    tasks: JobChange,
}

fn apply_jobs<'a>(
    transaction: &Transaction<'_>,
    mut changes: BTreeMap<i64, JobChange>,
    brought: &'a [ArchivedJob],
) -> Result<BTreeMap<i64, OwnerChange<'a>>, Problem> {
    let mut owners: BTreeMap<i64, OwnerChange<'a>> = BTreeMap::new();
    for job in brought {
        let number = integer("the job's number", job.number.0)?;
        let tasks = changes.remove(&number).unwrap_or_default();
        let is_new = put_job(transaction, number, job, tasks.count())?;
        let owner = owners.entry(i64::from(job.owner.0)).or_default();
        owner.name = Some(&job.owner_name);
        owner.jobs += i64::from(is_new);
        owner.tasks.merge(tasks);
    }
    let mut change = transaction
        .prepare_cached("UPDATE jobs SET kept = kept + ?2 WHERE job = ?1 RETURNING owner, kept, ended, purged")?;
    let mut remove = transaction.prepare_cached("DELETE FROM jobs WHERE job = ?1")?;
    for (job, tasks) in changes {
        let kept_change = tasks.count();
        let found = change
            .query_row((job, kept_change), |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<i64>>(2)?, row.get(3)?))
            })
            .optional()?;
        let Some((owner, kept, ended, purged)) = found else {
            return Err(Problem::NoJob(JobNumber(job as u64)));
        };
        let owner = owners.entry(owner).or_default();
        owner.tasks.merge(tasks);
        if kept == 0 && kept_change < 0 && (ended.is_some() || purged) {
            remove.execute([job])?;
            owner.jobs -= 1;
        }
    }
    Ok(owners)
}

/// Adds a job, or brings what is known of it up to date; whether it was added.
fn put_job(transaction: &Transaction<'_>, number: i64, job: &ArchivedJob, kept: i64) -> Result<bool, Problem> {
    let ArchivedJob {
        number: _,
        owner,
        owner_name: _,
        name,
        labels,
        key,
        opened,
        closed,
        ended,
        digest,
        tasks,
        counts,
    } = job;
    let ended = ended.map(milliseconds);
    let labels = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect::<serde_json::Value>();
    let succeeded = integer("the number of tasks", counts.succeeded)?;
    let failed = integer("the number of tasks", counts.failed)?;
    let cancelled = integer("the number of tasks", counts.cancelled)?;
    let expired = integer("the number of tasks", counts.expired)?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO jobs (job, owner, name, labels, key, opened, closed, ended, digest, tasks, succeeded, failed,
             cancelled, expired, kept)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
         ON CONFLICT (job) DO NOTHING",
    )?;
    let added = insert.execute(params![
        number,
        owner.0,
        name,
        labels.to_string(),
        key.as_ref().map(|key| &key.0[..]),
        milliseconds(*opened),
        closed,
        ended,
        digest,
        tasks,
        succeeded,
        failed,
        cancelled,
        expired,
        kept,
    ])?;
    if added == 0 {
        let mut update = transaction.prepare_cached(
            "UPDATE jobs SET closed = ?2, ended = ?3, digest = ?4, tasks = ?5, succeeded = ?6, failed = ?7,
                 cancelled = ?8, expired = ?9, kept = kept + ?10
             WHERE job = ?1",
        )?;
        update.execute(params![number, closed, ended, digest, tasks, succeeded, failed, cancelled, expired, kept])?;
    }
    Ok(added > 0)
}

fn apply_owners(
    transaction: &Transaction<'_>,
    owners: BTreeMap<i64, OwnerChange<'_>>,
) -> Result<TotalsChange, Problem> {
    let mut totals = TotalsChange::default();
    let mut change = transaction.prepare_cached(
        "INSERT INTO owners (owner, name, jobs, succeeded, failed, cancelled, expired, bytes)
         VALUES (?1, coalesce(?2, ''), ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (owner) DO UPDATE SET name = coalesce(?2, name), jobs = jobs + ?3, succeeded = succeeded + ?4,
             failed = failed + ?5, cancelled = cancelled + ?6, expired = expired + ?7, bytes = bytes + ?8",
    )?;
    let mut remove = transaction.prepare_cached("DELETE FROM owners WHERE owner = ?1 AND jobs = 0")?;
    for (owner, OwnerChange { name, jobs, tasks }) in owners {
        let [succeeded, failed, cancelled, expired] = tasks.states;
        change.execute((owner, name, jobs, succeeded, failed, cancelled, expired, tasks.bytes))?;
        if jobs < 0 {
            remove.execute([owner])?;
        }
        totals.jobs += jobs;
        totals.bytes += tasks.bytes;
        for (total, count) in totals.tasks.iter_mut().zip(tasks.states) {
            *total += count;
        }
    }
    Ok(totals)
}

/// Counts jobs that were removed without a task of theirs.
pub(super) fn jobs_removed(transaction: &Transaction<'_>, owners: &[i64]) -> Result<TotalsChange, Problem> {
    let mut changes: BTreeMap<i64, OwnerChange<'_>> = BTreeMap::new();
    for owner in owners {
        changes.entry(*owner).or_default().jobs -= 1;
    }
    apply_owners(transaction, changes)
}

/// Notes that no task of a span ended before `time` any more.
pub(super) fn raise_oldest(transaction: &Transaction<'_>, span: i64, time: WallTime) -> Result<(), Problem> {
    let mut raise = transaction.prepare_cached("UPDATE spans SET oldest = max(oldest, ?2) WHERE span = ?1")?;
    raise.execute((span, milliseconds(time)))?;
    Ok(())
}
