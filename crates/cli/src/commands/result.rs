//! `result`: what a task came to.

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use serde_json::{Value, json};
use task_messenger_client::{Outcome, Target, TaskId, TaskState};
use task_messenger_daemon::say::say;

use super::{show::find_job, submit::write_outputs};
use crate::{
    failure::{Advised, UsageError},
    format,
    id::Id,
    printer::Printer,
    session::SessionOptions,
};

const EXAMPLES: &str = "\
Examples:
  task-messenger result 12.345 > output.txt
  task-messenger result 12.345 --json | jq .code

It writes the task's output and errors as they were, and exits with 1 if the task did not succeed. --json prints one object
with both: as text, or in Base64 (`output_base64`, `errors_base64`) where they are not UTF-8. `task-messenger results JOB`
prints those of a whole job.";

/// The arguments of `result`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The task; or a job that has only one
    #[arg(value_name = "TASK")]
    id: Id,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Prints.
pub async fn run(arguments: &Arguments, session: &SessionOptions) -> Result<u8> {
    let client = session.connect().await?;
    let task = match arguments.id {
        Id::Task(task) => task,
        Id::Job(job) => {
            let tasks = find_job(&client, job).await?.tasks;
            if tasks != 1 {
                let advice = format!("name one: {job}.0 is the first");
                return Err(UsageError::new(format!("job {job} has {tasks} tasks"), advice).into());
            }
            TaskId { job, index: 0 }
        }
    };
    let state = client.task(task).await?.summary.unwrap_or_default().state();
    if !format::is_final(state) {
        let message = format!("task {task} is {}: it has no result yet", format::state(state));
        return Err(Advised::new(message, format!("`task-messenger wait {task}` waits for it")).into());
    }
    let mut results = client.follow(Target::Task(task))?;
    let result = results.next().await?.with_context(|| format!("task {task} has ended without a result"))?;
    if arguments.json {
        let mut document = format::result_json(task.job.0, &result);
        add_outputs(&mut document, &result.outcome);
        Printer::new(true).document(&document)?;
    } else {
        write_outputs(&result.outcome)?;
    }
    // Only now it may be forgotten, should the manager keep results no longer.
    results.next().await?;
    if result.state == TaskState::Succeeded {
        return Ok(0);
    }
    say(format_args!("task {task} is {}", format::end(&result)));
    Ok(1)
}

/// Adds what a task wrote to the document about its result.
pub fn add_outputs(document: &mut Value, outcome: &Outcome) {
    let Value::Object(fields) = document else { return };
    for (name, bytes) in [("output", &outcome.output), ("errors", &outcome.errors)] {
        match std::str::from_utf8(bytes) {
            Ok(text) => fields.insert(name.to_owned(), json!(text)),
            Err(_) => fields.insert(format!("{name}_base64"), json!(STANDARD.encode(bytes))),
        };
    }
}
