//! `list`: jobs, or the tasks of one.

use std::time::SystemTime;

use anyhow::Result;
use clap::Args;
use comfy_table::Cell;
use jiff::Timestamp;
use serde_json::Value;
use task_messenger_client::{Client, JobFilter, JobNumber, TaskState};
use task_messenger_daemon::say::say;

use crate::{
    failure::UsageError,
    format,
    printer::{Printer, number, state_cell},
    session::SessionOptions,
    task_options::parse_label,
};

const EXAMPLES: &str = "\
Examples:
  task-messenger list                          the newest jobs
  task-messenger list --state failed --since 2h  the jobs of the last two hours with dead letters
  task-messenger list --label run=nightly        the jobs that were submitted with this label
  task-messenger list 12 --state failed        what failed in job 12
  task-messenger list --limit 100 --before 12  the jobs before job 12
  task-messenger list --json | jq '.[].job'

--json prints one array.";

/// Entries that are asked for at a time.
const PAGE: u32 = 1_000;

/// The arguments of `list`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The job whose tasks to list
    #[arg(value_name = "JOB")]
    job: Option<u64>,
    /// The same as JOB
    #[arg(long = "job", value_name = "JOB", conflicts_with = "job")]
    of_job: Option<u64>,
    /// Only tasks in this state; only jobs that have a task in this state
    #[arg(long, value_parser = parse_state)]
    state: Option<TaskState>,
    /// Only jobs that were opened since then: a time until now, such as 2h or 3d, or a moment such as 2026-11-03T08:00:00Z
    #[arg(long, conflicts_with_all = ["job", "of_job"], value_name = "TIME", value_parser = parse_since)]
    since: Option<SystemTime>,
    /// Only jobs with this label; may be repeated: with all of them
    #[arg(long, conflicts_with_all = ["job", "of_job"], value_name = "KEY=VALUE", value_parser = parse_label)]
    label: Vec<(String, String)>,
    /// At most this many
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Only tasks from this index on
    #[arg(long, default_value_t = 0, value_name = "INDEX", conflicts_with_all = ["since", "before", "label"])]
    from: u32,
    /// Only jobs before this one
    #[arg(long, conflicts_with_all = ["job", "of_job"], value_name = "JOB")]
    before: Option<u64>,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

fn parse_state(text: &str) -> Result<TaskState, String> {
    let names = || format::STATES.map(format::state).join(", ");
    let found = format::STATES.into_iter().find(|state| format::state(*state) == text);
    found.ok_or_else(|| format!("one of {} is wanted", names()))
}

fn parse_since(text: &str) -> Result<SystemTime, String> {
    if let Ok(time) = humantime::parse_duration(text) {
        return SystemTime::now().checked_sub(time).ok_or_else(|| "that is too long ago".to_owned());
    }
    let wanted = "a time until now such as 2h, or a moment such as 2026-11-03T08:00:00Z, is wanted";
    text.parse::<Timestamp>().map(SystemTime::from).map_err(|_| wanted.to_owned())
}

/// Lists.
pub async fn run(arguments: &Arguments, session: &SessionOptions) -> Result<u8> {
    if arguments.before == Some(0) {
        return Err(UsageError::plain("--before: jobs are numbered from 1").into());
    }
    let client = session.connect().await?;
    let printer = Printer::new(arguments.json);
    match arguments.job.or(arguments.of_job) {
        Some(job) => list_tasks(&client, arguments, JobNumber(job), printer).await?,
        None if arguments.from > 0 => {
            return Err(UsageError::plain("--from: an index is one of a job's tasks, and no job is named").into());
        }
        None => list_jobs(&client, arguments, printer).await?,
    }
    Ok(0)
}

async fn list_jobs(client: &Client, arguments: &Arguments, printer: Printer) -> Result<()> {
    let labels = arguments.label.iter().cloned().collect();
    let filter = JobFilter { state: arguments.state, since: arguments.since, labels };
    let all = filter == JobFilter::default();
    let mut pages = client.jobs_with(filter, arguments.before.map(JobNumber));
    let mut jobs = Vec::new();
    while pages.more() && jobs.len() < arguments.limit as usize {
        jobs.extend(pages.next((arguments.limit - jobs.len() as u32).min(PAGE)).await?);
    }
    if printer.json() {
        return printer.document(&jobs.iter().map(format::job_json).collect());
    }
    let rows = jobs.iter().map(|job| {
        let counts = job.counts.unwrap_or_default();
        let state = match (job.closed, format::open(&counts)) {
            (false, _) => "open",
            (true, 0) => "over",
            (true, _) => "going on",
        };
        vec![
            number(job.job),
            Cell::new(&job.name),
            Cell::new(state),
            number(job.tasks),
            number(counts.queued + counts.waiting + counts.scheduled),
            number(counts.running),
            number(counts.succeeded),
            number(counts.failed),
            number(counts.cancelled),
            number(counts.expired),
            Cell::new(format::time(job.submitted_milliseconds)),
            Cell::new(&job.owner),
        ]
    });
    let headers = [
        "JOB",
        "NAME",
        "STATE",
        "TASKS",
        "QUEUED",
        "RUNNING",
        "SUCCEEDED",
        "FAILED",
        "CANCELLED",
        "EXPIRED",
        "SUBMITTED",
        "OWNER",
    ];
    let empty = if all { "no jobs; `task-messenger submit -- PROGRAM` makes one" } else { "no such jobs" };
    printer.table(&headers, rows.collect(), empty)?;
    say_if_more(pages.more(), jobs.last().map(|job| format!("--before {}", job.job)));
    Ok(())
}

async fn list_tasks(client: &Client, arguments: &Arguments, job: JobNumber, printer: Printer) -> Result<()> {
    let mut pages = client.tasks(job, arguments.state, arguments.from);
    let mut tasks = Vec::new();
    while pages.more() && tasks.len() < arguments.limit as usize {
        tasks.extend(pages.next((arguments.limit - tasks.len() as u32).min(PAGE)).await?);
    }
    if printer.json() {
        return printer.document(&tasks.iter().map(format::task_json).collect::<Value>());
    }
    let rows = tasks.iter().map(|task| {
        vec![
            Cell::new(format!("{}.{}", task.job, task.index)),
            state_cell(task),
            number(task.attempts),
            number(task.failures),
            Cell::new(&task.worker),
        ]
    });
    let headers = ["TASK", "STATE", "ATTEMPTS", "FAILURES", "WORKER"];
    printer.table(&headers, rows.collect(), "no such tasks")?;
    say_if_more(pages.more(), tasks.last().map(|task| format!("--from {}", u64::from(task.index) + 1)));
    Ok(())
}

/// On standard error, so that what reads the table isn't disturbed.
fn say_if_more(more: bool, next: Option<String>) {
    if let (true, Some(next)) = (more, next) {
        say(format_args!("there are more: `{next}` goes on, `--limit N` shows more at a time"));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn since_is_a_time_until_now_or_a_moment() {
        let ago = parse_since("2h").unwrap().elapsed().unwrap();
        assert!(ago >= Duration::from_hours(2) && ago < Duration::from_hours(3), "{ago:?}");
        let moment = SystemTime::UNIX_EPOCH + Duration::from_hours(1);
        assert_eq!(parse_since("1970-01-01T01:00:00Z"), Ok(moment));
        assert_eq!(parse_since("1970-01-01T03:00:00+02:00"), Ok(moment));
        for wrong in ["yesterday", "", "2026-11-03", "999999999999y"] {
            assert!(parse_since(wrong).is_err(), "{wrong}");
        }
    }
}
