//! How the worker is, for whoever watches it: the service manager, and HTTP.

use std::{io, sync::Arc, time::Duration};

use task_messenger_core::meter::Histogram;
use task_messenger_daemon::{
    health::{Condition, Health, Pulse},
    http::Metrics,
    metrics::Sample,
    service::Service,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{Worker, link::Link, reload::Reloading};

/// The worker turns at least this often, and tells how things are.
pub(super) const BEAT: Duration = Duration::from_secs(1);

/// Questions that may wait for the worker; more wait for these.
const QUESTIONS: usize = 16;

/// While it stops, the service manager is to wait for so much longer than the last word of it.
pub(super) const EXTENSION: Duration = Duration::from_secs(15);

/// Whoever asks how things are.
pub(super) type Asking = oneshot::Sender<Sample>;

/// What there is from the start on, before there is a worker.
pub struct Watch {
    /// Whether it is alive and ready.
    pub health: Health,
    /// The service manager.
    pub service: Service,
    connected: Condition,
    working: Condition,
    questions: mpsc::Sender<Asking>,
    asked: mpsc::Receiver<Asking>,
    reloading: Option<Reloading>,
}

/// How a worker shows how it is.
pub(super) struct Watching {
    pulse: Pulse,
    pub(super) service: Service,
    connected: Condition,
    working: Condition,
    health: Health,
    pub(super) asked: mpsc::Receiver<Asking>,
    beat: Option<Instant>,
    meter: Meter,
}

/// What happened since the worker started.
#[derive(Debug, Default)]
struct Meter {
    succeeded: u64,
    failed: u64,
    received: u64,
    given_back: u64,
    connections: u64,
    running: Histogram,
}

impl Watch {
    /// Begins to tell.
    pub fn start() -> io::Result<Self> {
        let health = Health::default();
        let service = Service::start(health.clone())?;
        let working =
            health.condition("working", "wait until it has joined and started; its log says what it waits for");
        let advice = "see that the manager runs and can be reached from here; the log says what fails";
        let connected = health.condition("connected", advice);
        let (questions, asked) = mpsc::channel(QUESTIONS);
        Ok(Self { health, service, connected, working, questions, asked, reloading: None })
    }

    /// Loads the configuration anew when a hangup comes.
    pub(crate) fn reload_by(&mut self, reloading: Reloading) {
        self.reloading = Some(reloading);
    }

    /// Asks the worker for everything, when there is one.
    pub fn metrics(&self) -> Metrics {
        let questions = self.questions.clone();
        Arc::new(move || {
            let questions = questions.clone();
            Box::pin(async move {
                let gone = "the worker has stopped";
                let (asking, answer) = oneshot::channel();
                questions.send(asking).await.map_err(|_| gone)?;
                answer.await.map_err(|_| gone.to_owned())
            })
        })
    }

    pub(super) fn worker(self) -> (Watching, Option<Reloading>) {
        let Self { health, service, connected, working, asked, reloading, .. } = self;
        let pulse = health.pulse("event loop");
        let meter = Meter::default();
        (Watching { pulse, service, connected, working, health, asked, beat: None, meter }, reloading)
    }
}

impl Watching {
    /// When the worker has to turn at the latest.
    pub(super) fn next(&self) -> Instant {
        self.beat.map_or_else(Instant::now, |beat| beat + BEAT)
    }

    /// Whether the manager is there, and how it is.
    pub(super) fn connected(&mut self, connected: bool, text: impl Into<String>) {
        if connected {
            self.meter.connections += 1;
        }
        self.connected.set(connected, text);
        // The service manager is to hear of it soon.
        self.beat = None;
    }

    pub(super) fn received(&mut self, tasks: u64) {
        self.meter.received += tasks;
    }

    pub(super) fn given_back(&mut self, tasks: usize) {
        self.meter.given_back += tasks as u64;
    }

    /// So many tasks ran for so long together.
    pub(super) fn ran(&mut self, tasks: usize, busy: Duration) {
        self.meter.running.observe_many(busy / (tasks as u32).max(1), tasks as u64);
    }

    pub(super) fn ended(&mut self, succeeded: usize, all: usize) {
        self.meter.succeeded += succeeded as u64;
        self.meter.failed += (all - succeeded) as u64;
    }
}

impl Worker {
    /// Shows that the worker turns, and every second how things are.
    pub(super) fn beat(&mut self, now: Instant) {
        task_messenger_daemon::hooks::freeze_point();
        self.watching.pulse.beat();
        if self.watching.beat.is_some_and(|beat| now < beat + BEAT) {
            return;
        }
        self.watching.beat = Some(now);
        let used = self.tasks.used_slots();
        let text = match (&self.stop, &self.link) {
            (Some(_), _) => {
                self.watching.working.set(false, "it stops");
                self.watching.service.stopping();
                self.watching.service.extend(EXTENSION);
                format!(
                    "stopping; tasks that run: {}, outcomes to report: {}",
                    self.tasks.iter().count(),
                    self.outbox.count()
                )
            }
            (None, Link::Up(session)) if session.resumed.is_some() => {
                let Watching { meter, .. } = &self.watching;
                let ended = meter.succeeded + meter.failed;
                format!("connected to {}; {used} of {} slots used, {ended} tasks done", session.address, self.slots)
            }
            (None, Link::Waiting(until)) => {
                let wait = until.saturating_duration_since(now).as_secs_f32().ceil();
                format!("waiting for manager {}, next try in {wait} s", self.addresses())
            }
            (None, _) => format!("connecting to manager {}", self.addresses()),
        };
        if self.stop.is_none() {
            self.watching.working.set(true, "it works");
        }
        self.watching.service.status(text);
    }

    /// All metrics now.
    pub(super) fn sample(&self) -> Sample {
        let Watching { meter, health, .. } = &self.watching;
        let mut sample = Sample::new();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let labels = [("component", "worker".to_owned()), ("version", version)];
        sample.information("build_info", "What runs; always 1.", labels);
        sample.gauge("uptime_seconds", "How long the worker has run.", self.started.elapsed().as_secs_f64());
        sample.gauge("ready", "Whether it is ready (1) or not (0), as /readyz says.", f64::from(health.ready().ok));
        let connected = self.link.resumed().is_some();
        sample.gauge(
            "worker_connected",
            "Whether there is a link to the manager (1) or not (0).",
            f64::from(connected),
        );
        sample.counter("worker_reconnects", "Links after the first one.", meter.connections.saturating_sub(1));
        sample.gauge("worker_slots", "Its slots.", f64::from(self.slots));
        sample.gauge("worker_slots_used", "Those that have a task.", f64::from(self.tasks.used_slots()));
        sample.gauge(
            "worker_tasks_held",
            "Tasks that it holds, those that wait included.",
            self.tasks.iter().count() as f64,
        );
        sample.counter("worker_tasks_received", "Tasks that it was handed.", meter.received);
        sample.counter("worker_tasks_given_back", "Tasks that it gave back without an outcome.", meter.given_back);
        let outcomes = [("succeeded", meter.succeeded), ("failed", meter.failed)];
        sample.counters_by("worker_tasks_ended", "Tasks that ended with an outcome.", "outcome", outcomes);
        let help = "How long tasks ran; short ones that ran one after the other count with their average.";
        sample.histogram("worker_task_run_seconds", help, meter.running.buckets(), meter.running.sum_seconds());
        sample.gauge("worker_outbox_tasks", "Outcomes that the manager has not taken.", self.outbox.count() as f64);
        sample.gauge("worker_outbox_bytes", "Bytes of them.", self.outbox.bytes() as f64);
        let most = self.outbox_most as f64;
        sample.gauge("worker_outbox_limit_bytes", "The most before it takes no more tasks (outbox.bytes).", most);
        sample
    }
}
