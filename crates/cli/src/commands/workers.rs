//! `workers`: who runs the tasks.

use anyhow::Result;
use clap::Args;
use comfy_table::{Cell, Color};
use serde_json::{Value, json};
use task_messenger_client::WorkerMode;

use crate::{
    format,
    printer::{Printer, number},
    session::SessionOptions,
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
        let documents = workers.iter().map(|worker| {
            json!({
                "worker": worker.worker,
                "name": worker.name,
                "connected": worker.connected,
                "mode": format::mode(worker),
                "slots": worker.slots,
                "slots_used": worker.slots_used,
                "leases": worker.leases,
                "software": worker.software,
                "address": worker.address,
                "enrolled": format::time_json(worker.enrolled_milliseconds),
            })
        });
        printer.document(&documents.collect::<Value>())?;
        return Ok(0);
    }
    let rows = workers.iter().map(|worker| {
        let mode = format::mode(worker);
        let state = match (worker.connected, worker.mode() == WorkerMode::Active) {
            (true, true) => Cell::new("connected").fg(Color::Green),
            (true, false) => Cell::new(mode).fg(Color::Yellow),
            (false, true) => Cell::new("away").fg(Color::Red),
            (false, false) => Cell::new(format!("away, {mode}")).fg(Color::Yellow),
        };
        vec![
            number(worker.worker),
            Cell::new(&worker.name),
            state,
            Cell::new(format!("{}/{}", worker.slots_used, worker.slots)),
            number(worker.leases),
            Cell::new(&worker.address),
            Cell::new(&worker.software),
            Cell::new(format::time(worker.enrolled_milliseconds)),
        ]
    });
    let headers = ["WORKER", "NAME", "STATE", "SLOTS", "TASKS", "ADDRESS", "SOFTWARE", "ENROLLED"];
    let empty = "no workers; `task-messenger-manager token create --role worker` makes the token that one joins with";
    printer.table(&headers, rows.collect(), empty)?;
    Ok(0)
}
