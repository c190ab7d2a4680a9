//! Handing out.
//!
//! Order holds among the tasks that can be placed at the moment: priority, then first come. Workers take turns. First every
//! free slot gets a task, spread evenly; only then do workers get more than they have slots, to hide the way to the manager.

use super::{Engine, workers::Load};
use crate::{
    effect::{Assigned, Effect},
    ids::{TaskId, TaskNumber, WorkerNumber},
    limits::RECORD_ITEMS,
    record::{Log, Record},
    task::Care,
    time::Now,
};

/// Up to where a worker is filled.
#[derive(Clone, Copy)]
enum Fill {
    Slots,
    Window,
}

impl Engine {
    pub(super) fn dispatch(&mut self, now: Now, log: &mut impl Log) {
        self.vacate();
        for fill in [Fill::Slots, Fill::Window] {
            while self.state.ready.count() > 0 && self.fill(now, fill, log) {}
        }
    }

    /// Gives each worker with room its share; whether anybody got anything.
    fn fill(&mut self, now: Now, fill: Fill, log: &mut impl Log) -> bool {
        let behind = self.roomy.range(self.last_served.next()..);
        let workers: Vec<WorkerNumber> = behind
            .chain(self.roomy.range(..=self.last_served))
            .copied()
            .filter(|worker| self.room(*worker, fill) > 0)
            .collect();
        if workers.is_empty() {
            return false;
        }
        let share = self.state.ready.count().div_ceil(workers.len() as u64).min(RECORD_ITEMS as u64) as usize;
        let mut any = false;
        for worker in workers {
            any |= self.hand_out(now, worker, fill, share, log);
        }
        any
    }

    fn room(&self, worker: WorkerNumber, fill: Fill) -> u32 {
        self.presences.get(&worker).map_or(0, |presence| {
            let limit = match fill {
                Fill::Slots => presence.window.min(presence.slots),
                Fill::Window => presence.window,
            };
            limit.saturating_sub(presence.used)
        })
    }

    /// Hands up to `share` tasks to a worker; whether there was one for it.
    fn hand_out(&mut self, now: Now, worker: WorkerNumber, fill: Fill, share: usize, log: &mut impl Log) -> bool {
        let mut room = self.room(worker, fill);
        let Some(presence) = self.presences.get_mut(&worker) else { return false };
        let Some(session) = presence.session else { return false };
        presence.learn_classes(&self.state.templates);
        let mut tasks: Vec<TaskNumber> = Vec::new();
        while room > 0 && tasks.len() < share {
            let slots = |class| self.state.templates.needs(class).map_or(u32::MAX, |needs| needs.slots);
            let fits = |class, care| {
                let careful = match care {
                    Care::None => true,
                    Care::Apart => presence.apart == 0,
                    Care::Alone => presence.leases == 0,
                };
                careful && presence.fits(class) && slots(class) <= room
            };
            let Some((task, lane)) = self.state.ready.next(&self.state.tasks, fits) else { break };
            let (_, class, care) = lane;
            let slots = slots(class);
            self.state.ready.take(lane, task);
            room -= slots;
            presence.hold(Load { slots, care });
            tasks.push(task);
            if care == Care::Alone {
                break;
            }
        }
        let full = presence.used > presence.slots;
        if tasks.is_empty() {
            return false;
        }
        self.last_served = worker;
        if full {
            self.balance.arm(now);
        }
        self.update_room(worker);
        self.reserve(tasks.len() as u64, 0, 0, log);
        let first_lease = self.state.next.lease;
        let record = Record::Dispatched { worker, first_lease, tasks, time: now.wall };
        self.commit(log, &record);
        let Record::Dispatched { tasks, .. } = record else { return true };
        let tasks = tasks.into_iter().filter_map(|task| self.assigned(task)).collect();
        self.tell(Effect::Assign { session, first_lease, tasks, decided: now.monotonic });
        true
    }

    /// While the next task for a worker is one that is to run alone, the one with the fewest tasks gets no more until it
    /// has none.
    fn vacate(&mut self) {
        if self.state.ready.count_alone() == 0 && self.vacating.is_none() {
            return;
        }
        if let Some(worker) = self.vacating {
            if self.has_next_alone(worker) {
                return;
            }
            self.vacating = None;
            self.update_room(worker);
        }
        let mut workers: Vec<(u32, WorkerNumber)> =
            self.presences.iter().map(|(worker, presence)| (presence.leases, *worker)).collect();
        workers.sort_unstable();
        if let Some((_, worker)) = workers.into_iter().find(|(_, worker)| self.has_next_alone(*worker)) {
            self.vacating = Some(worker);
            self.update_room(worker);
            self.ask_back_all(worker);
        }
    }

    /// Whether the next task for a worker, were it empty, is one that is to run alone.
    fn has_next_alone(&mut self, worker: WorkerNumber) -> bool {
        let Some(presence) = self.presences.get_mut(&worker).filter(|presence| presence.takes_tasks()) else {
            return false;
        };
        presence.learn_classes(&self.state.templates);
        let templates = &self.state.templates;
        let fits = |class| {
            let slots = templates.needs(class).map_or(u32::MAX, |needs| needs.slots);
            presence.fits(class) && slots <= presence.window
        };
        let next = self.state.ready.next(&self.state.tasks, |class, _| fits(class));
        next.is_some_and(|(_, (_, _, care))| care == Care::Alone)
    }

    fn assigned(&self, task: TaskNumber) -> Option<Assigned> {
        let task = self.state.tasks.get(task)?;
        let job = self.state.jobs.at(task.job)?.number;
        Some(Assigned {
            task: TaskId { job, index: task.index },
            template: task.template,
            attempt: task.attempts,
            payload: task.payload,
        })
    }
}
