//! How the manager shows how it is: to the service manager and over HTTP.

use std::{io, sync::Arc};

use task_messenger_daemon::{
    health::{Beat, Condition, Health},
    http::Metrics,
    service::Service,
};
use task_messenger_store::thread::{Heartbeat, JournalWatch};
use tokio::sync::{mpsc, oneshot};

use crate::owner::{Asking, Counters, Watching};

/// Questions that may wait for the owner; more wait for these.
const QUESTIONS: usize = 16;

/// What there is from the start on, before there is an owner.
pub(crate) struct Watch {
    pub(crate) health: Health,
    pub(crate) service: Service,
    /// Whether there is room on the disk.
    pub(crate) roomy: Condition,
    working: Condition,
    questions: mpsc::Sender<Asking>,
    asked: mpsc::Receiver<Asking>,
}

impl Watch {
    /// Begins to tell.
    pub(crate) fn start() -> io::Result<Self> {
        let health = Health::default();
        let service = Service::start(health.clone())?;
        service.status("starting: the store is opened");
        let working = health.condition("working", "wait until it has started; its log says what it waits for");
        let roomy = health.condition("disk", "make room on the disk of the state directory, or lower disk.reserve");
        let (questions, asked) = mpsc::channel(QUESTIONS);
        Ok(Self { health, service, roomy, working, questions, asked })
    }

    /// The journal's thread is there.
    pub(crate) fn journal(&self, journal: JournalWatch) {
        self.health.watch("journal", move || {
            let Heartbeat { beats, waits_for_disk, ended } = journal.heartbeat();
            Beat { beats, excused: waits_for_disk, ended }
        });
    }

    /// Asks the owner for everything, when there is one.
    pub(crate) fn metrics(&self) -> Metrics {
        let (questions, health) = (self.questions.clone(), self.health.clone());
        Arc::new(move || {
            let (questions, health) = (questions.clone(), health.clone());
            Box::pin(async move {
                let gone = "the manager stops";
                let (asking, answer) = oneshot::channel();
                questions.send(asking).await.map_err(|_| gone)?;
                Ok(answer.await.map_err(|_| gone)?.sample(&health))
            })
        })
    }

    /// The owner's part, and where it is asked. It has to turn from now on.
    pub(crate) fn owner(self, counters: Arc<Counters>) -> (Watching, mpsc::Receiver<Asking>) {
        (Watching::new(self.health, self.service, self.working, counters), self.asked)
    }
}
