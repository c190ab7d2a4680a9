//! What lies behind a manager: the rate after a million finished tasks, and a start with a million queued ones.

use anyhow::Result;
use task_messenger_manager::config::Durability;

use super::{IN_FLIGHT, Options, rounds::stream};
use crate::{client::ClientProcess, fleet::Fleet, plan::Load, record::History, statistics::Spread};

const WORKERS: usize = 4;

pub(super) async fn run(options: &Options) -> Result<History> {
    let (mut fresh, mut later, mut ratios, mut starts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        eprintln!("history: round {round} of {}", options.rounds);
        let (first, second) = rates(options).await?;
        fresh.push(first);
        later.push(second);
        ratios.push(second / first);
        starts.push(start_with_a_queue(options).await?);
    }
    let spread = |found: Vec<f64>| Spread::of(found).ok_or_else(|| anyhow::anyhow!("there was no round"));
    Ok(History {
        finished: options.queued,
        fresh_per_second: spread(fresh)?,
        later_per_second: spread(later)?,
        later_to_fresh: spread(ratios)?,
        queued: options.queued,
        start_seconds: spread(starts)?,
    })
}

/// The rate of a new manager, and of the same one when a million tasks more are finished.
async fn rates(options: &Options) -> Result<(f64, f64)> {
    let fleet = Fleet::start(&options.directory.join("history"), Durability::Strict, None, WORKERS).await?;
    let first = stream(&fleet, WORKERS, IN_FLIGHT, options.window).await?;
    let mut finished = first.tasks;
    while finished < u64::from(options.queued) {
        finished += stream(&fleet, WORKERS, IN_FLIGHT, options.window).await?.tasks;
    }
    let second = stream(&fleet, WORKERS, IN_FLIGHT, options.window).await?;
    fleet.stop().await?.check(finished + second.tasks)?;
    Ok((first.tasks_per_second, second.tasks_per_second))
}

/// How many seconds a manager that was killed with a million queued tasks takes to be ready again.
async fn start_with_a_queue(options: &Options) -> Result<f64> {
    let mut fleet = Fleet::start(&options.directory.join("start"), Durability::Strict, None, 0).await?;
    let load = Load::Stream { in_flight: options.queued, window_milliseconds: 0 };
    let mut client = ClientProcess::start(fleet.credential(), 0, load).await?;
    client.queued().await?;
    drop(client);
    let took = fleet.kill_and_start_manager().await?;
    fleet.stop().await?;
    Ok(took.as_secs_f64())
}
