//! The threads that wait for the disk, so that nobody else does.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use task_messenger_core::meter::Histogram;

use crate::{
    journal::{Allocation, Allocator, Block, Progress, WriteError, Writer},
    room::Level,
};

/// How many commits may wait, besides the one that is being written.
pub const COMMITS_WAITING_MAX: usize = 2;

/// An idle thread shows that it is alive this often.
const BEAT: Duration = Duration::from_secs(1);

/// The disk's room is looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// The same while there is too little: whoever waits for room goes on soon after there is.
const LOOK_WHEN_SHORT: Duration = Duration::from_millis(200);

/// What is written at once.
#[derive(Debug)]
pub struct Commit {
    /// The blocks.
    pub blocks: Vec<Block>,
    /// Whether everything is to be made durable then.
    pub sync: bool,
}

/// Why a commit was not taken.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Too many wait already: try again when one is done.
    #[error("{COMMITS_WAITING_MAX} commits are waiting already")]
    Busy {
        /// The commit, given back.
        commit: Commit,
    },
    /// The thread has ended: after an error, which it has reported.
    #[error("the journal's thread has ended")]
    Ended,
}

/// What the journal's thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Goes up with everything that it finishes, and every second while it has nothing to do.
    pub beats: u64,
    /// Whether it waits for the disk.
    pub waits_for_disk: bool,
    /// Whether it has ended without being asked to.
    pub ended: bool,
}

/// The journal's thread, and a second one that allocates segments. Dropping it ends both without a clean close.
pub struct JournalThread {
    commits: Option<SyncSender<Request>>,
    pulse: Arc<Pulse>,
    writing: Option<JoinHandle<Result<Progress, WriteError>>>,
    allocating: Option<JoinHandle<()>>,
}

enum Request {
    Commit(Commit),
    Close,
}

#[derive(Default)]
struct Pulse {
    beats: AtomicU64,
    waits_for_disk: AtomicBool,
    ended: AtomicBool,
    allocation_error: Mutex<Option<String>>,
    meter: Mutex<JournalMeter>,
}

/// What the journal's thread did since it started.
#[derive(Clone, Debug, Default)]
pub struct JournalMeter {
    /// Commits.
    pub commits: u64,
    /// Bytes of the blocks that were written.
    pub bytes: u64,
    /// How long those commits took that were synced, writing included.
    pub syncs: Histogram,
}

/// Looks at the journal's thread from elsewhere.
#[derive(Clone)]
pub struct JournalWatch(Arc<Pulse>);

impl JournalWatch {
    /// What the thread is doing.
    pub fn heartbeat(&self) -> Heartbeat {
        Heartbeat {
            beats: self.0.beats.load(Ordering::Relaxed),
            waits_for_disk: self.0.waits_for_disk.load(Ordering::Relaxed),
            ended: self.0.ended.load(Ordering::Relaxed),
        }
    }

    /// What it did.
    pub fn meter(&self) -> JournalMeter {
        self.0.meter.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Pulse {
    fn committed(&self, bytes: u64, synced: Option<Duration>) {
        let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        meter.commits += 1;
        meter.bytes += bytes;
        if let Some(took) = synced {
            meter.syncs.observe(took);
        }
    }
}

impl JournalThread {
    /// Starts the threads. `on_done` is called on the journal's thread after each commit, in their order; after an error it
    /// isn't called again.
    pub fn spawn(
        writer: Writer,
        allocator: Allocator,
        on_done: Box<dyn Fn(Result<Progress, WriteError>) + Send>,
    ) -> std::io::Result<Self> {
        let pulse = Arc::new(Pulse::default());
        let (commits, requests) = mpsc::sync_channel(COMMITS_WAITING_MAX);
        // One hint is enough, however many segments were opened.
        let (hint, hints) = mpsc::sync_channel(1);
        let allocating = {
            let pulse = pulse.clone();
            thread::Builder::new()
                .name("allocator".to_owned())
                .spawn(move || allocate(allocator, &hints, &pulse.allocation_error))?
        };
        let writing = {
            let pulse = pulse.clone();
            thread::Builder::new().name("journal".to_owned()).spawn(move || {
                let mut guard = EndGuard { pulse: pulse.clone(), closed: false };
                let written = write(writer, &requests, &hint, &pulse, &*on_done);
                guard.closed = written.is_ok();
                written
            })?
        };
        Ok(Self { commits: Some(commits), pulse, writing: Some(writing), allocating: Some(allocating) })
    }

    /// Hands over a commit, without waiting.
    pub fn commit(&self, commit: Commit) -> Result<(), CommitError> {
        let Some(commits) = &self.commits else { return Err(CommitError::Ended) };
        commits.try_send(Request::Commit(commit)).map_err(|error| match error {
            TrySendError::Full(Request::Commit(commit)) => CommitError::Busy { commit },
            TrySendError::Full(Request::Close) | TrySendError::Disconnected(_) => CommitError::Ended,
        })
    }

    /// Looks at it from elsewhere, also when it has ended.
    pub fn watch(&self) -> JournalWatch {
        JournalWatch(self.pulse.clone())
    }

    /// Why the next segment could not be allocated ahead, if it couldn't; it is tried again. The writer makes the segment
    /// itself when it needs it.
    pub fn allocation_error(&self) -> Option<String> {
        self.pulse.allocation_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Finishes the waiting commits, closes the journal cleanly, and waits for the threads to end.
    pub fn stop(mut self) -> Result<Progress, WriteError> {
        if let Some(commits) = &self.commits {
            // If this fails, the thread has ended already; joining says why.
            let _ = commits.send(Request::Close);
        }
        self.end().unwrap_or(Err(WriteError::Failed))
    }

    fn end(&mut self) -> Option<Result<Progress, WriteError>> {
        self.commits = None;
        let result = self.writing.take().map(|writing| writing.join().unwrap_or(Err(WriteError::Failed)));
        if let Some(allocating) = self.allocating.take() {
            // A panic there has been printed, and harms nobody: the writer makes its own segments.
            let _ = allocating.join();
        }
        result
    }
}

impl Drop for JournalThread {
    fn drop(&mut self) {
        self.end();
    }
}

/// Shows the thread's end, also by a panic.
struct EndGuard {
    pulse: Arc<Pulse>,
    /// Whether it was asked to end and did so.
    closed: bool,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.pulse.waits_for_disk.store(false, Ordering::Relaxed);
        self.pulse.ended.store(!self.closed, Ordering::Relaxed);
    }
}

fn write(
    mut writer: Writer,
    requests: &Receiver<Request>,
    hint: &SyncSender<()>,
    pulse: &Pulse,
    on_done: &dyn Fn(Result<Progress, WriteError>),
) -> Result<Progress, WriteError> {
    loop {
        match requests.recv_timeout(BEAT) {
            Ok(Request::Commit(Commit { blocks, sync })) => {
                let (began, bytes) = (Instant::now(), blocks.iter().map(Block::length).sum());
                pulse.waits_for_disk.store(true, Ordering::Relaxed);
                let result = writer.write(blocks, sync);
                pulse.waits_for_disk.store(false, Ordering::Relaxed);
                pulse.committed(bytes, sync.then(|| began.elapsed()));
                let failed = result.is_err();
                on_done(result);
                if failed {
                    return Err(WriteError::Failed);
                }
                if writer.next_segment_is_missing() {
                    // Full means that the allocator has one to look at already.
                    let _ = hint.try_send(());
                }
            }
            Ok(Request::Close) => {
                pulse.waits_for_disk.store(true, Ordering::Relaxed);
                return writer.close();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(writer.progress()),
        }
        pulse.beats.fetch_add(1, Ordering::Relaxed);
    }
}

/// Allocates when there is a hint, and keeps an eye on the disk's room, until nobody can give a hint any more.
fn allocate(mut allocator: Allocator, hints: &Receiver<()>, error: &Mutex<Option<String>>) {
    let set_error = |text| *error.lock().unwrap_or_else(PoisonError::into_inner) = text;
    // The first segment is made in a hurry: begin with its successor.
    let mut wait = Duration::ZERO;
    let mut looked = Instant::now();
    loop {
        match hints.recv_timeout(wait) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let room = allocator.room();
        let pause = if room.level() == Level::Ample { LOOK } else { LOOK_WHEN_SHORT };
        let mut failure = None;
        if looked.elapsed() >= pause {
            looked = Instant::now();
            failure = room.refill().and_then(|()| room.look()).err().map(|error| format!("the disk's room: {error}"));
        }
        wait = pause;
        match allocator.step() {
            Ok(Allocation::Working) => wait = Duration::ZERO,
            Ok(Allocation::Idle | Allocation::Ready { .. }) => {}
            Err(error) => failure = Some(format!("{error}: {}", error.source)),
        }
        set_error(failure);
    }
}

#[cfg(test)]
mod tests {
    use task_messenger_core::{
        ids::{JobNumber, RecordNumber},
        record::{Log, Record},
    };

    use super::*;
    use crate::{
        disk::{Disk, Fault, SimulatedDisk},
        journal::{Durability, Front, Options, Store, open},
    };

    const PATIENCE: Duration = Duration::from_secs(10);

    type Done = Receiver<Result<Progress, WriteError>>;

    fn start(disk: &SimulatedDisk) -> (Front, JournalThread, Done) {
        let options =
            Options { segment_bytes: 1 << 20, cache_bytes: 0, durability: Durability::Strict, reserve_bytes: Some(0) };
        let Store { front, writer, allocator, .. } = open(Arc::new(disk.clone()), &options).unwrap().finish().unwrap();
        let (sender, done) = mpsc::channel();
        let on_done = Box::new(move |result| sender.send(result).unwrap());
        (front, JournalThread::spawn(writer, allocator, on_done).unwrap(), done)
    }

    fn commit(front: &mut Front) -> Commit {
        for job in 0..100 {
            front.append(&Record::JobClosed { job: JobNumber(job) });
        }
        Commit { blocks: front.take_blocks(), sync: true }
    }

    fn wait_until(condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < PATIENCE, "it did not happen in time");
            thread::yield_now();
        }
    }

    #[test]
    fn commits_are_done_in_order_segments_are_made_ahead_and_the_end_is_clean() {
        let disk = SimulatedDisk::new(1);
        let (mut front, journal, done) = start(&disk);
        wait_until(|| disk.list("journal").unwrap().contains(&"000000000002.segment".to_owned()));
        for _ in 0..50 {
            journal.commit(commit(&mut front)).unwrap();
            let progress = done.recv_timeout(PATIENCE).unwrap().unwrap();
            assert_eq!(progress.synced, front.last());
            front.progress(progress);
        }
        assert_eq!(front.told_through(), RecordNumber(5000));
        wait_until(|| journal.watch().heartbeat().beats >= 50);
        assert!(!journal.watch().heartbeat().waits_for_disk && !journal.watch().heartbeat().ended);
        let meter = journal.watch().meter();
        assert_eq!((meter.commits, meter.syncs.count(), meter.bytes % 4096), (50, 50, 0));
        assert!(meter.bytes >= 50 * 4096);
        assert_eq!(journal.allocation_error(), None);
        assert_eq!(journal.stop().unwrap().synced, RecordNumber(5000));
        disk.cut();
        disk.restart();
        assert_eq!(start(&disk).0.last(), RecordNumber(5000));
    }

    #[test]
    fn what_can_not_be_written_is_reported_and_the_thread_ends() {
        let disk = SimulatedDisk::new(1);
        let (mut front, journal, done) = start(&disk);
        // The last thing that the allocator does for it.
        wait_until(|| disk.read("extent.json").unwrap().windows(16).any(|text| text == b"\"last_segment\":2"));
        disk.fault_at(disk.operations(), Fault::Error);
        journal.commit(commit(&mut front)).unwrap();
        assert!(matches!(done.recv_timeout(PATIENCE).unwrap(), Err(WriteError::Io { .. })));
        wait_until(|| journal.watch().heartbeat().ended);
        assert!(matches!(journal.commit(commit(&mut front)), Err(CommitError::Ended)));
        assert!(matches!(journal.stop(), Err(WriteError::Failed)));
    }

    #[test]
    fn commits_beyond_the_bound_are_given_back() {
        let disk = SimulatedDisk::new(1);
        let options =
            Options { segment_bytes: 1 << 20, cache_bytes: 0, durability: Durability::Strict, reserve_bytes: Some(0) };
        let Store { mut front, writer, allocator, .. } = open(Arc::new(disk), &options).unwrap().finish().unwrap();
        let (started, starts) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let on_done = Box::new(move |_| {
            started.send(()).unwrap();
            // Ends when the other side is dropped.
            let _ = released.recv();
        });
        let journal = JournalThread::spawn(writer, allocator, on_done).unwrap();
        journal.commit(commit(&mut front)).unwrap();
        starts.recv_timeout(PATIENCE).unwrap();
        for _ in 0..COMMITS_WAITING_MAX {
            journal.commit(commit(&mut front)).unwrap();
        }
        let rejected = commit(&mut front);
        let last = rejected.blocks[0].last();
        match journal.commit(rejected) {
            Err(CommitError::Busy { commit }) => assert_eq!(commit.blocks[0].last(), last),
            other => panic!("{other:?}"),
        }
        drop(release);
        assert_eq!(journal.stop().unwrap().synced, RecordNumber(300));
    }

    #[test]
    fn the_room_on_the_disk_is_watched_and_the_reserve_filled_up_again() {
        let disk = SimulatedDisk::new(1);
        disk.set_capacity(Some(64 << 20));
        let options = Options {
            segment_bytes: 1 << 20,
            cache_bytes: 0,
            durability: Durability::Strict,
            reserve_bytes: Some(16 << 20),
        };
        let store = open(Arc::new(disk.clone()), &options).unwrap().finish().unwrap();
        let (room, blobs) = (store.room.clone(), store.blobs.clone());
        let journal = JournalThread::spawn(store.writer, store.allocator, Box::new(|_| {})).unwrap();
        assert_eq!(room.level(), Level::Ample);
        wait_until(|| disk.list("journal").unwrap().contains(&"000000000002.segment".to_owned()));
        disk.set_capacity(Some(20 << 20));
        wait_until(|| room.level() == Level::Short);
        // The reserve gives what this takes, and gets it back.
        blobs.write_within_reserve(&vec![1; 10 << 20]).unwrap();
        assert_eq!(room.level(), Level::Critical);
        disk.set_capacity(Some(64 << 20));
        wait_until(|| room.level() == Level::Ample);
        assert_eq!(room.state().reserve, 16 << 20);
        journal.stop().unwrap();
    }

    #[test]
    fn a_segment_that_can_not_be_made_in_advance_is_told_and_tried_again() {
        let disk = SimulatedDisk::new(1);
        let options =
            Options { segment_bytes: 1 << 20, cache_bytes: 0, durability: Durability::Strict, reserve_bytes: Some(0) };
        let Store { writer, allocator, .. } = open(Arc::new(disk.clone()), &options).unwrap().finish().unwrap();
        disk.set_capacity(Some(1 << 20));
        let journal = JournalThread::spawn(writer, allocator, Box::new(|_| {})).unwrap();
        wait_until(|| journal.allocation_error().is_some_and(|error| error.contains("cannot allocate")));
        disk.set_capacity(None);
        wait_until(|| journal.allocation_error().is_none());
        wait_until(|| disk.list("journal").unwrap().contains(&"000000000002.segment".to_owned()));
    }

    #[test]
    fn dropping_it_waits_for_what_was_handed_over() {
        let disk = SimulatedDisk::new(1);
        let (mut front, journal, done) = start(&disk);
        let mut handed_over = 0;
        while journal.commit(commit(&mut front)).is_ok() {
            handed_over += 1;
        }
        drop(journal);
        assert!(handed_over > 1 && done.try_iter().flatten().count() == handed_over);
    }
}
