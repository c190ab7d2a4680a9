//! The world: a manager, workers and clients, a network between them, and what goes wrong. Nothing in it happens but by its
//! seed.

use std::{sync::Arc, time::Duration};

use task_messenger_core::{engine::Engine, ids::SessionNumber, input::Input, task::TaskState};

use crate::{
    administrator::Administrator,
    client::Client,
    manager::{End, Manager},
    network::{Packet, Peer},
    random::Random,
    scenario::{Fault, Scenario},
    script::{Ingredients, MOST_SLOTS, Script},
    stage::{Checked, Event, Stage, Violation},
    totals::Totals,
    worker::Worker,
};

/// All of it.
pub(crate) struct World {
    stage: Stage,
    manager: Manager,
    workers: Vec<Worker>,
    clients: Vec<Client>,
    administrator: Administrator,
    steps: u64,
}

/// How long everything may take, beside the work itself, once nothing goes wrong any more.
const CALM: Duration = Duration::from_secs(90);

/// No run has more events.
const STEPS: u64 = 400_000;

impl World {
    pub(crate) fn new(seed: u64, prepare: fn(&mut Engine), print: bool) -> Self {
        let mut random = Random::new(seed);
        let scenario = Scenario::new(&mut random);
        let disk_seed = random.next();
        let mut stage = Stage::new(random, scenario, print);
        let workers: Vec<_> = (0..stage.scenario.workers).map(Worker::new).collect();
        let mut scripts = Vec::new();
        for _ in 0..stage.scenario.jobs {
            let size = stage.random.between(1, stage.scenario.job_size);
            let ingredients = Ingredients {
                large: stage.scenario.large_values,
                hours: stage.scenario.faults.contains(&Fault::JumpClock),
                killers: stage.scenario.killers,
            };
            scripts.push(Script::new(&mut stage.random, size, ingredients));
        }
        let mut clients: Vec<Vec<_>> = (0..stage.scenario.clients).map(|_| Vec::new()).collect();
        for mut script in scripts {
            let at = stage.random.below(clients.len() as u64) as usize;
            // Clients 0 and 1 share an owner: the one may repeat what the other submits, or be in its way.
            if script.idempotency.is_some() && at < 2 && clients.len() > 1 && stage.random.percent(60) {
                let other = if stage.random.percent(70) {
                    Some(script.again(&mut stage.random))
                } else {
                    script.rival(&mut stage.random)
                };
                clients[1 - at].extend(other);
            }
            clients[at].push(script);
        }
        let mut made = Vec::new();
        for (at, scripts) in clients.into_iter().enumerate() {
            let mut wanted = Vec::new();
            for script in scripts {
                let script = Arc::new(script);
                stage.model.scripts.insert(script.key, script.clone());
                let begins = stage.delay(1_000, 4_000_000);
                wanted.push((script, begins));
            }
            made.push(Client::new(at, wanted));
        }
        let manager = Manager::new(disk_seed, prepare);
        Self { manager, stage, workers, clients: made, administrator: Administrator::default(), steps: 0 }
    }

    /// Lets everything happen, first with faults, then without, until all work is done.
    pub(crate) fn run(&mut self) -> Checked {
        let scenario = &self.stage.scenario;
        self.stage.trace.say(Duration::ZERO, || format!("{scenario:?}"));
        self.stage.at(Duration::ZERO, Event::StartManager);
        for worker in &self.workers {
            let delay = self.stage.delay(1_000, 500_000);
            worker.start_after(&mut self.stage, delay);
        }
        for client in &self.clients {
            let delay = self.stage.delay(1_000, 500_000);
            client.start_after(&mut self.stage, delay);
        }
        self.stage.after(Duration::from_millis(50), Event::Fault);
        self.stage.after(Duration::from_millis(500), Event::Administer);
        while self.steps < self.stage.scenario.chaos {
            self.step()?;
        }
        self.make_whole();
        let work: Duration = self.stage.model.scripts.values().map(|script| script.longest_work()).sum();
        let deadline = self.stage.now + CALM + self.stage.scenario.limits.lease_grace * 4 + work;
        while !self.is_over() {
            self.step()?;
            self.set_clock_right();
            if self.stage.now > deadline || self.steps > STEPS {
                let mut waits: Vec<_> = self.clients.iter().map(Client::waits_for).collect();
                waits.extend(self.manager.waits_for());
                let steps = self.steps;
                return Err(Violation(format!("not everything ends, after {steps} steps: {}", waits.join("; "))));
            }
        }
        self.manager.check_end(&self.stage)
    }

    fn is_over(&self) -> bool {
        self.manager.is_at_rest()
            && self.clients.iter().all(Client::is_done)
            && self.workers.iter().all(Worker::is_idle)
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut totals = self.stage.totals;
        totals.seeds = 1;
        totals.steps = self.steps;
        totals.seconds = self.stage.now.as_secs();
        totals.expired = self.manager.reference.ends_of(TaskState::Expired);
        match self.stage.scenario.durability {
            task_messenger_store::Durability::Strict => totals.strict = 1,
            task_messenger_store::Durability::Interval => totals.interval = 1,
            task_messenger_store::Durability::None => totals.none = 1,
        }
        totals
    }

    pub(crate) fn hash(&self) -> u64 {
        self.stage.trace.hash
    }

    fn step(&mut self) -> Checked {
        let event = self.stage.next_event().ok_or_else(|| Violation("nothing happens any more".to_owned()))?;
        self.steps += 1;
        self.happen(event)?;
        let progress = self.manager.reference.records.len() as u64;
        self.stage.trace.mix(progress);
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Checked {
        if let Event::Worker { at, .. } = event
            && self.postpone(at, &event)
        {
            return Ok(());
        }
        match event {
            Event::Packet(session, packet) => self.deliver(session, packet)?,
            Event::Manager { process, event } => self.manager.handle(&mut self.stage, process, event)?,
            Event::StartManager => self.manager.start(&mut self.stage)?,
            Event::Worker { at, start, event } => {
                self.stage.trace.say(self.stage.now, || format!("worker {at}: {event:?}"));
                self.workers[at].handle(&mut self.stage, start, event)?;
            }
            Event::Client { at, start, event } => self.clients[at].handle(&mut self.stage, start, event),
            Event::Fault => self.fault()?,
            Event::Administer => self.administrator.act(&mut self.stage, &mut self.manager),
            Event::FreeDisk => self.manager.disk.set_capacity(None),
            Event::Wake(at) => self.wake(at)?,
        }
        Ok(())
    }

    /// What a frozen worker would do, it does when it wakes up, in the same order.
    fn postpone(&mut self, at: usize, event: &Event) -> bool {
        let worker = &mut self.workers[at];
        let frozen = worker.frozen_until.is_some();
        if frozen {
            worker.postponed.push(event.clone());
        }
        frozen
    }

    fn wake(&mut self, at: usize) -> Checked {
        let worker = &mut self.workers[at];
        match worker.frozen_until {
            Some(until) if until > self.stage.now => self.stage.at(until, Event::Wake(at)),
            _ => {
                worker.frozen_until = None;
                for event in std::mem::take(&mut worker.postponed) {
                    self.happen(event)?;
                }
            }
        }
        Ok(())
    }

    fn deliver(&mut self, session: SessionNumber, packet: Packet) -> Checked {
        let Some(peer) = self.stage.network.peer(session) else { return Ok(()) };
        if let Peer::Worker(at) = peer
            && matches!(packet, Packet::Down(_) | Packet::PeerNotices)
            && self.postpone(at, &Event::Packet(session, packet.clone()))
        {
            return Ok(());
        }
        let now = self.stage.now;
        match packet {
            Packet::Up(input) => {
                if self.stage.network.arrives_up(session) {
                    self.stage.trace.say(now, || format!("to the manager: {input:?}"));
                    self.manager.receive(&mut self.stage, input);
                }
            }
            Packet::Down(down) => {
                if self.stage.network.arrives_down(session) {
                    match peer {
                        Peer::Worker(at) => self.workers[at].receive(&mut self.stage, session, down)?,
                        Peer::Client(at, _) => self.clients[at].receive(&mut self.stage, session, down)?,
                    }
                }
            }
            Packet::ManagerNotices => {
                if self.stage.network.manager_closes(session) {
                    self.stage.trace.say(now, || format!("the manager notices the end of session {session}"));
                    self.manager.receive(&mut self.stage, Input::SessionClosed { session });
                }
            }
            Packet::PeerNotices => {
                if self.stage.network.peer_closes(session) {
                    self.stage.trace.say(now, || format!("{peer:?} notices the end of session {session}"));
                    match peer {
                        Peer::Worker(at) => self.workers[at].link_lost(&mut self.stage, session),
                        Peer::Client(at, _) => self.clients[at].link_lost(&mut self.stage, session),
                    }
                }
            }
        }
        Ok(())
    }

    /// Something goes wrong.
    fn fault(&mut self) -> Checked {
        if self.stage.calm || self.stage.scenario.faults.is_empty() {
            return Ok(());
        }
        let longest = self.stage.scenario.fault_pause.as_micros() as u64;
        let pause = self.stage.delay(longest / 8, longest);
        self.stage.after(pause, Event::Fault);
        let at = self.stage.random.below(self.stage.scenario.faults.len() as u64) as usize;
        let fault = self.stage.scenario.faults[at];
        self.stage.trace.say(self.stage.now, || format!("fault: {fault:?}"));
        let at = self.stage.random.below(self.workers.len() as u64) as usize;
        let worker = &mut self.workers[at];
        let running = self.manager.is_running();
        let stage = &mut self.stage;
        match fault {
            Fault::KillManager if running => self.manager.end(stage, End::Kill),
            Fault::KillManagerBetweenWriteAndNews if running => self.manager.kill_after_write = true,
            Fault::RestartManager if running => self.manager.stop(stage)?,
            Fault::CutPower => self.manager.end(stage, End::PowerCut),
            Fault::CutPowerInsideOperation | Fault::FailDisk if running => {
                let operation = self.manager.disk.operations() + stage.random.below(4);
                let how = if fault == Fault::FailDisk {
                    task_messenger_store::disk::Fault::Error
                } else {
                    task_messenger_store::disk::Fault::PowerCut
                };
                self.manager.disk.fault_at(operation, how);
            }
            Fault::FillDisk => {
                self.manager.disk.set_capacity(Some(1));
                let pause = stage.delay(50_000, 5_000_000);
                stage.after(pause, Event::FreeDisk);
            }
            Fault::KillWorker => worker.kill(stage),
            Fault::StopWorker => worker.stop(stage),
            Fault::FreezeWorker if worker.is_running() => {
                let grace = stage.scenario.limits.lease_grace.as_micros() as u64;
                let asleep = stage.delay(grace / 8, grace * 3);
                if asleep > stage.scenario.limits.lease_grace {
                    stage.totals.worker_freezes += 1;
                }
                let until = worker.frozen_until.max(Some(stage.now + asleep));
                worker.frozen_until = until;
                stage.after(asleep, Event::Wake(at));
            }
            Fault::ChangeWindow => {
                let slots = stage.random.between(0, 2 * MOST_SLOTS) as u32;
                worker.change_window(stage, slots);
            }
            Fault::GiveBack => worker.give_back(stage, 50, None),
            Fault::CopyWorker => {
                let copies = self.workers.iter().filter(|worker| worker.is_copy()).count();
                let made = self.workers.len();
                let copy = self.workers[at].copy(made).filter(|_| copies < 2);
                if let Some(copy) = copy {
                    copy.start_after(stage, Duration::from_millis(1));
                    self.workers.push(copy);
                }
            }
            Fault::KillClient => {
                let at = stage.random.below(self.clients.len() as u64) as usize;
                self.clients[at].kill(stage);
            }
            Fault::CutLink => {
                let whole = stage.network.whole();
                if !whole.is_empty() {
                    let session = stage.random.pick(&whole);
                    stage.cut(session);
                }
            }
            Fault::JumpClock => {
                stage.totals.clock_jumps += 1;
                // Hours, in both directions, but less than a day in all: idempotency keys are kept for a day.
                stage.clock_error = stage.random.between(0, 6 * 3_600_000).cast_signed() - 3 * 3_600_000;
            }
            _ => {}
        }
        Ok(())
    }

    /// Nothing goes wrong from here on, but that some workers are gone.
    fn make_whole(&mut self) {
        let stage = &mut self.stage;
        stage.trace.say(stage.now, || "calm".to_owned());
        stage.calm = true;
        self.manager.disk.set_capacity(None);
        self.manager.calm();
        for (at, worker) in self.workers.iter_mut().enumerate() {
            let lost = at > 0 && !stage.scenario.only_killers && stage.random.percent(25);
            if worker.is_copy() || lost {
                worker.lose(stage);
            }
            worker.change_window(stage, MOST_SLOTS as u32 + 2);
        }
    }

    /// Nobody waits for hours until tasks come that were delayed for so long: the clock is set.
    fn set_clock_right(&mut self) {
        let wall = self.stage.wall().0;
        if let Some(next) = self.manager.reference.next_due()
            && next.0 > wall + 60_000
        {
            self.stage.clock_error += (next.0 - wall).cast_signed();
        }
    }

    /// Where it is.
    pub(crate) fn describe(&self) -> String {
        format!("after {} steps, at {:?}", self.steps, self.stage.now)
    }
}
