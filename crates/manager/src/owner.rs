//! The one task that owns the state.
//!
//! One bounded channel brings everything in, so the order of things is total. A turn takes what has come, lets the scheduler
//! decide, hands what is to be written to the journal's thread if it is idle, and passes on what may be told. While a sync
//! runs, everything else gathers for the next: that is the group commit.

mod archiving;
mod changes;
mod coming;
mod configuring;
mod history;
mod past;
mod room;
mod rows;
mod shrinking;
mod telling;
mod watching;

use std::{
    error::Error,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustc_hash::FxHashMap;
use task_messenger_core::{
    access::Denied,
    engine::{Engine, Wake},
    ids::{OwnerNumber, SessionNumber, TokenNumber, WorkerNumber},
    input::Input,
    record::{Caller, Role},
    time::{Now, WallTime},
};
use task_messenger_daemon::{reload::Changes, shutdown::Shutdown};
use task_messenger_protocol::{
    messages::{self, Code, Reason, from_manager, hello::Credential},
    secret::Secret,
};
use task_messenger_store::{
    journal::{Durability, Front, Progress, WriteError},
    room::Level,
    thread::{Commit, CommitError, JournalThread},
};
use tokio::sync::mpsc;
use tracing::warn;

#[cfg(windows)]
pub(crate) use self::watching::LONGEST_STOP;
pub(crate) use self::{
    archiving::{Archiving, Bounds},
    history::{DELIVERIES, History},
    past::{FoundPurge, Past},
    shrinking::{Pin, Shrinking},
    watching::{Asking, Counters, Rates, Watching},
};
use self::{changes::ToldFront, coming::Introduction};
use crate::{
    config::Config,
    disk::Disk,
    observation::About,
    reload::Asker,
    session::{Admitted, Arriving, Identity, NewToken, Outgoing},
    tokens::TokenMaker,
};

/// Events that may wait for the owner. Sessions wait beyond that.
pub(crate) const EVENTS: usize = 1_024;
/// Events taken in one turn.
const TURN: usize = 1_024;
/// Effects that may wait for the journal. While more do, nothing further is taken.
const EFFECTS: usize = 65_536;
/// When a turn comes this much later than it was asked for, the manager itself had been stopped: silence proves nothing.
const STALL: Duration = Duration::from_secs(1);
/// How often `interval` syncs.
const SYNC_INTERVAL: Duration = Duration::from_millis(100);

/// Something for the owner.
#[derive(Debug)]
pub(crate) enum Event {
    /// Somebody wants to be let in.
    Arriving(Arriving),
    /// A session ended, and why.
    Left(SessionNumber, String),
    /// A session was heard.
    Heard(SessionNumber),
    /// Something for the scheduler.
    Input(Input),
    /// A token is to be created.
    NewToken(NewToken),
    /// A request can't be understood.
    Refuse { session: SessionNumber, request: u64, text: String },
    /// A request is not allowed.
    Deny { session: SessionNumber, request: u64, text: String },
    /// There is no room on the disk for what a request brings.
    Exhausted { session: SessionNumber, request: u64, text: String },
    /// The room on the disk has become more or less.
    Room(Level),
    /// What is to be purged in the archive was found.
    PurgeFound(FoundPurge),
    /// Somebody on this machine asks for the configuration to be loaded anew.
    Reload { session: SessionNumber, request: u64 },
    /// What came of that.
    Reloaded { session: SessionNumber, request: u64, result: Result<Changes, String> },
    /// Another configuration is in force.
    Configured(Box<Config>),
    /// The store could not be read or written, and won't be the next time either.
    StoreFailed(Box<dyn Error + Send + Sync>),
}

/// How the owner's work ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OwnerError {
    /// The journal could not be written. What is on the disk is told by the next start.
    #[error("the journal could not be written; the manager ends, its next start recovers")]
    Journal(#[source] WriteError),
    /// A value could not be read or written.
    #[error("the store failed; the manager ends, its next start looks at what is damaged")]
    Store(#[source] Box<dyn Error + Send + Sync>),
    /// The archive could not be filled.
    #[error("the archive of finished tasks failed; the manager ends, its next start looks at what is damaged")]
    Archive(#[source] Box<dyn Error + Send + Sync>),
    /// The journal's thread took no commit.
    #[error("the journal takes nothing more")]
    Commit(#[from] CommitError),
    /// The journal's thread ended.
    #[error("the journal's thread ended")]
    JournalGone,
}

struct SessionHandle {
    outgoing: mpsc::Sender<Outgoing>,
    identity: Identity,
    /// What a worker said that it wants to hold.
    window: u32,
    /// What a worker said of itself.
    introduction: Option<Introduction>,
}

/// The state and everything that moves it.
pub(crate) struct Owner {
    engine: Engine,
    front: ToldFront,
    disk: Disk,
    shrinking: Shrinking,
    past: Past,
    /// Whether nothing is handed out, for want of room for the outcomes.
    paused: bool,
    /// What the store failed with.
    failure: Option<Box<dyn Error + Send + Sync>>,
    journal: JournalThread,
    /// Whether the journal's thread is at work.
    committing: bool,
    last_sync: Instant,
    /// By when the scheduler wanted its next turn.
    due: Option<Duration>,
    sessions: FxHashMap<SessionNumber, SessionHandle>,
    next_session: u64,
    /// Secrets of tokens whose creation isn't durable yet.
    new_tokens: FxHashMap<(SessionNumber, u64), (Role, Secret)>,
    tokens: TokenMaker,
    about: About,
    watching: Watching,
    reloads: mpsc::Sender<Asker>,
    /// Whether jobs go when their client has all of their results.
    forgets_fetched: bool,
    started: Instant,
}

impl Owner {
    #[expect(clippy::too_many_arguments, reason = "each is a part of its own")]
    pub(crate) fn new(
        engine: Engine,
        front: Front,
        disk: Disk,
        shrinking: Shrinking,
        past: Past,
        journal: JournalThread,
        tokens: TokenMaker,
        about: About,
        watching: Watching,
        reloads: mpsc::Sender<Asker>,
        forgets_fetched: bool,
    ) -> Self {
        let started = Instant::now();
        Self {
            engine,
            front: ToldFront(front),
            disk,
            shrinking,
            past,
            paused: false,
            failure: None,
            journal,
            committing: false,
            last_sync: started,
            due: None,
            sessions: FxHashMap::default(),
            next_session: 1,
            new_tokens: FxHashMap::default(),
            tokens,
            about,
            watching,
            reloads,
            forgets_fetched,
            started,
        }
    }

    fn now(&self) -> Now {
        now(self.started)
    }

    /// Works until it is told to stop; then everything taken so far is made durable and told, and sessions hear that the
    /// manager restarts.
    pub(crate) async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut progress: mpsc::UnboundedReceiver<Result<Progress, WriteError>>,
        mut asked: mpsc::Receiver<Asking>,
        mut shutdown: Shutdown,
    ) -> Result<(), OwnerError> {
        let weak = self.front.durability() != Durability::Strict;
        let now = self.now();
        self.engine.start(now, weak, &mut self.front);
        loop {
            if let Some(source) = self.failure.take() {
                return Err(OwnerError::Store(source));
            }
            self.turn()?;
            let timeout = self.timeout();
            tokio::select! {
                biased;
                done = progress.recv() => self.committed(done.ok_or(OwnerError::JournalGone)?)?,
                // Both before the events, of which there may always be more.
                _ = shutdown.requested() => break,
                Some(asking) = asked.recv() => {
                    // Whoever asked may have gone.
                    let _ = asking.send(self.observe());
                }
                () = self.shrinking.written() => {}
                done = self.past.archiving.news() => self.archived(done.map_err(OwnerError::Archive)?),
                event = events.recv(), if self.engine.waiting_effects() < EFFECTS => {
                    // Every sender is gone: the listeners ended before this heard that the manager stops.
                    let Some(event) = event else { break };
                    self.take(event);
                    for _ in 1..TURN {
                        let Ok(event) = events.try_recv() else { break };
                        self.take(event);
                    }
                }
                () = tokio::time::sleep(timeout) => {}
            }
        }
        self.watching.working.set(false, "it stops");
        self.watching.service.stopping();
        events.close();
        while let Ok(event) = events.try_recv() {
            self.take(event);
        }
        self.turn()?;
        while self.committing || self.front.sync_owed() {
            if self.committing {
                let done = progress.recv().await.ok_or(OwnerError::JournalGone)?;
                self.committed(done)?;
            }
            self.commit(true)?;
        }
        self.deliver();
        for session in self.sessions.values() {
            let text = "the manager restarts".to_owned();
            // One whose channel is full is cut off by the end of the process.
            let _ = session.outgoing.try_send(Outgoing::Close { reason: Reason::Restarting, text });
        }
        self.sessions.clear();
        let Self { past, shrinking, front, engine, watching, journal, .. } = self;
        let finishing = async {
            past.archiving.finish().await;
            shrinking.finish(&front, &engine).await;
        };
        watching.while_stopping(finishing).await;
        journal.stop().map(drop).map_err(OwnerError::Journal)
    }

    fn turn(&mut self) -> Result<(), OwnerError> {
        let now = self.now();
        if self.due.is_some_and(|due| now.monotonic > due + STALL) {
            warn!("the manager had been stopped for a while: every worker gets the full grace again");
            self.engine.forgive_silence(now);
        }
        self.engine.settle(now, &mut self.front);
        let timeout = self.engine.timeout().filter(|(_, wake)| *wake != Wake::MoreToDo);
        self.due = timeout.map(|(at, _)| at);
        self.remove_unused();
        self.commit(false)?;
        self.deliver();
        self.shrinking.step(&mut self.front, &mut self.engine);
        self.past.archiving.step(now, &self.front, &mut self.engine, self.shrinking.pin());
        self.beat(now);
        Ok(())
    }

    /// Removes the large values that came in and were not kept.
    fn remove_unused(&mut self) {
        let files = self.engine.take_unused_files();
        self.shrinking.remove_files(files);
    }

    /// Hands everything that gathered to the journal's thread, if it is idle and there is something to do.
    fn commit(&mut self, force_sync: bool) -> Result<(), OwnerError> {
        if self.committing {
            return Ok(());
        }
        let interval_over = self.front.sync_owed() && self.last_sync.elapsed() >= SYNC_INTERVAL;
        let sync = match self.front.durability() {
            Durability::Strict => self.front.sync_owed(),
            Durability::Interval => self.front.wants_sync() || interval_over,
            Durability::None => self.front.wants_sync(),
        } || (force_sync && self.front.sync_owed());
        let snapshot = self.shrinking.wants_image(&self.front, &self.engine);
        let sync = sync || (snapshot || self.past.archiving.wants_sync(&self.front)) && self.front.sync_owed();
        if !sync && !self.front.pending() {
            return Ok(());
        }
        if sync {
            self.last_sync = Instant::now();
        }
        let blocks = self.front.take_blocks();
        if snapshot {
            self.shrinking.take_image(&self.front, &self.engine);
        }
        self.committing = true;
        Ok(self.journal.commit(Commit { blocks, sync })?)
    }

    fn committed(&mut self, done: Result<Progress, WriteError>) -> Result<(), OwnerError> {
        self.committing = false;
        self.front.progress(done.map_err(OwnerError::Journal)?);
        Ok(())
    }

    fn timeout(&self) -> Duration {
        let moment = self.now();
        let now = moment.monotonic;
        let engine = self.engine.timeout().map(|(at, _)| at.saturating_sub(now));
        let owed = self.front.durability() == Durability::Interval && self.front.sync_owed() && !self.committing;
        let sync = owed.then(|| SYNC_INTERVAL.saturating_sub(self.last_sync.elapsed()));
        engine
            .into_iter()
            .chain(sync)
            .chain(self.shrinking.timeout())
            .chain(self.past.archiving.timeout(&self.engine))
            .fold(self.watching.timeout(moment), Duration::min)
    }

    fn take(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Arriving(arriving) => self.admit(arriving),
            Event::Left(session, reason) => self.drop_session(session, &reason),
            Event::Heard(session) => self.engine.handle(now, Input::Heard { session }, &mut self.front),
            Event::Input(input) => {
                if let Some(session) = worker_session(&input) {
                    if !self.sessions.contains_key(&session) {
                        // It was closed; what was under way counts no more.
                        return;
                    }
                    self.engine.handle(now, Input::Heard { session }, &mut self.front);
                }
                if let Input::Resume { session, worker, resume } = &input {
                    self.introduce(*session, *worker, resume);
                }
                self.past.note(now, &input);
                if let Some(input) = self.weigh(now, input) {
                    self.engine.handle(now, input, &mut self.front);
                }
            }
            Event::NewToken(new) => {
                self.new_tokens.insert((new.session, new.request), (new.role, new.secret.clone()));
                let input = Input::CreateToken {
                    session: new.session,
                    request: new.request,
                    role: new.role,
                    label: new.label,
                    owner: new.owner,
                    expires_in: new.expires_in,
                    hash: new.secret.hash(),
                };
                self.engine.handle(now, input, &mut self.front);
            }
            Event::Refuse { session, request, text } => self.refuse(session, request, Code::InvalidArgument, text),
            Event::Deny { session, request, text } => self.refuse(session, request, Code::PermissionDenied, text),
            Event::Exhausted { session, request, text } => self.exhausted(session, request, text),
            Event::Room(level) => self.pause(level == Level::Critical),
            Event::PurgeFound(found) => self.purge_found(found),
            Event::Reload { session, request } => self.reload(session, request),
            Event::Reloaded { session, request, result } => self.reloaded(session, request, result),
            Event::Configured(config) => self.configured(&config),
            Event::StoreFailed(error) => {
                self.failure.get_or_insert(error);
            }
        }
    }

    fn refuse(&mut self, session: SessionNumber, request: u64, code: Code, text: String) {
        let refused = messages::Refused { request, code: code.into(), text, retry_milliseconds: 0 };
        self.answer(session, request, refused);
    }

    fn answer(&mut self, session: SessionNumber, request: u64, message: impl Into<from_manager::Message>) {
        self.send(session, Outgoing::Answer { request, message: message.into() });
    }

    fn admit(&mut self, arriving: Arriving) {
        let identity = match self.identify(arriving.credential, arriving.local) {
            Ok(identity) => identity,
            Err(denied) => {
                self.watching.denied();
                // Whoever asked may be gone already.
                let _ = arriving.reply.send(Err(denied.to_string()));
                return;
            }
        };
        let session = SessionNumber(self.next_session);
        self.next_session += 1;
        if arriving.reply.send(Ok(Admitted { session, identity })).is_ok() {
            let outgoing = arriving.outgoing;
            let handle = SessionHandle { outgoing, identity, window: 0, introduction: None };
            self.sessions.insert(session, handle);
        }
    }

    /// Who a credential says somebody is.
    fn identify(&self, credential: Option<Credential>, local: bool) -> Result<Identity, Denied> {
        let access = &self.engine.state().access;
        match credential {
            Some(Credential::Token(proof)) => {
                let secret = Secret::from_slice(&proof.secret).ok_or(Denied::Unknown)?;
                let number = TokenNumber(proof.token);
                let token = access.token(number, secret.hash(), self.now().wall)?;
                Ok(match token.role {
                    Role::Worker => Identity::Joining { token: number },
                    role => Identity::Caller { caller: token.caller(), token: Some(number), role },
                })
            }
            Some(Credential::Worker(proof)) => {
                let secret = Secret::from_slice(&proof.secret).ok_or(Denied::UnknownWorker)?;
                let worker = WorkerNumber(proof.worker);
                access.worker(worker, secret.hash())?;
                Ok(Identity::Worker { worker })
            }
            Some(Credential::Local(_)) if local => {
                // Whoever can open the socket owns the state; jobs belong to tokens, of which this is none.
                let caller = Caller { owner: OwnerNumber(u32::MAX), admin: true };
                Ok(Identity::Caller { caller, token: None, role: Role::Admin })
            }
            _ => Err(Denied::Unknown),
        }
    }

    fn send(&mut self, session: SessionNumber, message: Outgoing) {
        let Some(handle) = self.sessions.get(&session) else { return };
        if handle.outgoing.try_send(message).is_err() {
            warn!(session = session.0, "a session is closed: its peer does not read");
            self.drop_session(session, "it does not read");
        }
    }

    fn close(&mut self, session: SessionNumber, reason: Reason, text: &str) {
        self.send(session, Outgoing::Close { reason, text: text.to_owned() });
        self.drop_session(session, text);
    }

    /// Forgets a session, if that was not done before; its task ends when it finds its channel closed.
    fn drop_session(&mut self, session: SessionNumber, reason: &str) {
        self.past.history.close(session);
        if let Some(handle) = self.sessions.remove(&session) {
            handle.tell_disconnected(session, reason);
        }
        let now = self.now();
        self.engine.handle(now, Input::SessionClosed { session }, &mut self.front);
    }
}

/// The time since `started`, and by the wall clock.
pub(crate) fn now(started: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { monotonic: started.elapsed(), wall: WallTime(wall.as_millis() as u64) }
}

fn worker_session(input: &Input) -> Option<SessionNumber> {
    match input {
        Input::Resume { session, .. }
        | Input::Window { session, .. }
        | Input::Started { session, .. }
        | Input::Outcomes { session, .. }
        | Input::GivenBack { session, .. } => Some(*session),
        _ => None,
    }
}
