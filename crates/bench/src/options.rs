//! The command line.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use task_messenger_daemon::shutdown::Shutdown;

use crate::{end_to_end, machine::Machine, print, record::Record, store};

const EXPLANATION: &str = "\
A client, a manager and workers run as processes of their own on loopback, with TLS, on state directories of a real disk.
Every result is checked: the exit status is 1 if one was lost, came twice or was wrong. A mark that is missed is shown, and
is no error. What is compared is measured in turns, and shown as a median with half the range.

Without a part: everything but the store, in about five minutes. Results on a busy machine are low; the ratios to the
plain echo and to the bare disk, and the CPU time a task, suffer least. The processes' numbers are printed, so that a
profiler can be pointed at them: `--rounds` and `--seconds` give it time.";

/// Measures how fast and how small TaskMessenger is
#[derive(Debug, Parser)]
#[command(name = "task-messenger-bench", version, after_help = EXPLANATION)]
pub(crate) struct Cli {
    /// What to measure [default: everything but `store`]
    part: Option<Part>,
    /// A directory on the disk that counts; what is written there is removed again [default: ./target]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Write what was found as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A short form that shows that it works; its figures mean little
    #[arg(long)]
    quick: bool,
    /// How often everything is measured [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// How long each measurement of a rate takes [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    seconds: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Tasks a second with 10,000 in flight, in each durability
    Throughput,
    /// One durable task alone
    Latency,
    /// Memory of a million queued tasks, and the rate with them
    Memory,
    /// The rate behind a million finished tasks, and a start with a million queued
    History,
    /// A thousand HTTP connections beside the tasks
    Watched,
    /// The journal alone, against bare writes
    Store,
}

impl Cli {
    /// Measures what was asked for.
    pub(crate) fn run(&self) -> Result<()> {
        let parent = self.dir.clone().unwrap_or_else(|| PathBuf::from("target"));
        fs::create_dir_all(&parent).with_context(|| format!("{} can't be made", parent.display()))?;
        let parent = parent.canonicalize()?;
        let mut record = Record {
            version: env!("CARGO_PKG_VERSION"),
            machine: Machine::here(&parent),
            end_to_end: None,
            store: None,
            marks: Vec::new(),
        };
        if self.part == Some(Part::Store) {
            let options = store::Options { directory: parent, ..self.store_options() };
            let found = store::run(&options)?;
            record.marks = found.marks();
            record.store = Some(found);
            record.machine.finish();
        } else {
            let scratch = tempfile::Builder::new().prefix("task-messenger-bench-").tempdir_in(&parent)?;
            let options = self.end_to_end_options(scratch.path().to_owned());
            let found = crate::block_on(interruptible(end_to_end::run(&options)))?;
            record.machine.finish();
            print::print(&record.machine, &found);
            record.marks = end_to_end::marks(&found);
            record.end_to_end = Some(found);
        }
        print::print_marks(&record.marks);
        if let Some(file) = &self.json {
            let text = serde_json::to_vec_pretty(&record)?;
            fs::write(file, text).with_context(|| format!("{} can't be written", file.display()))?;
        }
        Ok(())
    }

    fn end_to_end_options(&self, directory: PathBuf) -> end_to_end::Options {
        let wanted = |part| self.part.is_none_or(|wanted| wanted == part);
        let rounds = self.rounds.unwrap_or(if self.quick { 1 } else { 5 });
        let seconds = self.seconds.map(|seconds| Duration::from_secs(seconds.into()));
        end_to_end::Options {
            directory,
            throughput: wanted(Part::Throughput),
            latency: wanted(Part::Latency),
            memory: wanted(Part::Memory),
            history: wanted(Part::History),
            watched: wanted(Part::Watched),
            rounds: rounds.into(),
            window: seconds.unwrap_or(Duration::from_millis(if self.quick { 500 } else { 2_000 })),
            alone: if self.quick { 200 } else { 1_000 },
            queued: if self.quick { 100_000 } else { 1_000_000 },
        }
    }

    fn store_options(&self) -> store::Options {
        let options = store::Options::default();
        let rounds = self.rounds.map_or(if self.quick { 3 } else { options.rounds }, usize::from);
        store::Options { rounds, ..options }
    }
}

/// Ends early, with every process that was started, when it is asked to.
async fn interruptible<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let (mut shutdown, _trigger) = Shutdown::listen()?;
    tokio::select! {
        done = work => done,
        _ = shutdown.requested() => anyhow::bail!("interrupted"),
    }
}
