//! What everybody in the world shares: time, chance, the network, what is to happen, and what was seen.

use std::{collections::BTreeMap, time::Duration};

use task_messenger_core::{ids::SessionNumber, input::Input, time::WallTime};

use crate::{
    model::Model,
    network::{Down, Network, Packet, Peer},
    random::Random,
    scenario::Scenario,
    totals::Totals,
};

/// Something that must never happen, did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Violation(pub String);

/// The result of everything that can show a violation.
pub(crate) type Checked<T = ()> = Result<T, Violation>;

/// Fails unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::stage::Violation(format!($($message)+)));
        }
    };
}
pub(crate) use ensure;

/// Something that will happen.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Packet(SessionNumber, Packet),
    Manager { process: u64, event: ManagerEvent },
    StartManager,
    Worker { at: usize, start: u64, event: WorkerEvent },
    Client { at: usize, start: u64, event: ClientEvent },
    Fault,
    FreeDisk,
    Administer,
    Wake(usize),
}

/// What the manager's process waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ManagerEvent {
    /// To handle what came in.
    Turn,
    /// The disk has done what the journal's thread asked for.
    Written,
    /// The journal's thread tells the event loop.
    News,
    /// What was told after the write is synced, in weak durability.
    Sync,
}

/// What a worker waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerEvent {
    Start,
    Connect,
    Ping,
    TaskEnds(u64),
    Report,
    Answer,
    GraceOver,
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientEvent {
    Start,
    Connect,
    Work,
    Ask,
}

/// What everybody shares.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) now: Duration,
    pub(crate) random: Random,
    pub(crate) network: Network,
    pub(crate) model: Model,
    pub(crate) totals: Totals,
    pub(crate) trace: Trace,
    pub(crate) scenario: Scenario,
    /// Whether faults are over.
    pub(crate) calm: bool,
    /// Whether the manager takes connections.
    pub(crate) manager_up: bool,
    /// How far the wall clock is off, in milliseconds.
    pub(crate) clock_error: i64,
    events: BTreeMap<(Duration, u64), Event>,
    sequence: u64,
}

/// Where the wall clock begins.
const WALL_START: u64 = 1_700_000_000_000;

impl Stage {
    pub(crate) fn new(random: Random, scenario: Scenario, print: bool) -> Self {
        Self {
            now: Duration::ZERO,
            random,
            network: Network::default(),
            model: Model::new(scenario.only_killers),
            totals: Totals::default(),
            trace: Trace { hash: 0xcbf2_9ce4_8422_2325, print },
            scenario,
            calm: false,
            manager_up: false,
            clock_error: 0,
            events: BTreeMap::new(),
            sequence: 0,
        }
    }

    pub(crate) fn wall(&self) -> WallTime {
        WallTime(WALL_START.saturating_add(self.now.as_millis() as u64).saturating_add_signed(self.clock_error))
    }

    pub(crate) fn at(&mut self, time: Duration, event: Event) {
        self.sequence += 1;
        self.events.insert((time.max(self.now), self.sequence), event);
    }

    pub(crate) fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    /// The next event; time passes up to it.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        let ((time, sequence), event) = self.events.pop_first()?;
        self.now = time;
        self.trace.mix(time.as_micros() as u64);
        self.trace.mix(sequence);
        Some(event)
    }

    /// A duration by chance, in microseconds, every order of magnitude alike.
    pub(crate) fn delay(&mut self, low: u64, high: u64) -> Duration {
        self.random.duration(Duration::from_micros(low), Duration::from_micros(high))
    }

    fn travel(&mut self) -> Duration {
        self.now + self.random.duration(Duration::from_micros(20), self.scenario.slowest_link)
    }

    pub(crate) fn send_up(&mut self, session: SessionNumber, input: Input) {
        let earliest = self.travel();
        if let Some(time) = self.network.send_up(session, earliest) {
            self.at(time, Event::Packet(session, Packet::Up(input)));
        }
    }

    pub(crate) fn send_down(&mut self, session: SessionNumber, down: Down) {
        let earliest = self.travel();
        if let Some(time) = self.network.send_down(session, earliest) {
            self.at(time, Event::Packet(session, Packet::Down(down)));
        }
    }

    /// A peer connects, if the manager is there.
    pub(crate) fn connect(&mut self, peer: Peer) -> Option<SessionNumber> {
        self.manager_up.then(|| self.network.open(self.now, peer))
    }

    /// A peer ends its session; the manager learns of it behind what was sent.
    pub(crate) fn hang_up(&mut self, session: SessionNumber) {
        if self.network.peer_closes(session) {
            let earliest = self.travel();
            if let Some(time) = self.network.manager_learns(session, earliest) {
                self.at(time, Event::Packet(session, Packet::ManagerNotices));
            }
        }
    }

    /// The manager ends a session; the peer learns of it behind what was sent.
    pub(crate) fn end_session(&mut self, session: SessionNumber) {
        if self.network.manager_closes(session) {
            let earliest = self.travel();
            if let Some(time) = self.network.peer_learns(session, earliest) {
                self.at(time, Event::Packet(session, Packet::PeerNotices));
            }
        }
    }

    /// The manager's process is gone, and with it every session; what was sent may arrive or not.
    pub(crate) fn end_all_sessions(&mut self) {
        for session in self.network.of_manager() {
            let lost = self.random.percent(50);
            self.network.break_lanes(session, true, lost);
            self.end_session(session);
        }
    }

    /// A link breaks: in both directions at once, or in one first. Each end learns of it in its own time.
    pub(crate) fn cut(&mut self, session: SessionNumber) {
        self.totals.cuts += 1;
        let (up, down) = self.random.pick(&[(true, true), (true, true), (true, false), (false, true)]);
        if up != down {
            self.totals.half_cuts += 1;
        }
        self.network.break_lanes(session, up, down);
        let slow = self.scenario.limits.lease_grace.as_micros() as u64 * 2;
        let manager = self.delay(100, slow);
        let peer = self.delay(100, slow);
        self.after(manager, Event::Packet(session, Packet::ManagerNotices));
        self.after(peer, Event::Packet(session, Packet::PeerNotices));
    }
}

/// What happened, as a hash, and in words when somebody wants to read it.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) hash: u64,
    print: bool,
}

impl Trace {
    /// Makes a number part of the hash.
    pub(crate) fn mix(&mut self, number: u64) {
        // FNV-1a (Fowler, Noll, Vo), by words.
        self.hash = (self.hash ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17);
    }

    /// Says something, if anybody reads.
    pub(crate) fn say(&self, now: Duration, words: impl FnOnce() -> String) {
        if self.print {
            println!("{:>12.6}  {}", now.as_secs_f64(), words());
        }
    }
}
