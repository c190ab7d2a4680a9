//! `workers`: who runs the tasks.

use anyhow::Result;
use clap::Args;
use comfy_table::{Cell, Color};
use serde_json::Value;

use crate::{
    format,
    printer::{Printer, number},
    session::SessionOptions,
    worker_view::{self, Standing},
};

/// The arguments of `workers`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  task-messenger workers\n  task-messenger workers --json | jq '.[] | select(.connected) | .name'\n\n\
                        --json prints one array."
)]
pub struct Arguments {
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

/// Lists.
pub async fn run(arguments: &Arguments, session: &SessionOptions) -> Result<u8> {
    let workers = session.connect().await?.workers().await?;
    let printer = Printer::new(arguments.json);
    if printer.json() {
        printer.document(&workers.iter().map(worker_view::worker_json).collect::<Value>())?;
        return Ok(0);
    }
    let rows = workers.iter().map(|worker| {
        let state = Cell::new(worker_view::state_and_mode(worker)).fg(match worker_view::standing(worker) {
            Standing::Active => Color::Green,
            Standing::Silent | Standing::Gone => Color::Red,
            Standing::Paused | Standing::Draining | Standing::Away | Standing::Removed => Color::Yellow,
        });
        vec![
            number(worker.worker),
            Cell::new(&worker.name),
            state,
            Cell::new(format!("{}/{}", worker.slots_used, worker.slots)),
            number(worker.leases),
            Cell::new(&worker.address),
            Cell::new(&worker.software),
            Cell::new(worker_view::last_heard(worker)),
            Cell::new(format::time(worker.enrolled_milliseconds)),
        ]
    });
    let headers = ["WORKER", "NAME", "STATE", "SLOTS", "TASKS", "ADDRESS", "SOFTWARE", "LAST HEARD", "ENROLLED"];
    let empty = "no workers; `task-messenger-manager token create --role worker` makes the token that one joins with";
    printer.table(&headers, rows.collect(), empty)?;
    Ok(0)
}
