//! `map`: one program over many lines.

use std::{path::PathBuf, sync::Arc, time::Duration};
use task_messenger_daemon::say::say;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use task_messenger_client::{
    EncodedTemplate, Error, JobKey, JobNumber, JobOptions, JobWriter, Results, Submitted, Target, Use,
};
use task_messenger_protocol::messages::Code;

use super::submit::INTERRUPTED;
use crate::{
    failure::{self, Advised},
    map::{
        input::{self, Chunk, Chunks, Rules},
        output::{self, Destination, Output},
        progress::{self, Progress},
    },
    session::SessionOptions,
    task_options::{EnvironmentOptions, TaskOptions, with_placeholder},
};

const EXAMPLES: &str = "\
Examples:
  find /srv/photos -name '*.tif' | task-messenger map -- convert {} {}.png
  ls *.log | task-messenger map --send --results counts -- grep -c ERROR
  seq 1000000 | task-messenger map --keep-order -- factor > factors.txt
  task-messenger map --input hosts.txt --job-key nightly-2026-11-03 --timeout 5m -- check-host

Every line of the input is a task: it replaces `{}` wherever that stands in an argument, and is the last argument if it stands
nowhere. A line ends at the newline and is otherwise taken as it is: an empty line is a task with an empty argument (as with
`xargs -d '\\n'`). Lines must be UTF-8 without NUL. With --send a line names a file here, whose bytes become the task's
standard input.

Interrupted and started again with the same --job-key, the same command and the same input it goes on where it was: nothing
runs twice, and all outputs are written again. Exit codes: 0 all succeeded, 1 a task did not, 130 interrupted, others as
`task-messenger --help` lists them.";

/// How long outputs that were received may take to be written after Ctrl-C.
const LAST_OUTPUTS: Duration = Duration::from_secs(2);

/// The arguments of `map`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    task: TaskOptions,
    #[command(flatten)]
    environment: EnvironmentOptions,
    /// Read the lines from this file [default: standard input]
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Send the file that the line names as the task's standard input, for workers that don't share this machine's disk
    #[arg(long)]
    send: bool,
    /// Write outputs in the order of the input, not as tasks finish
    #[arg(long, conflicts_with = "results")]
    keep_order: bool,
    /// Write no outputs but files into this directory: INDEX.out, INDEX.err and INDEX.json (line 1 has index 0)
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// A text of your own that names this job, to go on with it later
    #[arg(long, value_name = "KEY")]
    job_key: Option<String>,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM ARGUMENTS")]
    words: Vec<String>,
}

/// Submits every line, and writes what comes back.
pub async fn run(arguments: &Arguments, session: &SessionOptions) -> Result<u8> {
    let payload = if arguments.send { Use::ArgumentAndStdin } else { Use::Argument };
    let template =
        arguments.task.command(&with_placeholder(&arguments.words), &arguments.environment, payload, None)?;
    let times = arguments.task.times()?;
    let client = session.connect_for_long().await?;
    let rules = Rules { send: arguments.send, limit: client.payload_limit() };
    let mut chunks = input::start(arguments.input.as_deref(), rules)?;
    let first = tokio::select! {
        first = chunks.recv() => first,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            return Ok(INTERRUPTED);
        }
    };
    let Some(first) = first else {
        say("the input is empty: there is nothing to do");
        return Ok(0);
    };
    let first = first?;

    // Before there is a job: what can fail here leaves none behind.
    let progress = Arc::new(Progress::new());
    let destination = match (&arguments.results, arguments.keep_order) {
        (Some(directory), _) => Destination::Directory(directory.clone()),
        (None, true) => Destination::InOrder,
        (None, false) => Destination::AsFinished,
    };
    let Output { results, mut writing } = output::start(destination, Arc::clone(&progress))?;

    let key_text = match &arguments.job_key {
        Some(key) => key.clone(),
        None => JobKey::random()?.to_string().chars().take(16).collect(),
    };
    let key = Some(JobKey::from_text(&key_text));
    let (name, labels) = (arguments.task.name.clone(), arguments.task.labels());
    let mut job = client.job(JobOptions { name, key, labels, times, ..JobOptions::default() })?;
    let opened = tokio::select! {
        opened = job.open(&template) => opened?,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            return Ok(INTERRUPTED);
        }
    };
    if opened.already > 0 {
        say(format_args!("job {} goes on: {} of its tasks were submitted before", opened.job, opened.already));
    }
    let follow = client.follow(Target::Job(opened.job))?;
    let work = async {
        let submit = submit(job, &template, first, chunks, &progress);
        tokio::try_join!(submit, deliver(follow, results))
    };
    let mut ended = tokio::select! {
        ended = work => ended.map(|_| ()),
        () = say_how_far(&progress) => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into).and(Err(Interrupted.into())),
    };
    // What was received is written in any case; whoever doesn't read it doesn't keep the program.
    let limit = if ended.is_ok() { Duration::MAX } else { LAST_OUTPUTS };
    let written = tokio::select! {
        written = tokio::time::timeout(limit, &mut writing) => written.ok(),
        interrupted = tokio::signal::ctrl_c() => {
            ended = interrupted.map_err(Into::into).and(Err(Interrupted.into()));
            None
        }
    };
    progress.finish();
    let failures = match written.map(|joined| joined.context("the writing of results broke off")).transpose()? {
        Some(Ok(failures)) => Some(failures),
        // It says more than that results couldn't be handed over.
        Some(Err(error)) => {
            if !ended.as_ref().is_err_and(anyhow::Error::is::<Interrupted>) {
                ended = Err(error);
            }
            None
        }
        None => None,
    };
    match ended {
        Ok(()) => {}
        Err(error) => {
            let interrupted = error.is::<Interrupted>();
            if !interrupted {
                failure::report(&error);
            }
            if !contradicts_the_key(&error) {
                say(how_to_go_on(opened.job, &key_text, interrupted));
            }
            return Ok(if interrupted { INTERRUPTED } else { failure::exit_code(&error) });
        }
    }
    say(format_args!("job {}: {}", opened.job, progress.summary()));
    let mut failures = failures.unwrap_or_default();
    if failures.count() > 0 {
        say(failures.text(opened.job));
    }
    Ok(u8::from(failures.count() > 0))
}

/// Ctrl-C.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Interrupted;

async fn submit(
    mut job: JobWriter,
    template: &EncodedTemplate,
    first: Chunk,
    mut chunks: Chunks,
    progress: &Progress,
) -> Result<Submitted> {
    let mut total = 0;
    let mut next = Some(first);
    while let Some(chunk) = next {
        for payload in chunk.payloads() {
            job.push(template, payload).await.map_err(explain)?;
            total += 1;
        }
        progress.set_total(total, false);
        next = chunks.recv().await.transpose()?;
    }
    progress.set_total(total, true);
    job.finish().await.map_err(explain)
}

async fn deliver(
    mut results: Results,
    output: tokio::sync::mpsc::Sender<task_messenger_client::ResultBatch>,
) -> Result<()> {
    while let Some(batch) = results.next_batch().await? {
        // Whoever doesn't take it has an error of its own to tell.
        output.send(batch).await.map_err(|_| anyhow!("results can't be written"))?;
    }
    Ok(())
}

async fn say_how_far(progress: &Progress) {
    if progress.is_bar() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(progress::EVERY).await;
        say(progress.line());
    }
}

/// Errors of the library, in terms of the input.
fn explain(error: Error) -> anyhow::Error {
    let message = match &error {
        Error::InputDiffers { tasks, .. } => format!(
            "the input or the command differs from what was submitted under this key, at or before line {tasks}"
        ),
        Error::InputShorter { found, given, .. } => {
            format!("the input has {given} lines, but {found} were submitted under this key")
        }
        Error::JobClosed { tasks, .. } => {
            format!("the input has more lines than the {tasks} that were submitted under this key")
        }
        Error::Refused { code: Code::FailedPrecondition, text } => {
            let advice = "somebody has cancelled it: `task-messenger list` shows it";
            return Advised::new(format!("no more lines can be submitted: {text}"), advice).into();
        }
        Error::PayloadTooLong { index, .. } => format!("line {}", u64::from(*index) + 1),
        _ => return error.into(),
    };
    let contradicts =
        matches!(error, Error::InputDiffers { .. } | Error::InputShorter { .. } | Error::JobClosed { .. });
    if contradicts {
        return Advised::new(message, "give the same command and input as then, or another --job-key").into();
    }
    anyhow::Error::from(error).context(message)
}

/// Whether the same key would meet the same error again.
fn contradicts_the_key(error: &anyhow::Error) -> bool {
    error.is::<Advised>()
}

fn how_to_go_on(job: JobNumber, key: &str, interrupted: bool) -> String {
    let began = if interrupted { "\ninterrupted; " } else { "" };
    format!(
        "{began}job {job} goes on with what was submitted of it. The same command and input with\n  --job-key {}\n\
         goes on where this ended; `task-messenger show {job}` says how far it is",
        quoted(key)
    )
}

fn quoted(key: &str) -> String {
    let plain = key.chars().all(|character| character.is_ascii_alphanumeric() || "-_.".contains(character));
    if plain && !key.is_empty() { key.to_owned() } else { format!("'{}'", key.replace('\'', "'\\''")) }
}
