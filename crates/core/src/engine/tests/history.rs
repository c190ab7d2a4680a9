//! A random history: everything that can happen to a manager, in an order that its seed gives.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use super::{
    environment::{CALLER, CLIENT, Environment, template},
    random::Random,
};
use crate::{
    effect::{CloseReason, Effect},
    ids::{JobNumber, LeaseNumber, Place, SessionNumber, TaskId, TokenNumber, WorkerNumber},
    input::{Follow, Input, Named, Resume, Submit, Target},
    labels::Labels,
    limits::Limits,
    record::{Claim, Idempotency, JobKey, Role, SecretHash, WorkerMode},
    template::{Kind, Template},
    values::{Value, ValuesBuilder},
};

/// A worker as it sees itself.
#[derive(Debug)]
struct Machine {
    number: WorkerNumber,
    incarnation: u64,
    session: Option<u64>,
    slots: u32,
    /// What it holds, and whether it has started it.
    held: BTreeMap<LeaseNumber, (TaskId, bool)>,
}

/// How a manager that starts again learns what it knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restart {
    Replay,
    Snapshot,
}

pub(super) struct History {
    pub(super) environment: Environment,
    random: Random,
    restart: Restart,
    machines: Vec<Machine>,
    sessions: u64,
    jobs: u64,
    secrets: u8,
    files: u64,
    /// Tasks by their leases.
    leases: BTreeMap<LeaseNumber, TaskId>,
    /// What lies in files of their own: of which tasks, and under which leases.
    payloads: BTreeMap<u64, (JobKey, u32)>,
    outcomes: BTreeMap<u64, LeaseNumber>,
    /// Files of large values that somebody has yet to do something with.
    pub(super) live_files: BTreeSet<u64>,
}

impl History {
    pub(super) fn new(seed: u64, restart: Restart) -> Self {
        let limits = Limits {
            open_tasks: 50,
            open_bytes: 6_000_000,
            idempotency_keys: 9,
            window: 8,
            follows: 3,
            retain: Some(Duration::from_mins(40)),
            archive_lag: seed.is_multiple_of(2).then_some(40),
            finished_tasks: 90,
            ..Limits::default()
        };
        let mut history = Self {
            environment: Environment::with(limits),
            random: Random(seed),
            restart,
            machines: Vec::new(),
            sessions: 0,
            jobs: 0,
            secrets: 0,
            files: 0,
            leases: BTreeMap::new(),
            payloads: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            live_files: BTreeSet::new(),
        };
        history.enrol();
        history.enrol();
        history
    }

    /// Lets one more thing happen.
    pub(super) fn step(&mut self) {
        match self.random.below(34) {
            0..=5 => self.submit(),
            6..=10 => self.connect(),
            11 => self.disconnect(),
            12..=16 => self.start_some(),
            17..=19 => self.report(),
            20 => self.give_back(),
            21..=22 => self.pass(),
            23..=24 => self.cancel_or_retry(),
            25 => self.purge(),
            26 => self.set_worker(),
            27 => self.administrate(),
            28..=29 => self.archive(),
            30 => self.move_values(),
            31 => self.follow(),
            32 if self.random.one_in(4) => self.restart(),
            _ => self.window(),
        }
        self.live_files.retain({
            let gone: BTreeSet<u64> = self.environment.engine.take_unused_files().into_iter().collect();
            move |file| !gone.contains(file)
        });
        for file in self.environment.engine.take_dropped_files() {
            assert!(self.live_files.remove(&file), "file {file} is dropped once");
        }
    }

    fn input(&mut self, input: Input) {
        let effects = self.environment.input(input);
        self.take(&effects);
    }

    /// Lets the workers hear what they are told.
    fn take(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Assign { session, first_lease, tasks, .. } => {
                    for (lease, assigned) in (first_lease.0..).map(LeaseNumber).zip(tasks) {
                        assert_eq!(self.leases.insert(lease, assigned.task), None, "lease {lease} is new");
                        let key = self.key_of(assigned.task.job);
                        let payload = self.read(assigned.payload);
                        assert!(self.is_payload(&payload, key, assigned.task.index), "{payload:?}");
                        if let Some(machine) = self.machine_of(*session) {
                            machine.held.insert(lease, (assigned.task, false));
                        }
                    }
                }
                Effect::Resumed { session, dropped } => {
                    if let Some(machine) = self.machine_of(*session) {
                        machine.held.retain(|lease, _| !dropped.contains(lease));
                    }
                }
                Effect::Close { session, reason } => {
                    let removed = *reason == CloseReason::Removed;
                    if let Some(machine) = self.machine_of(*session) {
                        machine.session = None;
                        let number = machine.number;
                        self.machines.retain(|other| other.number != number || !removed);
                    }
                }
                _ => {}
            }
        }
    }

    fn machine_of(&mut self, session: SessionNumber) -> Option<&mut Machine> {
        self.machines.iter_mut().find(|machine| machine.session == Some(session.0))
    }

    fn some_machine(&mut self, connected: bool) -> Option<usize> {
        let those: Vec<usize> =
            (0..self.machines.len()).filter(|at| self.machines[*at].session.is_some() == connected).collect();
        (!those.is_empty()).then(|| those[self.random.below(those.len() as u64) as usize])
    }

    fn some_job(&mut self) -> Option<JobNumber> {
        let jobs: Vec<JobNumber> = self.environment.engine.state().jobs.iter().map(|job| job.number).collect();
        (!jobs.is_empty()).then(|| jobs[self.random.below(jobs.len() as u64) as usize])
    }

    fn key_of(&self, job: JobNumber) -> JobKey {
        let jobs = &self.environment.engine.state().jobs;
        jobs.at(jobs.position(job).expect("the job is there")).expect("the job is there").key
    }

    /// What lies at a place of the log.
    pub(super) fn read(&self, place: Place) -> Value {
        let (record, _) = &self.environment.log.0[(place.0 >> 32) as usize - 1];
        let values = record.values().expect("a value lies in a record with values");
        crate::values::decode(values.bytes(), place.0 as u32 as usize).expect("a value begins there").0
    }

    fn submit(&mut self) {
        let known = self.some_job().filter(|_| self.random.one_in(3));
        let jobs = &self.environment.engine.state().jobs;
        let known = known.and_then(|job| jobs.at(jobs.position(job)?)).map(|job| (job.key, job.next_index));
        let (key, next_index) = known.unwrap_or_else(|| {
            self.jobs += 1;
            (JobKey(u128::from(self.jobs).to_le_bytes()), 0)
        });
        let first_index = next_index.saturating_sub(self.random.below(3) as u32);
        let mut payloads = ValuesBuilder::default();
        for index in first_index..first_index + self.random.below(7) as u32 {
            payloads.push_value(&self.payload(key, index));
        }
        let last = self.random.one_in(2);
        let idempotency = (last && first_index == 0 && self.random.one_in(3)).then(|| {
            let key = self.random.below(12) as u8;
            Idempotency { key: [key; 16], content: [key / 2; 16] }
        });
        let labels = Labels::from([("turn".to_owned(), self.jobs.to_string())]);
        let submit = Submit {
            key,
            name: format!("job {}", self.jobs),
            idempotency,
            labels,
            first_index,
            template: self.template(),
            payloads: payloads.take(),
            last,
            delay: self.random.one_in(6).then_some(Duration::from_secs(20)),
            deadline: self.random.one_in(4).then_some(Duration::from_secs(3)),
        };
        self.input(Input::Submit { session: CLIENT, request: 1, caller: CALLER, submit });
    }

    fn template(&mut self) -> Arc<Template> {
        let priority = self.random.below(2) as i32;
        let one = template(priority, 1 + self.random.below(2) as u32, 1 + self.random.below(3) as u32);
        if self.random.one_in(4) {
            let body = Bytes::from(format!("skill {priority}"));
            return Arc::new(Template { kind: Kind::Skill("known".to_owned()), body, ..(*one).clone() });
        }
        one
    }

    fn enrol(&mut self) {
        self.secrets += 1;
        let number = self.environment.engine.state().access.next_worker();
        let token = self.environment.engine.state().access.next_token();
        let (role, hash) = (Role::Worker, SecretHash([self.secrets; 32]));
        let (label, owner) = (format!("token {token}"), String::new());
        let expires_in = self.random.one_in(2).then_some(Duration::from_hours(1));
        self.input(Input::CreateToken { session: CLIENT, request: 1, role, label, owner, expires_in, hash });
        let name = format!("worker {number}");
        self.input(Input::Enrol { session: CLIENT, request: 1, token, name, hash });
        let slots = 1 + self.random.below(3) as u32;
        let machine = Machine { number, incarnation: 1, session: None, slots, held: BTreeMap::new() };
        self.machines.push(machine);
    }

    fn connect(&mut self) {
        // Now and then a second process comes with the identity of a connected one.
        let clone = self.random.one_in(8);
        let Some(at) = self.some_machine(clone) else { return };
        self.sessions += 1;
        let session = self.sessions;
        let dies = self.random.one_in(2);
        let random = &mut self.random;
        let machine = &mut self.machines[at];
        if dies || clone {
            machine.incarnation += 1;
            machine.held.clear();
        } else if random.one_in(3) {
            machine.held.pop_first();
        }
        machine.session = Some(session);
        let claims = machine.held.iter().map(|(lease, (task, _))| Claim { lease: *lease, task: *task }).collect();
        let resume = Resume {
            incarnation: machine.incarnation,
            slots: machine.slots,
            window: machine.slots + random.below(4) as u32,
            commands: true,
            skills: random.one_in(2).then(|| "known".to_owned()).into_iter().collect(),
            claims,
            ..Resume::default()
        };
        let worker = machine.number;
        self.input(Input::Resume { session: SessionNumber(session), worker, resume });
    }

    fn disconnect(&mut self) {
        let Some(at) = self.some_machine(true) else { return };
        let session = self.machines[at].session.take().map(SessionNumber);
        self.input(Input::SessionClosed { session: session.expect("it is connected") });
    }

    /// A connected worker, its session, and some of what it holds.
    fn some_held(&mut self) -> Option<(usize, SessionNumber, Vec<LeaseNumber>)> {
        let at = self.some_machine(true)?;
        let random = &mut self.random;
        let machine = &self.machines[at];
        let some = machine.held.keys().copied().filter(|_| !random.one_in(3)).collect();
        Some((at, SessionNumber(machine.session?), some))
    }

    fn start_some(&mut self) {
        let Some((at, session, leases)) = self.some_held() else { return };
        for lease in &leases {
            self.machines[at].held.get_mut(lease).expect("it holds it").1 = true;
        }
        self.input(Input::Started { session, leases });
    }

    fn report(&mut self) {
        let Some((at, session, leases)) = self.some_held() else { return };
        let mut details = ValuesBuilder::default();
        let mut ends = Vec::new();
        for lease in leases {
            self.machines[at].held.remove(&lease);
            ends.push((lease, !self.random.one_in(3)));
            details.push_value(&self.outcome(lease));
        }
        self.input(Input::Outcomes { session, number: 1, ends, details: details.take() });
    }

    /// The payload of a task, which may be a large one in a file of its own.
    fn payload(&mut self, key: JobKey, index: u32) -> Value {
        if self.random.one_in(5) {
            let file = self.new_file();
            self.payloads.insert(file, (key, index));
            return Value::External { file, length: 300_000 + u64::from(index) };
        }
        Value::Inline(Bytes::from(format!("{} {index}", u128::from_le_bytes(key.0))))
    }

    pub(super) fn is_payload(&self, value: &Value, key: JobKey, index: u32) -> bool {
        match value {
            Value::External { file, length } => {
                self.payloads.get(file) == Some(&(key, index)) && *length == 300_000 + u64::from(index)
            }
            Value::Inline(bytes) => *bytes == format!("{} {index}", u128::from_le_bytes(key.0)),
        }
    }

    fn new_file(&mut self) -> u64 {
        self.files += 1;
        self.live_files.insert(self.files);
        self.files
    }

    fn outcome(&mut self, lease: LeaseNumber) -> Value {
        if self.random.one_in(4) {
            let file = self.new_file();
            self.outcomes.insert(file, lease);
            return Value::External { file, length: 300_000 };
        }
        Value::Inline(Bytes::copy_from_slice(&lease.0.to_le_bytes()))
    }

    /// The task whose outcome this is.
    pub(super) fn task_of(&self, outcome: &Value) -> TaskId {
        let lease = match outcome {
            Value::External { file, .. } => self.outcomes[file],
            Value::Inline(bytes) => LeaseNumber(u64::from_le_bytes(bytes[..].try_into().expect("a lease"))),
        };
        self.leases[&lease]
    }

    fn give_back(&mut self) {
        let Some((at, session, mut leases)) = self.some_held() else { return };
        let held = &mut self.machines[at].held;
        leases.retain(|lease| held.get(lease).is_some_and(|(_, started)| !started) && held.remove(lease).is_some());
        self.input(Input::GivenBack { session, leases });
    }

    fn pass(&mut self) {
        if self.random.one_in(12) {
            // Somebody sets the clock back.
            self.environment.now.wall = self.environment.now.wall.minus(Duration::from_mins(2));
        }
        let times = [50, 200, 1_000, 1_000, 4_000, 15_000, 31_000, 600_000];
        let time = Duration::from_millis(times[self.random.below(8) as usize]);
        for machine in &self.machines {
            if let Some(session) = machine.session.filter(|_| !self.random.one_in(3)) {
                let input = Input::Heard { session: SessionNumber(session) };
                self.environment.engine.handle(self.environment.now, input, &mut self.environment.log);
            }
        }
        let effects = self.environment.pass(time);
        self.take(&effects);
    }

    fn cancel_or_retry(&mut self) {
        let Some(job) = self.some_job() else { return };
        let task = TaskId { job, index: self.random.below(4) as u32 };
        let named = if self.random.one_in(3) { Named::Job(job) } else { Named::Task(task) };
        let (session, request, caller) = (CLIENT, 2, CALLER);
        let input = if self.random.one_in(3) {
            Input::Retry { session, request, caller, named }
        } else {
            Input::Cancel { session, request, caller, named }
        };
        self.input(input);
    }

    fn purge(&mut self) {
        let older_than = Duration::from_mins(5 + self.random.below(20));
        self.input(Input::Purge { session: CLIENT, request: 3, caller: CALLER, older_than });
    }

    fn set_worker(&mut self) {
        let at = self.random.below(self.machines.len() as u64) as usize;
        let worker = self.machines[at].number;
        let modes = [WorkerMode::Active, WorkerMode::Active, WorkerMode::Paused, WorkerMode::Draining];
        let mode = modes[self.random.below(4) as usize];
        self.input(Input::SetWorker { session: CLIENT, request: 4, worker, mode });
    }

    fn administrate(&mut self) {
        if self.machines.len() < 4 {
            return self.enrol();
        }
        let known = u64::from(self.environment.engine.state().access.next_token().0);
        if self.random.one_in(2) {
            let worker = self.machines[self.random.below(4) as usize].number;
            self.input(Input::RemoveWorker { session: CLIENT, request: 5, worker });
            self.machines.retain(|machine| machine.number != worker);
        } else {
            let token = TokenNumber(self.random.below(known) as u32);
            let with_workers = self.random.one_in(4);
            self.input(Input::RevokeToken { session: CLIENT, request: 6, token, with_workers });
            let access = &self.environment.engine.state().access;
            self.machines.retain(|machine| access.worker_at(machine.number).is_some_and(|it| it.removed.is_none()));
        }
    }

    fn archive(&mut self) {
        let Environment { engine, log, now, .. } = &mut self.environment;
        let departing = engine.departing(now.wall.minus(Duration::from_secs(5)), 1 + self.random.below(9));
        let outcomes = |engine: &crate::engine::Engine| -> BTreeSet<u64> {
            engine.state().large_values.values().map(|value| value.file).collect()
        };
        let before = outcomes(engine);
        engine.archived(*now, departing, log);
        let after = outcomes(engine);
        // What was an archived job's is the archive's now.
        self.live_files.retain(|file| !before.contains(file) || after.contains(file));
        let effects = self.environment.turn();
        self.take(&effects);
    }

    fn move_values(&mut self) {
        let random = &mut self.random;
        let image = self.environment.engine.image();
        let some: Vec<_> = image.values().filter(|_| random.one_in(4)).collect();
        let some = some.into_iter().map(|needed| (needed, self.read(needed.place))).collect();
        self.environment.engine.move_values(some, &mut self.environment.log);
        let effects = self.environment.turn();
        self.take(&effects);
    }

    fn follow(&mut self) {
        let Some(job) = self.some_job() else { return };
        let follow = Follow {
            target: Target::Number(job),
            skip: vec![(1, 2)],
            credit: self.random.below(4) as u32,
            only_end: self.random.one_in(4),
            only_index: None,
            only_present: self.random.one_in(3),
        };
        let session = SessionNumber(CLIENT.0 + self.random.below(2));
        let request = self.random.below(5);
        let input = match self.random.below(3) {
            0 => Input::Unfollow { session, request },
            1 => Input::FollowCredit { session, request, more: 2 },
            _ => Input::Follow { session, request, caller: CALLER, follow },
        };
        self.input(input);
    }

    fn window(&mut self) {
        let Some(at) = self.some_machine(true) else { return };
        let session = self.machines[at].session.map(SessionNumber).expect("it is connected");
        let slots = self.random.below(6) as u32;
        self.input(Input::Window { session, slots });
    }

    fn restart(&mut self) {
        self.environment.weak = self.random.one_in(2);
        match self.restart {
            Restart::Replay => self.environment.restart(),
            Restart::Snapshot => self.environment.restart_from_snapshot(),
        }
        for machine in &mut self.machines {
            machine.session = None;
        }
        let effects = self.environment.turn();
        self.take(&effects);
    }
}
