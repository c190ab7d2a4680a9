//! `purge`: forgets what is over.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::{format, printer::Printer, session::SessionOptions};

const EXAMPLES: &str = "\
Examples:
  task-messenger purge --older-than 30d
  task-messenger purge --older-than 0s     everything that is over

Jobs that have been over for so long are forgotten, with all of their tasks and results: your own; with an administrator's
token, everybody's. By itself the manager forgets them after `retain` (7 days). An idempotency key still returns its job
for 24 hours. --json prints one object.";

/// The arguments of `purge`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Only jobs that have been over for this long, such as 12h or 30d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    older_than: Duration,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Purges.
pub async fn run(arguments: &Arguments, session: &SessionOptions) -> Result<u8> {
    let client = session.connect().await?;
    let tasks = client.purge(arguments.older_than).await?;
    let printer = Printer::new(arguments.json);
    if printer.json() {
        printer.document(&json!({ "tasks": tasks }))?;
    } else if tasks == 0 {
        printer.line("nothing has been over for so long")?;
    } else {
        printer.line(&format!("{} forgotten", format::tasks(tasks)))?;
    }
    Ok(0)
}
