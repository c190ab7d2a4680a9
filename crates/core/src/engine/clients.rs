//! Submitting.

use std::{sync::Arc, time::Duration};

use super::{Engine, admin::check_name};
use crate::{
    archived::ArchivedJob,
    digest,
    effect::{Effect, Refusal},
    ids::{JobNumber, SessionNumber, TemplateNumber},
    input::Submit,
    job, labels,
    limits::{RECORD_ITEMS, RECORD_VALUES},
    record::{Caller, Log, Record},
    template::Template,
    templates::Templates,
    time::Now,
    values::{Values, ValuesBuilder},
};

/// When a full queue is worth another try.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Whether a submit's job is there.
enum Known {
    New,
    /// At this position.
    Here(u32),
    /// It was, under an idempotency key.
    Purged(JobNumber),
    /// It is in the archive.
    Archived(ArchivedJob),
}

impl Engine {
    pub(super) fn submit(
        &mut self,
        now: Now,
        session: SessionNumber,
        request: u64,
        caller: Caller,
        submit: &Submit,
        log: &mut impl Log,
    ) -> Result<(), Refusal> {
        let known = match self.find_job(now, caller, submit)? {
            Known::Here(position) => Some(position),
            Known::New => None,
            Known::Archived(archived) => return self.submit_to_archived(session, request, submit, archived),
            Known::Purged(job) => {
                // What was submitted under the key is over and forgotten, and still is not done again.
                let (next_index, closed) = (submit.payloads.count(), true);
                let digest = digest::append(crc32c::crc32c(&submit.template.body), &submit.payloads);
                self.unused_files.extend(submit.payloads.external_files());
                self.tell(Effect::Accepted { session, request, job, next_index, digest, closed });
                return Ok(());
            }
        };
        let next_index = known.and_then(|job| self.state.jobs.at(job)).map_or(0, |job| job.next_index);
        let closed = known.and_then(|job| self.state.jobs.at(job)).is_some_and(|job| job.closed);
        let Some(skip) = next_index.checked_sub(submit.first_index) else {
            return Err(Refusal::Precondition(format!(
                "the tasks from index {next_index} up to {} are missing: send them first",
                submit.first_index
            )));
        };
        let payloads = submit.payloads.skip(skip);
        if closed && payloads.count() > 0 {
            return Err(gets_no_more(next_index));
        }
        let most = self.limits.finished_tasks.min(u32::MAX.into());
        if u64::from(next_index) + u64::from(payloads.count()) > most {
            return Err(Refusal::Invalid(format!("a job has at most {most} tasks (`limits.finished_tasks`)")));
        }
        check_name("job's name", &submit.name)?;
        labels::check(&submit.labels).map_err(Refusal::Invalid)?;
        self.check_room(now, submit, &payloads, known.is_none())?;

        let job = match known.and_then(|job| self.state.jobs.at(job)) {
            Some(job) => job.number,
            None => self.open_job(now, caller, submit, log),
        };
        if skip > 0 {
            let files: Vec<u64> = submit.payloads.external_files().collect();
            let repeated = files.len() - payloads.external_files().count();
            self.unused_files.extend(files.iter().take(repeated));
        }
        if payloads.count() > 0 {
            let template = self.intern(&submit.template, log);
            self.append_tasks(now, job, next_index, template, &payloads, submit, log);
        }
        if submit.last && !closed {
            self.commit(log, &Record::JobClosed { job });
            self.follows.job_changed(self.state.jobs.position(job));
        }
        self.accept(session, request, job);
        Ok(())
    }

    /// The job that the submit belongs to, if it is there already.
    fn find_job(&self, now: Now, caller: Caller, submit: &Submit) -> Result<Known, Refusal> {
        if let Some(idempotency) = submit.idempotency {
            if !submit.last || submit.first_index != 0 {
                return Err(Refusal::Invalid("an idempotency key is for a job that is submitted at once".to_owned()));
            }
            if let Some(entry) = self.state.keys.get(idempotency.key, now.wall) {
                if entry.content != idempotency.content {
                    return Err(Refusal::OtherContent { job: entry.job });
                }
                return Ok(self.state.jobs.position(entry.job).map_or(Known::Purged(entry.job), Known::Here));
            }
        }
        Ok(match self.state.jobs.position_of_key(caller.owner, submit.key) {
            Some(position) => Known::Here(position),
            None => self.state.archived.get(caller.owner, submit.key).map_or(Known::New, Known::Archived),
        })
    }

    /// A job that is over gets nothing more, and says so to who repeats what it has.
    fn submit_to_archived(
        &mut self,
        session: SessionNumber,
        request: u64,
        submit: &Submit,
        archived: ArchivedJob,
    ) -> Result<(), Refusal> {
        let ArchivedJob { job, tasks: next_index, digest } = archived;
        let end = submit.first_index.checked_add(submit.payloads.count());
        if end.is_none_or(|end| end > next_index) {
            return Err(gets_no_more(next_index));
        }
        self.unused_files.extend(submit.payloads.external_files());
        self.tell(Effect::Accepted { session, request, job, next_index, digest, closed: true });
        Ok(())
    }

    fn check_room(&self, now: Now, submit: &Submit, payloads: &Values, opens: bool) -> Result<(), Refusal> {
        if opens && submit.idempotency.is_some() && self.state.keys.is_full(self.limits.idempotency_keys, now.wall) {
            return Err(exhausted(
                "idempotency keys of the last 24 hours (`limits.idempotency_keys`)",
                self.limits.idempotency_keys as u64,
            ));
        }
        let templates = &self.state.templates;
        let is_new = payloads.count() > 0 && templates.find(&submit.template).is_none();
        if is_new && templates.next().0 == u32::MAX {
            return Err(exhausted("different templates of all time", u64::from(u32::MAX)));
        }
        let more = if opens { job::cost(&submit.name, &submit.labels) } else { 0 }
            + if is_new { Templates::cost(&submit.template) } else { 0 };
        if more > 0 && templates.bytes() + self.state.jobs.bytes() + more > self.limits.descriptions {
            return Err(exhausted(
                "bytes of jobs and templates in memory (`limits.descriptions`)",
                self.limits.descriptions,
            ));
        }
        if payloads.count() == 0 {
            return Ok(());
        }
        self.check_open(payloads.count().into(), payloads.layout().map(|(_, length)| length).sum())?;
        if self.kept() > self.limits.finished_tasks {
            let what = "finished tasks in memory that nobody has fetched, or whose jobs are not over \
                (`limits.finished_tasks`; `purge` forgets what is over)";
            return Err(exhausted(what, self.limits.finished_tasks));
        }
        match self.limits.archive_lag {
            Some(limit) if self.archive_lag() > limit => Err(exhausted("tasks that wait for the archive", limit)),
            _ => Ok(()),
        }
    }

    /// Whether so many more tasks may be open.
    pub(super) fn check_open(&self, tasks: u64, bytes: u64) -> Result<(), Refusal> {
        if self.state.counts.open() + tasks > self.limits.open_tasks {
            return Err(exhausted("tasks in the queue (`limits.queue_tasks`)", self.limits.open_tasks));
        }
        if self.state.open_bytes + bytes > self.limits.open_bytes {
            return Err(exhausted("bytes of payloads in the queue (`limits.queue`)", self.limits.open_bytes));
        }
        Ok(())
    }

    fn open_job(&mut self, now: Now, caller: Caller, submit: &Submit, log: &mut impl Log) -> JobNumber {
        self.reserve(0, 0, 1, log);
        let job = self.state.next.job;
        self.commit(
            log,
            &Record::JobOpened {
                job,
                owner: caller.owner,
                key: submit.key,
                name: submit.name.clone(),
                idempotency: submit.idempotency,
                labels: submit.labels.clone(),
                time: now.wall,
            },
        );
        job
    }

    fn intern(&mut self, template: &Arc<Template>, log: &mut impl Log) -> TemplateNumber {
        if let Some(number) = self.state.templates.find(template) {
            return number;
        }
        let number = self.state.templates.next();
        self.commit(log, &Record::TemplateAdded { number, template: template.clone() });
        number
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one record")]
    fn append_tasks(
        &mut self,
        now: Now,
        job: JobNumber,
        mut first_index: u32,
        template: TemplateNumber,
        payloads: &Values,
        submit: &Submit,
        log: &mut impl Log,
    ) {
        let not_before = submit.delay.filter(|delay| !delay.is_zero()).map(|delay| now.wall.plus(delay));
        let deadline = submit.deadline.map(|deadline| now.wall.plus(deadline));
        self.reserve(0, u64::from(payloads.count()), 0, log);
        for payloads in split(payloads) {
            let count = payloads.count();
            let first_task = self.state.next.task;
            let time = now.wall;
            let record =
                Record::Submitted { job, first_task, first_index, template, not_before, deadline, payloads, time };
            self.commit(log, &record);
            first_index += count;
        }
        self.follows.job_changed(self.state.jobs.position(job));
    }

    fn accept(&mut self, session: SessionNumber, request: u64, job: JobNumber) {
        if let Some(job) = self.state.jobs.position(job).and_then(|position| self.state.jobs.at(position)) {
            let effect = Effect::Accepted {
                session,
                request,
                job: job.number,
                next_index: job.next_index,
                digest: job.digest,
                closed: job.closed,
            };
            self.tell(effect);
        }
    }
}

fn gets_no_more(tasks: u32) -> Refusal {
    Refusal::Precondition(format!("the job is closed with {tasks} tasks and gets no more"))
}

fn exhausted(what: &'static str, limit: u64) -> Refusal {
    Refusal::Exhausted { what, limit, retry_after: RETRY_AFTER }
}

/// Cuts values into runs that fit into a record each.
pub(super) fn split(values: &Values) -> Vec<Values> {
    if values.bytes().len() <= RECORD_VALUES && values.count() as usize <= RECORD_ITEMS {
        return vec![values.clone()];
    }
    let mut runs = Vec::new();
    let mut builder = ValuesBuilder::default();
    for (_, value) in values.iter() {
        let full = builder.encoded_len_with(&value) > RECORD_VALUES || builder.count() as usize == RECORD_ITEMS;
        if full && builder.count() > 0 {
            runs.push(builder.take());
        }
        builder.push_value(&value);
    }
    runs.push(builder.take());
    runs
}
