//! Stopping: single tasks, and the worker.

use std::time::Duration;

use rustc_hash::FxHashSet;
use task_messenger_daemon::exit;
use task_messenger_protocol::messages::{Outcome, outcome::Ending};
use tokio::time::Instant;

#[cfg(any(windows, test))]
use super::watching::EXTENSION;
use super::{Worker, link::Link, told};
use crate::tasks::{Stage, StopReason, Stopping};

/// How long ended tasks may take beyond `kill_after` until nobody waits for them.
const LAST_PATIENCE: Duration = Duration::from_secs(2);
/// How long the manager may take to acknowledge what was reported last.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long each phase of a stop may take when the system ends the process in five seconds.
const HASTE: Duration = Duration::from_millis(1_250);
/// What is not begun in a lane that has worked for longer than this goes to other lanes. Counted from the first task that the
/// lane was given, not from the one that runs: else tasks that take about a tick could each look young at every tick.
const LANE_PATIENCE: Duration = Duration::from_millis(20);
/// What waits for longer than this was asked for because its tasks were thought to be shorter than they are.
pub(super) const WAITING_PATIENCE: Duration = Duration::from_millis(200);

/// A stop under way.
#[derive(Debug)]
pub(super) struct Stop {
    exit: u8,
    phase: Phase,
    /// When the phase ends at the latest.
    deadline: Instant,
    /// Whether the system ends the process soon.
    hasty: bool,
}

impl Stop {
    /// Goes on to a phase, which takes this long at most.
    fn enter(&mut self, phase: Phase, longest: Duration, now: Instant) {
        self.phase = phase;
        self.deadline = now + if self.hasty { longest.min(HASTE) } else { longest };
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Running tasks go on.
    Finishing,
    /// Running tasks are ended.
    Ending,
    /// What was reported last is acknowledged.
    Farewell,
}

/// How long a stop may take, for service managers that are not told of it while it goes on. What comes after the last turn has
/// as long as those have then that are told.
#[cfg(any(windows, test))]
pub(crate) fn longest_stop(grace: Duration, kill_after: Duration) -> Duration {
    grace + kill_after + LAST_PATIENCE + FAREWELL + EXTENSION
}

impl Worker {
    /// Takes nothing new and gives back what has not started. What runs may go on for `grace`.
    pub(super) fn begin_stop(&mut self, exit: u8, grace: Duration) {
        let deadline = Instant::now() + grace;
        match &mut self.stop {
            Some(stop) => {
                stop.exit = exit.max(stop.exit);
                if stop.phase == Phase::Finishing {
                    stop.deadline = stop.deadline.min(deadline);
                }
            }
            None => self.stop = Some(Stop { exit, phase: Phase::Finishing, deadline, hasty: false }),
        }
        self.withdraw(|_| true);
        self.given_back.extend(self.tasks.shed(0));
        self.next_tick = Instant::now();
    }

    /// The same when the system ends the process soon: all is said to the manager before. Hastens a stop that goes on.
    pub(super) fn begin_hasty_stop(&mut self, exit: u8) {
        self.begin_stop(exit, HASTE);
        if let Some(stop) = &mut self.stop {
            stop.hasty = true;
            stop.deadline = stop.deadline.min(Instant::now() + HASTE);
        }
    }

    /// Moves a stop on; the exit code at its end.
    pub(super) fn advance_stop(&mut self, now: Instant) -> Option<u8> {
        let stop = self.stop.as_mut()?;
        if stop.phase == Phase::Finishing && !self.tasks.is_empty() && now >= stop.deadline {
            stop.enter(Phase::Ending, self.kill_after + LAST_PATIENCE, now);
            self.end_running(now);
        }
        let stop = self.stop.as_mut()?;
        if stop.phase != Phase::Farewell
            && (self.tasks.is_empty() || (stop.phase == Phase::Ending && now >= stop.deadline))
        {
            stop.enter(Phase::Farewell, FAREWELL, now);
            // These never stopped: with the process they do.
            let left: Vec<u64> = self.tasks.iter().map(|(lease, _)| lease).collect();
            for lease in left {
                self.tasks.remove(lease);
                self.given_back.push(lease);
            }
        }
        let stop = self.stop.as_ref()?;
        let told = match &self.link {
            Link::Up(session) if session.resumed.is_some() => {
                self.outbox.is_empty() && self.given_back.is_empty() && session.writer.is_flushed()
            }
            _ => true,
        };
        (stop.phase == Phase::Farewell && (told || now >= stop.deadline)).then_some(stop.exit)
    }

    /// Ends all that runs; none of it has an outcome.
    fn end_running(&mut self, now: Instant) {
        let leases: Vec<u64> = self.tasks.iter().map(|(lease, _)| lease).collect();
        tracing::warn!(tasks = leases.len(), "running tasks are ended");
        for lease in leases {
            if self.stop_task(lease, StopReason::Leaving, now) {
                self.tasks.remove(lease);
                self.given_back.push(lease);
            }
        }
    }

    /// Gives back what has not started of tasks that were cancelled, and ends what runs. Leases that are not held here, or
    /// not any more, have an outcome that is on its way.
    pub(super) fn cancel_leases(&mut self, leases: &[u64]) {
        let leases: FxHashSet<u64> = leases.iter().copied().collect();
        self.withdraw(|lease| leases.contains(&lease));
        let mut unstarted = self.tasks.forget_waiting(&leases);
        let now = Instant::now();
        for lease in leases {
            if self.stop_task(lease, StopReason::Cancelled, now) {
                self.tasks.remove(lease);
                unstarted.push(lease);
            }
        }
        unstarted.sort_unstable();
        self.given_back.extend(unstarted);
        self.next_tick = self.next_tick.min(now);
    }

    /// Gives back those of these leases that still wait. What the manager was told is about to start counts as started.
    pub(super) fn take_back(&mut self, leases: &[u64]) {
        let leases: FxHashSet<u64> = leases.iter().copied().collect();
        self.given_back.extend(self.tasks.forget_waiting(&leases));
    }

    /// Lets what is announced and has not started wait again.
    pub(super) fn withdraw(&mut self, withdrawn: impl Fn(u64) -> bool) {
        let Link::Up(session) = &mut self.link else { return };
        for mut unit in std::mem::take(&mut session.announced).into_iter().rev() {
            let waits: Vec<u64> = unit.leases.extract_if(.., |lease| withdrawn(*lease)).collect();
            self.tasks.put_back(waits.into_iter());
            if unit.leases.is_empty() {
                self.tasks.release(unit.slots);
            } else {
                session.announced.push(unit);
            }
        }
        session.announced.reverse();
    }

    /// Stops and forgets tasks that nobody wants any more.
    pub(super) fn drop_leases(&mut self, leases: &FxHashSet<u64>) {
        self.tasks.forget_waiting(leases);
        let now = Instant::now();
        for lease in leases {
            if self.stop_task(*lease, StopReason::Dropped, now) {
                self.tasks.remove(*lease);
            }
        }
    }

    /// Asks a task to stop; whether it is over at once, as it had not begun.
    fn stop_task(&mut self, lease: u64, reason: StopReason, now: Instant) -> bool {
        let Some(held) = self.tasks.get_mut(lease) else { return false };
        let stopping = held.stopping.get_or_insert(Stopping { reason, since: now, told: false });
        stopping.reason = stopping.reason.max(reason);
        told::stops(lease, held.name, reason);
        match &mut held.stage {
            Stage::Waiting | Stage::Announced => false,
            Stage::Command(stop) => {
                if let Some(stop) = stop.take() {
                    // It may have ended by itself meanwhile.
                    _ = stop.send(());
                }
                false
            }
            Stage::Lane(lane) => {
                let lane = *lane;
                self.pool.stop(lane, lease)
            }
        }
    }

    /// Looks for skills that overrun and for tasks that wait behind long ones.
    pub(super) fn look_at_running(&mut self, now: Instant) {
        for lane in 0..self.pool.lanes() {
            let Some(running) = self.pool.running(lane) else { continue };
            if running.queued > 0 && Instant::from_std(running.lane_since) + LANE_PATIENCE < now {
                let queue = self.pool.take_back(lane);
                for task in &queue {
                    if let Some(held) = self.tasks.get_mut(task.lease) {
                        held.payload = task.payload.clone();
                    }
                }
                self.tasks.put_back(queue.iter().map(|task| task.lease));
                if self.stop.is_some() {
                    self.given_back.extend(self.tasks.shed(0));
                }
            }
            let Some(held) = self.tasks.get_mut(running.lease) else { continue };
            if running.deadline.is_some_and(|deadline| Instant::from_std(deadline) + self.kill_after < now) {
                self.give_up(running.lease);
            } else if let Some(stopping) = &mut held.stopping
                && stopping.since + self.kill_after < now
                && !std::mem::replace(&mut stopping.told, true)
            {
                // It has not overrun: to end the worker with all that runs there would be worse.
                tracing::warn!(
                    task = %held.name,
                    "a skill that was asked to stop goes on: it keeps its slot until it returns, or its timeout is over"
                );
            }
        }
        self.look_at_waiting(now);
    }

    /// Gives back what waits for too long.
    ///
    /// The manager takes back what another worker could start at once. It doesn't know how long tasks take here: what
    /// nobody else could start now would keep its place here, ahead of all that comes to the manager meanwhile with a higher
    /// priority. So the worker gives back by itself what is beyond its window.
    fn look_at_waiting(&mut self, now: Instant) {
        let Some(resumed) = self.link.resumed() else { return };
        let Some(since) = self.tasks.waiting_since() else { return };
        if now < since.max(resumed) + self.waiting_patience {
            return;
        }
        let stalled = now - self.last_progress;
        if stalled >= self.waiting_patience && self.tasks.used_slots() > 0 {
            // What runs has taken that long already.
            self.measure.record(1, stalled);
        }
        let room = self.window().saturating_sub(self.tasks.used_slots());
        self.given_back.extend(self.tasks.shed(room));
    }

    /// A skill doesn't stop: its task ends without it, and the worker has to be started again to be rid of it.
    fn give_up(&mut self, lease: u64) {
        let Some(held) = self.tasks.get(lease) else { return };
        tracing::error!(task = %held.name, "a skill overruns its time and can't be stopped: the worker has to start again");
        let text = "the skill did not stop when its time was over".to_owned();
        self.finish(lease, &Outcome { ending: Ending::TimedOut.into(), text, ..Outcome::default() });
        self.begin_stop(exit::FAILURE, self.grace);
    }
}
