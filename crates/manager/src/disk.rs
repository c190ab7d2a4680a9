//! The disk's room, as the manager tells of it and waits for it.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use task_messenger_daemon::{exit::chain, health::Condition, service::Service, shutdown::Shutdown};
use task_messenger_store::{
    disk::{Disk as _, FileDisk, is_full},
    room::{DiskRoom, Level, RoomState},
};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::{
    owner::Event,
    state::{ArchiveRefused, StoreRefused},
};

/// When a request that found no room is worth another try.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How often it is looked whether the level has changed.
const LOOK: Duration = Duration::from_secs(1);
/// The same while there is too little room.
const LOOK_WHEN_SHORT: Duration = Duration::from_millis(200);

/// A start that found the disk full is tried again when so much is free, or after [`START_AGAIN`].
const START_BYTES: u64 = 2 << 20;
/// See [`START_BYTES`].
const START_AGAIN: Duration = Duration::from_secs(30);

/// The room on the disk of the state directory.
#[derive(Clone)]
pub(crate) struct Disk {
    room: DiskRoom,
    directory: PathBuf,
}

impl Disk {
    pub(crate) fn new(room: DiskRoom, directory: PathBuf) -> Self {
        Self { room, directory }
    }

    pub(crate) fn room(&self) -> &DiskRoom {
        &self.room
    }

    /// Counts bytes that are to be written for new work; if there is no room for them, the text for whoever asked.
    pub(crate) fn take(&self, bytes: u64) -> Result<(), String> {
        if self.room.take(bytes) { Ok(()) } else { Err(self.no_room()) }
    }

    /// That there is no room, and what to do.
    pub(crate) fn no_room(&self) -> String {
        format!(
            "the manager's disk is full: {}; nothing new is taken until there is room in {}: remove what is not needed, \
             enlarge the disk, or lower `disk.reserve`",
            self.describe(),
            self.directory.display()
        )
    }

    fn describe(&self) -> String {
        let RoomState { free, reserve, reserve_wanted, .. } = self.room.state();
        format!(
            "{free} bytes are free there, and {} MiB of the reserve of {} MiB are left",
            reserve >> 20,
            reserve_wanted >> 20
        )
    }

    /// Tells the log, the owner and `roomy` when the level changes, for as long as there is an owner.
    pub(crate) async fn watch(self, events: mpsc::Sender<Event>, roomy: Condition) {
        let mut last = Level::Ample;
        loop {
            let level = self.room.level();
            roomy.set(level == Level::Ample, self.describe());
            if level != last {
                let (directory, room) = (self.directory.display(), self.describe());
                match level {
                    Level::Ample => info!(%directory, room, "there is room on the disk again: new work is taken"),
                    Level::Short => {
                        warn!(%directory, room, "the disk is full: no new work is taken, what was taken goes on");
                    }
                    Level::Critical => warn!(
                        %directory,
                        room,
                        "the disk is full and the reserve half used up: nothing more is handed out, what runs goes on"
                    ),
                }
                last = level;
                if events.send(Event::Room(level)).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(if level == Level::Ample { LOOK } else { LOOK_WHEN_SHORT }) => {}
                () = events.closed() => return,
            }
        }
    }
}

/// Whether it was a full disk that made something fail.
pub(crate) fn found_full(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<StoreRefused>().is_some_and(|refused| caused_by_full(refused.cause()))
            || cause.downcast_ref::<ArchiveRefused>().is_some_and(ArchiveRefused::is_full)
            || io_full(cause)
    })
}

fn caused_by_full(error: &(dyn Error + 'static)) -> bool {
    io_full(error) || error.source().is_some_and(caused_by_full)
}

fn io_full(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(is_full)
}

/// Waits until a start that found the disk full may succeed; false if the manager is told to stop meanwhile.
pub(crate) async fn wait_for_room(
    directory: &Path,
    error: &anyhow::Error,
    shutdown: &mut Shutdown,
    service: &Service,
) -> bool {
    let free = || FileDisk::new(directory).and_then(|disk| disk.space()).ok().map(|space| space.free);
    warn!(
        directory = %directory.display(),
        free_bytes = free(),
        error = chain(error.as_ref()),
        "the disk is full: the manager waits for room there, and starts then"
    );
    service.status("the disk is full: waiting for room, to start then");
    let began = Instant::now();
    loop {
        // It is no failed start.
        service.extend(START_AGAIN);
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = shutdown.requested() => return false,
        }
        if began.elapsed() >= START_AGAIN || free().is_none_or(|free| free >= START_BYTES) {
            return true;
        }
    }
}
