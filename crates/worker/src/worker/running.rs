//! Starting tasks, and taking what they end with.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message;
use rustc_hash::FxHashSet;
use task_messenger_daemon::exit;
use task_messenger_protocol::{
    messages::{Outcome, outcome::Ending},
    values::ValuesBuilder,
};
use tokio::{sync::oneshot, time::Instant};

use super::{Worker, link::Link, told};
use crate::{
    outbox::Block,
    runners::{
        TaskName,
        command::CommandTask,
        skill::{FinishedTasks, SkillTask},
    },
    tasks::{Held, Stage, StopReason, Unit, Work},
};

/// Statuses as in `Outcomes`.
const SUCCEEDED: u8 = 1;
const FAILED: u8 = 2;
/// A larger payload is not copied out of the frame that it came in.
const COPIED_MOST: usize = 64 << 10;

/// A command that is over.
pub(super) struct CommandEnded {
    lease: u64,
    slots: u32,
    /// `None` when it was stopped.
    outcome: Option<Outcome>,
    busy: Duration,
}

impl Worker {
    /// Starts what was announced; whether there is something to tell at once.
    pub(super) fn launch_announced(&mut self) -> bool {
        let Link::Up(session) = &mut self.link else { return false };
        let mut ended = false;
        let units = std::mem::take(&mut session.announced);
        if !units.is_empty() {
            self.last_progress = Instant::now();
        }
        for unit in units {
            ended |= self.launch(unit);
        }
        ended
    }

    fn launch(&mut self, unit: Unit) -> bool {
        let work = unit.leases.first().and_then(|lease| self.tasks.get(*lease)).map(|held| match &held.template.work {
            Work::Command(command) => Work::Command(Arc::clone(command)),
            Work::Skill(skill) => Work::Skill(Arc::clone(skill)),
            Work::Unfit(text) => Work::Unfit(text.clone()),
        });
        match work {
            Some(Work::Command(command)) => {
                for lease in unit.leases {
                    self.launch_command(lease, unit.slots, Arc::clone(&command));
                }
                false
            }
            Some(Work::Skill(skill)) => {
                let task = |lease| {
                    let held = self.tasks.get_mut(lease)?;
                    Some(SkillTask {
                        lease,
                        name: held.name,
                        attempt: held.attempt,
                        skill: Arc::clone(&skill),
                        payload: held.payload.clone(),
                        timeout: held.template.timeout,
                    })
                };
                let tasks = unit.leases.iter().copied().filter_map(task).collect();
                self.launch_skills(tasks, unit.slots);
                false
            }
            Some(Work::Unfit(text)) => {
                self.tasks.release(unit.slots);
                for lease in unit.leases {
                    self.finish(
                        lease,
                        &Outcome { ending: Ending::Error.into(), text: text.clone(), ..Outcome::default() },
                    );
                }
                true
            }
            None => {
                self.tasks.release(unit.slots);
                false
            }
        }
    }

    fn launch_command(&mut self, lease: u64, slots: u32, command: Arc<task_messenger_protocol::messages::Command>) {
        let Some(held) = self.tasks.get_mut(lease) else { return self.tasks.release(slots) };
        let (stop, stopped) = oneshot::channel();
        held.stage = Stage::Command(Some(stop));
        let mut payload = std::mem::take(&mut held.payload);
        if payload.len() <= COPIED_MOST {
            // It may run for long, and must not keep the whole frame.
            payload = Bytes::copy_from_slice(&payload);
        }
        let (name, timeout) = (held.name, held.template.timeout);
        told::started(lease, name);
        let (runner, end) = (Arc::clone(&self.runner), self.end.clone());
        tokio::spawn(async move {
            let started = Instant::now();
            let task = CommandTask { lease, name, command: &command, timeout, payload };
            let outcome = runner.run(task, stopped).await;
            // Nobody listens any more when the worker is over.
            _ = end.send(CommandEnded { lease, slots, outcome, busy: started.elapsed() }).await;
        });
    }

    fn launch_skills(&mut self, tasks: VecDeque<SkillTask>, slots: u32) {
        let leases: Vec<u64> = tasks.iter().map(|task| task.lease).collect();
        let Ok(lane) = self.pool.submit(tasks) else {
            self.tasks.put_back(leases.into_iter());
            self.tasks.release(slots);
            return self.begin_stop(exit::FAILURE, self.grace);
        };
        for lease in leases {
            if let Some(held) = self.tasks.get_mut(lease) {
                told::started(lease, held.name);
                held.stage = Stage::Lane(lane);
                held.payload = Bytes::new();
            }
        }
        if self.lane_slots.len() <= lane {
            self.lane_slots.resize(lane + 1, 0);
        }
        self.lane_slots[lane] = slots;
    }

    pub(super) fn on_command_ended(&mut self, ended: CommandEnded) {
        let CommandEnded { lease, slots, outcome, busy } = ended;
        self.tasks.release(slots);
        self.last_progress = Instant::now();
        let Some(held) = self.tasks.get(lease) else { return };
        let reason = held.stop_reason();
        if reason.is_none() {
            held.template.record(1, busy);
            self.measure.record(1, busy);
            self.watching.ran(1, busy);
        }
        match (outcome, reason) {
            (Some(outcome), _) => self.finish(lease, &outcome),
            (None, Some(StopReason::Cancelled)) => {
                let text = "it was ended because it was cancelled".to_owned();
                let outcome = Outcome {
                    ending: Ending::Error.into(),
                    text,
                    run_microseconds: busy.as_micros() as u64,
                    ..Outcome::default()
                };
                self.finish(lease, &outcome);
            }
            (None, _) => {
                if self.tasks.remove(lease).is_some_and(|held| held.is_wanted()) {
                    self.given_back.push(lease);
                }
            }
        }
    }

    /// Records a task's end.
    pub(super) fn finish(&mut self, lease: u64, outcome: &Outcome) {
        let Some(held) = self.tasks.remove(lease).filter(Held::is_wanted) else { return };
        told::ended(lease, held.name, outcome);
        let succeeded = outcome.ending() == Ending::Exited && outcome.code == 0;
        self.watching.ended(usize::from(succeeded), 1);
        let mut value = ValuesBuilder::default();
        value.push(&outcome.encode_to_vec());
        let outcomes = value.take().bytes().clone();
        let statuses = vec![if succeeded { SUCCEEDED } else { FAILED }];
        self.outbox.push(Block { leases: vec![lease], tasks: vec![held.name], statuses, outcomes });
    }

    pub(super) fn on_skills_ended(&mut self) {
        for report in self.pool.collect() {
            if report.idle {
                self.tasks.release(std::mem::take(&mut self.lane_slots[report.lane]));
            }
            self.finish_skills(report.finished);
        }
    }

    fn finish_skills(&mut self, finished: FinishedTasks) {
        told::skills_ended(&finished, &self.tasks);
        let FinishedTasks { leases, statuses, outcomes, busy } = finished;
        let Some(first) = leases.first() else { return };
        self.last_progress = Instant::now();
        self.measure.record(leases.len(), busy);
        self.watching.ran(leases.len(), busy);
        if let Some(held) = self.tasks.get(*first) {
            held.template.record(leases.len(), busy);
        }
        let mut unwanted = FxHashSet::default();
        let mut tasks = Vec::with_capacity(leases.len());
        for (lease, status) in leases.iter().zip(&statuses) {
            let held = self.tasks.remove(*lease);
            let reason = held.as_ref().map_or(Some(StopReason::Dropped), Held::stop_reason);
            if reason == Some(StopReason::Dropped) {
                unwanted.insert(*lease);
            } else if *status != SUCCEEDED && reason == Some(StopReason::Leaving) {
                // It failed because it was stopped: that is nobody's fault.
                unwanted.insert(*lease);
                self.given_back.push(*lease);
            }
            tasks.push(held.map_or(TaskName { job: 0, index: 0 }, |held| held.name));
        }
        let block = Block { leases, tasks, statuses, outcomes: outcomes.bytes().clone() };
        let block = if unwanted.is_empty() { block } else { block.without(&unwanted) };
        let succeeded = block.statuses.iter().map(|status| usize::from(*status == SUCCEEDED)).sum();
        self.watching.ended(succeeded, block.statuses.len());
        self.outbox.push(block);
    }
}
