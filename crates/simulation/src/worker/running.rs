//! What a worker runs, how that ends, and what it says of it.

use std::collections::BTreeSet;

use task_messenger_core::{digest::INLINE_LIMIT, ids::LeaseNumber, input::Input, values::ValuesBuilder};

use super::{Answer, Held, Report, Worker};
use crate::{
    network::HandedOut,
    script::{behaviour, killing},
    stage::{Checked, Stage, WorkerEvent, ensure},
};

impl Worker {
    pub(super) fn assign(&mut self, stage: &mut Stage, tasks: Vec<HandedOut>) -> Checked {
        let Some(process) = &mut self.process else { return Ok(()) };
        ensure!(process.settled, "worker {} gets tasks before its claims are settled", self.at);
        for HandedOut { lease, task, attempt, template, payload } in tasks {
            let killing = killing(&payload);
            let held = Held { task, attempt, behaviour: behaviour(&template), killing, started: false };
            let again = process.held.insert(lease.0, held);
            ensure!(again.is_none(), "worker {} gets lease {lease} twice", self.at);
        }
        let slots: u32 = process.held.values().map(|held| held.behaviour.slots).sum();
        let widest = process.widest;
        ensure!(slots <= widest, "worker {} holds {slots} slots' worth, and asked for {widest}", self.at);
        if process.stopping {
            self.give_back(stage, 100, None);
        }
        self.start_tasks(stage);
        Ok(())
    }

    /// What runs is said again in every session: the manager may be another process by now, or not have heard it.
    pub(super) fn say_started(&mut self, stage: &mut Stage) {
        let Some(process) = &self.process else { return };
        let started = process.held.iter().filter(|(_, held)| held.started);
        let leases: Vec<LeaseNumber> = started.map(|(lease, _)| LeaseNumber(*lease)).collect();
        if let Some(session) = process.session.filter(|_| !leases.is_empty()) {
            stage.send_up(session, Input::Started { session, leases });
        }
    }

    /// Starts what can be started, in the order in which it came, once the word of it has left for the manager.
    pub(super) fn start_tasks(&mut self, stage: &mut Stage) {
        let Some(process) = &mut self.process else { return };
        let Some(session) = process.session.filter(|_| process.settled && !process.stopping) else { return };
        let mut free = process.slots;
        for held in process.held.values().filter(|held| held.started) {
            free = free.saturating_sub(held.behaviour.slots);
        }
        let mut started = Vec::new();
        for (lease, held) in process.held.iter_mut().filter(|(_, held)| !held.started) {
            if held.behaviour.slots > free {
                break;
            }
            free -= held.behaviour.slots;
            held.started = true;
            started.push((*lease, held.behaviour));
        }
        if !started.is_empty() {
            let leases = started.iter().map(|(lease, _)| LeaseNumber(*lease)).collect();
            stage.send_up(session, Input::Started { session, leases });
        }
        for (lease, behaviour) in started {
            let takes = stage.random.duration(behaviour.shortest, behaviour.longest);
            self.after(stage, takes, WorkerEvent::TaskEnds(lease));
        }
    }

    pub(super) fn task_ends(&mut self, stage: &mut Stage, lease: u64) {
        let Some(process) = &mut self.process else { return };
        let held = process.held.get(&lease).or_else(|| process.ghosts.get(&lease));
        let Some(killing) = held.map(|held| held.killing) else { return };
        if stage.random.percent(killing) {
            return self.die_of_it(stage);
        }
        let Some(held) = process.held.remove(&lease).or_else(|| process.ghosts.remove(&lease)) else { return };
        let succeeded = !stage.random.percent(held.behaviour.failing);
        let mut detail = lease.to_le_bytes().to_vec();
        let words = format!("{} attempt {} by {}: {succeeded}", held.task, held.attempt, self.at);
        detail.extend_from_slice(words.as_bytes());
        if stage.scenario.large_values && stage.random.percent(3) {
            detail.resize(INLINE_LIMIT as usize + 1 + stage.random.below(100) as usize, b'!');
        }
        process.reports.push(Report { lease, task: held.task, succeeded, detail: detail.into() });
        if process.session.is_none() {
            self.save();
        } else if !std::mem::replace(&mut process.report_due, true) {
            let pause = stage.delay(10, 5_000);
            self.after(stage, pause, WorkerEvent::Report);
        }
        self.start_tasks(stage);
        self.leave(stage, false);
    }

    pub(super) fn report(&mut self, stage: &mut Stage) -> Checked {
        let (Some(process), Some(worker)) = (&mut self.process, self.number) else { return Ok(()) };
        process.report_due = false;
        let Some(session) = process.session else { return Ok(()) };
        if process.reports.is_empty() || (!process.settled && !process.eager) {
            return Ok(());
        }
        let reports = std::mem::take(&mut process.reports);
        for report in &reports {
            let said = (report.succeeded, report.detail.clone());
            let earlier = stage.model.reported.insert((report.lease, worker.0), said.clone());
            ensure!(earlier.is_none_or(|earlier| earlier == said), "lease {} is reported twice", report.lease);
        }
        let repeats = if stage.random.percent(4) { 2 } else { 1 };
        let mut ends = Vec::new();
        let mut details = ValuesBuilder::default();
        for report in &reports {
            let times = if process.confused && stage.random.percent(10) { 2 } else { 1 };
            for _ in 0..times {
                ends.push((LeaseNumber(report.lease), report.succeeded));
                details.push(&report.detail);
            }
        }
        if process.confused
            && let Some((lease, _)) = stage.model.foreign_lease(&mut stage.random, worker)
        {
            ends.push((lease, true));
            details.push(&lease.0.to_le_bytes());
        }
        let details = details.take();
        for _ in 0..repeats {
            process.messages += 1;
            let (ends, details) = (ends.clone(), details.clone());
            let number = process.messages;
            stage.send_up(session, Input::Outcomes { session, number, ends, details });
        }
        process.sent.insert(process.messages, reports);
        Ok(())
    }

    /// The manager wants leases back, or ended: the answer may take a while, and cross with all that happens meanwhile.
    pub(super) fn answer_later(&mut self, stage: &mut Stage, answer: Answer) {
        let Some(process) = &mut self.process else { return };
        process.answers.push_back(answer);
        let most = if stage.random.percent(40) { 1_500_000 } else { 1_000 };
        let pause = stage.delay(1, most);
        self.after(stage, pause, WorkerEvent::Answer);
    }

    pub(super) fn answer(&mut self, stage: &mut Stage) {
        let Some(answer) = self.process.as_mut().and_then(|process| process.answers.pop_front()) else { return };
        match answer {
            Answer::GiveBack(leases) => self.give_back(stage, 100, Some(&leases)),
            Answer::End(leases) => {
                self.give_back(stage, 100, Some(&leases));
                for lease in leases {
                    // What runs is stopped, and ends otherwise if it was about to end anyway.
                    let takes = stage.delay(100, 300_000);
                    self.after(stage, takes, WorkerEvent::TaskEnds(lease));
                }
            }
        }
        self.start_tasks(stage);
    }

    /// Gives back so many in a hundred of what has not started, or of those that are asked for.
    pub(crate) fn give_back(&mut self, stage: &mut Stage, percent: u64, asked: Option<&BTreeSet<u64>>) {
        let (Some(process), Some(worker)) = (&mut self.process, self.number) else { return };
        let Some(session) = process.session.filter(|_| process.settled) else { return };
        let mut leases = Vec::new();
        let waiting: Vec<u64> =
            process.held.iter().filter(|(_, held)| !held.started).map(|(lease, _)| *lease).collect();
        for lease in waiting.into_iter().filter(|lease| asked.is_none_or(|asked| asked.contains(lease))) {
            if stage.random.percent(percent)
                && let Some(held) = process.held.remove(&lease)
            {
                leases.push(lease);
                if process.stubborn {
                    process.ghosts.insert(lease, held);
                }
            }
        }
        if leases.is_empty() {
            return;
        }
        let stubborn = process.stubborn;
        let mut back: Vec<_> = leases.iter().map(|lease| LeaseNumber(*lease)).collect();
        if process.confused {
            back.push(back[0]);
            back.extend(stage.model.foreign_lease(&mut stage.random, worker).map(|(lease, _)| lease));
        }
        stage.model.given_back.extend(back.iter().map(|lease| (lease.0, worker.0)));
        stage.send_up(session, Input::GivenBack { session, leases: back });
        for lease in leases.into_iter().filter(|_| stubborn) {
            let pause = stage.delay(1_000, 2_000_000);
            self.after(stage, pause, WorkerEvent::TaskEnds(lease));
        }
    }
}
