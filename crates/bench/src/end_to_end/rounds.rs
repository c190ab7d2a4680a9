//! Rates and times, in rounds.

use std::{path::Path, time::Duration};

use anyhow::Result;
use task_messenger_manager::config::Durability;

use super::{Baselines, IN_FLIGHT, Options};
use crate::{
    client::ClientProcess,
    echo::Echo,
    fleet::Fleet,
    plan::{Alone, CpuPerTask, Load, Streamed},
    record::{Baseline, Cpu, Latency, Throughput},
    statistics::{Spread, percentile},
    sync::durable_writes,
};

/// What is compared: a durability and a number of workers.
const CASES: [(Durability, usize); 4] =
    [(Durability::Strict, 1), (Durability::Strict, 4), (Durability::Interval, 4), (Durability::None, 4)];

/// Durable writes in a round.
const WRITES: usize = 500;
/// How long each kind of echo runs in a round.
const ECHO: Duration = Duration::from_millis(300);

pub(super) struct Rounds {
    pub(super) baseline: Option<Baseline>,
    pub(super) throughput: Vec<Throughput>,
    pub(super) latency: Option<Latency>,
}

/// A fleet with what was found of it.
struct Case {
    durability: Durability,
    workers: usize,
    fleet: Fleet,
    found: Vec<(Streamed, f64)>,
}

pub(super) async fn run(options: &Options) -> Result<Rounds> {
    let mut cases = Vec::new();
    for (durability, workers) in CASES.into_iter().filter(|_| options.throughput) {
        let fleet = start(options, durability, workers, "throughput").await?;
        cases.push(Case { durability, workers, fleet, found: Vec::new() });
    }
    let single = if options.latency { Some(start(options, Durability::Strict, 1, "latency").await?) } else { None };
    let mut echo = Echo::start().await?;
    let mut baselines = Baselines::default();
    let mut alone = Vec::new();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        for case in &mut cases {
            let echoes = baseline(&options.directory, &mut echo, &mut baselines).await?.0;
            let streamed = stream(&case.fleet, case.workers, IN_FLIGHT, options.window).await?;
            case.found.push((streamed, echoes));
        }
        if let Some(fleet) = &single {
            let limit = baseline(&options.directory, &mut echo, &mut baselines).await?.1;
            let load = Load::Alone { tasks: options.alone };
            let found = ClientProcess::start(fleet.credential(), 1, load).await?.alone().await?;
            alone.push((found, limit));
        }
    }
    if let Some(fleet) = single {
        fleet.stop().await?.check(alone.iter().map(|(found, _)| found.tasks).sum())?;
    }
    let mut throughput = Vec::new();
    for Case { durability, workers, fleet, found } in cases {
        fleet.stop().await?.check(found.iter().map(|(streamed, _)| streamed.tasks).sum())?;
        throughput.extend(summary(durability, workers, &found));
    }
    let tasks = options.alone * options.rounds as u32;
    Ok(Rounds { baseline: baselines.summary(), throughput, latency: latency(tasks, &alone) })
}

async fn start(options: &Options, durability: Durability, workers: usize, what: &str) -> Result<Fleet> {
    let directory = options.directory.join(format!("{what}-{}-{workers}", durability.name()));
    let fleet = Fleet::start(&directory, durability, None, workers).await?;
    let ids = fleet.workers().iter().map(|worker| Ok(worker.id()?.to_string())).collect::<Result<Vec<_>>>()?;
    let (name, manager) = (durability.name(), fleet.manager().id()?);
    eprintln!("{what}, {name}: the manager is process {manager}, its workers are {}", ids.join(", "));
    Ok(fleet)
}

/// Lets a client stream tasks through a fleet.
pub(super) async fn stream(fleet: &Fleet, workers: usize, in_flight: u32, window: Duration) -> Result<Streamed> {
    let load = Load::Stream { in_flight, window_milliseconds: window.as_millis() as u64 };
    let mut client = ClientProcess::start(fleet.credential(), workers, load).await?;
    client.queued().await?;
    client.measure(fleet).await
}

/// The echo's messages a second, and the time of two syncs and six echoes, now.
async fn baseline(directory: &Path, echo: &mut Echo, baselines: &mut Baselines) -> Result<(f64, f64)> {
    let figures = echo.measure(ECHO).await?;
    let directory = directory.join("sync");
    let mut writes = tokio::task::spawn_blocking(move || durable_writes(&directory, WRITES)).await??;
    let sync = percentile(&mut writes, 0.5);
    baselines.echo_p50.push(figures.p50_microseconds);
    baselines.echo_per_second.push(figures.messages_per_second);
    baselines.sync_p50.push(sync);
    Ok((figures.messages_per_second, 2.0 * sync + 6.0 * figures.p50_microseconds))
}

fn summary(durability: Durability, workers: usize, found: &[(Streamed, f64)]) -> Option<Throughput> {
    let streamed = || found.iter().map(|(streamed, _)| streamed);
    Some(Throughput {
        durability: durability.name(),
        workers,
        tasks_per_second: Spread::of(streamed().map(|streamed| streamed.tasks_per_second))?,
        share_of_echo: Spread::of(found.iter().map(|(streamed, echoes)| streamed.tasks_per_second / echoes))?,
        cpu: cpu(&streamed().map(|streamed| &streamed.cpu).collect::<Vec<_>>()),
        written_bytes_per_task: Spread::of(streamed().filter_map(|streamed| streamed.written_bytes_per_task)),
        results_per_message: Spread::of(streamed().map(|streamed| streamed.results_per_message))?,
    })
}

/// Of several measurements of the same processes.
pub(super) fn cpu(found: &[&CpuPerTask]) -> Cpu {
    let workers = found.iter().map(|cpu| cpu.workers.len()).max().unwrap_or(0);
    let of_worker = |at: usize| Spread::of(found.iter().filter_map(|cpu| cpu.workers.get(at).copied().flatten()));
    Cpu {
        client: Spread::of(found.iter().filter_map(|cpu| cpu.client)),
        manager: Spread::of(found.iter().filter_map(|cpu| cpu.manager)),
        workers: (0..workers).map(of_worker).collect(),
    }
}

fn latency(tasks: u32, found: &[(Alone, f64)]) -> Option<Latency> {
    let alone = || found.iter().map(|(alone, _)| alone);
    Some(Latency {
        tasks,
        lone_p50: Spread::of(alone().map(|alone| alone.lone.p50))?,
        lone_p99: Spread::of(alone().map(|alone| alone.lone.p99))?,
        streamed_p50: Spread::of(alone().map(|alone| alone.streamed.p50))?,
        streamed_p99: Spread::of(alone().map(|alone| alone.streamed.p99))?,
        limit: Spread::of(found.iter().map(|(_, limit)| *limit))?,
        lone_to_limit: Spread::of(found.iter().map(|(alone, limit)| alone.lone.p50 / limit))?,
    })
}
