//! Sessions and what is on its way in them: in order within a direction of a session, late by chance, lost when it is cut.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use task_messenger_core::{
    effect::Effect,
    ids::{JobNumber, LeaseNumber, SessionNumber, TaskId, TokenNumber},
    input::Input,
    task::TaskState,
};

/// Who is at the other end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The worker at this position.
    Worker(usize),
    /// The client at this position, with this token.
    Client(usize, TokenNumber),
}

/// What the manager sends.
#[derive(Clone, Debug)]
pub(crate) enum Down {
    /// What carries no places.
    Plain(Effect),
    /// Tasks for a worker.
    Assign(Vec<HandedOut>),
    /// Results for a follow.
    Results { request: u64, job: JobNumber, results: Vec<ToldResult> },
}

/// A task for a worker.
#[derive(Clone, Debug)]
pub(crate) struct HandedOut {
    pub(crate) lease: LeaseNumber,
    pub(crate) task: TaskId,
    pub(crate) attempt: u32,
    /// The template's body.
    pub(crate) template: Bytes,
    pub(crate) payload: Bytes,
}

/// A task's end, as a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToldResult {
    pub(crate) index: u32,
    pub(crate) state: TaskState,
    pub(crate) attempts: u32,
    pub(crate) outcome: Option<Bytes>,
}

/// Something on its way.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Up(Input),
    Down(Down),
    /// The manager learns that the session ended.
    ManagerNotices,
    /// The peer learns that the session ended.
    PeerNotices,
}

/// One direction of a session.
#[derive(Debug, Default)]
struct Lane {
    /// When the last of what was sent arrives.
    last: Duration,
    broken: bool,
}

/// A session.
#[derive(Debug)]
struct Link {
    peer: Peer,
    up: Lane,
    down: Lane,
    manager_open: bool,
    peer_open: bool,
}

/// All sessions that anybody still knows of.
#[derive(Debug, Default)]
pub(crate) struct Network {
    links: BTreeMap<SessionNumber, Link>,
    next: u64,
}

impl Network {
    pub(crate) fn open(&mut self, now: Duration, peer: Peer) -> SessionNumber {
        self.next += 1;
        let session = SessionNumber(self.next);
        let lane = || Lane { last: now, broken: false };
        self.links.insert(session, Link { peer, up: lane(), down: lane(), manager_open: true, peer_open: true });
        session
    }

    pub(crate) fn peer(&self, session: SessionNumber) -> Option<Peer> {
        self.links.get(&session).map(|link| link.peer)
    }

    /// When something sent to the manager arrives; `None` if it never does.
    pub(crate) fn send_up(&mut self, session: SessionNumber, earliest: Duration) -> Option<Duration> {
        let link = self.links.get_mut(&session)?;
        (link.peer_open && !link.up.broken).then(|| link.up.arrive(earliest))
    }

    /// When something sent to the peer arrives; `None` if it never does.
    pub(crate) fn send_down(&mut self, session: SessionNumber, earliest: Duration) -> Option<Duration> {
        let link = self.links.get_mut(&session)?;
        (link.manager_open && !link.down.broken).then(|| link.down.arrive(earliest))
    }

    /// Whether what was sent to the manager arrives, now that it would.
    pub(crate) fn arrives_up(&self, session: SessionNumber) -> bool {
        self.links.get(&session).is_some_and(|link| link.manager_open && !link.up.broken)
    }

    /// Whether what was sent to the peer arrives, now that it would.
    pub(crate) fn arrives_down(&self, session: SessionNumber) -> bool {
        self.links.get(&session).is_some_and(|link| link.peer_open && !link.down.broken)
    }

    /// The manager knows that the session ended: whether that is news.
    pub(crate) fn manager_closes(&mut self, session: SessionNumber) -> bool {
        let news = self.links.get_mut(&session).is_some_and(|link| std::mem::take(&mut link.manager_open));
        self.forget(session);
        news
    }

    /// The peer knows that the session ended: whether that is news.
    pub(crate) fn peer_closes(&mut self, session: SessionNumber) -> bool {
        let news = self.links.get_mut(&session).is_some_and(|link| std::mem::take(&mut link.peer_open));
        self.forget(session);
        news
    }

    /// When the peer learns that the manager closed the session, or its process ended: behind what was sent.
    pub(crate) fn peer_learns(&mut self, session: SessionNumber, earliest: Duration) -> Option<Duration> {
        self.links.get_mut(&session).filter(|link| link.peer_open).map(|link| link.down.arrive(earliest))
    }

    /// When the manager learns that the peer closed the session, or its process ended: behind what was sent.
    pub(crate) fn manager_learns(&mut self, session: SessionNumber, earliest: Duration) -> Option<Duration> {
        self.links.get_mut(&session).filter(|link| link.manager_open).map(|link| link.up.arrive(earliest))
    }

    /// Loses what is on its way in a direction, and all that follows.
    pub(crate) fn break_lanes(&mut self, session: SessionNumber, up: bool, down: bool) {
        if let Some(link) = self.links.get_mut(&session) {
            link.up.broken |= up;
            link.down.broken |= down;
        }
    }

    /// The sessions that the manager has open, in order.
    pub(crate) fn of_manager(&self) -> Vec<SessionNumber> {
        self.links.iter().filter(|(_, link)| link.manager_open).map(|(session, _)| *session).collect()
    }

    /// The sessions that both ends believe to be whole, in order.
    pub(crate) fn whole(&self) -> Vec<SessionNumber> {
        let whole = |link: &Link| link.manager_open && link.peer_open && !link.up.broken && !link.down.broken;
        self.links.iter().filter(|(_, link)| whole(link)).map(|(session, _)| *session).collect()
    }

    fn forget(&mut self, session: SessionNumber) {
        if self.links.get(&session).is_some_and(|link| !link.manager_open && !link.peer_open) {
            self.links.remove(&session);
        }
    }
}

impl Lane {
    fn arrive(&mut self, earliest: Duration) -> Duration {
        self.last = self.last.max(earliest);
        self.last
    }
}
