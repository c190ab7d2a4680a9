//! `wait`: until a job or a task is at its end.

use anyhow::{Context, Result};
use clap::Args;
use task_messenger_client::{Client, Counts, FollowOptions, JobNumber, Target, TaskState};
use task_messenger_daemon::say::say;

use super::submit::{INTERRUPTED, await_result};
use crate::{format, id::Id, printer::Printer, session::SessionOptions};

const EXAMPLES: &str = "\
Examples:
  task-messenger wait 12 && echo all is well
  task-messenger wait 12.345

The exit code is 0 if all succeeded, 1 if any did not. --json prints one object.";

/// The arguments of `wait`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The job or task
    #[arg(value_name = "JOB|TASK")]
    id: Id,
    /// Print a JSON object at the end
    #[arg(long)]
    json: bool,
}

/// Waits.
pub async fn run(arguments: &Arguments, session: &SessionOptions) -> Result<u8> {
    let client = session.connect_for_long().await?;
    let printer = Printer::new(arguments.json);
    match arguments.id {
        Id::Task(task) => {
            let Some((result, _)) = await_result(&client, task).await? else { return Ok(INTERRUPTED) };
            if printer.json() {
                printer.document(&format::result_json(task.job.0, &result))?;
            } else if result.state != TaskState::Succeeded {
                printer.line(&format!("task {task} is {}", format::end(&result)))?;
            }
            Ok(u8::from(result.state != TaskState::Succeeded))
        }
        Id::Job(job) => wait_for_job(&client, job, printer).await,
    }
}

async fn wait_for_job(client: &Client, job: JobNumber, printer: Printer) -> Result<u8> {
    let options = FollowOptions { only_end: true, ..FollowOptions::default() };
    let mut results = client.follow_with(Target::Job(job), options)?;
    tokio::select! {
        end = results.next_batch() => drop(end?),
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            say(format_args!("\njob {job} goes on without this command; `task-messenger show {job}` says how far it is"));
            return Ok(INTERRUPTED);
        }
    }
    let summary = results.summary().with_context(|| format!("job {job} has ended without a summary"))?;
    let counts = summary.counts.unwrap_or_default();
    let bad = format::not_succeeded(&counts);
    if printer.json() {
        printer.document(&format::job_json(summary))?;
    } else if bad > 0 {
        let state = match (counts.failed, counts.cancelled) {
            (1.., _) => TaskState::Failed,
            (0, 1..) => TaskState::Cancelled,
            (0, 0) => TaskState::Expired,
        };
        printer.line(&format!(
            "{bad} of the {} tasks of job {job} did not succeed ({}): `task-messenger list {job} --state {}`",
            summary.tasks,
            format::counts_text(&Counts { succeeded: 0, ..counts }),
            format::state(state)
        ))?;
    }
    Ok(u8::from(bad > 0))
}
