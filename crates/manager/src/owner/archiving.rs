//! What goes to the archive: jobs that are over, a few thousand tasks at a time. Values are read and rows written by other
//! threads; only when they are durable there, the state lets go of the jobs.

use std::{collections::VecDeque, error::Error, time::Duration};

use rustc_hash::{FxHashMap, FxHashSet};
use task_messenger_core::{
    engine::{Departure, Engine},
    ids::{JobNumber, OwnerNumber, RecordNumber, SessionNumber},
    record::Log,
    time::Now,
};
use task_messenger_daemon::{config::ByteSize, exit::chain};
use task_messenger_store::{
    archive::{
        AppendError, ArchiveError, ArchiveThread, ArchivedTask, Batch, Delivered, Event, FinalCounts, Retention, Totals,
    },
    journal::{Front, Reader},
};
use tokio::{sync::mpsc, task::JoinHandle};
use tracing::{debug, info, warn};

use super::{
    history::DELIVERIES,
    rows::{Piece, Rows},
    shrinking::Pin,
};
use crate::observation::Amounts;

/// For how long a job is over before it goes: until then its client has usually fetched it.
const AFTER: Duration = Duration::from_secs(2);

/// Tasks that go at a time.
const TASKS: u32 = 4_096;

/// When fewer tasks wait, they gather for so long: each batch costs a sync.
const GATHER: Duration = Duration::from_secs(1);

/// While the journal grows by more bytes a second than this, the archive keeps out of the way, unless a purge waits for it,
const BUSY: u64 = 2 << 20;

/// or more tasks than this do: about 110 MB of memory.
const PATIENCE: u64 = 2_000_000;

/// How often it is looked how much the journal grows.
const SAMPLE: Duration = Duration::from_millis(250);

/// How often it is seen to what is too old or too much.
const RETAIN: Duration = Duration::from_mins(1);
/// The same while new work is refused because it has too much, of which somebody may have fetched something.
const RETAIN_FULL: Duration = Duration::from_secs(1);

/// The archive's end of the manager.
pub(crate) struct Archiving {
    thread: ArchiveThread,
    events: mpsc::UnboundedReceiver<Event>,
    delivered: mpsc::Receiver<Delivered>,
    archive: task_messenger_store::archive::Reader,
    journal: Reader,
    /// How much is there, by owner.
    kept: FxHashMap<OwnerNumber, Totals>,
    total: Amounts,
    /// Bytes of values that are on their way.
    coming: u64,
    counting: Option<JoinHandle<Counted>>,
    /// Whether something was removed since it was counted.
    stale: bool,
    /// Whether it could not be counted. It is tried again when it is seen to what is too old.
    uncounted: bool,
    bounds: Bounds,
    retained: Option<Duration>,
    /// What is on its way.
    departures: Vec<Departure>,
    /// How often something has arrived.
    arrivals: u64,
    /// What is left of it, and the record by which all of it was over.
    pieces: VecDeque<Piece>,
    over_by: RecordNumber,
    reading: Option<JoinHandle<Read>>,
    /// What is left of the piece that was read last.
    unread: Option<Rows>,
    writing: bool,
    /// To be brought with the next batch.
    rest: Batch,
    /// Jobs to be removed there.
    purged: Vec<JobNumber>,
    removals: Removals,
    purgers: Vec<(Until, Purger)>,
    /// Whether nothing new goes there.
    closed: bool,
    /// When something went on its way last.
    departed: Duration,
    /// When it was looked how much there is of the journal, and how much there was.
    sampled: (Duration, u64),
    /// Whether others need the machine.
    busy: bool,
}

/// What is kept of jobs that are over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// For how long.
    pub(crate) retain: Option<Duration>,
    /// How many tasks.
    pub(crate) tasks: u64,
    /// How many bytes of their values.
    pub(crate) bytes: u64,
}

/// How much that is in all.
fn sum(kept: &[(OwnerNumber, Totals)]) -> Amounts {
    kept.iter().fold(Amounts::default(), |sum, (_, totals)| Amounts {
        tasks: sum.tasks + totals.tasks.total(),
        bytes: sum.bytes + totals.bytes,
    })
}

/// How many jobs were to be removed from the archive, ever. They go in the order in which they came.
#[derive(Default)]
struct Removals {
    wanted: u64,
    /// Of those, in the batch that is being written.
    writing: u64,
    done: u64,
}

/// What the answer to a purge waits for.
enum Until {
    /// That so many departures have arrived: a job that was purged in one of them is forgotten, but would be back after a
    /// crash between its arrival and its removal.
    Arrived(u64),
    /// That so many jobs are removed.
    Removed(u64),
}

/// Somebody who waits until jobs are removed from the archive.
pub(crate) struct Purger {
    pub(super) session: SessionNumber,
    pub(super) request: u64,
    /// How many tasks are forgotten then.
    pub(super) tasks: u64,
}

/// What has to be done beyond the archive.
#[derive(Default)]
pub(crate) struct Done {
    /// Jobs that are there.
    pub(super) archived: Vec<Departure>,
    /// Files of large values that nobody needs.
    pub(super) files: Vec<u64>,
}

impl Archiving {
    #[expect(clippy::too_many_arguments, reason = "the parts of one thing")]
    pub(crate) fn new(
        thread: ArchiveThread,
        events: mpsc::UnboundedReceiver<Event>,
        delivered: mpsc::Receiver<Delivered>,
        archive: task_messenger_store::archive::Reader,
        journal: Reader,
        kept: Vec<(OwnerNumber, Totals)>,
        bounds: Bounds,
        closed: bool,
    ) -> Self {
        Self {
            thread,
            events,
            delivered,
            archive,
            journal,
            total: sum(&kept),
            coming: 0,
            kept: kept.into_iter().collect(),
            counting: None,
            stale: false,
            uncounted: false,
            bounds,
            retained: None,
            departures: Vec::new(),
            arrivals: 0,
            pieces: VecDeque::new(),
            over_by: RecordNumber(0),
            reading: None,
            unread: None,
            writing: false,
            rest: Batch::default(),
            purged: Vec::new(),
            removals: Removals::default(),
            purgers: Vec::new(),
            closed,
            departed: Duration::ZERO,
            sampled: (Duration::ZERO, 0),
            busy: false,
        }
    }

    /// How much of an owner's there is, or of everybody's: jobs and tasks.
    pub(super) fn kept(&self, owner: Option<OwnerNumber>) -> (u64, FinalCounts) {
        let mut sum = (0, FinalCounts::default());
        for (_, totals) in self.kept.iter().filter(|(of, _)| owner.is_none_or(|owner| owner == **of)) {
            sum.0 += totals.jobs;
            sum.1.succeeded += totals.tasks.succeeded;
            sum.1.failed += totals.tasks.failed;
            sum.1.cancelled += totals.tasks.cancelled;
            sum.1.expired += totals.tasks.expired;
        }
        sum
    }

    /// How much is there.
    pub(super) fn amounts(&self) -> Amounts {
        self.total
    }

    /// Whether more is there than may be, of which nothing was fetched.
    pub(super) fn is_full(&self) -> bool {
        self.total.tasks > self.bounds.tasks || self.total.bytes > self.bounds.bytes
    }

    /// That it is, and what to do.
    pub(super) fn full(&self) -> String {
        let (total, bounds) = (self.total, &self.bounds);
        let (kept, limit) = if total.tasks > bounds.tasks {
            (format!("{} finished tasks", total.tasks), format!("`limits.finished_tasks` is {}", bounds.tasks))
        } else {
            (
                format!("{} of finished tasks", ByteSize(total.bytes)),
                format!("`limits.finished` is {}", ByteSize(bounds.bytes)),
            )
        };
        format!(
            "{kept} are kept whose results nobody has fetched, and {limit}; nothing new is taken until some are fetched \
             (`results`), purged (`purge`) or too old (`retain`)"
        )
    }

    /// Has other bounds from now on.
    pub(super) fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
        self.retained = None;
    }

    /// Whether a sync is waited for.
    pub(super) fn wants_sync(&self, front: &Front) -> bool {
        !self.departures.is_empty() && front.synced_through() < self.over_by
    }

    /// When there is something to be done without news.
    pub(super) fn timeout(&self, engine: &Engine) -> Option<Duration> {
        let idle = self.departures.is_empty() && engine.archive_lag() > 0 && !self.closed;
        idle.then_some(AFTER / 2).or(self.is_full().then_some(RETAIN_FULL))
    }

    /// Goes on, after everything was told that may be.
    pub(super) fn step(&mut self, now: Now, front: &Front, engine: &mut Engine, pin: Pin) {
        let pause = if self.is_full() { RETAIN_FULL } else { RETAIN };
        if self.retained.is_none_or(|at| at + pause <= now.monotonic) {
            self.retained = Some(now.monotonic);
            self.stale |= std::mem::take(&mut self.uncounted);
            let Bounds { retain, tasks, bytes } = self.bounds;
            let older_than = retain.map(|retain| now.wall.minus(retain));
            self.thread.retain(Retention { older_than, tasks, bytes });
        }
        self.sample(now, front);
        if self.busy && engine.archive_lag() < PATIENCE && self.purged.is_empty() && self.purgers.is_empty() {
            return;
        }
        if self.departures.is_empty() && self.counting.is_none() && !self.writing {
            if self.stale {
                self.stale = false;
                let reader = self.archive.clone();
                self.counting = Some(tokio::task::spawn_blocking(move || reader.totals_by_owner()));
                return;
            }
            self.depart(now, front, engine);
        }
        if self.reading.is_some() || self.writing || self.departures.is_empty() || front.synced_through() < self.over_by
        {
            return;
        }
        let rows = self.unread.take().or_else(|| {
            let piece = self.pieces.pop_front()?;
            Some(Rows::new(engine, &piece, front.synced_through(), std::mem::take(&mut self.rest), pin))
        });
        if let Some(rows) = rows {
            let journal = self.journal.clone();
            self.reading = Some(tokio::task::spawn_blocking(move || rows.read(&journal)));
        }
    }

    /// Looks how busy the others are.
    fn sample(&mut self, now: Now, front: &Front) {
        let (at, bytes) = self.sampled;
        let elapsed = now.monotonic.saturating_sub(at);
        if elapsed >= SAMPLE {
            let grown = u128::from(front.block_bytes().saturating_sub(bytes));
            self.busy = grown * 1_000 > u128::from(BUSY) * elapsed.as_millis();
            self.sampled = (now.monotonic, front.block_bytes());
        }
    }

    /// Chooses what goes next.
    fn depart(&mut self, now: Now, front: &Front, engine: &mut Engine) {
        let few = engine.archive_lag() < u64::from(TASKS);
        let gathers = few && now.monotonic < self.departed + GATHER;
        if !self.closed && !gathers {
            self.departures = engine.departing(now.wall.minus(AFTER), TASKS.into());
            self.departed = now.monotonic;
        }
        self.over_by = front.last();
        let mut room = 0;
        for departure in &self.departures {
            let mut first = 0;
            loop {
                if room == 0 {
                    self.pieces.push_back(Vec::new());
                    room = TASKS;
                }
                let end = departure.tasks.min(first + room);
                if let Some(piece) = self.pieces.back_mut() {
                    piece.push((departure.job, first..end));
                }
                // A job without tasks takes room too.
                room -= (end - first).max(1);
                first = end;
                if first == departure.tasks {
                    break;
                }
            }
        }
        self.rest.purged.extend(self.purged.drain(..self.purged.len().min(TASKS as usize)));
        let restless = !self.rest.delivered.is_empty() || !self.rest.purged.is_empty();
        if self.departures.is_empty() && restless {
            self.rest.watermark = front.synced_through();
            let rest = std::mem::take(&mut self.rest);
            self.hand_over(rest);
        }
    }

    /// Jobs are to be removed from the archive, on behalf of somebody whose other jobs are forgotten already.
    pub(super) fn purge(&mut self, jobs: Vec<JobNumber>, purger: Purger, engine: &Engine) {
        self.remove(jobs);
        let until = match self.forgotten_on_the_way(engine).next() {
            Some(_) => Until::Arrived(self.arrivals + 1),
            None => Until::Removed(self.removals.wanted),
        };
        self.purgers.push((until, purger));
    }

    /// The jobs that are or come into the archive only to be removed.
    pub(super) fn leaving(&self, engine: &Engine) -> FxHashSet<JobNumber> {
        let removed = self.purged.iter().chain(&self.rest.purged).copied();
        self.forgotten_on_the_way(engine).chain(removed).collect()
    }

    fn forgotten_on_the_way(&self, engine: &Engine) -> impl Iterator<Item = JobNumber> {
        self.departures.iter().map(|one| one.job).filter(|job| engine.state().jobs.position(*job).is_none())
    }

    fn remove(&mut self, jobs: Vec<JobNumber>) {
        self.removals.wanted += jobs.len() as u64;
        self.purged.extend(jobs);
    }

    /// Who needs to wait no longer.
    pub(super) fn served(&mut self) -> Vec<Purger> {
        let is_served = |(until, _): &mut (Until, Purger)| {
            if let Until::Arrived(arrivals) = until
                && *arrivals <= self.arrivals
            {
                *until = Until::Removed(self.removals.wanted);
            }
            matches!(until, Until::Removed(removals) if *removals <= self.removals.done)
        };
        self.purgers.extract_if(.., is_served).map(|(_, purger)| purger).collect()
    }

    fn hand_over(&mut self, batch: Batch) {
        let coming: u64 = batch.tasks.iter().map(ArchivedTask::kept_bytes).sum();
        let removals = batch.purged.len() as u64;
        match self.thread.append(batch) {
            Ok(()) => {
                self.writing = true;
                self.removals.writing = removals;
                self.coming += coming;
            }
            Err(AppendError::Busy { batch }) => {
                // Only one is ever under way, so this is not to be expected.
                debug!("the archive is busy");
                self.rest = *batch;
            }
            // Its event says why.
            Err(AppendError::Ended) => {}
        }
    }

    /// Waits for news of the other threads, and notes them.
    pub(super) async fn news(&mut self) -> Result<Done, Failure> {
        let Self { events, reading, counting, delivered, rest, .. } = self;
        tokio::select! {
            event = events.recv() => {
                return event.map(|event| self.note(event)).ok_or_else(|| "the archive's thread ended".into());
            }
            read = wait(reading) => {
                self.reading = None;
                let (batch, rest) = read??;
                self.unread = rest;
                self.hand_over(batch);
            }
            counted = wait(counting) => {
                self.counting = None;
                match counted? {
                    Ok(kept) => {
                        self.total = sum(&kept);
                        self.kept = kept.into_iter().collect();
                    }
                    Err(error) => {
                        warn!(error = chain(&error), "what is in the archive can't be counted");
                        self.uncounted = true;
                    }
                }
            }
            Some(one) = delivered.recv(), if rest.delivered.len() < DELIVERIES => rest.delivered.push(one),
        }
        Ok(Done::default())
    }

    fn note(&mut self, event: Event) -> Done {
        let mut done = Done::default();
        match event {
            Event::Durable { watermark, .. } => {
                debug!(record = watermark.0, "the archive has come further");
                self.writing = false;
                self.removals.done += std::mem::take(&mut self.removals.writing);
                if self.pieces.is_empty() && self.unread.is_none() && !self.departures.is_empty() {
                    done.archived = std::mem::take(&mut self.departures);
                    self.arrivals += 1;
                }
            }
            Event::Removed { removed, .. } => {
                self.stale = true;
                done.files = removed.files;
            }
            Event::Retained { .. } => {}
            Event::Failing { error, attempts, retry_after } => {
                let retry = retry_after.as_secs_f32();
                warn!(error = chain(&error), attempts, "the archive can't be written; it is tried again in {retry} s");
            }
            Event::Recovered => info!("the archive can be written again"),
        }
        done
    }

    /// The state lets go of what is in the archive.
    pub(super) fn let_go(&mut self, now: Now, departures: Vec<Departure>, engine: &mut Engine, log: &mut impl Log) {
        let jobs = &engine.state().jobs;
        let owner = |job| jobs.position(job).and_then(|position| jobs.at(position)).map(|job| job.owner);
        let departing: Vec<_> =
            departures.iter().filter_map(|one| Some((one.job, owner(one.job)?, one.tasks))).collect();
        let purged = engine.archived(now, departures, log);
        debug!(jobs = departing.len(), "jobs are in the archive now");
        for (job, owner, tasks) in departing {
            if engine.state().jobs.position(job).is_none() && !purged.contains(&job) {
                let kept = self.kept.entry(owner).or_default();
                kept.jobs += 1;
                kept.tasks.succeeded += u64::from(tasks);
                self.total.tasks += u64::from(tasks);
            }
        }
        self.total.bytes += std::mem::take(&mut self.coming);
        self.remove(purged);
    }

    /// Ends the thread, which finishes what it has. What fails now, the journal still has.
    pub(super) async fn finish(self) {
        let stopped = tokio::task::spawn_blocking(move || self.thread.stop()).await;
        if let Ok(Err(error)) = stopped {
            warn!(error = chain(&error), "the archive was not closed well; the journal has what it lacks");
        }
    }
}

type Failure = Box<dyn Error + Send + Sync>;

/// A batch, and what is left of what it was read from.
type Read = Result<(Batch, Option<Rows>), Failure>;

type Counted = Result<Vec<(OwnerNumber, Totals)>, ArchiveError>;

async fn wait<T>(work: &mut Option<JoinHandle<T>>) -> Result<T, tokio::task::JoinError> {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}
