//! The link to the manager, there or not.

use std::{cell::RefCell, future::pending, pin::Pin, time::Duration};

use rustc_hash::FxHashMap;
use std::rc::Rc;
use task_messenger_protocol::{
    link::{Connected, FromManagerReader, FromPeerWriter, LinkError},
    messages::from_manager::Message,
};
use tokio::time::{Instant, sleep_until};

use crate::tasks::{Template, Unit};

/// Where the manager is: several addresses of one.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    of_credential: Vec<String>,
    current: Rc<RefCell<Vec<String>>>,
}

impl Addresses {
    /// Where the configuration says, or else where the credential does.
    pub(crate) fn new(of_credential: Vec<String>, managers: &[String]) -> Self {
        let addresses = Self { of_credential, current: Rc::default() };
        addresses.set(managers);
        addresses
    }

    /// The configuration says something else.
    pub(crate) fn set(&self, managers: &[String]) {
        *self.current.borrow_mut() = if managers.is_empty() { self.of_credential.clone() } else { managers.to_vec() };
    }

    /// As they are now.
    pub(crate) fn get(&self) -> Vec<String> {
        self.current.borrow().clone()
    }
}

/// Makes a link when there is none: connects to one of the manager's addresses and says who this is.
pub type Connector = Box<dyn FnMut() -> Connecting>;

type Connecting = Pin<Box<dyn Future<Output = Result<Connected, LinkError>>>>;

/// The link, or how far it is from being there.
pub(super) enum Link {
    /// For the next attempt.
    Waiting(Instant),
    Connecting(Connecting),
    Up(Box<Session>),
    /// Nobody wants one any more.
    Off,
}

/// A link that is there.
pub(super) struct Session {
    pub(super) reader: FromManagerReader,
    pub(super) writer: FromPeerWriter,
    /// What is at the other end, for people.
    pub(super) address: String,
    pub(super) manager: String,
    /// The longest message with outcomes.
    pub(super) message_bytes: u64,
    /// Since when the manager has answered `Resume`.
    pub(super) resumed: Option<Instant>,
    pub(super) templates: FxHashMap<u32, Rc<Template>>,
    /// What starts as soon as the word of it has left.
    pub(super) announced: Vec<Unit>,
    /// The window that the manager knows.
    pub(super) window: u32,
    pub(super) silence: Duration,
    pub(super) next_ping: Instant,
    pub(super) pings: u64,
}

/// What happened to the link.
pub(super) enum Event {
    /// The time for the next attempt has come.
    Due,
    Connected(Box<Connected>),
    Failed(LinkError),
    Message(Message),
    /// All that was to be written is written.
    Flushed,
    Lost(LinkError),
}

impl Session {
    /// When to look whether the manager is silent, or to ping it.
    pub(super) fn next_watch(&self) -> Instant {
        self.next_ping.min(self.reader.heard() + self.silence)
    }
}

impl Link {
    /// The next event. Cancel-safe.
    pub(super) async fn next(&mut self) -> Event {
        match self {
            Self::Waiting(until) => {
                sleep_until(*until).await;
                Event::Due
            }
            Self::Connecting(connecting) => match connecting.await {
                Ok(connected) => Event::Connected(Box::new(connected)),
                Err(error) => Event::Failed(error),
            },
            Self::Up(session) => {
                let Session { reader, writer, .. } = &mut **session;
                let unsent = !writer.is_flushed();
                tokio::select! {
                    message = reader.next() => match message {
                        Ok(Some(message)) => Event::Message(message),
                        Ok(None) => Event::Lost(LinkError::Closed),
                        Err(error) => Event::Lost(error),
                    },
                    flushed = writer.flush(), if unsent => match flushed {
                        Ok(()) => Event::Flushed,
                        Err(error) => Event::Lost(error),
                    },
                }
            }
            Self::Off => pending().await,
        }
    }

    /// Writes as much as the connection takes at once: `Ok` when that was all, `None` when there is no link or more is left.
    pub(super) async fn try_flush(&mut self) -> Option<Result<(), LinkError>> {
        let Self::Up(session) = self else { return None };
        tokio::select! {
            biased;
            flushed = session.writer.flush() => Some(flushed),
            () = std::future::ready(()) => None,
        }
    }

    /// Since when the manager knows what is held here.
    pub(super) fn resumed(&self) -> Option<Instant> {
        match self {
            Self::Up(session) => session.resumed,
            _ => None,
        }
    }
}
