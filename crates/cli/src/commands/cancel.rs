//! `cancel`: ends tasks, and jobs.

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use task_messenger_client::{Changed, Client, FollowOptions};
use task_messenger_daemon::say::say;

use super::{several::Several, show::find_job, submit::INTERRUPTED};
use crate::{format, id::Id, printer::Printer, session::SessionOptions};

const EXAMPLES: &str = "\
Examples:
  task-messenger cancel 12              all of job 12; it gets no more tasks either
  task-messenger cancel 12.345 12.346   two of its tasks
  task-messenger cancel --wait 12       until nothing of it runs any more

What waits ends at once; what runs is ended by its worker (terminated, then killed) and counts as cancelled whatever it came
to. What is at its end already stays as it is, which is no failure. `task-messenger retry` runs cancelled tasks after all.
--json prints one array: what was cancelled, and what still ran when this command ended.";

/// The arguments of `cancel`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The jobs and tasks
    #[arg(value_name = "JOB|TASK", required = true)]
    ids: Vec<Id>,
    /// Wait until none of it runs
    #[arg(long)]
    wait: bool,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

/// What was cancelled by one of the arguments.
#[derive(Debug)]
struct Cancelled {
    id: Id,
    changed: Changed,
}

/// Cancels, and waits if asked to.
pub async fn run(arguments: &Arguments, session: &SessionOptions) -> Result<u8> {
    let client = if arguments.wait { session.connect_for_long().await? } else { session.connect().await? };
    let printer = Printer::new(arguments.json);
    let mut several = Several::default();
    let mut cancelled = Vec::new();
    let mut failed = None;
    for id in &arguments.ids {
        match several.take(client.cancel(id.named()).await) {
            Ok(changed) => cancelled.extend(changed.map(|changed| Cancelled { id: *id, changed })),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let interrupted = arguments.wait && failed.is_none() && !wait(&client, &mut cancelled).await?;
    if printer.json() {
        printer.document(&cancelled.iter().map(document).collect::<Value>())?;
    } else {
        for cancelled in &cancelled {
            printer.line(&text(&client, cancelled).await?)?;
        }
    }
    match failed {
        Some(error) => Err(error),
        None if interrupted => Ok(INTERRUPTED),
        None => Ok(several.exit_code()),
    }
}

/// Waits until none of them runs; whether it was not interrupted.
async fn wait(client: &Client, cancelled: &mut [Cancelled]) -> Result<bool> {
    let running: u64 = cancelled.iter().map(|cancelled| cancelled.changed.running).sum();
    if running == 0 {
        return Ok(true);
    }
    say(format_args!("waiting until {} that run are stopped by their workers", format::tasks(running)));
    for Cancelled { id, changed } in cancelled.iter_mut().filter(|cancelled| cancelled.changed.running > 0) {
        let options = FollowOptions { only_end: true, ..FollowOptions::default() };
        let mut end = client.follow_with(id.target(), options)?;
        tokio::select! {
            ended = end.next_batch() => drop(ended?),
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                say("\nthe workers go on stopping them without this command");
                return Ok(false);
            }
        }
        changed.tasks += std::mem::take(&mut changed.running);
    }
    Ok(true)
}

fn document(cancelled: &Cancelled) -> Value {
    let Changed { tasks, running, .. } = cancelled.changed;
    match cancelled.id {
        Id::Job(job) => json!({ "job": job.0, "cancelled": tasks, "running": running }),
        Id::Task(task) => json!({ "task": task.to_string(), "cancelled": tasks, "running": running }),
    }
}

async fn text(client: &Client, Cancelled { id, changed }: &Cancelled) -> Result<String> {
    let named = id.in_words();
    let still_run = |running| match running {
        1 => "1 still runs until its worker has stopped it".to_owned(),
        _ => format!("{running} still run until their workers have stopped them"),
    };
    Ok(match (id, changed.tasks, changed.running) {
        (Id::Task(task), 0, 0) => {
            let state = client.task(*task).await?.summary.unwrap_or_default();
            format!("{named} is {} already: there is nothing to cancel", format::state(state.state()))
        }
        (Id::Job(job), 0, 0) => {
            let counts = find_job(client, *job).await?.counts.unwrap_or_default();
            format!("no task of {named} waits or runs ({}): there is nothing to cancel", format::counts_text(&counts))
        }
        (Id::Task(_), _, 0) => format!("{named} is cancelled"),
        (Id::Task(_), _, _) => format!("{named} is cancelled, and still runs until its worker has stopped it"),
        (Id::Job(_), ended, 0) => format!("{named}: {} cancelled", format::tasks(ended)),
        (Id::Job(_), ended, running) => {
            format!("{named}: {} cancelled, of which {}", format::tasks(ended + running), still_run(running))
        }
    })
}
