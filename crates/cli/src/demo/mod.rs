//! `demo`: the real thing on one machine, with everything checked.
//!
//! A manager and workers run as processes of their own and compute the checksum of every file below a directory with the
//! system's own tool, and a batch of every built-in skill. On the way the link of a worker is cut for a while, a job is
//! cancelled and later run after all, and half-way a worker that holds tasks is killed, and the manager too; both are
//! started again. Every answer is compared with a computation of the demo's own.

mod checker;
mod files;
mod gate;
mod progress;
mod report;
mod skills;
mod work;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use task_messenger_client::{Client, WorkerSummary};
use task_messenger_daemon::{
    say::{say, tell},
    shutdown::Shutdown,
};

use self::{checker::Checker, gate::Gate, progress::Progress, report::Report, work::Work};
use crate::fleet::Fleet;

/// The demo gives up when nothing has come back for this long.
const PATIENCE: Duration = Duration::from_mins(2);

/// How long a worker's link is cut.
const CUT: Duration = Duration::from_secs(1);

/// What the demo is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many workers.
    pub workers: usize,
    /// Where the files are.
    pub directory: PathBuf,
    /// Whether one answer is changed before it is checked, to see that this is found.
    pub falsify: bool,
}

/// Runs the demo and prints what came of it; an error if anything was lost or wrong.
pub async fn run(options: &Options) -> Result<()> {
    let home = tempfile::Builder::new().prefix("task-messenger-demo-").tempdir()?;
    let (mut shutdown, _trigger) = Shutdown::listen()?;
    let result = tokio::select! {
        result = run_in(options, home.path()) => result,
        _ = shutdown.requested() => {
            // The processes end with the fleet, which was dropped; the directory goes with this.
            bail!("the demo was interrupted");
        }
    };
    if result.is_err() {
        // The logs are what explains it.
        say(format_args!("the demo's state and logs are kept in {}", home.keep().display()));
    }
    result
}

async fn run_in(options: &Options, home: &std::path::Path) -> Result<()> {
    let files = files::find(&options.directory, home)?;
    let passes = files::FEWEST_TASKS.div_ceil(files.len());
    say(format_args!(
        "{} files below {}{}; starting a manager and {} workers in {}",
        files.len(),
        options.directory.display(),
        if passes > 1 { format!(", {passes} passes") } else { String::new() },
        options.workers,
        home.display(),
    ));
    let mut fleet = Fleet::start(home, options.workers.saturating_sub(1), None).await?;
    let gate = Gate::before(fleet.address()).await?;
    fleet.add_worker(Some(gate.address())).await?;
    let client = Client::connect(fleet.credential()).await?;
    let report = supervise(options, &mut fleet, &gate, &client, &files, passes).await?;
    drop(client);
    fleet.stop().await?;
    tell(&report);
    if report.is_right() { Ok(()) } else { bail!("the answers are not all there and right; see the table") }
}

async fn supervise(
    options: &Options,
    fleet: &mut Fleet,
    gate: &Gate,
    client: &Client,
    files: &[PathBuf],
    passes: usize,
) -> Result<Report> {
    let started = Instant::now();
    let checker = Checker::start(files.to_vec())?;
    let mut work = Work::submit(client, files, passes).await?;
    let progress = Progress::new(work.total());
    let mut report = Report::new(work.total());
    let mut falsify = options.falsify;
    let mut killed = false;
    let mut cut = false;
    let mut retried = false;
    let mut mend_at: Option<Instant> = None;
    loop {
        let batch = tokio::select! {
            batch = tokio::time::timeout(PATIENCE, work.next()) => {
                batch.with_context(|| format!("nothing came back for {} s", PATIENCE.as_secs()))??
            }
            () = until(mend_at) => {
                gate.mend();
                mend_at = None;
                continue;
            }
        };
        let Some(batch) = batch else { break };
        for mut answer in batch {
            if std::mem::take(&mut falsify) {
                answer.falsify();
            }
            report.count(&answer);
            checker.check(answer)?;
        }
        progress.set(report.done());
        if !cut && report.done() * 4 >= work.total() {
            cut = true;
            cut_a_link(fleet, gate, client, &mut report, &progress).await?;
            mend_at = Some(Instant::now() + CUT);
            let cancelled = work.cancel_a_job(client).await?;
            report.cancelled(cancelled);
            progress.say(&format!("cancelled a job with {cancelled} tasks"));
        }
        if !killed && report.done() * 2 >= work.total() {
            killed = kill_and_restart(fleet, client, &mut report, &progress).await?;
        }
        if !retried && report.done() * 4 >= work.total() * 3 {
            retried = true;
            let tasks = work.retry_that_job(client).await?;
            report.retried(tasks);
            progress.say(&format!("had {tasks} tasks of the cancelled job run after all"));
        }
    }
    report.finish(started.elapsed(), checker.finish()?);
    progress.finish();
    if !killed {
        bail!("no worker held a task at any moment after the half-way point, so none could be killed; use more files");
    }
    Ok(report)
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// Cuts the link of the worker that is behind the gate.
async fn cut_a_link(
    fleet: &Fleet,
    gate: &Gate,
    client: &Client,
    report: &mut Report,
    progress: &Progress,
) -> Result<()> {
    let name = fleet.workers.last().map(|worker| worker.name().to_owned()).unwrap_or_default();
    let workers = client.workers().await?;
    gate.cut();
    let held = workers.iter().find(|worker| worker.name == name).map_or(0, |worker| worker.leases);
    progress.say(&format!("cut the link of {name}, which held {held} tasks, for {} s", CUT.as_secs()));
    report.cut(name, u64::from(held), CUT);
    Ok(())
}

/// Kills the worker that holds most, and the manager, without warning, and starts both again. False if no worker holds
/// anything just now.
async fn kill_and_restart(
    fleet: &mut Fleet,
    client: &Client,
    report: &mut Report,
    progress: &Progress,
) -> Result<bool> {
    let workers = client.workers().await?;
    let Some(victim) = workers.iter().filter(|worker| worker.leases > 0).max_by_key(|worker| worker.leases) else {
        return Ok(false);
    };
    let WorkerSummary { name, leases, .. } = victim;
    let status = client.status().await?;
    let counts = status.tasks.unwrap_or_default();
    let open = counts.scheduled + counts.queued + counts.running;
    let worker = fleet.workers.iter_mut().find(|worker| worker.name() == name);
    let worker = worker.with_context(|| format!("worker {name} is not one of the demo's"))?;
    worker.kill().await?;
    fleet.manager.kill().await?;
    report.killed(name.clone(), u64::from(*leases), open);
    progress.say(&format!(
        "killed {name}, which held {leases} tasks, and the manager, which kept {open}; starting both again"
    ));
    fleet.manager.start()?;
    worker.start()?;
    Ok(true)
}
