//! `results`: what the tasks of a job came to, as they end.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use task_messenger_client::{FollowOptions, JobNumber, ResultBatch, Target, TaskResult, TaskState};
use task_messenger_daemon::say::say;

use super::{result, submit::INTERRUPTED};
use crate::{failure, format, printer::Printer, session::SessionOptions};

const EXAMPLES: &str = "\
Examples:
  task-messenger results 12                    what there is now of job 12, a line a task
  task-messenger results 12 --follow           and then each as it ends, until the job is over
  task-messenger results 12 --output > all.txt
  task-messenger results 12 --follow --json | jq -c 'select(.state != \"succeeded\") | .task'

A line has the task, its state, how its last attempt ended, and how long that ran. With --output the tasks' outputs are
written instead, as they were, each in one piece. --json prints one object a line, with --output the outputs in it too.
Exit code 1 if any of the tasks did not succeed. `task-messenger result TASK` prints one.";

/// The longest way of ending that a line shows, in characters.
const REASON: usize = 200;

/// The arguments of `results`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The job
    #[arg(value_name = "JOB")]
    job: u64,
    /// Wait for the rest, until the job is over
    #[arg(long, short)]
    follow: bool,
    /// Write the tasks' outputs
    #[arg(long)]
    output: bool,
    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

/// Prints, and waits if asked to.
pub async fn run(arguments: &Arguments, session: &SessionOptions) -> Result<u8> {
    let client = if arguments.follow { session.connect_for_long().await? } else { session.connect().await? };
    let job = JobNumber(arguments.job);
    let options = FollowOptions { only_present: !arguments.follow, ..FollowOptions::default() };
    let mut results = client.follow_with(Target::Job(job), options)?;
    let form = if arguments.json {
        Form::Json { outputs: arguments.output }
    } else if arguments.output {
        Form::Outputs
    } else {
        Form::Lines
    };
    let mut all_succeeded = true;
    loop {
        let batch = tokio::select! {
            batch = results.next_batch() => batch?,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                say(format_args!("\njob {job} goes on without this command; `task-messenger results {job}` prints what there is"));
                return Ok(INTERRUPTED);
            }
        };
        let Some(batch) = batch else { return Ok(u8::from(!all_succeeded)) };
        all_succeeded &= batch.states().all(|(_, state)| state == TaskState::Succeeded);
        // Whoever reads it may be slow: the link is kept up meanwhile.
        let writing = tokio::task::spawn_blocking(move || form.write(&batch));
        writing.await.context("the writing of results broke off")??;
    }
}

/// How results are written.
#[derive(Clone, Copy, Debug)]
enum Form {
    Lines,
    Outputs,
    Json { outputs: bool },
}

impl Form {
    fn write(self, batch: &ResultBatch) -> Result<()> {
        use std::io::Write;
        let printer = Printer::new(false);
        let job = batch.job();
        let mut gathered = Vec::new();
        for result in batch.iter() {
            match self {
                Self::Lines => gathered.extend_from_slice(line(job, &result).as_bytes()),
                Self::Json { outputs } => {
                    let mut document = format::result_json(job.0, &result);
                    if outputs {
                        result::add_outputs(&mut document, &result.outcome);
                    }
                    writeln!(gathered, "{document}").map_err(failure::output_error)?;
                }
                Self::Outputs => {
                    printer.bytes(&result.outcome.output)?;
                    // Standard error that nobody reads is no reason to fail.
                    let _ = std::io::stderr().lock().write_all(&result.outcome.errors);
                    super::submit::say_what_is_missing(&format!("task {job}.{}", result.index), &result.outcome);
                }
            }
        }
        printer.bytes(&gathered)
    }
}

/// One line, whatever a task says.
fn line(job: JobNumber, result: &TaskResult) -> String {
    let task = format!("{job}.{}", result.index);
    let state = format::state(result.state);
    let mut columns = format!("{task:<12} {state:<9}");
    if matches!(result.state, TaskState::Succeeded | TaskState::Failed) {
        let run = Duration::from_micros(result.outcome.run_microseconds);
        let time = if format::workers_died(result) { String::new() } else { format::duration(run) };
        columns = format!("{columns}  {time:>9}  {}", format::one_line(&format::cause(result), REASON));
    }
    format!("{}\n", columns.trim_end())
}

#[cfg(test)]
mod tests {
    use task_messenger_client::{Ending, Outcome};

    use super::*;

    #[test]
    fn every_result_is_one_line() {
        let outcome = Outcome {
            ending: Ending::Error.into(),
            text: "no\nprogram".to_owned(),
            run_microseconds: 1_500_000,
            ..Outcome::default()
        };
        let result = |state, outcome| TaskResult { index: 7, state, attempts: 1, outcome };
        let job = JobNumber(12);
        assert_eq!(
            line(job, &result(TaskState::Failed, outcome)),
            "12.7         failed           1 s  error: no program\n"
        );
        assert_eq!(line(job, &result(TaskState::Cancelled, Outcome::default())), "12.7         cancelled\n");
        assert_eq!(
            line(job, &result(TaskState::Failed, Outcome::default())),
            "12.7         failed                the workers that ran it alone died\n"
        );
    }
}
