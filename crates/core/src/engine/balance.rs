//! Taking back: what a worker holds beyond its slots goes to another that has a slot free.
//!
//! Prefetched tasks wait at their worker. When they are long, or few, another worker may be idle meanwhile. So while any
//! worker holds more than it has slots, it is looked at regularly whether somebody else has room; what has waited at its
//! worker for a whole interval and has not started is asked back, the last first. It goes elsewhere only once the worker has
//! given it back.

use std::time::Duration;

use super::Engine;
use crate::{
    effect::Effect,
    ids::{LeaseNumber, SessionNumber, WorkerNumber},
    state::Start,
    task::{Care, Task},
    time::Now,
};

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// When to look next.
#[derive(Debug, Default)]
pub(super) struct Balance {
    next: Option<Duration>,
    /// Leases before this were there when it was looked at last.
    known: LeaseNumber,
}

impl Balance {
    /// A worker got more than it has slots.
    pub(super) fn arm(&mut self, now: Now) {
        if self.next.is_none() {
            self.next = Some(now.monotonic + INTERVAL);
        }
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        self.next
    }
}

/// A worker with slots free.
struct Idle {
    worker: WorkerNumber,
    free: u32,
    /// Whether it has, or will have, a task that is to be kept apart.
    apart: bool,
}

impl Engine {
    pub(super) fn take_back(&mut self, now: Now) {
        if self.balance.next.is_none_or(|at| at > now.monotonic) {
            return;
        }
        self.balance.next = None;
        let known = std::mem::replace(&mut self.balance.known, self.state.next.lease);
        let full: Vec<WorkerNumber> = self
            .presences
            .iter()
            .filter(|(_, presence)| presence.session.is_some() && presence.used > presence.slots)
            .map(|(worker, _)| *worker)
            .collect();
        if full.is_empty() {
            return;
        }
        self.balance.arm(now);
        let mut idle: Vec<Idle> = Vec::new();
        for worker in &self.roomy {
            let Some(presence) = self.presences.get_mut(worker) else { continue };
            let free = presence.slots.min(presence.window).saturating_sub(presence.used);
            presence.learn_classes(&self.state.templates);
            idle.push(Idle { worker: *worker, free, apart: presence.apart > 0 });
        }
        // What was asked back and is on its way has its place already.
        let mut coming: u32 = self
            .state
            .leases
            .values()
            .filter(|lease| lease.asked_back && lease.start == Start::No)
            .map(|lease| self.slots_of(lease.task))
            .sum();
        for idle in &mut idle {
            let taken = idle.free.min(coming);
            idle.free -= taken;
            coming -= taken;
        }
        idle.retain(|idle| idle.free > 0);
        if idle.is_empty() {
            return;
        }
        let mut waiting: Vec<(LeaseNumber, WorkerNumber)> = self
            .state
            .leases
            .iter()
            .filter(|(number, lease)| {
                **number < known && lease.start != Start::Yes && !lease.asked_back && full.contains(&lease.worker)
            })
            .map(|(number, lease)| (*number, lease.worker))
            .collect();
        waiting.sort_unstable_by(|a, b| b.cmp(a));
        let mut asked: Vec<(SessionNumber, LeaseNumber)> = Vec::new();
        for (number, worker) in waiting {
            let Some(lease) = self.state.leases.get(&number) else { continue };
            let Some(session) = self.presences.get(&worker).and_then(|presence| presence.session) else { continue };
            if self.state.tasks.get(lease.task).is_some_and(Task::is_overdue) {
                // Given back it ends, and takes no place: what waits before it is not to wait for each of these.
                asked.push((session, number));
                continue;
            }
            let load = self.load_of(lease.task);
            let class = self.state.tasks.get(lease.task).map(|task| self.state.templates.class(task.template));
            let Some(place) = idle.iter_mut().find(|idle| {
                let fits = |class| self.presences.get(&idle.worker).is_some_and(|presence| presence.fits(class));
                let careful = load.care == Care::None || (load.care == Care::Apart && !idle.apart);
                idle.free >= load.slots && careful && class.is_some_and(fits)
            }) else {
                if idle.iter().all(|idle| idle.free == 0) {
                    break;
                }
                continue;
            };
            place.free -= load.slots;
            place.apart |= load.care == Care::Apart;
            asked.push((session, number));
        }
        self.ask_back(asked);
    }

    /// Asks for what a worker has not started, for it is to get nothing for now.
    pub(super) fn ask_back_all(&mut self, worker: WorkerNumber) {
        let Some(session) = self.presences.get(&worker).and_then(|presence| presence.session) else { return };
        let unstarted =
            |number: &LeaseNumber| self.state.leases.get(number).is_some_and(|lease| lease.start != Start::Yes);
        let asked = self.leases_of(worker).into_iter().filter(unstarted).map(|number| (session, number)).collect();
        self.ask_back(asked);
    }

    fn ask_back(&mut self, mut asked: Vec<(SessionNumber, LeaseNumber)>) {
        asked.sort_unstable();
        for of_session in asked.chunk_by(|(a, _), (b, _)| a == b) {
            let leases: Vec<LeaseNumber> = of_session.iter().map(|(_, number)| *number).collect();
            for number in &leases {
                if let Some(lease) = self.state.leases.get_mut(number) {
                    lease.asked_back = true;
                }
            }
            self.tell(Effect::TakeBack { session: of_session[0].0, leases });
        }
    }
}
