//! `store stats`: what there is, and how much room it takes.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use task_messenger_core::{state::State, task::TaskState, time::WallTime};
use task_messenger_daemon::config::ConfigDuration;
use task_messenger_store::{
    archive::{ARCHIVE_FILE, Reader, Totals},
    disk::Space,
    identity::IDENTITY_FILE,
    journal::Overview,
    room::RESERVE_FILE,
};

use super::{
    StoreCommandError,
    format::bytes,
    held::{Held, Replay},
    write_pairs,
};
use crate::config::Config;

const EXAMPLES: &str = "\
Examples:
  task-messenger-manager store stats
  task-messenger-manager store stats --json | jq .tasks

The manager must be stopped; nothing is changed. While it runs, `task-messenger status` tells how it is.";

/// The arguments of `store stats`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &Config, arguments: &Arguments, out: &mut impl Write) -> Result<()> {
    let held = Held::take(config)?;
    let stats = Stats::gather(&held, &held.replay(config)?)?;
    if arguments.json {
        writeln!(out, "{}", stats.document())?;
    } else {
        stats.write(out)?;
    }
    Ok(())
}

struct Stats {
    directory: String,
    store: String,
    format: u64,
    journal: Overview,
    replayed: u64,
    snapshot_age: Option<Duration>,
    jobs: usize,
    jobs_over: usize,
    tasks: Vec<(TaskState, u64)>,
    templates: usize,
    owners: usize,
    /// Valid, expired, revoked.
    tokens: [usize; 3],
    /// Enrolled, removed.
    workers: [usize; 2],
    large_values: BTreeMap<u64, u64>,
    archive: Option<Archive>,
    space: Space,
    reserve: u64,
}

struct Archive {
    totals: Totals,
    watermark: u64,
    bytes: u64,
}

impl Stats {
    fn gather(held: &Held, replay: &Replay) -> Result<Self> {
        let Replay { state, overview, replayed, .. } = replay;
        let length = |name: &str| fs::metadata(held.directory.join(name)).map_or(0, |file| file.len());
        let identity = held.disk.read(IDENTITY_FILE).context("store.json can't be read")?;
        let identity: Value = serde_json::from_slice(&identity).context("store.json can't be read")?;
        let modified = |name: &String| fs::metadata(held.directory.join(name)).and_then(|file| file.modified()).ok();
        let written = overview.snapshot.as_ref().and_then(modified);
        let now = SystemTime::now();
        let wall = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let mut large_values: BTreeMap<u64, u64> =
            state.large_values.values().map(|value| (value.file, value.length)).collect();
        let mut archive = None;
        if let Some(reader) = held.archive()? {
            let read = |reader: &Reader| Ok((reader.totals(None)?, reader.about()?, reader.large_values()?));
            let (totals, about, large) = read(&reader).map_err(|source| StoreCommandError::Archive { source })?;
            large_values.extend(large);
            let bytes = length(ARCHIVE_FILE) + length(&format!("{ARCHIVE_FILE}-wal"));
            archive = Some(Archive { totals, watermark: about.watermark.0, bytes });
        }
        Ok(Self {
            directory: held.directory.display().to_string(),
            store: identity["id"].as_str().unwrap_or_default().to_owned(),
            format: identity["format"].as_u64().unwrap_or_default(),
            journal: overview.clone(),
            replayed: *replayed,
            snapshot_age: written.map(|written| now.duration_since(written).unwrap_or_default()),
            jobs: state.jobs.len(),
            jobs_over: state.jobs.iter().filter(|job| job.is_over()).count(),
            tasks: TaskState::ALL.map(|known| (known, state.counts.get(known))).to_vec(),
            templates: state.templates.iter().count(),
            owners: state.access.owners().count(),
            tokens: tokens(state, WallTime(wall)),
            workers: workers(state),
            large_values,
            archive,
            space: held.disk.space().context("how much room the disk has can't be told")?,
            reserve: length(RESERVE_FILE),
        })
    }

    fn large_value_bytes(&self) -> u64 {
        self.large_values.values().sum()
    }

    fn document(&self) -> Value {
        let Overview { recovered, last, .. } = &self.journal;
        let counts: serde_json::Map<_, _> =
            self.tasks.iter().map(|(state, count)| (state.name().to_owned(), json!(count))).collect();
        let ([valid, expired, revoked], [enrolled, removed]) = (self.tokens, self.workers);
        json!({
            "directory": self.directory,
            "store": self.store,
            "format": self.format,
            "segments": {
                "count": self.journal.segments,
                "bytes": self.journal.journal_bytes,
                "first": self.journal.first_segment,
                "last": self.journal.last_segment,
                "segment_bytes": self.journal.segment_bytes,
            },
            "snapshot": recovered.snapshot.map(|snapshot| json!({
                "record": snapshot.position.last().0,
                "bytes": snapshot.bytes,
                "age_seconds": self.snapshot_age.map(|age| age.as_secs()),
            })),
            "records": { "last": last.0, "replayed": self.replayed, "replayed_bytes": recovered.replayed_bytes },
            "jobs": { "total": self.jobs, "over": self.jobs_over },
            "tasks": counts,
            "templates": self.templates,
            "owners": self.owners,
            "tokens": { "valid": valid, "expired": expired, "revoked": revoked },
            "workers": { "enrolled": enrolled, "removed": removed },
            "large_values": { "count": self.large_values.len(), "bytes": self.large_value_bytes() },
            "archive": self.archive.as_ref().map(|archive| json!({
                "jobs": archive.totals.jobs,
                "tasks": {
                    "succeeded": archive.totals.tasks.succeeded,
                    "failed": archive.totals.tasks.failed,
                    "cancelled": archive.totals.tasks.cancelled,
                    "expired": archive.totals.tasks.expired,
                },
                "value_bytes": archive.totals.bytes,
                "file_bytes": archive.bytes,
                "watermark": archive.watermark,
                "behind": last.0.saturating_sub(archive.watermark),
            })),
            "disk": { "free": self.space.free, "total": self.space.total, "reserve": self.reserve },
        })
    }

    fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        let Overview { recovered, last, segments, first_segment, last_segment, .. } = &self.journal;
        let age = |age: Duration| ConfigDuration(Duration::from_secs(age.as_secs()));
        let snapshot = recovered.snapshot.map_or_else(
            || "none".to_owned(),
            |snapshot| {
                let age = self.snapshot_age.map_or_else(String::new, |time| format!(", {} old", age(time)));
                format!("of record {}, {}{age}", snapshot.position.last(), bytes(snapshot.bytes))
            },
        );
        let tasks: Vec<_> = self.tasks.iter().filter(|(_, count)| *count > 0).collect();
        let tasks: Vec<_> = tasks.iter().map(|(state, count)| format!("{count} {}", state.name())).collect();
        let tasks = if tasks.is_empty() { "none".to_owned() } else { tasks.join(", ") };
        let ([valid, expired, revoked], [enrolled, removed]) = (self.tokens, self.workers);
        let archive = self.archive.as_ref().map_or_else(
            || "none".to_owned(),
            |Archive { totals, watermark, bytes: size }| {
                let (jobs, tasks) = (totals.jobs, totals.tasks.total());
                format!("{tasks} tasks of {jobs} jobs, up to record {watermark}, {}", bytes(*size))
            },
        );
        let behind = format!(", {} ({}) behind the snapshot", self.replayed, bytes(recovered.replayed_bytes));
        let behind = if recovered.snapshot.is_some() { behind } else { String::new() };
        let large = format!("{}, {}", self.large_values.len(), bytes(self.large_value_bytes()));
        let range = format!("{first_segment} to {last_segment}");
        write_pairs(
            &[
                ("directory", self.directory.clone()),
                ("store", format!("{}, format {}", self.store, self.format)),
                ("segments", format!("{segments} ({range}), {}", bytes(self.journal.journal_bytes))),
                ("snapshot", snapshot),
                ("records", format!("{last}{behind}")),
                ("jobs", format!("{}, {} of them over", self.jobs, self.jobs_over)),
                ("tasks", tasks),
                ("templates", self.templates.to_string()),
                ("owners", self.owners.to_string()),
                ("tokens", format!("{valid} valid, {expired} expired, {revoked} revoked")),
                ("workers", format!("{enrolled} enrolled, {removed} removed")),
                ("large values", large),
                ("archive", archive),
                ("disk", format!("{} free of {}", bytes(self.space.free), bytes(self.space.total))),
                ("reserve", bytes(self.reserve)),
            ],
            out,
        )
    }
}

fn tokens(state: &State, now: WallTime) -> [usize; 3] {
    state.access.tokens().fold([0; 3], |mut counts, (_, token)| {
        let expired = token.expires.is_some_and(|expires| expires <= now);
        counts[if token.revoked.is_some() { 2 } else { usize::from(expired) }] += 1;
        counts
    })
}

fn workers(state: &State) -> [usize; 2] {
    state.access.workers().fold([0; 2], |mut counts, (_, worker)| {
        counts[usize::from(worker.removed.is_some())] += 1;
        counts
    })
}
