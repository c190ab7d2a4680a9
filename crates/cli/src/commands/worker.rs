//! `worker`: for good.

use std::io::{IsTerminal, Write};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use task_messenger_client::WorkerSummary;

use crate::{
    failure::{Advised, UsageError},
    format,
    printer::Printer,
    session::SessionOptions,
    worker_names::{self, title},
};

const EXAMPLES: &str = "\
Examples:
  task-messenger worker remove rack-7
  task-messenger worker remove --yes 3 4

A removed worker is let in no more: its process stops its tasks and exits with 78, and they run elsewhere, at nobody's charge.
To have it back it joins anew. To let it finish first, `task-messenger drain` it. Workers are named by number or, where only
one has it, by name. It needs an administrator's token. --json prints one array.";

/// The arguments of `worker`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  task-messenger worker remove rack-7\n\n\
                  `task-messenger worker join` and `worker run` are the worker itself.")]
pub struct Arguments {
    #[command(subcommand)]
    command: WorkerCommand,
}

#[derive(Debug, Subcommand)]
enum WorkerCommand {
    /// Let workers in no more
    #[command(after_help = EXAMPLES)]
    Remove(RemoveArguments),
}

#[derive(Debug, Args)]
struct RemoveArguments {
    /// The workers' numbers or names, as `workers` shows them
    #[arg(value_name = "WORKER", required = true)]
    workers: Vec<String>,
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

/// Does it.
pub async fn run(arguments: &Arguments, session: &SessionOptions) -> Result<u8> {
    let WorkerCommand::Remove(arguments) = &arguments.command;
    let asks = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if !arguments.yes && !asks {
        let message = "removing a worker is asked about, and there is nobody to ask: this is no terminal";
        return Err(UsageError::new(message, "`--yes` removes without asking").into());
    }
    let client = session.connect().await?;
    let workers = worker_names::find(&client.workers().await?, &arguments.workers)?;
    if !arguments.yes {
        let question = question(&workers);
        // The link is kept up meanwhile.
        let answer = tokio::task::spawn_blocking(move || ask(&question)).await.context("nobody could be asked")??;
        if !answer {
            return Err(Advised::new("nothing was removed", "`y` removes").into());
        }
    }
    for worker in &workers {
        client.remove_worker(worker.worker).await?;
    }
    let printer = Printer::new(arguments.json);
    if printer.json() {
        let removed =
            workers.iter().map(|worker| json!({ "worker": worker.worker, "name": worker.name, "removed": true }));
        printer.document(&removed.collect::<Value>())?;
    } else {
        for worker in &workers {
            printer.line(&format!("{} is removed{}", title(worker), goes_elsewhere(worker)))?;
        }
    }
    Ok(0)
}

fn goes_elsewhere(worker: &WorkerSummary) -> String {
    match worker.leases {
        0 => String::new(),
        leases => format!("; {} that it held will run elsewhere", format::tasks(leases.into())),
    }
}

fn question(workers: &[WorkerSummary]) -> String {
    let named: Vec<String> =
        workers.iter().map(|worker| format!("  {}{}\n", title(worker), goes_elsewhere(worker))).collect();
    format!("To be removed:\n{}Remove? [y/N] ", named.concat())
}

fn ask(question: &str) -> Result<bool> {
    let mut stderr = std::io::stderr();
    stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush()).context("the question can't be asked")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("the answer can't be read")?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
