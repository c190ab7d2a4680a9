//! Who knocks too often: handshakes under way and failed logins, by address.
//!
//! A secret of 256 bits can't be guessed, so this is not what keeps people out: it keeps one address from taking every place
//! at the door, and from filling the log. Those that come with the right secret are never made to wait for others behind
//! the same address.

use std::{
    cell::{Cell, RefCell},
    net::{IpAddr, Ipv6Addr},
    rc::Rc,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;
use task_messenger_daemon::seldom::Seldom;

/// Addresses that are remembered.
const MOST: usize = 10_000;
/// Failures that have no consequence, and are told one by one.
const FORGIVEN: u32 = 10;
/// A failure is forgotten after this.
const FORGOTTEN: Duration = Duration::from_secs(6);
/// What each further failure adds to the wait for the answer.
const STEP: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(10);

/// Counts handshakes and failures.
#[derive(Clone, Debug)]
pub(crate) struct Doorkeeper {
    knocks: Rc<RefCell<FxHashMap<IpAddr, Knocks>>>,
    /// Handshakes at a time from one address.
    limit: Rc<Cell<u32>>,
}

#[derive(Debug)]
struct Knocks {
    handshakes: u32,
    failures: u32,
    /// Up to when failures were forgotten.
    forgotten: Instant,
    told: Seldom,
}

/// What follows from a failed login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// How long the answer is kept waiting.
    pub(crate) wait: Duration,
    /// Whether to tell, and of how many failures that weren't told.
    pub(crate) tell: Option<u32>,
}

/// A handshake under way; it is over when this is dropped.
#[derive(Debug)]
pub(crate) struct Handshake {
    doorkeeper: Doorkeeper,
    address: IpAddr,
}

/// Where a peer came in.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) doorkeeper: Doorkeeper,
    pub(crate) handshake: Handshake,
    pub(crate) address: IpAddr,
}

impl Drop for Handshake {
    fn drop(&mut self) {
        if let Some(knocks) = self.doorkeeper.knocks.borrow_mut().get_mut(&self.address) {
            knocks.handshakes = knocks.handshakes.saturating_sub(1);
        }
    }
}

impl Doorkeeper {
    pub(crate) fn new(limit: u32) -> Self {
        Self { knocks: Rc::default(), limit: Rc::new(Cell::new(limit)) }
    }

    /// Handshakes at a time from one address.
    pub(crate) fn limit(&self) -> u32 {
        self.limit.get()
    }

    /// Sets how many handshakes at a time one address may have.
    pub(crate) fn set_limit(&self, limit: u32) {
        self.limit.set(limit);
    }

    /// Somebody knocks; `None` if too many from there do already.
    pub(crate) fn knock(&self, address: IpAddr, now: Instant) -> Option<Handshake> {
        let address = network(address);
        let mut all = self.knocks.borrow_mut();
        make_room(&mut all, now);
        let knocks = all.entry(address).or_insert_with(|| Knocks::new(now));
        if knocks.handshakes >= self.limit.get() {
            return None;
        }
        knocks.handshakes += 1;
        Some(Handshake { doorkeeper: self.clone(), address })
    }

    /// Somebody was not let in.
    pub(crate) fn failed(&self, address: IpAddr, now: Instant) -> Failure {
        let mut all = self.knocks.borrow_mut();
        let knocks = all.entry(network(address)).or_insert_with(|| Knocks::new(now));
        knocks.forget(now);
        knocks.failures += 1;
        let wait = STEP.saturating_mul(knocks.failures.saturating_sub(FORGIVEN)).min(LONGEST);
        let forgiven = knocks.failures <= FORGIVEN;
        Failure { wait, tell: if forgiven { Some(knocks.told.tell(now)) } else { knocks.told.count(now) } }
    }
}

impl Knocks {
    fn new(now: Instant) -> Self {
        Self { handshakes: 0, failures: 0, forgotten: now, told: Seldom::default() }
    }

    fn forget(&mut self, now: Instant) {
        let periods = now.duration_since(self.forgotten).as_secs() / FORGOTTEN.as_secs();
        self.failures = self.failures.saturating_sub(u32::try_from(periods).unwrap_or(u32::MAX));
        self.forgotten += FORGOTTEN * u32::try_from(periods).unwrap_or(u32::MAX);
    }
}

/// Forgets addresses from which nothing is under way, when there are too many: first those without a failure.
fn make_room(all: &mut FxHashMap<IpAddr, Knocks>, now: Instant) {
    if all.len() < MOST {
        return;
    }
    all.retain(|_, knocks| {
        knocks.forget(now);
        knocks.handshakes > 0 || knocks.failures > 0
    });
    if all.len() >= MOST {
        all.retain(|_, knocks| knocks.handshakes > 0);
    }
}

/// IPv6 hosts choose their addresses within a network of 64 bits (RFC 4291, section 2.5.4): it stands for the host.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_can_take_only_its_share_of_handshakes() {
        let doorkeeper = Doorkeeper::new(2);
        let now = Instant::now();
        let first = doorkeeper.knock(address("10.0.0.1"), now).unwrap();
        let _second = doorkeeper.knock(address("::ffff:10.0.0.1"), now).unwrap();
        assert!(doorkeeper.knock(address("10.0.0.1"), now).is_none());
        assert!(doorkeeper.knock(address("10.0.0.2"), now).is_some());
        drop(first);
        assert!(doorkeeper.knock(address("10.0.0.1"), now).is_some());
    }

    #[test]
    fn failures_are_answered_later_and_later_told_once_and_forgotten() {
        let doorkeeper = Doorkeeper::new(2);
        let begin = Instant::now();
        let fail = |seconds| doorkeeper.failed(address("2001:db8::1"), begin + Duration::from_secs(seconds));
        for _ in 0..FORGIVEN {
            assert_eq!(fail(0), Failure { wait: Duration::ZERO, tell: Some(1) });
        }
        assert_eq!(fail(0), Failure { wait: STEP, tell: None });
        // Another address of the same network.
        assert_eq!(doorkeeper.failed(address("2001:db8::2"), begin).wait, STEP * 2);
        assert_eq!(doorkeeper.failed(address("2001:db8:0:1::2"), begin).wait, Duration::ZERO);
        for _ in 0..20 {
            assert!(fail(1).wait <= LONGEST);
        }
        assert_eq!(fail(61).tell, Some(23));
        assert_eq!(fail(3_600), Failure { wait: Duration::ZERO, tell: Some(1) });
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let doorkeeper = Doorkeeper::new(1);
        let now = Instant::now();
        let held = doorkeeper.knock(address("10.255.0.0"), now);
        for number in 0..3 * MOST as u32 {
            let address = IpAddr::V4(std::net::Ipv4Addr::from_bits(number));
            drop(doorkeeper.knock(address, now));
            doorkeeper.failed(address, now);
        }
        assert!(doorkeeper.knocks.borrow().len() <= MOST + 1);
        assert!(held.is_some() && doorkeeper.knock(address("10.255.0.0"), now).is_none());
    }
}
