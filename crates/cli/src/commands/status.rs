//! `status`: how the manager is.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::{format, printer::Printer, session::SessionOptions};

/// The arguments of `status`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  task-messenger status\n  task-messenger status --json | jq .tasks.queued\n\n\
                        --json prints one object. The numbers of jobs and tasks are of the caller's own; an administrator's are of all.")]
pub struct Arguments {
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Shows.
pub async fn run(arguments: &Arguments, session: &SessionOptions) -> Result<u8> {
    let status = session.connect().await?.status().await?;
    let counts = status.tasks.unwrap_or_default();
    let store = format::hex(&status.store);
    let printer = Printer::new(arguments.json);
    if printer.json() {
        printer.document(&json!({
            "software": status.software,
            "store": store,
            "durability": status.durability,
            "uptime_seconds": status.uptime_milliseconds as f64 / 1e3,
            "jobs": status.jobs,
            "tasks": format::counts_json(&counts),
            "queued_bytes": status.queued_bytes,
            "workers_connected": status.workers_connected,
            "workers_enrolled": status.workers_enrolled,
            "slots": status.slots,
            "slots_used": status.slots_used,
        }))?;
        return Ok(0);
    }
    printer.pairs(&[
        (
            "manager",
            format!("{}, up {}", status.software, format::duration(Duration::from_millis(status.uptime_milliseconds))),
        ),
        ("store", store),
        ("durability", status.durability),
        ("jobs", status.jobs.to_string()),
        (
            "queued",
            format!("{} ({})", counts.queued + counts.waiting + counts.scheduled, format::bytes(status.queued_bytes)),
        ),
        ("running", counts.running.to_string()),
        ("succeeded", counts.succeeded.to_string()),
        ("failed", counts.failed.to_string()),
        ("cancelled", counts.cancelled.to_string()),
        ("expired", counts.expired.to_string()),
        ("workers", format!("{} connected of {} enrolled", status.workers_connected, status.workers_enrolled)),
        ("slots", format!("{} used of {}", status.slots_used, status.slots)),
    ])?;
    Ok(0)
}
