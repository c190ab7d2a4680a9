//! `list`: jobs, or the tasks of one.

use anyhow::Result;
use clap::Args;
use comfy_table::Cell;
use serde_json::Value;
use task_messenger_client::{Client, JobNumber, TaskState};
use task_messenger_daemon::say::say;

use crate::{
    failure::UsageError,
    format,
    printer::{Printer, number, state_cell},
    session::SessionOptions,
};

const EXAMPLES: &str = "\
Examples:
  task-messenger list                          the newest jobs
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
    job: Option<u64>,
    /// Only tasks in this state
    #[arg(long, requires = "job", value_parser = parse_state)]
    state: Option<TaskState>,
    /// At most this many
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Only tasks from this index on
    #[arg(long, requires = "job", default_value_t = 0, value_name = "INDEX")]
    from: u32,
    /// Only jobs before this one
    #[arg(long, conflicts_with = "job", value_name = "JOB")]
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

/// Lists.
pub async fn run(arguments: &Arguments, session: &SessionOptions) -> Result<u8> {
    if arguments.before == Some(0) {
        return Err(UsageError::plain("--before: jobs are numbered from 1").into());
    }
    let client = session.connect().await?;
    let printer = Printer::new(arguments.json);
    match arguments.job {
        Some(job) => list_tasks(&client, arguments, JobNumber(job), printer).await?,
        None => list_jobs(&client, arguments, printer).await?,
    }
    Ok(0)
}

async fn list_jobs(client: &Client, arguments: &Arguments, printer: Printer) -> Result<()> {
    let mut pages = client.jobs_before(arguments.before.map(JobNumber));
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
            number(format::not_succeeded(&counts)),
            Cell::new(format::time(job.submitted_milliseconds)),
            Cell::new(&job.owner),
        ]
    });
    let headers = ["JOB", "NAME", "STATE", "TASKS", "QUEUED", "RUNNING", "SUCCEEDED", "FAILED", "SUBMITTED", "OWNER"];
    printer.table(&headers, rows.collect(), "no jobs; `task-messenger submit -- PROGRAM` makes one")?;
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
            state_cell(task.state()),
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
