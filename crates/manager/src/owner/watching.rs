//! How the manager is, for whoever watches it: the service manager, and HTTP.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use task_messenger_core::{ids::SessionNumber, query::Status, record::Role, task::TaskState, time::Now};
use task_messenger_daemon::{
    health::{Condition, Health, Pulse},
    service::Service,
};
use task_messenger_protocol::messages;
use tokio::sync::oneshot;

use super::Owner;
use crate::{
    convert,
    observation::{Amounts, Observation, Sessions},
    session::{Identity, Outgoing},
};

/// The owner turns at least this often, and tells how things are.
const BEAT: Duration = Duration::from_secs(1);

/// Rates are those of so many beats.
const RATED: usize = 10;

/// Whoever asks how things are.
pub(crate) type Asking = oneshot::Sender<Box<Observation>>;

/// What sessions count.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Bytes that came over links.
    pub(crate) received: Arc<AtomicU64>,
    /// Bytes that went over links.
    pub(crate) sent: Arc<AtomicU64>,
    /// Connections that were turned away or broken off before it was known who they were.
    pub(crate) refused: AtomicU64,
}

impl Counters {
    /// A connection was turned away.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// How the owner shows how it is.
pub(crate) struct Watching {
    pub(crate) health: Health,
    pub(crate) pulse: Pulse,
    pub(crate) service: Service,
    /// Whether it works: it has started, and does not stop.
    pub(crate) working: Condition,
    pub(crate) counters: Arc<Counters>,
    /// Logins with a wrong or revoked credential.
    denied: u64,
    /// Requests that were refused because there is no room for them.
    turned_away: u64,
    /// How long it took from a decision to hand out until the tasks were on their way.
    dispatch: task_messenger_core::meter::Histogram,
    beat: Option<Duration>,
    /// What had been submitted and ended at the last beats.
    past: VecDeque<(Duration, u64, u64)>,
}

/// Tasks a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    /// That were submitted.
    pub(crate) submitted: f64,
    /// That came to an end.
    pub(crate) ended: f64,
}

/// After so long a stop, with the last snapshot of a large queue, is left to the service manager.
pub(crate) const LONGEST_STOP: Duration = Duration::from_mins(10);

/// How much longer a stop may take each time that it says that it goes on.
const EXTENSION: Duration = Duration::from_secs(15);

impl Watching {
    pub(crate) fn new(health: Health, service: Service, working: Condition, counters: Arc<Counters>) -> Self {
        Self {
            pulse: health.pulse("event loop"),
            health,
            service,
            working,
            counters,
            denied: 0,
            turned_away: 0,
            dispatch: task_messenger_core::meter::Histogram::default(),
            beat: None,
            past: VecDeque::new(),
        }
    }

    /// Waits for the last of a stop, which a large snapshot makes long, and has the service manager wait as well, but not for
    /// ever: all that was acknowledged is durable already.
    pub(super) async fn while_stopping(&self, finishing: impl Future<Output = ()>) {
        let mut finishing = std::pin::pin!(finishing);
        self.service.status("stopping: the last snapshot is written".to_owned());
        let begin = tokio::time::Instant::now();
        let mut told = false;
        loop {
            if begin.elapsed() < LONGEST_STOP {
                self.pulse.beat();
                self.service.extend(EXTENSION);
            } else if !told {
                told = true;
                tracing::warn!("the stop does not come to an end: the service manager may end the manager now");
            }
            tokio::select! {
                () = &mut finishing => return,
                () = tokio::time::sleep(BEAT) => {}
            }
        }
    }

    /// Somebody was not let in.
    pub(super) fn denied(&mut self) {
        self.denied += 1;
    }

    /// A request was refused because there is no room for it.
    pub(super) fn turned_away(&mut self) {
        self.turned_away += 1;
    }

    /// So many tasks are on their way to a worker, so long after that was decided.
    pub(super) fn dispatched(&mut self, after: Duration, tasks: usize) {
        self.dispatch.observe_many(after, tasks as u64);
    }

    /// When the owner has to turn at the latest.
    pub(super) fn timeout(&self, now: Now) -> Duration {
        self.beat.map_or(Duration::ZERO, |last| (last + BEAT).saturating_sub(now.monotonic))
    }

    /// Tasks a second, over the last beats.
    pub(super) fn rates(&self) -> Rates {
        let (Some(first), Some(last)) = (self.past.front(), self.past.back()) else { return Rates::default() };
        let seconds = (last.0.saturating_sub(first.0)).as_secs_f64();
        let rate = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        Rates { submitted: rate(last.1 - first.1), ended: rate(last.2 - first.2) }
    }
}

impl Owner {
    /// Shows that the owner turns, and every second how things are.
    pub(super) fn beat(&mut self, now: Now) {
        task_messenger_daemon::hooks::freeze_point();
        self.watching.pulse.beat();
        if self.watching.timeout(now) > Duration::ZERO {
            return;
        }
        let first = self.watching.beat.replace(now.monotonic).is_none();
        let state = self.engine.state();
        if self.watching.past.len() > RATED {
            self.watching.past.pop_front();
        }
        self.watching.past.push_back((now.monotonic, state.meter.submitted, state.meter.ended.total()));
        let workers = self.engine.connected_workers();
        let text = format!(
            "{workers} {}, {} queued, {} running{}",
            if workers == 1 { "worker" } else { "workers" },
            grouped(state.counts.get(TaskState::Queued)),
            grouped(state.counts.get(TaskState::Running)),
            if self.paused { "; the disk is full: nothing is handed out" } else { "" },
        );
        self.watching.service.status(text);
        if first {
            self.watching.working.set(true, "it works");
            self.watching.service.ready();
        }
    }

    /// How everything is now.
    pub(super) fn observe(&mut self) -> Box<Observation> {
        let now = self.now();
        let oldest = self.engine.oldest_queued().map(|time| now.wall.since(time));
        let status = self.engine.overview();
        let state = self.engine.state();
        let (_, archived) = self.past.archiving.kept(None);
        let mut tasks = state.counts;
        for kind in TaskState::ALL {
            tasks.add(kind, archived.get(kind));
        }
        let mut sessions = Sessions::default();
        for session in self.sessions.values() {
            match session.identity {
                Identity::Worker { .. } => sessions.workers += 1,
                Identity::Joining { .. } => sessions.joining += 1,
                Identity::Caller { role: Role::Admin, .. } => sessions.administrators += 1,
                Identity::Caller { .. } => sessions.clients += 1,
            }
        }
        let counters = &self.watching.counters;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Box::new(Observation {
            uptime: now.monotonic,
            about: self.about.clone(),
            tasks,
            meter: state.meter.clone(),
            rates: self.watching.rates(),
            oldest,
            jobs: status.jobs,
            workers_enrolled: state.access.workers().filter(|(_, worker)| worker.removed.is_none()).count(),
            slots: status.slots,
            slots_used: status.slots_used,
            slots_free: self.engine.free_slots(),
            queue: Amounts { tasks: state.counts.open(), bytes: state.open_bytes },
            queue_limit: {
                let limits = self.engine.limits();
                Amounts { tasks: limits.open_tasks, bytes: limits.open_bytes }
            },
            sessions,
            received: load(&counters.received),
            sent: load(&counters.sent),
            refused: load(&counters.refused),
            denied: self.watching.denied,
            turned_away: self.watching.turned_away,
            dispatch: self.watching.dispatch.clone(),
            journal: self.journal.watch().meter(),
            journal_size: self.shrinking.size(),
            records: self.front.last().0,
            snapshot: self.shrinking.snapshot(),
            archive: self.past.archiving.amounts(),
            archive_lag: self.engine.archive_lag(),
            archive_lag_limit: self.engine.limits().archive_lag,
            archive_file: self.past.file().to_owned(),
            room: self.disk.room().state(),
        })
    }
}

impl Owner {
    /// Answers how the manager is, soon: the archive's file is looked at beside the event loop.
    pub(super) fn answer_status(&mut self, session: SessionNumber, request: u64, status: &Status) {
        let mut status = Box::new(convert::status(status));
        let (observation, health) = (self.observe(), self.watching.health.clone());
        let Some(handle) = self.sessions.get(&session) else { return };
        let outgoing = handle.outgoing.clone();
        tokio::task::spawn_local(async move {
            let described = tokio::task::spawn_blocking(move || {
                observation.describe(&mut status, &health);
                status
            });
            let status = described.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            let answer = messages::Answer { request, answer: Some(messages::answer::Answer::Status(status)) };
            // A session that has ended needs no answer.
            let _ = outgoing.send(Outgoing::Answer { request, message: answer.into() }).await;
        });
    }
}

/// A number with commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
#[test]
fn thousands_are_set_apart() {
    for (number, text) in [(0, "0"), (999, "999"), (3_401, "3,401"), (1_000_000, "1,000,000")] {
        assert_eq!(grouped(number), text);
    }
}
