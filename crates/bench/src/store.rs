//! The journal alone: records in, durable on disk; against the same bytes written and synced by nothing but system calls.
//!
//! Both write into segments that were filled with zeros before the clock starts (allocation ahead has a thread of its own in
//! the manager, and is not counted), in turns, so that both see the same disk. A task is three records: submitted with a
//! payload, dispatched, finished; a commit carries one batch of each.

use std::{
    io::IoSlice,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use task_messenger_core::{
    ids::{JobNumber, LeaseNumber, Place, RecordNumber, TaskNumber, TemplateNumber, WorkerNumber},
    record::{Log, Record, Verdict},
    time::WallTime,
    values::{Values, ValuesBuilder},
};
use task_messenger_store::{
    Durability, Options as StoreOptions, Store,
    block::BLOCK_UNIT,
    disk::{Access, Disk, DiskFile, FileDisk},
    journal::{Allocation, Block, Found},
    open,
};

use crate::record::Mark;

const PAYLOAD_BYTES: usize = 100;
const OUTCOME_BYTES: usize = 8;
const SEGMENT_BYTES: u64 = 64 << 20;
const PIECE_BYTES: usize = 1 << 20;
const SMALL_COMMITS: usize = 2000;

/// What is measured.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Where to write: the disk that counts. What is written is removed again.
    pub(crate) directory: PathBuf,
    /// How many tasks a round has; their bytes must fit into a segment.
    pub(crate) tasks: u64,
    /// How many rounds.
    pub(crate) rounds: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { directory: PathBuf::from("."), tasks: 20_000, rounds: 41 }
    }
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Each durability with each size of commits.
    pub(crate) cases: Vec<Case>,
    /// The median of a bare durable write of 4 KiB, in microseconds.
    pub(crate) bare_sync_p50_microseconds: f64,
    /// The median of a durable commit of one task, in microseconds.
    pub(crate) single_task_p50_microseconds: f64,
    /// Reading payloads back from the disk, in their order, in batches of 100: microseconds a payload.
    pub(crate) read_back_microseconds_per_value: f64,
    /// Opening the store and replaying everything: microseconds a task.
    pub(crate) replay_microseconds_per_task: f64,
}

/// One way of committing.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Case {
    /// `strict`, `interval` or `none`.
    pub(crate) durability: &'static str,
    /// Tasks in a commit.
    pub(crate) tasks_per_commit: u64,
    /// The median over the rounds.
    pub(crate) tasks_per_second: f64,
    /// The same bytes, bare written and synced: the median over the rounds. Only for `strict`.
    pub(crate) bare_tasks_per_second: Option<f64>,
    /// The first divided by the second.
    pub(crate) ratio: Option<f64>,
    /// The median of a commit, in microseconds.
    pub(crate) commit_p50_microseconds: f64,
    /// CPU time of encoding and writing, where it can be told, in microseconds a task.
    pub(crate) cpu_microseconds_per_task: Option<f64>,
    /// Bytes written a task, headers and padding included.
    pub(crate) bytes_per_task: f64,
}

impl Report {
    /// What is wanted of `strict` in commits of 100 tasks.
    pub(crate) fn marks(&self) -> Vec<Mark> {
        let mut marks = Vec::new();
        for case in self.cases.iter().filter(|case| case.durability == "strict" && case.tasks_per_commit == 100) {
            if let Some(ratio) = case.ratio {
                marks.push(Mark::at_least("rate in commits of 100, of bare writes", "%", 80.0, 100.0 * ratio));
            }
            if let Some(cpu) = case.cpu_microseconds_per_task {
                marks.push(Mark::at_most("CPU time of a task", "µs", 1.0, cpu));
            }
            marks.push(Mark::at_most("bytes written of a task", "bytes", 300.0, case.bytes_per_task));
        }
        marks
    }
}

/// Measures, and prints a table.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    ensure!(options.rounds > 0, "at least one round is needed");
    let scratch = tempfile::Builder::new()
        .prefix("task-messenger-bench-")
        .tempdir_in(&options.directory)
        .with_context(|| format!("cannot write to {}", options.directory.display()))?;
    let mut cases = Vec::new();
    let mut single = Vec::new();
    let (mut read_back, mut replay) = (0.0, 0.0);
    for (durability, name) in
        [(Durability::Strict, "strict"), (Durability::Interval, "interval"), (Durability::None, "none")]
    {
        let mut bench = Bench::new(scratch.path().join(name), durability)?;
        for tasks_per_commit in [100, 1000] {
            cases.push(bench.case(name, options, tasks_per_commit)?);
        }
        if durability == Durability::Strict {
            bench.allocate_ahead()?;
            single = bench.commits(SMALL_COMMITS as u64, 1)?.latencies;
            (replay, read_back) = bench.read_back()?;
        }
    }
    let report = Report {
        cases,
        bare_sync_p50_microseconds: microseconds(bare_sync(&scratch.path().join("bare"))?),
        single_task_p50_microseconds: microseconds(median_duration(single)),
        read_back_microseconds_per_value: read_back,
        replay_microseconds_per_task: replay,
    };
    print(&report);
    Ok(report)
}

fn print(report: &Report) {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "durability",
        "tasks/commit",
        "tasks/s",
        "bare tasks/s",
        "ratio",
        "commit p50 µs",
        "CPU µs/task",
        "bytes/task",
    ]);
    let optional =
        |value: Option<f64>, digits| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"));
    for case in &report.cases {
        table.add_row([
            case.durability.to_owned(),
            case.tasks_per_commit.to_string(),
            format!("{:.0}", case.tasks_per_second),
            optional(case.bare_tasks_per_second, 0),
            optional(case.ratio, 2),
            format!("{:.0}", case.commit_p50_microseconds),
            optional(case.cpu_microseconds_per_task, 2),
            format!("{:.0}", case.bytes_per_task),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
    println!(
        "durable write of 4 KiB: p50 {:.0} µs bare, {:.0} µs as a commit of one task; allocation ahead is not counted",
        report.bare_sync_p50_microseconds, report.single_task_p50_microseconds
    );
    println!(
        "replay at a start: {:.2} µs a task; payloads read back from the disk in order: {:.2} µs each",
        report.replay_microseconds_per_task, report.read_back_microseconds_per_value
    );
}

/// A store to write to, and a file to write the same bytes to.
struct Bench {
    disk: Arc<FileDisk>,
    durability: Durability,
    store: Store,
    payloads: Vec<(u64, Values, Values)>,
    next_task: u64,
}

/// One round of one side.
struct Round {
    elapsed: Duration,
    cpu: Option<Duration>,
    latencies: Vec<Duration>,
    /// What was written, commit by commit.
    blocks: Vec<Vec<Block>>,
}

impl Bench {
    fn new(directory: PathBuf, durability: Durability) -> anyhow::Result<Self> {
        let disk = Arc::new(FileDisk::new(directory)?);
        let options =
            StoreOptions { segment_bytes: SEGMENT_BYTES, cache_bytes: 8 << 20, reserve_bytes: Some(0), durability };
        let store = open(disk.clone(), &options)?.finish()?;
        let payloads =
            [1, 100, 1000].map(|count| (count, values(count, PAYLOAD_BYTES), values(count, OUTCOME_BYTES))).to_vec();
        Ok(Self { disk, durability, store, payloads, next_task: 0 })
    }

    fn case(&mut self, name: &'static str, options: &Options, tasks_per_commit: u64) -> anyhow::Result<Case> {
        let commits = (options.tasks / tasks_per_commit).max(1);
        let tasks = commits * tasks_per_commit;
        let (mut ours, mut bare, mut cpu, mut latencies) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut bytes = 0;
        let bare_name = format!("bare-{tasks_per_commit}");
        let bare_file = zero_filled(&*self.disk, &bare_name)?;
        let mut bare_offset = 0;
        for _ in 0..options.rounds {
            self.allocate_ahead()?;
            let measured = self.commits(commits, tasks_per_commit)?;
            let written: u64 = measured.blocks.iter().flatten().map(Block::length).sum();
            ensure!(written <= SEGMENT_BYTES, "a round of {tasks} tasks does not fit into a segment");
            bytes += written;
            ours.push(tasks as f64 / measured.elapsed.as_secs_f64());
            cpu.extend(measured.cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / tasks as f64));
            latencies.extend(measured.latencies);
            if self.durability == Durability::Strict {
                if bare_offset + written > SEGMENT_BYTES {
                    bare_offset = 0;
                }
                let elapsed = write_bare(&*bare_file, bare_offset, &measured.blocks)?;
                bare_offset += written;
                bare.push(tasks as f64 / elapsed.as_secs_f64());
            }
        }
        self.disk.remove(&bare_name)?;
        let tasks_per_second = median(&mut ours).unwrap_or_default();
        let bare_tasks_per_second = median(&mut bare);
        Ok(Case {
            durability: name,
            tasks_per_commit,
            tasks_per_second,
            bare_tasks_per_second,
            ratio: bare_tasks_per_second.map(|bare| tasks_per_second / bare),
            commit_p50_microseconds: microseconds(median_duration(latencies)),
            cpu_microseconds_per_task: median(&mut cpu),
            bytes_per_task: bytes as f64 / (tasks * options.rounds as u64) as f64,
        })
    }

    fn allocate_ahead(&mut self) -> anyhow::Result<()> {
        while self.store.allocator.step()? == Allocation::Working {}
        Ok(())
    }

    /// Commits as the manager does, on one thread; with `interval`, a sync every 100 ms.
    fn commits(&mut self, commits: u64, tasks_per_commit: u64) -> anyhow::Result<Round> {
        let (_, payloads, details) = self
            .payloads
            .iter()
            .find(|(count, ..)| *count == tasks_per_commit)
            .context("commits of this size are not prepared")?
            .clone();
        let mut latencies = Vec::with_capacity(commits as usize);
        let mut written = Vec::with_capacity(commits as usize);
        let cpu_before = thread_cpu();
        let start = Instant::now();
        let mut last_sync = start;
        for _ in 0..commits {
            let began = Instant::now();
            let front = &mut self.store.front;
            let time = WallTime(1_800_000_000_000 + self.next_task);
            front.append(&Record::Submitted {
                job: JobNumber(1),
                first_task: TaskNumber(self.next_task),
                first_index: self.next_task as u32,
                template: TemplateNumber(0),
                not_before: None,
                deadline: None,
                payloads: payloads.clone(),
                time,
            });
            let numbers = self.next_task..self.next_task + tasks_per_commit;
            front.append(&Record::Dispatched {
                worker: WorkerNumber(1),
                first_lease: LeaseNumber(self.next_task + 1),
                tasks: numbers.clone().map(TaskNumber).collect(),
                time,
            });
            front.append(&Record::Finished {
                ends: numbers.map(|number| (LeaseNumber(number + 1), Verdict::Succeeded)).collect(),
                details: details.clone(),
                time,
            });
            self.next_task += tasks_per_commit;
            let blocks = front.take_blocks();
            let sync = match self.durability {
                Durability::Strict => true,
                Durability::Interval => began - last_sync >= Duration::from_millis(100),
                Durability::None => false,
            };
            if sync {
                last_sync = began;
            }
            written.push(blocks.clone());
            let progress = self.store.writer.write(blocks, sync)?;
            front.progress(progress);
            ensure!(front.told_through() > RecordNumber(0), "nothing may be told");
            latencies.push(began.elapsed());
        }
        let elapsed = start.elapsed();
        let cpu = thread_cpu().zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
        Ok(Round { elapsed, cpu, latencies, blocks: written })
    }

    /// Opens the store anew, then reads every payload back: microseconds a task, and a payload.
    fn read_back(self) -> anyhow::Result<(f64, f64)> {
        let Self { disk, store, .. } = self;
        drop(store);
        let start = Instant::now();
        let mut recovery = open(disk, &StoreOptions { cache_bytes: 0, ..StoreOptions::default() })?;
        let mut places = Vec::new();
        while let Some(Found::Record(replayed)) = recovery.next()? {
            if let Record::Submitted { payloads, .. } = &replayed.record {
                places.extend(payloads.layout().map(|(offset, _)| Place(replayed.values.0 + offset as u64)));
            }
        }
        let replay = start.elapsed();
        let reader = recovery.finish()?.reader;
        let mut values = Vec::new();
        let start = Instant::now();
        for batch in places.chunks(100) {
            values.clear();
            reader.read_many(batch, &mut values)?;
        }
        let count = places.len().max(1) as f64;
        Ok((microseconds(replay) / count, microseconds(start.elapsed()) / count))
    }
}

/// Writes the same bytes in the same pieces, in the same mode, to a file filled with zeros.
fn write_bare(file: &dyn DiskFile, mut offset: u64, commits: &[Vec<Block>]) -> anyhow::Result<Duration> {
    let start = Instant::now();
    for blocks in commits {
        let pieces: Vec<_> = blocks.iter().map(|block| IoSlice::new(block.bytes())).collect();
        file.write_at(offset, &pieces)?;
        offset += blocks.iter().map(Block::length).sum::<u64>();
    }
    Ok(start.elapsed())
}

/// The median time of a durable write of 4 KiB.
fn bare_sync(directory: &std::path::Path) -> anyhow::Result<Duration> {
    // A block has the alignment that such a write wants.
    let mut bench = Bench::new(directory.to_owned(), Durability::Strict)?;
    bench.store.front.append(&Record::JobClosed { job: JobNumber(1) });
    let blocks = bench.store.front.take_blocks();
    let block = blocks.first().context("there is no block")?;
    let file = zero_filled(&*bench.disk, "bare")?;
    let mut latencies = Vec::with_capacity(SMALL_COMMITS);
    for index in 0..SMALL_COMMITS as u64 {
        let began = Instant::now();
        file.write_at(index * block.length(), &[IoSlice::new(block.bytes())])?;
        latencies.push(began.elapsed());
    }
    Ok(median_duration(latencies))
}

/// A file of a segment's length, filled with zeros as a segment is.
fn zero_filled(disk: &dyn Disk, name: &str) -> anyhow::Result<Arc<dyn DiskFile>> {
    disk.create(name, SEGMENT_BYTES)?;
    let file = disk.open(name, Access::Through)?;
    let zeros = vec![0_u8; PIECE_BYTES + BLOCK_UNIT];
    let start = zeros.as_ptr().addr().next_multiple_of(BLOCK_UNIT) - zeros.as_ptr().addr();
    let aligned = &zeros[start..start + PIECE_BYTES];
    for offset in (0..SEGMENT_BYTES).step_by(PIECE_BYTES) {
        file.write_at(offset, &[IoSlice::new(aligned)])?;
    }
    Ok(file)
}

fn values(count: u64, length: usize) -> Values {
    let mut builder = ValuesBuilder::default();
    for index in 0..count {
        builder.push(&vec![index as u8; length]);
    }
    builder.take()
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn median_duration(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// CPU time of this thread, in the program and in the kernel.
#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can't be told")]
fn thread_cpu() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Some(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

#[cfg(not(target_os = "linux"))]
fn thread_cpu() -> Option<Duration> {
    None
}
