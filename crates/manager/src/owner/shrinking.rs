//! What keeps the store short: snapshots, and letting go of segments and large values that nobody needs.
//!
//! What no value of the state lies in any more may still be about to be read by a session that was handed the place before.
//! So whatever is handed to sessions carries a [`Pin`]; segments and files go only when the pins are gone that were given
//! before they became unneeded.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use task_messenger_core::{
    engine::Engine,
    ids::RecordNumber,
    image::{Image, NeededValue},
    values::Value,
};
use task_messenger_daemon::exit::chain;
use task_messenger_store::{
    blobs::Blobs,
    journal::{Front, Position, Recovered, Shrinker, SnapshotWritten},
};
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use crate::observation::SnapshotSize;

/// Keeps segments and files in which places lie that somebody was handed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pin(Arc<()>);

/// A snapshot that failed is tried again this much later.
const AGAIN: Duration = Duration::from_secs(10);

/// While something waits to go, it is looked this often whether it may.
const LOOK: Duration = Duration::from_secs(1);

/// What takes snapshots and lets go.
pub(crate) struct Shrinking {
    shrinker: Shrinker,
    blobs: Blobs,
    /// How large the last snapshot is, and how much of the journal there was at it.
    snapshot_bytes: u64,
    journal_bytes: u64,
    /// How many tasks had been forgotten at the last snapshot.
    forgotten: u64,
    /// The last record of the last snapshot.
    last: RecordNumber,
    /// How much of the journal was read at the start.
    replayed_bytes: u64,
    /// A state to be written once everything before its position is synced.
    image: Option<(Position, Image)>,
    writing: Option<JoinHandle<io::Result<SnapshotWritten>>>,
    not_before: Option<Instant>,
    /// What is to be written again.
    sparse: Vec<(NeededValue, Value)>,
    /// What is handed out now is pinned with this.
    pin: Pin,
    leaving: VecDeque<Leaving>,
}

/// What is to go.
struct Leaving {
    /// As of this record it is not needed.
    after: RecordNumber,
    segments: Vec<u64>,
    files: Vec<u64>,
    /// What was handed out until it was not needed.
    pins: Option<Weak<()>>,
}

impl Shrinking {
    pub(crate) fn new(shrinker: Shrinker, blobs: Blobs, found: &Recovered, engine: &Engine) -> Self {
        let mut shrinking = Self {
            shrinker,
            blobs,
            sparse: Vec::new(),
            snapshot_bytes: 0,
            journal_bytes: 0,
            forgotten: engine.state().forgotten,
            last: RecordNumber(0),
            replayed_bytes: found.replayed_bytes,
            image: None,
            writing: None,
            not_before: None,
            pin: Pin::default(),
            leaving: VecDeque::new(),
        };
        if let Some(snapshot) = &found.snapshot {
            let unneeded = shrinking.shrinker.unneeded(&snapshot.position, &engine.image());
            shrinking.note(SnapshotWritten {
                last: snapshot.position.last(),
                bytes: snapshot.bytes,
                unneeded,
                sparse: Vec::new(),
            });
        }
        shrinking
    }

    /// Bytes of the journal's segments.
    pub(super) fn size(&self) -> u64 {
        self.shrinker.segments() as u64 * self.shrinker.segment_bytes()
    }

    /// The newest snapshot.
    pub(super) fn snapshot(&self) -> SnapshotSize {
        SnapshotSize { bytes: self.snapshot_bytes, record: self.last.0 }
    }

    /// What is handed to sessions has to be pinned with this.
    pub(super) fn pin(&self) -> Pin {
        self.pin.clone()
    }

    /// Whether the next commit should be followed by a snapshot: the journal has grown by a segment, or one can go since
    /// tasks were forgotten, and either is more than twice of what a snapshot takes.
    pub(super) fn wants_image(&self, front: &Front, engine: &Engine) -> bool {
        if self.image.is_some() || self.writing.is_some() || self.not_before.is_some_and(|at| at > Instant::now()) {
            return false;
        }
        let grown = (self.replayed_bytes + front.block_bytes()).saturating_sub(self.journal_bytes);
        let worth = self.shrinker.segment_bytes().max(2 * self.snapshot_bytes);
        grown >= worth || self.dead_bytes(engine) >= worth
    }

    /// About how much of the journal is what was forgotten since the last snapshot.
    fn dead_bytes(&self, engine: &Engine) -> u64 {
        let state = engine.state();
        let forgotten = state.forgotten - self.forgotten;
        if forgotten == 0 {
            return 0;
        }
        let all = self.shrinker.segments().saturating_sub(1) as u64 * self.shrinker.segment_bytes();
        (u128::from(all) * u128::from(forgotten) / u128::from(forgotten + state.counts.total())) as u64
    }

    /// Takes an image; to be called when all blocks were taken.
    pub(super) fn take_image(&mut self, front: &Front, engine: &Engine) {
        self.image = front.position().map(|position| (position, engine.image()));
        self.journal_bytes = self.replayed_bytes + front.block_bytes();
        self.forgotten = engine.state().forgotten;
    }

    /// Removes large values that came in and that no record will name.
    pub(super) fn remove_files(&self, files: Vec<u64>) {
        if !files.is_empty() {
            self.remove(Vec::new(), files);
        }
    }

    /// Goes on, after everything was told that may be.
    pub(super) fn step(&mut self, front: &mut Front, engine: &mut Engine) {
        if !self.sparse.is_empty() {
            engine.move_values(std::mem::take(&mut self.sparse), front);
        }
        let files = engine.take_dropped_files();
        if !files.is_empty() {
            self.leave(front.last(), Vec::new(), files);
        }
        let synced = front.synced_through();
        if let Some((position, image)) = self.image.take_if(|(position, _)| position.last() <= synced) {
            let shrinker = self.shrinker.clone();
            self.writing = Some(tokio::task::spawn_blocking(move || shrinker.write(&position, &image)));
        }
        let Self { pin, leaving, .. } = self;
        for leaving in leaving.iter_mut().filter(|leaving| leaving.pins.is_none() && leaving.after <= synced) {
            // What is handed out from now on has no place in it.
            leaving.pins = Some(Arc::downgrade(&std::mem::take(pin).0));
        }
        while let Some(gone) = self.leaving.pop_front_if(|leaving| leaving.is_free()) {
            self.remove(gone.segments, gone.files);
        }
    }

    fn leave(&mut self, after: RecordNumber, segments: Vec<u64>, files: Vec<u64>) {
        self.leaving.push_back(Leaving { after, segments, files, pins: None });
    }

    fn remove(&self, segments: Vec<u64>, files: Vec<u64>) {
        let (shrinker, blobs) = (self.shrinker.clone(), self.blobs.clone());
        // Nobody waits for it: what is left behind when the manager ends is removed by its next start.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = shrinker.free(&segments) {
                warn!(error = chain(&error), "segments that nobody needs stay until the next start");
            }
            for file in files {
                if let Err(error) = blobs.remove(file) {
                    warn!(error = chain(&error), "a large value that nobody needs stays until the next start");
                }
            }
        });
    }

    /// Waits until a snapshot is written, if one is being written.
    pub(super) async fn written(&mut self) {
        let Some(writing) = &mut self.writing else { return std::future::pending().await };
        let written = writing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        self.writing = None;
        match written {
            Ok(written) => self.note(written),
            Err(error) => {
                let retry = AGAIN.as_secs();
                warn!(error = chain(&error), "a snapshot can't be written, and is tried again in {retry} s");
                self.not_before = Some(Instant::now() + AGAIN);
                // The journal has grown by as much as before.
                self.journal_bytes = 0;
            }
        }
    }

    fn note(&mut self, SnapshotWritten { last, bytes, unneeded, sparse }: SnapshotWritten) {
        let (segments, moved) = (unneeded.len(), sparse.len());
        debug!(
            record = last.0,
            bytes, segments, moved, "a snapshot was written; segments are to go, values to be moved"
        );
        self.sparse = sparse;
        self.snapshot_bytes = bytes;
        self.last = last;
        if !unneeded.is_empty() {
            self.leave(last, unneeded, Vec::new());
        }
    }

    /// When it is to be looked again whether something may go.
    pub(super) fn timeout(&self) -> Option<Duration> {
        (!self.leaving.is_empty()).then_some(LOOK)
    }

    /// The last snapshot, when everything was told. That it fails is no reason not to stop.
    pub(super) async fn finish(mut self, front: &Front, engine: &Engine) {
        if self.writing.is_some() {
            self.written().await;
        }
        if front.last() > self.last
            && let Some(position) = front.position()
        {
            let (shrinker, image) = (self.shrinker.clone(), engine.image());
            self.writing = Some(tokio::task::spawn_blocking(move || shrinker.write(&position, &image)));
            self.written().await;
        }
    }
}

impl Leaving {
    /// Whether nobody can have a place in it.
    fn is_free(&self) -> bool {
        self.pins.as_ref().is_some_and(|pins| pins.strong_count() == 0)
    }
}
