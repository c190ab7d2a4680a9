//! `store export`: every task, a line each.

use std::{
    collections::HashMap,
    io::{BufWriter, IsTerminal, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, bail};
use bytes::Bytes;
use clap::Args;
use jiff::Timestamp;
use prost::Message;
use serde_json::{Map, Value, json};
use task_messenger_core::{
    ids::{JobNumber, Place, TaskId, TaskNumber, TemplateNumber},
    job::Job,
    labels::Labels,
    query::JobFilter,
    state::State,
    task::{Task, TaskState},
    time::WallTime,
    values::Value as StoredValue,
};
use task_messenger_daemon::say::say;
use task_messenger_protocol::messages::{Outcome, Template};
use task_messenger_store::{
    archive::{ArchiveError, ArchivedTask, JobQuestion, KeptJob, Reader},
    journal::{ValueReadError, ValueReader},
};

use super::{
    StoreCommandError,
    format::{self, add_bytes, parse_state},
    held::{Held, Replay},
    progress::{Progress, Unit},
};
use crate::config::Config;

const EXAMPLES: &str = "\
Examples:
  task-messenger-manager store export > tasks.jsonl
  task-messenger-manager store export --state failed | jq -r '[.task, .outcome.text] | @tsv'
  task-messenger-manager store export --job 12 | jq -j '.outcome.output'

Each line is a JSON object: the task, what it runs, its payload if that is kept, and what it came to, under the names that
`task-messenger show --json` and `result --json` have for it. Bytes that are not UTF-8 stand under names that end in
`_base64`. What the journal holds comes first, oldest first; then the archive's jobs, newest first. A value that can't be
read is null, and `damage` says why. The manager must be stopped; nothing is changed.

Exit codes: 0 all was written; 78 some of it can't be read (`store check` says more); 1 a manager runs, or the store can't be
held.";

/// Rows of the archive that are asked for at a time.
const PAGE: u32 = 1_000;

/// The arguments of `store export`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Only this job's tasks
    #[arg(long, value_name = "JOB")]
    job: Option<u64>,
    /// Only tasks in this state
    #[arg(long, value_parser = parse_state)]
    state: Option<TaskState>,
    /// Only tasks of jobs that were opened since then: a time until now, such as 2h or 3d, or a moment such as
    /// 2026-11-03T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<WallTime>,
}

fn parse_since(text: &str) -> Result<WallTime, String> {
    let moment = if let Ok(time) = humantime::parse_duration(text) {
        SystemTime::now().checked_sub(time).ok_or_else(|| "that is too long ago".to_owned())?
    } else {
        let wanted = "a time until now such as 2h, or a moment such as 2026-11-03T08:00:00Z, is wanted";
        text.parse::<Timestamp>().map(SystemTime::from).map_err(|_| wanted.to_owned())?
    };
    Ok(WallTime(moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64))
}

pub(super) fn run(config: &Config, arguments: &Arguments, out: &mut impl Write) -> Result<()> {
    let held = Held::take(config)?;
    let Replay { state, values, .. } = held.replay(config)?;
    let mut export = Export {
        arguments,
        out: BufWriter::with_capacity(1 << 16, out),
        values,
        templates: HashMap::new(),
        progress: Progress::new(Unit::Tasks, std::io::stdout().is_terminal()),
        looked_at: 0,
        total: state.counts.total(),
        jobs: 0,
        damaged: 0,
    };
    export.journal(&state)?;
    match held.archive() {
        Ok(Some(archive)) => export.archive(&archive, &state)?,
        Ok(None) => {}
        Err(error) => {
            export.out.flush()?;
            return Err(error.into());
        }
    }
    export.out.flush()?;
    let Export { jobs, damaged, progress, .. } = export;
    drop(progress);
    if let (Some(job), 0) = (arguments.job, jobs) {
        bail!("there is no job {job} in the store: `store export` without --job writes all that there is");
    }
    if damaged > 0 {
        let findings = format!("{damaged} tasks were written without values that can't be read");
        let advice = "`store check` says what is damaged";
        return Err(StoreCommandError::Damaged { directory: held.directory, findings, advice }.into());
    }
    Ok(())
}

struct Export<'a, W: Write> {
    arguments: &'a Arguments,
    out: BufWriter<W>,
    values: ValueReader,
    /// The last ones, as they are written.
    templates: HashMap<TemplateNumber, Value>,
    progress: Progress,
    looked_at: u64,
    total: u64,
    jobs: u64,
    damaged: u64,
}

/// Templates that are kept as they are written.
const TEMPLATES: usize = 1_024;

/// What a task's line says of its job.
struct JobFields<'a> {
    name: &'a str,
    owner: &'a str,
    labels: &'a Labels,
}

/// A value, if it is kept; or why it can't be had.
type Kept = Result<Option<Bytes>, String>;

impl<W: Write> Export<'_, W> {
    /// What the journal holds.
    fn journal(&mut self, state: &State) -> Result<()> {
        for job in state.jobs.iter() {
            if !self.wants(job.number, job.opened) {
                continue;
            }
            self.jobs += 1;
            for (index, number) in (0..).zip(job.tasks()) {
                self.count();
                let Some(task) = state.tasks.get(number) else { continue };
                if self.arguments.state.is_none_or(|state| state == task.state()) {
                    self.journal_task(state, job, TaskId { job: job.number, index }, number, task)?;
                }
            }
        }
        Ok(())
    }

    fn journal_task(&mut self, state: &State, job: &Job, id: TaskId, number: TaskNumber, task: &Task) -> Result<()> {
        let about = JobFields { name: &job.name, owner: state.access.owner(job.owner), labels: &job.labels };
        let mut fields = about.fields(id, task.state());
        let lease = task.lease().and_then(|lease| state.leases.get(&lease)).filter(|lease| lease.task == number);
        let worker = lease.and_then(|lease| state.access.worker_at(lease.worker)).map(|worker| &worker.name);
        let running = task.state() == TaskState::Running;
        add(&mut fields, "kept_in", json!("journal"));
        add(&mut fields, "attempts", json!(task.attempts));
        add(&mut fields, "failures", json!(task.failures));
        add(&mut fields, "crashes", json!(task.crashes()));
        add(&mut fields, "worker", json!(worker.filter(|_| running)));
        add(&mut fields, "cancelling", json!(running && task.is_cancelling()));
        add(&mut fields, "has_outcome", json!(task.outcome().is_some()));
        add(&mut fields, "submitted", format::time(job.opened));
        add(&mut fields, "finished", Value::Null);
        let body = state.templates.get(task.template).map(|template| template.body.clone());
        let template = self.template(task.template, body);
        add(&mut fields, "template", template);
        add(&mut fields, "payload_bytes", json!(task.payload_length));
        let payload = self.value_at(task.needed_payload());
        let outcome = self.value_at(task.outcome());
        self.write(fields, task.state(), payload, outcome)
    }

    /// What the archive holds, and the journal doesn't.
    fn archive(&mut self, archive: &Reader, state: &State) -> Result<()> {
        let cannot = |source: ArchiveError| StoreCommandError::Archive { source };
        self.total += archive.totals(None).map_err(cannot)?.tasks.total();
        if let Some(job) = self.arguments.job {
            if let Some(job) =
                archive.job(JobNumber(job)).map_err(cannot)?.filter(|job| self.wants(job.job.number, job.job.opened))
            {
                self.archived_job(archive, state, &job)?;
            }
            return Ok(());
        }
        let filter = JobFilter { state: self.arguments.state, since: self.arguments.since, ..JobFilter::default() };
        let mut question = JobQuestion { owner: None, before: None, name_contains: None, filter, limit: PAGE };
        loop {
            let page = archive.jobs(&question).map_err(cannot)?;
            for job in &page.jobs {
                self.archived_job(archive, state, job)?;
            }
            question.before = page.next;
            if page.next.is_none() {
                return Ok(());
            }
        }
    }

    fn archived_job(&mut self, archive: &Reader, state: &State, job: &KeptJob) -> Result<()> {
        let cannot = |source: ArchiveError| StoreCommandError::Archive { source };
        self.jobs += 1;
        let kept = state.jobs.position(job.job.number).and_then(|position| state.jobs.at(position));
        let in_journal = |index: u32| kept.and_then(|job| state.tasks.get(job.task(index)?)).is_some();
        let mut from = Some(0);
        while let Some(index) = from {
            let page = archive.tasks(job.job.number, self.arguments.state, index, PAGE).map_err(cannot)?;
            for task in page.tasks.iter().filter(|task| !in_journal(task.id.index)) {
                self.count();
                // With its values, of which only one task's are in memory at a time.
                if let Some(task) = archive.task(task.id).map_err(cannot)? {
                    self.archived_task(archive, job, &task)?;
                }
            }
            from = page.next_index;
        }
        Ok(())
    }

    fn archived_task(&mut self, archive: &Reader, job: &KeptJob, task: &ArchivedTask) -> Result<()> {
        let job = &job.job;
        let about = JobFields { name: &job.name, owner: &job.owner_name, labels: &job.labels };
        let mut fields = about.fields(task.id, task.state);
        add(&mut fields, "kept_in", json!("archive"));
        add(&mut fields, "attempts", json!(task.attempts));
        add(&mut fields, "failures", json!(task.failures));
        add(&mut fields, "crashes", json!(task.crashes));
        add(&mut fields, "worker", Value::Null);
        add(&mut fields, "cancelling", json!(false));
        add(&mut fields, "has_outcome", json!(task.outcome_bytes.is_some()));
        add(&mut fields, "submitted", format::time(task.submitted.unwrap_or(job.opened)));
        add(&mut fields, "finished", format::time(task.finished));
        let body = if self.templates.contains_key(&task.template) {
            None
        } else {
            let found = archive.template(task.template).map_err(|source| StoreCommandError::Archive { source })?;
            found.map(|found| found.template.body.clone())
        };
        let template = self.template(task.template, body);
        add(&mut fields, "template", template);
        add(&mut fields, "payload_bytes", json!(task.payload_bytes));
        let payload = self.bytes(task.payload.as_ref());
        let outcome = self.bytes(task.outcome.as_ref());
        self.write(fields, task.state, payload, outcome)
    }

    fn wants(&self, job: JobNumber, opened: WallTime) -> bool {
        let Arguments { job: wanted, since, .. } = self.arguments;
        wanted.is_none_or(|wanted| job.0 == wanted) && since.is_none_or(|since| opened >= since)
    }

    fn count(&mut self) {
        self.looked_at += 1;
        self.progress.set(self.looked_at, self.total);
    }

    /// A template as it is written; `body` is looked at if it isn't known.
    fn template(&mut self, number: TemplateNumber, body: Option<Bytes>) -> Value {
        if let Some(known) = self.templates.get(&number) {
            return known.clone();
        }
        let decoded = body.and_then(|body| Template::decode(body).ok());
        let value = decoded.as_ref().map_or(Value::Null, format::template);
        if self.templates.len() >= TEMPLATES {
            self.templates.clear();
        }
        self.templates.insert(number, value.clone());
        value
    }

    fn value_at(&mut self, place: Option<Place>) -> Kept {
        let Some(place) = place else { return Ok(None) };
        let value = self.values.at(place).map_err(|error| said(&error.into()))?;
        self.bytes(Some(&value))
    }

    fn bytes(&self, value: Option<&StoredValue>) -> Kept {
        value.map(|value| self.values.bytes(value)).transpose().map_err(|error| said(&error))
    }

    fn write(&mut self, mut fields: Map<String, Value>, state: TaskState, payload: Kept, outcome: Kept) -> Result<()> {
        let mut damage = Vec::new();
        match payload {
            Ok(Some(payload)) => add_bytes(&mut fields, "payload", &payload),
            other => {
                add(&mut fields, "payload", Value::Null);
                damage.extend(other.err().map(|problem| format!("payload: {problem}")));
            }
        }
        let decoded = outcome
            .and_then(|outcome| outcome.map(Outcome::decode).transpose().map_err(|_| "it can't be decoded".to_owned()));
        let decoded = match decoded {
            Ok(decoded) => state.is_final().then(|| format::outcome(state, &decoded.unwrap_or_default())),
            Err(problem) => {
                damage.push(format!("outcome: {problem}"));
                None
            }
        };
        add(&mut fields, "outcome", decoded.unwrap_or_default());
        if !damage.is_empty() {
            self.damaged += 1;
            let task = fields.get("task").and_then(Value::as_str).unwrap_or_default();
            say(format_args!("task {task}: {}", damage.join("; ")));
            add(&mut fields, "damage", json!(damage));
        }
        serde_json::to_writer(&mut self.out, &fields).map_err(std::io::Error::from)?;
        self.out.write_all(b"\n")?;
        Ok(())
    }
}

impl JobFields<'_> {
    fn fields(&self, id: TaskId, state: TaskState) -> Map<String, Value> {
        let mut fields = Map::new();
        add(&mut fields, "task", json!(id.to_string()));
        add(&mut fields, "job_name", json!(self.name));
        add(&mut fields, "owner", json!(self.owner));
        add(&mut fields, "labels", json!(self.labels));
        add(&mut fields, "state", json!(state.name()));
        fields
    }
}

fn add(fields: &mut Map<String, Value>, name: &str, value: Value) {
    fields.insert(name.to_owned(), value);
}

fn said(error: &ValueReadError) -> String {
    task_messenger_daemon::exit::chain(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_until_now_or_a_moment() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let ago = now - parse_since("2h").unwrap().0;
        assert!((7_199_000..7_260_000).contains(&ago), "{ago}");
        assert_eq!(parse_since("1970-01-01T03:00:00+02:00"), Ok(WallTime(3_600_000)));
        assert!(parse_since("yesterday").is_err() && parse_since("999999999999y").is_err());
    }
}
