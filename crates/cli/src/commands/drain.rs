//! `drain`, `pause`, `resume`: what workers get.

use std::{
    collections::BTreeSet,
    io::IsTerminal,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use task_messenger_client::{Client, WorkerMode, WorkerSummary};
use task_messenger_daemon::say::say;

use super::submit::INTERRUPTED;
use crate::{
    failure::Advised,
    format,
    map::progress,
    printer::Printer,
    session::SessionOptions,
    worker_names::{self, title},
};

const DRAIN_EXAMPLES: &str = "\
Examples:
  task-messenger drain rack-7             until it holds nothing: then its machine can be taken away
  task-messenger drain --no-wait 3 4      says so and returns
  task-messenger resume rack-7            it gets tasks again

What a worker runs goes on to its end, what it has not started goes elsewhere, and it gets nothing new, also after a restart.
Workers are named by number or, where only one has it, by name. It needs an administrator's token. Ctrl-C ends the waiting
alone. --json prints one array at the end.";

const PAUSE_EXAMPLES: &str = "\
Examples:
  task-messenger pause rack-7 rack-8   they get nothing for now
  task-messenger resume rack-7

What a worker runs goes on, what it has not started goes elsewhere. Workers are named by number or, where only one has it, by
name. It needs an administrator's token. --json prints one array.";

const RESUME_EXAMPLES: &str = "\
Examples:
  task-messenger resume rack-7     it gets tasks again

It ends a pause, or a drain. Workers are named by number or, where only one has it, by name. It needs an administrator's token.
--json prints one array.";

/// How often it is asked what the workers hold: first, and at the rarest.
const FIRST_LOOK: Duration = Duration::from_millis(50);
const RAREST_LOOK: Duration = Duration::from_secs(1);

/// The arguments of `drain`.
#[derive(Debug, Args)]
#[command(after_help = DRAIN_EXAMPLES)]
pub struct DrainArguments {
    #[command(flatten)]
    workers: WorkerArguments,
    /// Don't wait until they hold nothing
    #[arg(long)]
    no_wait: bool,
}

/// The arguments of `pause`.
#[derive(Debug, Args)]
#[command(after_help = PAUSE_EXAMPLES)]
pub struct PauseArguments {
    #[command(flatten)]
    workers: WorkerArguments,
}

/// The arguments of `resume`.
#[derive(Debug, Args)]
#[command(after_help = RESUME_EXAMPLES)]
pub struct ResumeArguments {
    #[command(flatten)]
    workers: WorkerArguments,
}

#[derive(Debug, Args)]
struct WorkerArguments {
    /// The workers' numbers or names, as `workers` shows them
    #[arg(value_name = "WORKER", required = true)]
    workers: Vec<String>,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

/// Drains.
pub async fn drain(arguments: &DrainArguments, session: &SessionOptions) -> Result<u8> {
    let client = if arguments.no_wait { session.connect().await? } else { session.connect_for_long().await? };
    let workers = set(&client, &arguments.workers, WorkerMode::Draining).await?;
    if arguments.no_wait {
        tell(&workers, arguments.workers.json)?;
        return Ok(0);
    }
    tokio::select! {
        drained = wait(&client, &workers) => tell(&drained?, arguments.workers.json)?,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            say("\nthey go on draining without this command; `task-messenger workers` says how far they are");
            return Ok(INTERRUPTED);
        }
    }
    Ok(0)
}

/// Pauses.
pub async fn pause(arguments: &PauseArguments, session: &SessionOptions) -> Result<u8> {
    let workers = set(&session.connect().await?, &arguments.workers, WorkerMode::Paused).await?;
    tell(&workers, arguments.workers.json)?;
    Ok(0)
}

/// Resumes.
pub async fn resume(arguments: &ResumeArguments, session: &SessionOptions) -> Result<u8> {
    let workers = set(&session.connect().await?, &arguments.workers, WorkerMode::Active).await?;
    tell(&workers, arguments.workers.json)?;
    Ok(0)
}

/// Sets what the named workers get; how they are then.
async fn set(client: &Client, arguments: &WorkerArguments, mode: WorkerMode) -> Result<Vec<WorkerSummary>> {
    let named = worker_names::find(&client.workers().await?, &arguments.workers)?;
    for worker in &named {
        client.set_worker(worker.worker, mode).await?;
    }
    let mut now = client.workers().await?;
    let numbers: BTreeSet<u32> = named.iter().map(|worker| worker.worker).collect();
    now.retain(|worker| numbers.contains(&worker.worker));
    Ok(now)
}

/// Waits until all of them hold nothing; how they are then. One that is removed meanwhile holds nothing.
async fn wait(client: &Client, draining: &[WorkerSummary]) -> Result<Vec<WorkerSummary>> {
    let numbers: BTreeSet<u32> = draining.iter().map(|worker| worker.worker).collect();
    let progress = Progress::new();
    let mut pause = FIRST_LOOK;
    loop {
        let mut now = client.workers().await?;
        now.retain(|worker| numbers.contains(&worker.worker));
        if let Some(worker) = now.iter().find(|worker| worker.mode() != WorkerMode::Draining) {
            let message =
                format!("{} was told to do otherwise meanwhile: it is {}", title(worker), format::mode(worker));
            return Err(Advised::new(message, "find out who did, or drain it again").into());
        }
        if now.iter().all(|worker| worker.leases == 0) {
            return Ok(now);
        }
        progress.show(&now);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RAREST_LOOK);
    }
}

fn tell(workers: &[WorkerSummary], json: bool) -> Result<()> {
    let printer = Printer::new(json);
    if printer.json() {
        let documents = workers.iter().map(|worker| {
            json!({
                "worker": worker.worker,
                "name": worker.name,
                "mode": format::mode(worker),
                "connected": worker.connected,
                "leases": worker.leases,
            })
        });
        return printer.document(&documents.collect::<Value>());
    }
    for worker in workers {
        printer.line(&format!("{} is {}{}", title(worker), format::mode(worker), holds(worker)))?;
    }
    Ok(())
}

fn holds(worker: &WorkerSummary) -> String {
    match (worker.mode(), worker.leases) {
        (WorkerMode::Active, _) | (_, 0) => String::new(),
        (_, leases) => format!(", and still holds {}", format::tasks(leases.into())),
    }
}

/// A line on a terminal, otherwise a line every ten seconds.
struct Progress {
    bar: Option<ProgressBar>,
    said: std::cell::Cell<Option<Instant>>,
}

impl Progress {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        Self { bar, said: std::cell::Cell::new(None) }
    }

    fn show(&self, workers: &[WorkerSummary]) {
        let busy = workers.iter().filter(|worker| worker.leases > 0);
        let held = busy.map(|worker| {
            let away = if worker.connected { "" } else { ", and is away" };
            format!("{} holds {}{away}", title(worker), format::tasks(worker.leases.into()))
        });
        let text = held.collect::<Vec<_>>().join("; ");
        match &self.bar {
            Some(bar) => bar.set_message(text),
            None if self.said.get().is_none_or(|said| said.elapsed() >= progress::EVERY) => {
                say(text);
                self.said.set(Some(Instant::now()));
            }
            None => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
