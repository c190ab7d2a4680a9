//! A full queue: what a task takes, and what becomes of the rate.

use anyhow::Result;
use task_messenger_manager::config::Durability;

use super::{
    IN_FLIGHT, Options,
    rounds::{cpu, stream},
};
use crate::{client::ClientProcess, fleet::Fleet, plan::Load, record::Memory, usage::resident_bytes};

/// What of the payloads may stay in memory.
const BUDGET_BYTES: u64 = 8 << 20;
const WORKERS: usize = 4;

pub(super) async fn run(options: &Options) -> Result<Memory> {
    let directory = options.directory.join("memory");
    let mut fleet = Fleet::start(&directory, Durability::Strict, Some(BUDGET_BYTES), 0).await?;
    let manager = fleet.manager().id()?;
    eprintln!("memory: the manager is process {manager}; filling its queue");
    let empty_bytes = resident_bytes(manager);
    let load = Load::Stream { in_flight: options.queued, window_milliseconds: 2 * options.window.as_millis() as u64 };
    let mut client = ClientProcess::start(fleet.credential(), WORKERS, load).await?;
    let submitted_per_second = client.queued().await?;
    let queued_bytes = resident_bytes(manager);
    eprintln!("memory: filled at {submitted_per_second:.0} tasks/s; {empty_bytes:?} bytes grew to {queued_bytes:?}");
    for _ in 0..WORKERS {
        fleet.add_worker().await?;
    }
    let ids = fleet.workers().iter().map(|worker| Ok(worker.id()?.to_string())).collect::<Result<Vec<_>>>()?;
    eprintln!("memory: its workers are {}; working at a full queue, then emptying it", ids.join(", "));
    let full = client.measure(&fleet).await?;
    let empty = stream(&fleet, WORKERS, IN_FLIGHT, options.window).await?;
    fleet.stop().await?.check(full.tasks + empty.tasks)?;
    let grown = empty_bytes.zip(queued_bytes).map(|(empty, queued)| queued.saturating_sub(empty));
    let per_task = |bytes: u64| bytes.saturating_sub(BUDGET_BYTES) as f64 / f64::from(options.queued);
    Ok(Memory {
        tasks: options.queued,
        submitted_per_second,
        empty_bytes,
        queued_bytes,
        budget_bytes: BUDGET_BYTES,
        bytes_per_task: grown.map(per_task),
        backlog_per_second: full.tasks_per_second,
        empty_per_second: empty.tasks_per_second,
        drained_per_second: full.drained_per_second,
        backlog_cpu: cpu(&[&full.cpu]),
    })
}
