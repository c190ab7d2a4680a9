//! The thread that fills the archive, so that nobody else waits for it.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use task_messenger_core::{ids::RecordNumber, time::WallTime};

use super::{Archive, ArchiveError, Batch, Removed, Totals};

/// How many batches may wait, besides the one that is being put in.
pub const BATCHES_WAITING_MAX: usize = 4;

/// After a failure the same thing is tried again this much later, and each time twice as long after that.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// The longest wait.
const BACKOFF_LONGEST: Duration = Duration::from_secs(30);

/// As many unused pages may stay in the file for what comes next: 16 MiB.
const UNUSED_PAGES_KEPT: u64 = 2048;

/// So many pages are given back between looking for more important work: 4 MiB.
const PAGES_AT_ONCE: u32 = 512;

/// What may stay in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// What ended before this goes.
    pub older_than: Option<WallTime>,
    /// At most so many tasks; what was not delivered stays.
    pub tasks: u64,
    /// At most so many bytes of values; what was not delivered stays.
    pub bytes: u64,
}

/// What the archive's thread tells.
#[derive(Debug)]
pub enum Event {
    /// A batch is in, durably.
    Durable {
        /// Everything up to this record is held: the journal need not keep it for the archive's sake.
        watermark: RecordNumber,
        /// What is kept now.
        totals: Totals,
    },
    /// Tasks were removed, durably: their values' files may be deleted.
    Removed {
        /// Which.
        removed: Removed,
        /// What is kept now.
        totals: Totals,
    },
    /// A [`Retention`] was seen to: what still exceeds it was not delivered.
    Retained {
        /// What is kept now.
        totals: Totals,
    },
    /// Something failed and will be tried again; nothing is lost, but the archive lags.
    Failing {
        /// Why.
        error: ArchiveError,
        /// How often it failed.
        attempts: u32,
        /// When it is tried again.
        retry_after: Duration,
    },
    /// What had failed worked.
    Recovered,
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Too many wait already: try again at the next [`Event::Durable`].
    #[error("{BATCHES_WAITING_MAX} batches are waiting already")]
    Busy {
        /// The batch, given back.
        batch: Box<Batch>,
    },
    /// The thread has ended; [`ArchiveThread::stop`] says why.
    #[error("the archive's thread has ended")]
    Ended,
}

/// How the thread is getting on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadStatus {
    /// How many batches wait, the one that is being put in included.
    pub waiting: usize,
    /// Since when what it does fails, and why.
    pub failing: Option<(Instant, String)>,
    /// Whether it has ended.
    pub ended: bool,
}

/// The archive's thread. It puts batches in, in their order; in between it removes what was purged and what exceeds the
/// retention, and shortens the file. What fails is tried again until it works, with the batch kept, unless trying again can't
/// help ([`ArchiveError::is_lasting`]): then the thread ends. Dropping it ends it after what it is doing.
pub struct ArchiveThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<RecordNumber, ArchiveError>>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    batches: VecDeque<Batch>,
    retention: Option<Retention>,
    stopping: bool,
    status: ThreadStatus,
}

impl ArchiveThread {
    /// Starts the thread. `on_event` is called on it.
    pub fn spawn(archive: Archive, on_event: Box<dyn Fn(Event) + Send>) -> std::io::Result<Self> {
        let status = ThreadStatus { waiting: 0, failing: None, ended: false };
        let state = State { batches: VecDeque::new(), retention: None, stopping: false, status };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let mut work = Work { archive, shared: shared.clone(), on_event, retention: None, purges: true, vacuums: true };
        let thread = thread::Builder::new().name("archive".to_owned()).spawn(move || {
            let _ended = EndGuard(work.shared.clone());
            work.run()
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Hands over a batch, without waiting.
    pub fn append(&self, batch: Batch) -> Result<(), AppendError> {
        let mut state = self.shared.lock();
        if state.status.ended || state.stopping {
            return Err(AppendError::Ended);
        }
        if state.batches.len() >= BATCHES_WAITING_MAX {
            return Err(AppendError::Busy { batch: Box::new(batch) });
        }
        state.batches.push_back(batch);
        state.status.waiting += 1;
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Says what may stay, in place of what was said before. It is seen to once for each call, after the waiting batches.
    pub fn retain(&self, retention: Retention) {
        self.shared.lock().retention = Some(retention);
        self.shared.changed.notify_one();
    }

    /// How the thread is getting on.
    pub fn status(&self) -> ThreadStatus {
        self.shared.lock().status.clone()
    }

    /// Puts the waiting batches in, closes the archive, waits for the thread to end, and says how far the archive came. What
    /// fails now isn't tried again: the error is returned, and the journal still has what the archive lacks.
    pub fn stop(mut self) -> Result<RecordNumber, ArchiveError> {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_one();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(RecordNumber(0)),
        }
    }
}

impl Drop for ArchiveThread {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        let mut state = self.shared.lock();
        state.stopping = true;
        state.batches.clear();
        drop(state);
        self.shared.changed.notify_one();
        // A panic there has been printed.
        let _ = thread.join();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct EndGuard(Arc<Shared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.lock().status.ended = true;
    }
}

/// What is to be done next.
enum Next {
    Append(Batch),
    Tidy,
    Stop,
}

struct Work {
    archive: Archive,
    shared: Arc<Shared>,
    on_event: Box<dyn Fn(Event) + Send>,
    /// What is left to see to.
    retention: Option<Retention>,
    purges: bool,
    vacuums: bool,
}

impl Work {
    fn run(&mut self) -> Result<RecordNumber, ArchiveError> {
        loop {
            match self.next() {
                Next::Append(batch) => self.append(&batch)?,
                Next::Tidy => self.tidy()?,
                Next::Stop => return Ok(self.archive.watermark()),
            }
        }
    }

    /// Batches come first, then the end, and only then what can wait.
    fn next(&mut self) -> Next {
        let mut state = self.shared.lock();
        loop {
            if let Some(batch) = state.batches.pop_front() {
                return Next::Append(batch);
            }
            if state.stopping {
                return Next::Stop;
            }
            if let Some(retention) = state.retention.take() {
                self.retention = Some(retention);
            }
            if self.purges || self.retention.is_some() || self.vacuums {
                return Next::Tidy;
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn append(&mut self, batch: &Batch) -> Result<(), ArchiveError> {
        self.persist(|archive| archive.append(batch))?;
        self.shared.lock().status.waiting -= 1;
        self.purges |= !batch.purged.is_empty();
        (self.on_event)(Event::Durable { watermark: self.archive.watermark(), totals: self.archive.totals() });
        Ok(())
    }

    /// One step of what can wait.
    fn tidy(&mut self) -> Result<(), ArchiveError> {
        if self.purges {
            let removed = self.persist(Archive::remove_purged)?;
            self.purges = removed.more;
            self.tell_removed(removed);
        } else if let Some(retention) = self.retention {
            let removed = self.persist(|archive| retain_step(archive, retention))?;
            let is_done = !removed.more;
            self.tell_removed(removed);
            if is_done {
                self.retention = None;
                (self.on_event)(Event::Retained { totals: self.archive.totals() });
            }
        } else {
            self.vacuums = self.persist(vacuum_step)?;
        }
        Ok(())
    }

    fn tell_removed(&mut self, removed: Removed) {
        if removed.tasks > 0 {
            self.vacuums = true;
            (self.on_event)(Event::Removed { removed, totals: self.archive.totals() });
        }
    }

    /// Does something until it works, it can't ever, or it fails while the end is wanted.
    fn persist<T>(
        &mut self,
        mut action: impl FnMut(&mut Archive) -> Result<T, ArchiveError>,
    ) -> Result<T, ArchiveError> {
        let mut attempts = 0;
        let mut backoff = BACKOFF_FIRST;
        loop {
            let error = match action(&mut self.archive) {
                Ok(done) => {
                    if attempts > 0 {
                        self.shared.lock().status.failing = None;
                        (self.on_event)(Event::Recovered);
                    }
                    return Ok(done);
                }
                Err(error) => error,
            };
            let text = error.to_string();
            let mut state = self.shared.lock();
            let since = state.status.failing.take().map_or_else(Instant::now, |(since, _)| since);
            state.status.failing = Some((since, text));
            if error.is_lasting() || state.stopping {
                return Err(error);
            }
            drop(state);
            attempts += 1;
            (self.on_event)(Event::Failing { error, attempts, retry_after: backoff });
            let state = self.shared.lock();
            // Being told to stop ends the wait; one more attempt follows.
            drop(self.shared.changed.wait_timeout_while(state, backoff, |state| !state.stopping));
            backoff = (backoff * 2).min(BACKOFF_LONGEST);
        }
    }
}

fn retain_step(archive: &mut Archive, retention: Retention) -> Result<Removed, ArchiveError> {
    if let Some(time) = retention.older_than {
        let removed = archive.remove_older_than(time)?;
        if removed.tasks > 0 || removed.more {
            return Ok(Removed { more: true, ..removed });
        }
    }
    archive.shrink_to(retention.tasks, retention.bytes)
}

/// Gives some unused pages back, if there are more than may stay; whether to go on.
fn vacuum_step(archive: &mut Archive) -> Result<bool, ArchiveError> {
    let (_, unused) = archive.pages()?;
    let excess = unused.saturating_sub(UNUSED_PAGES_KEPT);
    if excess == 0 {
        // What was given back leaves the file only now.
        archive.carry_over()?;
        return Ok(false);
    }
    archive.vacuum_some(PAGES_AT_ONCE.min(u32::try_from(excess).unwrap_or(u32::MAX)))?;
    Ok(true)
}
