//! How the manager is at one moment, and the metrics and the status that say so.

use std::{
    path::PathBuf,
    time::{Duration, UNIX_EPOCH},
};

use task_messenger_core::{
    meter::{Histogram, Meter},
    task::{Counts, TaskState},
};
use task_messenger_daemon::{health::Health, metrics::Sample};
use task_messenger_protocol::messages;
use task_messenger_store::{
    room::{Level, RoomState},
    thread::JournalMeter,
};

use crate::owner::Rates;

/// Tasks and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    pub(crate) tasks: u64,
    pub(crate) bytes: u64,
}

/// Sessions by who is at the other end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sessions {
    pub(crate) workers: u64,
    pub(crate) joining: u64,
    pub(crate) clients: u64,
    pub(crate) administrators: u64,
}

/// A snapshot.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SnapshotSize {
    pub(crate) bytes: u64,
    /// The last record in it.
    pub(crate) record: u64,
}

/// How the manager is.
#[derive(Clone, Debug)]
pub(crate) struct Observation {
    pub(crate) uptime: Duration,
    pub(crate) about: About,
    /// By state, those in the archive included.
    pub(crate) tasks: Counts,
    pub(crate) meter: Meter,
    pub(crate) rates: Rates,
    /// For how long the oldest queued task has waited.
    pub(crate) oldest: Option<Duration>,
    pub(crate) jobs: u64,
    /// Without those that were removed.
    pub(crate) workers_enrolled: usize,
    pub(crate) slots: u64,
    pub(crate) slots_used: u64,
    pub(crate) slots_free: u64,
    /// What is not at an end.
    pub(crate) queue: Amounts,
    pub(crate) queue_limit: Amounts,
    pub(crate) sessions: Sessions,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) refused: u64,
    pub(crate) denied: u64,
    pub(crate) turned_away: u64,
    pub(crate) dispatch: Histogram,
    pub(crate) journal: JournalMeter,
    /// Bytes of the journal's segments.
    pub(crate) journal_size: u64,
    /// The last record's number.
    pub(crate) records: u64,
    pub(crate) snapshot: SnapshotSize,
    pub(crate) archive: Amounts,
    /// Tasks that wait for the archive.
    pub(crate) archive_lag: u64,
    pub(crate) archive_lag_limit: Option<u64>,
    pub(crate) archive_file: PathBuf,
    pub(crate) room: RoomState,
}

const FINAL: [TaskState; 4] = [TaskState::Succeeded, TaskState::Failed, TaskState::Cancelled, TaskState::Expired];

/// What stays as it is while the manager runs.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) software: String,
    pub(crate) store: [u8; 16],
    pub(crate) durability: String,
}

impl Observation {
    /// The metrics. Looks at the archive's file.
    pub(crate) fn sample(self, health: &Health) -> Sample {
        let mut sample = Sample::new();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let labels =
            [("component", "manager".to_owned()), ("version", version), ("durability", self.about.durability.clone())];
        sample.information("build_info", "What runs; always 1.", labels);
        sample.gauge("uptime_seconds", "How long the manager has run.", self.uptime.as_secs_f64());
        sample.gauge("ready", "Whether it is ready (1) or not (0), as /readyz says.", f64::from(health.ready().ok));
        self.sample_tasks(&mut sample);
        self.sample_workers(&mut sample);
        self.sample_store(&mut sample);
        sample
    }

    fn sample_tasks(&self, sample: &mut Sample) {
        let states = TaskState::ALL.map(|state| (state.name(), self.tasks.get(state) as f64));
        sample.gauges_by("tasks", "Tasks by state, as long as they are kept.", "state", states);
        sample.gauge("jobs", "Jobs that are kept in memory.", self.jobs as f64);
        let meter = &self.meter;
        sample.counter("tasks_submitted", "Tasks that were submitted.", meter.submitted);
        let ended = FINAL.map(|state| (state.name(), meter.ended.get(state)));
        sample.counters_by("tasks_ended", "Tasks that came to an end, by final state.", "state", ended);
        sample.counter(
            "tasks_retried",
            "Attempts that failed and whose tasks are tried again by themselves.",
            meter.retried,
        );
        sample.counter("tasks_requeued", "Tasks that were run again because somebody asked.", meter.requeued);
        sample.counter("leases", "Hand-outs of tasks to workers.", meter.handed_out);
        sample.counter("leases_lost", "Leases that ended because their worker died or was silent.", meter.leases_lost);
        let help = "Leases that ended without an outcome for another reason: given back, taken back, cancelled.";
        sample.counter("leases_released", help, meter.leases_released);
        sample.gauge("queue_tasks", "Tasks that are not at an end.", self.queue.tasks as f64);
        sample.gauge("queue_bytes", "Bytes of their payloads.", self.queue.bytes as f64);
        sample.gauge("queue_limit_tasks", "The most of them (limits.queue_tasks).", self.queue_limit.tasks as f64);
        sample.gauge("queue_limit_bytes", "The most bytes of them (limits.queue).", self.queue_limit.bytes as f64);
        let oldest = self.oldest.unwrap_or_default().as_secs_f64();
        let help = "Requests that were refused because a limit is reached or the disk is full.";
        sample.counter("requests_refused", help, self.turned_away);
        sample.gauge(
            "oldest_queued_seconds",
            "How long ago the queued task that came first was submitted; 0: none is queued.",
            oldest,
        );
        let help = "How long tasks were queued before they were first handed out.";
        histogram(sample, "task_queued_seconds", help, &meter.queued);
        let help = "From a hand-out to the outcome, for leases that ended with one.";
        histogram(sample, "task_running_seconds", help, &meter.running);
        let help = "From the decision to hand out a task to its being on its way: the wait for the journal.";
        histogram(sample, "dispatch_seconds", help, &self.dispatch);
    }

    fn sample_workers(&self, sample: &mut Sample) {
        let sessions = [
            ("worker", self.sessions.workers as f64),
            ("joining", self.sessions.joining as f64),
            ("client", self.sessions.clients as f64),
            ("admin", self.sessions.administrators as f64),
        ];
        sample.gauges_by("sessions", "Connections by role.", "role", sessions);
        let help = "Workers that have joined and were not removed, connected or not.";
        sample.gauge("workers_enrolled", help, self.workers_enrolled as f64);
        sample.gauge("slots", "Slots of the connected workers.", self.slots as f64);
        sample.gauge("slots_used", "Those of them that have a task.", self.slots_used as f64);
        let help =
            "Those of them that could have a task now: of workers that are neither paused nor drained, nor stop.";
        sample.gauge("slots_free", help, self.slots_free as f64);
        sample.counter(
            "link_received_bytes",
            "Bytes of messages that came over links, before encryption.",
            self.received,
        );
        sample.counter("link_sent_bytes", "Bytes of messages that went over links, before encryption.", self.sent);
        sample.counter("auth_failures", "Logins with an unknown, expired or revoked credential.", self.denied);
        let help = "Connections that were turned away, or broken off in their handshake.";
        sample.counter("connections_refused", help, self.refused);
    }

    fn sample_store(&self, sample: &mut Sample) {
        sample.counter("journal_commits", "Commits of the journal.", self.journal.commits);
        sample.counter("journal_written_bytes", "Bytes that were written to the journal.", self.journal.bytes);
        let help = "How long a commit took that was synced, its writing included.";
        histogram(sample, "journal_sync_seconds", help, &self.journal.syncs);
        sample.gauge("journal_bytes", "Size of the journal's segments.", self.journal_size as f64);
        sample.counter("journal_records", "Records that were ever written.", self.records);
        sample.gauge("snapshot_bytes", "Size of the newest snapshot; 0: there is none.", self.snapshot.bytes as f64);
        let lag = self.records.saturating_sub(self.snapshot.record);
        sample.gauge("snapshot_lag_records", "Records behind the newest snapshot.", lag as f64);
        sample.gauge("archive_tasks", "Tasks in the archive.", self.archive.tasks as f64);
        sample.gauge(
            "archive_values_bytes",
            "Bytes of outcomes and payloads in the archive.",
            self.archive.bytes as f64,
        );
        sample.gauge("archive_bytes", "Size of the archive's file.", self.archive_file_size() as f64);
        sample.gauge("archive_lag_tasks", "Tasks that wait for the archive.", self.archive_lag as f64);
        if let Some(limit) = self.archive_lag_limit {
            let help = "With more of them nothing new is taken.";
            sample.gauge("archive_lag_limit_tasks", help, limit as f64);
        }
        let RoomState { level, free, reserve, reserve_wanted } = self.room;
        sample.gauge(
            "disk_free_bytes",
            "What is free on the disk of the state directory, besides the reserve.",
            free as f64,
        );
        sample.gauge("disk_reserve_bytes", "What is left of the reserve.", reserve as f64);
        sample.gauge(
            "disk_reserve_wanted_bytes",
            "What the reserve should have (disk.reserve).",
            reserve_wanted as f64,
        );
        let help = "Whether the disk is full: 1 if new work is refused, 2 if nothing is handed out either.";
        let level = match level {
            Level::Ample => 0.0,
            Level::Short => 1.0,
            Level::Critical => 2.0,
        };
        sample.gauge("disk_full", help, level);
    }
}

impl Observation {
    /// Completes what the core knows. Looks at the archive's file.
    pub(crate) fn describe(self, status: &mut messages::Status, health: &Health) {
        status.readiness = Some(readiness(health));
        status.uptime_milliseconds = milliseconds(self.uptime);
        status.queue = Some(messages::QueueStatus {
            tasks: self.queue.tasks,
            bytes: self.queue.bytes,
            limit_tasks: self.queue_limit.tasks,
            limit_bytes: self.queue_limit.bytes,
            oldest_milliseconds: self.oldest.map(milliseconds),
        });
        status.rates = Some(messages::Rates { submitted: self.rates.submitted, ended: self.rates.ended });
        status.totals = Some(messages::Totals {
            submitted: self.meter.submitted,
            ended: self.meter.ended.total(),
            leases: self.meter.handed_out,
            retried: self.meter.retried,
            leases_lost: self.meter.leases_lost,
        });
        status.storage = Some(messages::StoreStatus {
            disk_free_bytes: self.room.free,
            disk_reserve_bytes: self.room.reserve,
            disk_reserve_wanted_bytes: self.room.reserve_wanted,
            journal_bytes: self.journal_size,
            archive_tasks: self.archive.tasks,
            archive_bytes: self.archive_file_size(),
            archive_lag_tasks: self.archive_lag,
        });
        let About { software, store, durability } = self.about;
        status.software = software;
        status.store = store.to_vec().into();
        status.durability = durability;
    }

    fn archive_file_size(&self) -> u64 {
        std::fs::metadata(&self.archive_file).map_or(0, |file| file.len())
    }
}

/// What `/readyz` says, without what is as it should be.
fn readiness(health: &Health) -> messages::Readiness {
    let report = health.ready();
    let troubles = report.checks.into_iter().filter(|check| !check.ok).map(|check| messages::Trouble {
        name: check.name.to_owned(),
        required: check.required,
        since_milliseconds: check.since.duration_since(UNIX_EPOCH).map_or(0, milliseconds),
        detail: check.detail,
        advice: check.advice.unwrap_or_default().to_owned(),
    });
    messages::Readiness { ready: report.ok, troubles: troubles.collect() }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

fn histogram(sample: &mut Sample, name: &'static str, help: &'static str, histogram: &Histogram) {
    sample.histogram(name, help, histogram.buckets(), histogram.sum_seconds());
}
