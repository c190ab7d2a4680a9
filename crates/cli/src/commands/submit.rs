//! `submit`: one program on one of the workers.

use std::{io::Read, path::Path};
use task_messenger_daemon::say::say;

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::Args;
use serde_json::json;
use task_messenger_client::{
    Client, Ending, LoneOptions, Outcome, Results, Target, TaskId, TaskResult, TaskState, Use,
};

use crate::{
    failure, format,
    printer::Printer,
    session::SessionOptions,
    task_options::{EnvironmentOptions, TaskOptions},
};

const EXAMPLES: &str = "\
Examples:
  task-messenger submit -- make -C /srv/site all
  task-messenger submit --wait -- uname -a
  task-messenger submit --wait --stdin report.csv -- sort -t, -k2
  task-messenger submit --idempotency-key backup-2026-11-03 --timeout 2h -- backup.sh
  task-messenger submit --delay 30m --deadline 8h -- report.sh

With --wait the exit code is the program's own; 128+N if signal N ended it, 124 if its timeout did, 126 if it could not be
started, 125 if this command failed or nothing came of the program: it was cancelled, it had not started before its
--deadline, or the workers that ran it died. A failing program is then tried once unless --max-attempts says otherwise.";

/// The client itself failed, where every other exit code may be the program's.
pub const CLIENT_FAILED: u8 = 125;

/// Ended by Ctrl-C, as a shell reports it.
pub const INTERRUPTED: u8 = 130;

/// The arguments of `submit`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    task: TaskOptions,
    #[command(flatten)]
    environment: EnvironmentOptions,
    /// Send this file as the program's standard input; `-` sends standard input
    #[arg(long, value_name = "FILE")]
    stdin: Option<String>,
    /// Submit once, however often this is repeated within 24 hours with the same key
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    idempotency_key: String,
    /// Wait, and behave like the program: its output, its errors, its exit code
    #[arg(long, conflicts_with = "json")]
    wait: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM ARGUMENTS")]
    words: Vec<String>,
}

/// Submits, and waits if asked to.
pub async fn run(arguments: &Arguments, session: &SessionOptions) -> Result<u8> {
    let result = submit(arguments, session).await;
    match result {
        Err(error) if arguments.wait => {
            failure::report(&error);
            Ok(CLIENT_FAILED)
        }
        other => other,
    }
}

async fn submit(arguments: &Arguments, session: &SessionOptions) -> Result<u8> {
    let payload = if arguments.stdin.is_some() { Use::Stdin } else { Use::None };
    let attempts = arguments.wait.then_some(1);
    let template = arguments.task.command(&arguments.words, &arguments.environment, payload, attempts)?;
    let times = arguments.task.times()?;
    let input = read_stdin(arguments.stdin.as_deref())?;
    let client = if arguments.wait { session.connect_for_long().await? } else { session.connect().await? };
    let options = LoneOptions {
        name: arguments.task.name.clone(),
        idempotency_key: arguments.idempotency_key.clone(),
        labels: arguments.task.labels(),
        times,
        ..LoneOptions::default()
    };
    let task = client.submit_one(&template, &input, options).await?;
    if !arguments.wait {
        print_task(task, arguments.json)?;
        return Ok(0);
    }
    let Some((result, mut rest)) = await_result(&client, task).await? else { return Ok(INTERRUPTED) };
    write_outputs(&result.outcome)?;
    rest.next().await?;
    Ok(exit_code(task, &result))
}

/// Prints the name of a task that was submitted.
pub fn print_task(task: TaskId, json: bool) -> Result<()> {
    let printer = Printer::new(json);
    if json { printer.document(&json!({ "task": task.to_string() })) } else { printer.line(&task.to_string()) }
}

/// The result of a task, once it is at its end; `None` when Ctrl-C came first, which is then explained. Whoever has passed
/// the result on reads the rest, which is nothing: the manager hears then that it may be forgotten.
pub async fn await_result(client: &Client, task: TaskId) -> Result<Option<(TaskResult, Results)>> {
    let mut results = client.follow(Target::Task(task))?;
    tokio::select! {
        result = results.next() => {
            let result = result?.with_context(|| format!("task {task} has ended without a result"))?;
            Ok(Some((result, results)))
        }
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            say(format_args!("\ntask {task} goes on without this command; later: `task-messenger result {task}`"));
            Ok(None)
        }
    }
}

/// Writes what a task wrote, byte by byte, and says where something is missing.
pub fn write_outputs(outcome: &Outcome) -> Result<()> {
    use std::io::Write;
    match Printer::new(false).bytes(&outcome.output) {
        // Whoever closed it wants no more of the output; what the task came to still counts.
        Err(error) if error.is::<failure::OutputClosed>() => {}
        written => written?,
    }
    // Standard error that nobody reads is no reason to fail.
    let _ = std::io::stderr().lock().write_all(&outcome.errors);
    say_what_is_missing("task-messenger", outcome);
    Ok(())
}

/// Says how much of a task's outputs was dropped.
pub fn say_what_is_missing(whose: &str, outcome: &Outcome) {
    for (what, dropped) in [("output", outcome.output_dropped), ("errors", outcome.errors_dropped)] {
        if dropped > 0 {
            say(format_args!(
                "{whose}: the first {} of its {what} are missing: only the end is kept",
                format::bytes(dropped)
            ));
        }
    }
}

/// What a shell would report of the program.
fn exit_code(task: TaskId, result: &TaskResult) -> u8 {
    let outcome = &result.outcome;
    if matches!(result.state, TaskState::Cancelled | TaskState::Expired) || format::workers_died(result) {
        say(format_args!("task-messenger: task {task} is {}", format::end(result)));
        return CLIENT_FAILED;
    }
    match outcome.ending() {
        Ending::Exited if outcome.code == 0 && result.state == TaskState::Succeeded => 0,
        // What doesn't fit into an exit code of this system is still a failure.
        Ending::Exited => u8::try_from(outcome.code).ok().filter(|code| *code != 0).unwrap_or(1),
        Ending::Signalled => 128_u8.saturating_add(u8::try_from(outcome.code).unwrap_or(u8::MAX)),
        ending => {
            say(format_args!("task-messenger: task {task}: {}", format::cause(result)));
            match ending {
                Ending::TimedOut => 124,
                Ending::Error => 126,
                _ => CLIENT_FAILED,
            }
        }
    }
}

fn read_stdin(source: Option<&str>) -> Result<Bytes> {
    let mut input = Vec::new();
    match source {
        None => {}
        Some("-") => {
            std::io::stdin().read_to_end(&mut input).context("standard input can't be read")?;
        }
        Some(path) => {
            input = std::fs::read(Path::new(path)).with_context(|| format!("{path} can't be read"))?;
        }
    }
    Ok(input.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_that_a_shell_reports() {
        let code = |state: TaskState, ending: Ending, code: i32| {
            let outcome = Outcome { ending: ending.into(), code, ..Outcome::default() };
            exit_code("1.0".parse().unwrap(), &TaskResult { index: 0, state, attempts: 1, outcome })
        };
        assert_eq!(code(TaskState::Succeeded, Ending::Exited, 0), 0);
        assert_eq!(code(TaskState::Failed, Ending::Exited, 3), 3);
        assert_eq!(code(TaskState::Failed, Ending::Exited, -1_073_741_819), 1);
        assert_eq!(code(TaskState::Failed, Ending::Exited, 256), 1);
        assert_eq!(code(TaskState::Failed, Ending::Signalled, 9), 137);
        assert_eq!(code(TaskState::Failed, Ending::TimedOut, 0), 124);
        assert_eq!(code(TaskState::Failed, Ending::Error, 0), 126);
        for state in [TaskState::Cancelled, TaskState::Expired, TaskState::Failed] {
            assert_eq!(code(state, Ending::Unspecified, 0), 125);
        }
    }
}
