//! What a client knows and wants, apart from the link that carries it.
//!
//! Everything that callers ask for is kept here until the manager has answered it, so a new link begins by sending what is
//! unanswered. Callers and the link's task share it under one lock that is held for moments and never across a wait.

mod calls;
mod follows;
mod jobs;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use task_messenger_protocol::{
    link::FromPeerWriter,
    messages::{Code, Limits, Refused, Unfollow, Welcome, from_manager::Message},
    template::TemplateNumbers,
};
use tokio::{
    sync::{Notify, watch},
    time::{Duration, Instant},
};

pub(crate) use calls::Call;
pub(crate) use follows::{Follow, Taken};
pub(crate) use jobs::{Digest, Job};

use crate::{Error, LinkStatus};

/// Nothing more is handed to the link while this much waits in it, in bytes.
const LINK_BYTES: usize = 512 * 1024;

/// When to try again if the manager gives no hint.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the link's task and all callers share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// There is something for the link's task to do.
    pub(crate) work: Notify,
    pub(crate) status: watch::Sender<LinkStatus>,
}

/// A caller's hold on the link: it ends with the last of them.
#[derive(Clone, Debug)]
pub(crate) struct Handle(Arc<Hold>);

#[derive(Debug)]
struct Hold(Arc<Shared>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.lock().abandoned = true;
        self.0.work.notify_one();
    }
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(Arc::new(Hold(shared)))
    }

    /// Does something with the state, and wakes the link's task if that gave it work.
    pub(crate) fn with<T>(&self, action: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.0.0.lock();
        let result = action(&mut state);
        let wake = std::mem::take(&mut state.wake_link);
        drop(state);
        if wake {
            self.0.0.work.notify_one();
        }
        result
    }

    pub(crate) fn status(&self) -> watch::Receiver<LinkStatus> {
        self.0.0.status.subscribe()
    }
}

impl Shared {
    pub(crate) fn new(welcome: &Welcome) -> Arc<Self> {
        let state = State { limits: welcome.limits.unwrap_or_default(), ..State::default() };
        Arc::new(Self { state: Mutex::new(state), work: Notify::new(), status: watch::Sender::new(LinkStatus::Up) })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that may have messages to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    Job(u64),
    Follow(u64),
    Call(u64),
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct State {
    jobs: HashMap<u64, Job>,
    follows: HashMap<u64, Follow>,
    calls: HashMap<u64, Call>,
    next_number: u64,
    next_request: u64,
    /// Whose each unanswered request is.
    requests: HashMap<u64, Item>,
    /// What may have something to send. Each at most once: its `listed` says so.
    busy: VecDeque<Item>,
    /// What the manager wants to hear of again at a time.
    paused: Vec<(Instant, Item)>,
    /// Follows that nobody wants any more.
    unfollowed: Vec<u64>,
    templates: TemplateNumbers,
    limits: Limits,
    failed: Option<Error>,
    wake_link: bool,
    /// Nobody is left who could want anything.
    pub(crate) abandoned: bool,
}

impl State {
    /// The link is up.
    pub(crate) fn connected(&mut self, welcome: &Welcome) {
        self.limits = welcome.limits.unwrap_or_default();
    }

    pub(crate) fn payload_limit(&self) -> u64 {
        match self.limits.payload_bytes {
            0 => u64::MAX,
            limit => limit,
        }
    }

    /// The link is cut: whatever is unanswered will be sent again.
    pub(crate) fn disconnected(&mut self) {
        self.requests.clear();
        self.paused.clear();
        self.unfollowed.clear();
        self.templates = TemplateNumbers::default();
        for job in self.jobs.values_mut() {
            job.unsend();
        }
        for follow in self.follows.values_mut() {
            follow.unsend();
        }
        self.calls.retain(|_, call| call.unsend());
        let items: Vec<Item> = (self.jobs.keys().map(|number| Item::Job(*number)))
            .chain(self.follows.keys().map(|number| Item::Follow(*number)))
            .chain(self.calls.keys().map(|number| Item::Call(*number)))
            .collect();
        for item in items {
            self.list(item);
        }
    }

    /// There will be no link any more.
    pub(crate) fn fail(&mut self, error: &Error) {
        self.failed = Some(error.clone());
        for job in self.jobs.values() {
            job.wake.notify_one();
        }
        for follow in self.follows.values() {
            follow.wake.notify_one();
        }
        for (_, call) in self.calls.drain() {
            call.answer(Err(error.clone()));
        }
    }

    /// Hands over what is to be sent, as far as the link has room.
    pub(crate) fn fill(&mut self, out: &mut FromPeerWriter, now: Instant) {
        self.wake_link = false;
        self.resume(now);
        for request in self.unfollowed.drain(..) {
            // A few bytes: no limit forbids them.
            let _ = out.push(Unfollow { request });
        }
        // Whoever has more to say than there is room for gets back in line.
        while out.buffered() < LINK_BYTES
            && let Some(item) = self.busy.pop_front()
        {
            match item {
                Item::Job(number) => self.send_job(number, out),
                Item::Follow(number) => self.send_follow(number, out),
                Item::Call(number) => self.send_call(number, out),
            }
        }
    }

    /// When something that is paused goes on.
    pub(crate) fn next_resume(&self) -> Option<Instant> {
        self.paused.iter().map(|(at, _)| *at).min()
    }

    /// Takes a message that is neither of the handshake nor a ping.
    pub(crate) fn handle(&mut self, message: Message, now: Instant) {
        match message {
            Message::Accepted(accepted) => self.accepted(&accepted),
            Message::Results(results) => self.results(results),
            Message::FollowEnded(ended) => self.follow_ended(ended),
            Message::Refused(refused) => self.refused(refused, now),
            Message::Answer(answer) => self.answered(answer.request, Message::Answer(answer)),
            Message::TokenCreated(created) => self.answered(created.request, Message::TokenCreated(created)),
            Message::TokenRevoked(revoked) => self.answered(revoked.request, Message::TokenRevoked(revoked)),
            Message::Changed(changed) => self.answered(changed.request, Message::Changed(changed)),
            Message::WorkerChanged(changed) => self.answered(changed.request, Message::WorkerChanged(changed)),
            // Meant for workers: a manager doesn't send them here, and nothing depends on them.
            _ => {}
        }
    }

    fn refused(&mut self, refused: Refused, now: Instant) {
        let Some(item) = self.requests.remove(&refused.request) else { return };
        let later = matches!(refused.code(), Code::ResourceExhaustedNow | Code::Unavailable);
        let hint = match refused.retry_milliseconds {
            0 => RETRY_AFTER,
            milliseconds => Duration::from_millis(milliseconds),
        };
        let pause = match item {
            Item::Job(number) => self.job_refused(number, refused, later),
            Item::Follow(number) => self.follow_refused(number, refused, later),
            Item::Call(number) => {
                if let Some(call) = self.calls.remove(&number) {
                    call.answer(Err(Error::from_refused(refused)));
                }
                false
            }
        };
        if pause {
            self.requests.retain(|_, other| *other != item);
            self.paused.push((now + hint, item));
        }
    }

    fn resume(&mut self, now: Instant) {
        let due: Vec<Item> = self.paused.extract_if(.., |(at, _)| *at <= now).map(|(_, item)| item).collect();
        for item in due {
            match item {
                Item::Job(number) => self.resume_job(number),
                Item::Follow(number) => self.resume_follow(number),
                Item::Call(_) => {}
            }
            self.list(item);
        }
    }

    /// Puts an item in line unless it is there.
    fn list(&mut self, item: Item) {
        let listed = match item {
            Item::Job(number) => self.jobs.get_mut(&number).map(|job| &mut job.listed),
            Item::Follow(number) => self.follows.get_mut(&number).map(|follow| &mut follow.listed),
            Item::Call(number) => self.calls.get_mut(&number).map(|call| &mut call.listed),
        };
        if let Some(listed) = listed
            && !std::mem::replace(listed, true)
        {
            self.busy.push_back(item);
            self.wake_link = true;
        }
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// A request number for the item.
    fn request(&mut self, item: Item) -> u64 {
        self.next_request += 1;
        self.requests.insert(self.next_request, item);
        self.next_request
    }

    fn check(&self) -> Result<(), Error> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
}
