//! How the manager and its fleet are: asked, shown to people, written for programs, watched.

mod document;
mod screen;
mod table;
mod watch;

use std::time::{SystemTime, UNIX_EPOCH};

use task_messenger_client::{Client, Error, Status, WorkerSummary};

pub use self::{
    document::document,
    screen::{Shape, render},
    watch::watch,
};

/// How everything is at one moment.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// The manager.
    pub status: Status,
    /// The workers, by number.
    pub workers: Vec<WorkerSummary>,
    /// When that was so, by this machine's clock, in milliseconds since the Unix epoch.
    pub taken_milliseconds: u64,
}

impl Picture {
    /// Asks the manager.
    pub async fn ask(client: &Client) -> Result<Self, Error> {
        let (status, workers) = tokio::try_join!(client.status(), client.workers())?;
        Ok(Self { status, workers, taken_milliseconds: now() })
    }

    /// When the manager was started, by this machine's clock.
    fn started_milliseconds(&self) -> u64 {
        self.taken_milliseconds.saturating_sub(self.status.uptime_milliseconds)
    }
}

/// This moment in milliseconds since the Unix epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}
