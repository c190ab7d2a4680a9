//! `retry`: runs again what ended without success.

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use task_messenger_client::Changed;

use super::several::Several;
use crate::{format, id::Id, printer::Printer, session::SessionOptions};

const EXAMPLES: &str = "\
Examples:
  task-messenger list --state failed      the jobs that have dead letters
  task-messenger retry 12                 all tasks of job 12 that failed, expired or were cancelled
  task-messenger retry 12.345 14.0        two tasks

They are queued at once, whatever their delay was and although a deadline has passed, and their failures start again. What
succeeded stays as it is. --json prints one array: how many tasks of each were queued.";

/// The arguments of `retry`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The jobs and tasks
    #[arg(value_name = "JOB|TASK", required = true)]
    ids: Vec<Id>,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

/// Queues them.
pub async fn run(arguments: &Arguments, session: &SessionOptions) -> Result<u8> {
    let client = session.connect().await?;
    let printer = Printer::new(arguments.json);
    let mut several = Several::default();
    let mut queued = Vec::new();
    let mut ended = Ok(());
    for id in &arguments.ids {
        match several.take(client.retry(id.named()).await) {
            Ok(changed) => queued.extend(changed.map(|changed| (*id, changed))),
            Err(error) => {
                ended = Err(error);
                break;
            }
        }
    }
    if printer.json() {
        printer.document(&queued.iter().map(document).collect::<Value>())?;
    } else {
        for (id, Changed { tasks, .. }) in &queued {
            let named = id.in_words();
            printer.line(&match (id, *tasks) {
                (_, 0) => format!("{named} has no task that failed, expired or was cancelled: nothing runs again"),
                (Id::Task(_), _) => format!("{named} is queued again"),
                (Id::Job(_), tasks) => format!("{named}: {} queued again", format::tasks(tasks)),
            })?;
        }
    }
    ended.map(|()| several.exit_code())
}

fn document((id, changed): &(Id, Changed)) -> Value {
    match id {
        Id::Job(job) => json!({ "job": job.0, "queued": changed.tasks }),
        Id::Task(task) => json!({ "task": task.to_string(), "queued": changed.tasks }),
    }
}
