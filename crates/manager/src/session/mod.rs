//! A session: one peer's connection. It decodes, passes on, and writes; it decides nothing.
//!
//! Reading and writing run side by side in one task, so that either's end is the other's. What the peer may have under way
//! is bounded: requests by [`Pending`], messages to it by the channel that the owner fills (a peer that doesn't read is
//! closed when it is full), results by their credit.

mod incoming;
mod outgoing;
mod pending;
mod pulse;
mod values;

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use task_messenger_core::ids::{SessionNumber, TokenNumber, WorkerNumber};
use task_messenger_core::{
    effect::{Assigned, TaskResult},
    ids::{JobNumber, LeaseNumber},
    record::{Caller, Role},
};
use task_messenger_daemon::exit::chain;
use task_messenger_protocol::{
    frame::FrameError,
    link::{Arrival, LinkError, part},
    messages::{Goodbye, Limits, Reason, Welcome, from_manager, hello::Credential},
    secret::Secret,
};
use task_messenger_store::{blobs::Blobs, journal::Reader};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tracing::{Span, debug};

use self::{pending::Pending, pulse::Pulse};
use crate::{
    disk::Disk,
    doorkeeper::Door,
    owner::{Counters, Event, Pin},
};

/// Messages that may wait for one session. A peer that is further behind than this does not read, and is closed.
pub(crate) const OUTGOING: usize = 4_096;

/// How long the end of a session may take.
const PARTING: Duration = Duration::from_secs(2);

/// What all sessions share.
pub(crate) struct Shared {
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) reader: Reader,
    pub(crate) blobs: Blobs,
    pub(crate) disk: Disk,
    pub(crate) limits: Limits,
    pub(crate) silence: Duration,
    pub(crate) store: [u8; 16],
    pub(crate) software: String,
    pub(crate) counters: Arc<Counters>,
}

/// Who a peer is, as the owner found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Identity {
    /// A client or an administrator.
    Caller { caller: Caller, token: Option<TokenNumber>, role: Role },
    /// A machine with a join token.
    Joining { token: TokenNumber },
    /// An enrolled worker.
    Worker { worker: WorkerNumber },
}

/// Somebody who wants to be let in.
#[derive(Debug)]
pub(crate) struct Arriving {
    pub(crate) credential: Option<Credential>,
    /// Whether the connection came over the local socket.
    pub(crate) local: bool,
    pub(crate) outgoing: mpsc::Sender<Outgoing>,
    pub(crate) reply: oneshot::Sender<Result<Admitted, String>>,
}

/// Somebody who was let in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admitted {
    pub(crate) session: SessionNumber,
    pub(crate) identity: Identity,
}

/// What the owner wants a session to write.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A message as it is.
    Message(from_manager::Message),
    /// The answer to a request, which is then no longer pending.
    Answer { request: u64, message: from_manager::Message },
    /// Tasks, whose payloads are looked up when they are written, with an encoded template for each run of tasks that share
    /// one.
    Assign { first_lease: LeaseNumber, tasks: Vec<Assigned>, templates: Vec<Bytes>, pin: Pin },
    /// Results, whose outcomes are looked up when they are written.
    Results { request: u64, job: JobNumber, results: Vec<TaskResult>, pin: Pin },
    /// Results with their outcomes. The next ones wait until these are written.
    Page { message: from_manager::Message, _written: OwnedSemaphorePermit },
    /// The end.
    Close { reason: Reason, text: String },
}

/// Creates a token: the secret stays here, the core learns its hash.
#[derive(Debug)]
pub(crate) struct NewToken {
    pub(crate) session: SessionNumber,
    pub(crate) request: u64,
    pub(crate) role: Role,
    pub(crate) label: String,
    pub(crate) owner: String,
    pub(crate) expires_in: Option<Duration>,
    pub(crate) secret: Secret,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("it broke the protocol: {0}")]
    Protocol(String),
    #[error("it was silent for {} s", .0.as_secs_f32())]
    Silent(Duration),
    #[error("it took nothing of what it was sent for {} s", .0.as_secs_f32())]
    Stalled(Duration),
    #[error("{text}")]
    Closed { reason: Reason, text: String },
    /// `told` is how many refusals of its address this one is to be told for, if it is to be told.
    #[error("the peer was not let in: {text}")]
    Refused { text: String, told: Option<u32> },
    #[error("a value could not be read from or written to the store")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the manager lets go of the session: it stops, or the peer does not read")]
    Stopping,
}

impl SessionError {
    /// Whether it is how connections end every day.
    pub(crate) fn is_usual(&self) -> bool {
        match self {
            Self::Link(error) => matches!(error, LinkError::Closed | LinkError::Frame(FrameError::Io(_))),
            // Links break, and workers that lose theirs are told of.
            Self::Silent(_) | Self::Closed { .. } | Self::Stopping => true,
            Self::Protocol(_) | Self::Stalled(_) | Self::Store(_) | Self::Refused { .. } => false,
        }
    }

    /// What the peer is told of it.
    fn goodbye(&self) -> Option<Goodbye> {
        let (reason, text) = match self {
            Self::Closed { reason, text } => (*reason, text.clone()),
            Self::Protocol(_) | Self::Link(LinkError::Frame(_) | LinkError::Malformed { .. }) => {
                (Reason::Protocol, self.to_string())
            }
            Self::Store(_) | Self::Stopping => (Reason::Restarting, self.to_string()),
            Self::Silent(_) | Self::Stalled(_) | Self::Link(_) | Self::Refused { .. } => return None,
        };
        Some(Goodbye { reason: reason.into(), text })
    }
}

/// Asks the owner to let an arrival in, and serves it until it ends.
pub(crate) async fn serve(
    arrival: Arrival,
    address: String,
    door: Option<Door>,
    shared: Rc<Shared>,
) -> Result<(), SessionError> {
    let local = door.is_none();
    let own_store = arrival.hello.store.is_empty() || arrival.hello.store == shared.store.as_slice();
    if !own_store {
        let text = "this manager keeps another store than the one that the credential belongs to".to_owned();
        arrival.refuse(Reason::WrongStore, &text).await?;
        return Err(SessionError::Refused { text, told: Some(1) });
    }
    let (outgoing, messages) = mpsc::channel(OUTGOING);
    let (reply, answer) = oneshot::channel();
    let arriving = Arriving { credential: arrival.hello.credential.clone(), local, outgoing, reply };
    shared.events.send(Event::Arriving(arriving)).await.map_err(|_| SessionError::Stopping)?;
    let admitted = match answer.await.map_err(|_| SessionError::Stopping)? {
        Ok(admitted) => admitted,
        Err(text) => {
            let told = match door {
                Some(Door { doorkeeper, address, handshake }) => {
                    let failure = doorkeeper.failed(address, Instant::now());
                    // The place at the door stays taken meanwhile.
                    tokio::time::sleep(failure.wait).await;
                    drop(handshake);
                    failure.tell
                }
                None => Some(1),
            };
            arrival.refuse(Reason::Unauthenticated, &text).await?;
            return Err(SessionError::Refused { text, told });
        }
    };
    drop(door);
    begin(admitted);
    let software = arrival.hello.software.chars().filter(|char| !char.is_control()).take(128).collect();
    let peer = Peer { admitted, address, software };
    let result = run(arrival, &peer, messages, &shared).await;
    // The owner may be gone already when the manager stops.
    let reason = result.as_ref().err().map_or_else(|| "it left".to_owned(), |error| chain(error));
    let _ = shared.events.send(Event::Left(admitted.session, reason)).await;
    result
}

/// Says that a session begins, and in what follows of it which one it is.
fn begin(admitted: Admitted) {
    Span::current().record("session", admitted.session.0);
    match admitted.identity {
        Identity::Caller { token, role, .. } => {
            debug!(?role, token = token.map(|token| token.0), "a session of a client begins");
        }
        Identity::Joining { token } => debug!(token = token.0, "a session of a machine that joins begins"),
        Identity::Worker { worker } => debug!(worker = worker.0, "a session of a worker begins"),
    }
}

/// The other side of a session.
#[derive(Debug)]
pub(crate) struct Peer {
    admitted: Admitted,
    address: String,
    software: String,
}

async fn run(
    arrival: Arrival,
    peer: &Peer,
    messages: mpsc::Receiver<Outgoing>,
    shared: &Shared,
) -> Result<(), SessionError> {
    let welcome = Welcome {
        version: 0,
        store: shared.store.to_vec().into(),
        software: shared.software.clone(),
        limits: Some(shared.limits),
        silence_milliseconds: shared.silence.as_millis() as u32,
    };
    let (mut reader, mut writer) = arrival.welcome(welcome).await?;
    reader.count_into(shared.counters.received.clone());
    writer.count_into(shared.counters.sent.clone());
    let pulse = Pulse::new();
    let pending = Pending::new();
    let result = tokio::select! {
        result = incoming::read(&mut reader, peer, shared, &pulse, &pending) => result,
        result = outgoing::write(&mut writer, messages, shared, &pulse, &pending) => result,
    };
    if let Err(
        SessionError::Silent(_) | SessionError::Stalled(_) | SessionError::Link(LinkError::Frame(FrameError::Io(_))),
    ) = &result
    {
        // Nobody is there to be told.
        return result;
    }
    if let Some(goodbye) = result.as_ref().err().and_then(SessionError::goodbye) {
        writer.push(goodbye)?;
    }
    part(&mut reader, &mut writer, PARTING.min(shared.silence)).await;
    result
}
