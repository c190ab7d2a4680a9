//! The tasks that the worker holds: which wait, which run, and how the slots are used.
//!
//! Tasks start strictly in the order in which they arrived: while one waits for more slots than are free, none behind it
//! starts, however narrow. So a wide task waits for no more than what runs already; and the slots that stay free meanwhile
//! are the price. A task that is wider than the worker (the manager sends none) takes all of it.
//!
//! Short skill tasks of one template that follow each other start as one unit, which takes the slots of one task and runs
//! them one after the other.

use std::{cell::Cell, collections::VecDeque, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};
use task_messenger_protocol::messages::Command;
use tokio::{sync::oneshot, time::Instant};

use crate::{
    measure::Measure,
    runners::{TaskName, skill::Skill},
};

/// How long a unit of short tasks should take.
const UNIT_TIME: Duration = Duration::from_millis(2);
/// The most tasks of a unit.
const UNIT_MOST: usize = 512;

/// A template as it is run here.
pub(crate) struct Template {
    pub(crate) work: Work,
    pub(crate) slots: u32,
    pub(crate) timeout: Option<Duration>,
    /// How long its tasks take.
    pub(crate) measure: Cell<Measure>,
}

impl Template {
    /// Counts tasks that took this long all together.
    pub(crate) fn record(&self, tasks: usize, busy: Duration) {
        let mut measure = self.measure.get();
        measure.record(tasks, busy);
        self.measure.set(measure);
    }
}

/// What a template's tasks do.
pub(crate) enum Work {
    Command(Arc<Command>),
    Skill(Arc<dyn Skill>),
    /// Nothing that this worker can do; says why.
    Unfit(String),
}

/// A task that is held.
pub(crate) struct Held {
    pub(crate) name: TaskName,
    pub(crate) attempt: u32,
    pub(crate) template: Rc<Template>,
    pub(crate) payload: Bytes,
    pub(crate) stage: Stage,
    /// Since when it is held.
    pub(crate) since: Instant,
    /// Whether it is asked to stop.
    pub(crate) stopping: Option<Stopping>,
}

impl Held {
    /// Why it is asked to stop.
    pub(crate) fn stop_reason(&self) -> Option<StopReason> {
        self.stopping.map(|stopping| stopping.reason)
    }

    /// Whether anybody wants to hear of its end.
    pub(crate) fn is_wanted(&self) -> bool {
        self.stop_reason() != Some(StopReason::Dropped)
    }
}

/// A task is asked to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopping {
    pub(crate) reason: StopReason,
    pub(crate) since: Instant,
    /// Whether it was told that it doesn't.
    pub(crate) told: bool,
}

/// Why a task is asked to stop, and so what becomes of it. The later ones outdo the earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StopReason {
    /// The worker stops: the task is given back.
    Leaving,
    /// It was cancelled: its end is reported.
    Cancelled,
    /// The manager wants to hear of it no more.
    Dropped,
}

/// How far a task is.
pub(crate) enum Stage {
    /// For slots.
    Waiting,
    /// Its start is on its way to the manager.
    Announced,
    /// It runs; this stops it.
    Command(Option<oneshot::Sender<()>>),
    /// It runs in a lane, or is the next there.
    Lane(usize),
}

/// Tasks that start together and share slots.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) leases: Vec<u64>,
    pub(crate) slots: u32,
}

/// All that are held.
pub(crate) struct Tasks {
    held: FxHashMap<u64, Held>,
    waiting: VecDeque<u64>,
    slots: u32,
    used: u32,
}

impl Tasks {
    pub(crate) fn new(slots: u32) -> Self {
        Self { held: FxHashMap::default(), waiting: VecDeque::new(), slots, used: 0 }
    }

    /// Takes a task that was handed out.
    pub(crate) fn add(&mut self, lease: u64, held: Held) {
        self.held.insert(lease, held);
        self.waiting.push_back(lease);
    }

    pub(crate) fn get(&self, lease: u64) -> Option<&Held> {
        self.held.get(&lease)
    }

    pub(crate) fn get_mut(&mut self, lease: u64) -> Option<&mut Held> {
        self.held.get_mut(&lease)
    }

    /// Forgets a task that doesn't wait any more.
    pub(crate) fn remove(&mut self, lease: u64) -> Option<Held> {
        self.held.remove(&lease)
    }

    /// All that are held and wanted, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Held)> {
        self.held.iter().filter(|(_, held)| held.is_wanted()).map(|(lease, held)| (*lease, held))
    }

    /// Whether nothing is held that anybody wants.
    pub(crate) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Since when the one that starts next is held.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        self.waiting.iter().find_map(|lease| self.held.get(lease)).map(|held| held.since)
    }

    /// Has more or fewer slots from now on. What runs goes on.
    pub(crate) fn set_slots(&mut self, slots: u32) {
        self.slots = slots;
    }

    pub(crate) fn used_slots(&self) -> u32 {
        self.used
    }

    /// What starts next, if its slots are free; they are taken.
    pub(crate) fn next_unit(&mut self) -> Option<Unit> {
        let (template, slots) = loop {
            let first = *self.waiting.front()?;
            match self.held.get(&first) {
                Some(held) => break (Rc::clone(&held.template), self.width(&held.template)),
                None => _ = self.waiting.pop_front(),
            }
        };
        let free = self.slots.saturating_sub(self.used);
        if slots > free {
            return None;
        }
        let most = match &template.work {
            Work::Skill(_) => {
                // What waits is shared among the slots that are free.
                let shares = (free / slots) as usize;
                template.measure.get().fit(UNIT_TIME, UNIT_MOST).min(self.waiting.len().div_ceil(shares))
            }
            Work::Command(_) | Work::Unfit(_) => 1,
        };
        let mut leases = Vec::with_capacity(most);
        while leases.len() < most
            && let Some(lease) = self.waiting.front().copied()
        {
            match self.held.get_mut(&lease) {
                Some(held) if Rc::ptr_eq(&held.template, &template) => {
                    held.stage = Stage::Announced;
                    leases.push(lease);
                }
                Some(_) => break,
                None => (),
            }
            self.waiting.pop_front();
        }
        self.used += slots;
        Some(Unit { leases, slots })
    }

    /// Gives back the slots of a unit that is over.
    pub(crate) fn release(&mut self, slots: u32) {
        self.used -= slots;
    }

    /// Puts tasks that did not start back before all others, in their order.
    pub(crate) fn put_back(&mut self, leases: impl DoubleEndedIterator<Item = u64>) {
        for lease in leases.rev() {
            if let Some(held) = self.held.get_mut(&lease) {
                held.stage = Stage::Waiting;
                self.waiting.push_front(lease);
            }
        }
    }

    /// Forgets what waits, from the back, until no more than `slots` slots' worth wait; which.
    pub(crate) fn shed(&mut self, slots: u32) -> Vec<u64> {
        let mut room = u64::from(slots);
        let kept = self.waiting.iter().take_while(|lease| {
            let width = self.held.get(lease).map_or(0, |held| u64::from(self.width(&held.template)));
            let fits = width <= room;
            room = room.saturating_sub(width);
            fits
        });
        let shed: Vec<u64> = self.waiting.split_off(kept.count()).into();
        shed.into_iter().filter(|lease| self.held.remove(lease).is_some()).collect()
    }

    /// Forgets those of `leases` that wait; which.
    pub(crate) fn forget_waiting(&mut self, leases: &FxHashSet<u64>) -> Vec<u64> {
        let held = &mut self.held;
        let mut forgotten = Vec::new();
        self.waiting.retain(|lease| {
            let forget = leases.contains(lease);
            if forget && held.remove(lease).is_some() {
                forgotten.push(*lease);
            }
            !forget
        });
        forgotten
    }

    fn width(&self, template: &Template) -> u32 {
        template.slots.clamp(1, self.slots)
    }
}

#[cfg(test)]
mod tests;
