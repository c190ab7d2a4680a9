//! The event loop: one task that owns everything but what runs.
//!
//! Each turn takes all that has happened, starts what can start, and writes once to the manager. A task starts only when the
//! word of its start has left for the manager, so that the manager knows what ran on a worker that dies. What runs goes on
//! while there is no link; what waits does not start then.

mod claims;
mod link;
mod reload;
mod running;
mod session;
mod stop;
#[cfg(test)]
mod tests;
mod told;
mod watching;

use std::{io, sync::Arc, time::Duration};

use task_messenger_daemon::{
    exit,
    health::waiting_for_disk,
    shutdown::{Cause, Shutdown},
};
use task_messenger_protocol::secret::random_bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

pub use self::link::Connector;
#[cfg(windows)]
pub(crate) use self::stop::longest_stop;
use self::{
    claims::Claims,
    link::{Event, Link},
    reload::hung_up,
    running::CommandEnded,
    stop::{Stop, WAITING_PATIENCE},
    watching::Watching,
};
pub(crate) use self::{link::Addresses, reload::Reloading, watching::Watch};
use crate::{
    backoff::Backoff,
    config::WorkerConfig,
    measure::{Measure, Turnaround},
    outbox::{OUTBOX, Outbox},
    runners::{
        command::CommandRunner,
        skill::{SkillPool, SkillRegistry},
    },
    tasks::Tasks,
};

/// How often what runs is looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long the last words to the manager may take.
const CLOSING: Duration = Duration::from_secs(1);

/// Whose worker this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The store that it belongs to.
    pub store: [u8; 16],
    /// Its number there.
    pub worker: u32,
}

/// A worker from its start to its end.
pub struct Worker {
    name: String,
    slots: u32,
    accepts_commands: bool,
    skills: SkillRegistry,
    prefetch_most: u32,
    outbox_most: u64,
    grace: Duration,
    kill_after: Duration,

    incarnation: [u8; 16],
    connector: Connector,
    link: Link,
    backoff: Backoff,
    /// Whether the last attempt to connect failed, and why, so that the same is not logged over and over.
    trouble: Option<String>,

    tasks: Tasks,
    measure: Measure,
    turnaround: Turnaround,
    /// When a task last began or ended, for noticing that the measure no longer holds.
    last_progress: Instant,
    waiting_patience: Duration,
    outbox: Outbox,
    /// How often the outbox's file could not be written in a row.
    outbox_failures: u64,
    claims: Claims,
    /// Whether the outbox was full, and is not yet empty enough.
    full: bool,
    /// Leases that the manager has not yet been told are given back.
    given_back: Vec<u64>,
    runner: Arc<CommandRunner>,
    ended: mpsc::Receiver<CommandEnded>,
    end: mpsc::Sender<CommandEnded>,
    pool: SkillPool,
    /// The slots that each lane's unit takes.
    lane_slots: Vec<u32>,

    started: Instant,
    next_tick: Instant,
    watching: Watching,
    reloading: Option<Reloading>,
    shutdown: Shutdown,
    /// Who has asked for a stop.
    asked_by: Option<Cause>,
    stop: Option<Stop>,
}

impl Worker {
    /// A worker with what an earlier start left in the state directory. `connector` is asked for a link whenever there is none.
    ///
    /// # Errors
    /// The state directory can't be used.
    pub fn new(
        config: &WorkerConfig,
        identity: Identity,
        connector: Connector,
        skills: SkillRegistry,
        shutdown: Shutdown,
        watch: Watch,
    ) -> io::Result<Self> {
        let output = config.limits.output.0 as usize;
        let kill_after = config.kill_after.0;
        let (end, ended) = mpsc::channel(config.slots as usize);
        let now = Instant::now();
        let (watching, reloading) = watch.worker();
        Ok(Self {
            name: config.name.clone(),
            slots: config.slots,
            accepts_commands: config.kinds.command,
            skills: if config.kinds.skill { skills } else { SkillRegistry::empty() },
            prefetch_most: config.prefetch.most,
            outbox_most: config.outbox.bytes.0,
            grace: config.shutdown.grace.0,
            kill_after,
            incarnation: incarnation(random_bytes().map_err(io::Error::other)?),
            connector,
            link: Link::Waiting(now),
            backoff: Backoff::default(),
            trouble: None,
            tasks: Tasks::new(config.slots),
            measure: Measure::default(),
            turnaround: Turnaround::default(),
            last_progress: now,
            waiting_patience: WAITING_PATIENCE,
            outbox: Outbox::open(&config.state_directory.join(OUTBOX), identity.store, identity.worker)?,
            outbox_failures: 0,
            claims: Claims::default(),
            full: false,
            given_back: Vec::new(),
            runner: Arc::new(CommandRunner::new(&config.state_directory, output, kill_after)?),
            ended,
            end,
            pool: SkillPool::new(config.slots as usize, output),
            lane_slots: Vec::new(),
            started: now,
            next_tick: now,
            reloading,
            watching,
            shutdown,
            asked_by: None,
            stop: None,
        })
    }

    /// Runs until a stop is asked for or the worker can't go on; the exit code. Must run on a runtime of one thread.
    pub async fn run(mut self) -> u8 {
        loop {
            if let Some(code) = self.turn().await {
                self.save_outbox();
                if self.outbox_failures > 0 {
                    tracing::error!(
                        outcomes = self.outbox.count(),
                        "outcomes are lost with this process: their tasks run again"
                    );
                }
                if let Link::Up(session) = &mut self.link {
                    _ = timeout(CLOSING, session.writer.close()).await;
                }
                return code;
            }
            let wake = self.next_wake();
            tokio::select! {
                event = self.link.next() => self.on_link(event),
                Some(ended) = self.ended.recv() => self.on_command_ended(ended),
                () = self.pool.ready() => self.on_skills_ended(),
                () = sleep_until(wake) => (),
                asker = hung_up(&mut self.reloading), if self.stop.is_none() => self.reload(asker),
                Some(asking) = self.watching.asked.recv() => {
                    // Whoever asked may have gone.
                    _ = asking.send(self.sample());
                }
                cause = self.shutdown.requested_beyond(self.asked_by) => {
                    tracing::info!(?cause, "stopping");
                    self.asked_by = Some(cause);
                    match cause {
                        Cause::Closing => self.begin_hasty_stop(exit::SUCCESS),
                        _ => self.begin_stop(exit::SUCCESS, self.grace),
                    }
                }
            }
        }
    }

    /// Does all that can be done now; the exit code once there is nothing more to do.
    async fn turn(&mut self) -> Option<u8> {
        while let Ok(ended) = self.ended.try_recv() {
            self.on_command_ended(ended);
        }
        let now = Instant::now();
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.look_at_running(now);
        }
        self.watch_link(now);
        let exit = self.advance_stop(now);
        self.beat(now);
        loop {
            self.announce();
            self.report();
            match self.link.try_flush().await {
                Some(Ok(())) => {
                    if !self.launch_announced() {
                        break;
                    }
                }
                Some(Err(error)) => {
                    self.on_link(Event::Lost(error));
                    break;
                }
                None => break,
            }
        }
        if self.link.resumed().is_none() {
            self.save_outbox();
        }
        exit
    }

    fn next_wake(&self) -> Instant {
        let busy = !self.tasks.is_empty() || self.stop.is_some();
        let beat = self.watching.next();
        let tick = if busy { self.next_tick.min(beat) } else { beat };
        match &self.link {
            Link::Up(session) => tick.min(session.next_watch()),
            _ => tick,
        }
    }

    fn save_outbox(&mut self) {
        let saved = waiting_for_disk(|| self.outbox.save());
        self.on_outbox_file(saved);
    }

    /// Says once that the outbox's file can't be written, and once that it can again.
    fn on_outbox_file(&mut self, written: io::Result<()>) {
        match written {
            Err(error) if self.outbox_failures == 0 => {
                tracing::warn!(%error, "the outbox file can't be written: outcomes are kept in memory, and it is tried again");
                self.outbox_failures = 1;
            }
            Err(_) => self.outbox_failures += 1,
            Ok(()) if self.outbox_failures > 0 => {
                tracing::info!(failures = self.outbox_failures, "the outbox file is as it should be again");
                self.outbox_failures = 0;
            }
            Ok(()) => (),
        }
    }
}

/// What names this process. Its first half counts, and is never zero: that means that no process has come yet.
fn incarnation(mut random: [u8; 16]) -> [u8; 16] {
    if random[..8] == [0; 8] {
        random[0] = 1;
    }
    random
}

#[cfg(test)]
#[test]
fn an_incarnation_is_never_zero_where_it_counts() {
    assert_eq!(incarnation([7; 16]), [7; 16]);
    let mut random = [0; 16];
    random[8] = 5;
    assert_ne!(incarnation(random)[..8], [0; 8]);
}
