//! Workers that come and go, in the log.

use task_messenger_core::{
    ids::{SessionNumber, WorkerNumber},
    input::Resume,
};
use tracing::{info, warn};

use super::{Owner, SessionHandle, changes::WORKERS};

/// What a worker said of itself when it connected.
pub(super) struct Introduction {
    worker: WorkerNumber,
    name: String,
    slots: u32,
    software: String,
    address: String,
    /// How many leases it said that it holds.
    leases: usize,
    /// Whether it was let in.
    connected: bool,
}

impl Owner {
    /// Remembers what a worker says of itself.
    pub(super) fn introduce(&mut self, session: SessionNumber, worker: WorkerNumber, resume: &Resume) {
        let Some(handle) = self.sessions.get_mut(&session) else { return };
        // One that introduces itself twice is closed for that.
        handle.introduction.get_or_insert_with(|| Introduction {
            worker,
            name: resume.name.clone(),
            slots: resume.slots,
            software: resume.software.clone(),
            address: resume.address.clone(),
            leases: resume.claims.len(),
            connected: false,
        });
    }

    /// A worker was let in; so many of the leases that it said it holds are not its own any more.
    pub(super) fn tell_connected(&mut self, session: SessionNumber, dropped: usize) {
        let handle = self.sessions.get_mut(&session);
        let Some(own) = handle.and_then(|handle| handle.introduction.as_mut()) else { return };
        own.connected = true;
        info!(
            target: WORKERS,
            worker = own.worker.0,
            session = session.0,
            name = own.name,
            address = own.address,
            slots = own.slots,
            software = own.software,
            leases = own.leases,
            dropped,
            "a worker is connected"
        );
    }

    /// A process that came with a connected worker's identity is refused.
    pub(super) fn warn_of_clone(&self, session: SessionNumber) {
        let Some(own) = self.sessions.get(&session).and_then(|handle| handle.introduction.as_ref()) else { return };
        warn!(
            target: WORKERS,
            worker = own.worker.0,
            session = session.0,
            name = own.name,
            address = own.address,
            "a second process with this worker's identity is refused: one of the two has to join anew"
        );
    }
}

impl SessionHandle {
    /// If it was a worker's that had been let in.
    pub(super) fn tell_disconnected(&self, session: SessionNumber, reason: &str) {
        let Some(own) = self.introduction.as_ref().filter(|own| own.connected) else { return };
        let (worker, session, name) = (own.worker.0, session.0, &own.name);
        info!(target: WORKERS, worker, session, name, reason, "a worker is disconnected");
    }
}
