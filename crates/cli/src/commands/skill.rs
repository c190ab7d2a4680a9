//! `skill`: one call of a function that is linked into the workers.

use std::io::Read;
use task_messenger_daemon::say::say;

use anyhow::{Context, Result};
use clap::Args;
use task_messenger_client::{LoneOptions, TaskState};

use super::submit::{INTERRUPTED, await_result, print_task};
use crate::{failure::UsageError, format, printer::Printer, session::SessionOptions, task_options::TaskOptions};

const EXAMPLES: &str = "\
Examples:
  task-messenger skill string-reversal --json '{\"text\": \"hello\"}'
  task-messenger skill dgemm --json @matrices.json
  generate | task-messenger skill vector-math --json - | jq .

It waits and prints the output, JSON too; exit code 1 if the task failed. With --no-wait it prints the task's name.";

/// The arguments of `skill`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The skill, such as `string-reversal` or `dgemm`
    #[arg(value_name = "NAME")]
    skill: String,
    /// The input: JSON, `@FILE`, or `-` for standard input
    #[arg(long, value_name = "INPUT|@FILE|-")]
    json: String,
    #[command(flatten)]
    task: TaskOptions,
    /// Submit once, however often this is repeated within 24 hours with the same key
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    idempotency_key: String,
    /// Print the task's name instead of waiting
    #[arg(long)]
    no_wait: bool,
}

/// Submits, and waits unless told not to.
pub async fn run(arguments: &Arguments, session: &SessionOptions) -> Result<u8> {
    let input = read_input(&arguments.json)?;
    let attempts = (!arguments.no_wait).then_some(1);
    let times = arguments.task.times()?;
    let template = arguments.task.skill(&arguments.skill, attempts)?;
    let client = if arguments.no_wait { session.connect().await? } else { session.connect_for_long().await? };
    let options = LoneOptions {
        name: arguments.task.name.clone(),
        idempotency_key: arguments.idempotency_key.clone(),
        labels: arguments.task.labels(),
        times,
        ..LoneOptions::default()
    };
    let task = client.submit_one(&template, &input, options).await?;
    if arguments.no_wait {
        print_task(task, false)?;
        return Ok(0);
    }
    let Some((result, mut rest)) = await_result(&client, task).await? else { return Ok(INTERRUPTED) };
    if result.state != TaskState::Succeeded {
        say(format_args!("error: task {task} is {}", format::end(&result)));
        rest.next().await?;
        return Ok(1);
    }
    let printer = Printer::new(true);
    printer.bytes(&result.outcome.output)?;
    if !result.outcome.output.ends_with(b"\n") {
        printer.line("")?;
    }
    rest.next().await?;
    Ok(0)
}

fn read_input(source: &str) -> Result<Vec<u8>> {
    let input = if source == "-" {
        let mut input = Vec::new();
        std::io::stdin().read_to_end(&mut input).context("standard input can't be read")?;
        input
    } else if let Some(path) = source.strip_prefix('@') {
        std::fs::read(path).with_context(|| format!("{path} can't be read"))?
    } else {
        source.as_bytes().to_vec()
    };
    match serde_json::from_slice::<serde::de::IgnoredAny>(&input) {
        Ok(_) => Ok(input),
        Err(error) => {
            let advice = "a text needs its quotes: --json '\"hello\"'";
            Err(UsageError::new(format!("--json: the input is not JSON: {error}"), advice).into())
        }
    }
}
