//! An engine with a log in memory and a clock that is set.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    effect::{Effect, TaskResult},
    engine::Engine,
    ids::{LeaseNumber, OwnerNumber, Place, RecordNumber, SessionNumber, TaskId, WorkerNumber},
    input::{Follow, Input, Resume, Submit, Target},
    labels::Labels,
    limits::Limits,
    record::{Appended, Caller, Claim, JobKey, Log, Record, Role, SecretHash},
    template::{Kind, RetryPolicy, Template},
    time::{Now, WallTime},
    values::{Values, ValuesBuilder},
};

/// A log in memory, in which a value's place is its record's number shifted by 32 bits, plus its offset.
#[derive(Debug, Default)]
pub(super) struct MemoryLog(pub Vec<(Record, Place)>);

impl Log for MemoryLog {
    fn append(&mut self, record: &Record) -> Appended {
        let number = self.0.len() as u64 + 1;
        let values = Place(number << 32);
        self.0.push((record.clone(), values));
        Appended { number: RecordNumber(number), values }
    }
}

pub(super) struct Environment {
    pub(super) engine: Engine,
    pub(super) log: MemoryLog,
    pub(super) now: Now,
    pub(super) limits: Limits,
    pub(super) weak: bool,
}

pub(super) const CLIENT: SessionNumber = SessionNumber(1_000);
pub(super) const CALLER: Caller = Caller { owner: OwnerNumber(0), admin: false };

pub(super) fn template(priority: i32, slots: u32, max_attempts: u32) -> Arc<Template> {
    let retry = RetryPolicy { max_attempts, ..RetryPolicy::default() };
    let body = Bytes::from(format!("{priority} {slots} {max_attempts}"));
    Arc::new(Template { kind: Kind::Command, priority, slots, retry, body })
}

pub(super) fn values(count: u32) -> Values {
    let mut builder = ValuesBuilder::default();
    (0..count).for_each(|index| builder.push(&index.to_le_bytes()));
    builder.take()
}

/// Tasks for a job that may get more.
pub(super) fn submission(key: u8, first_index: u32, payloads: Values) -> Submit {
    Submit {
        key: JobKey([key; 16]),
        name: String::new(),
        idempotency: None,
        labels: Labels::new(),
        first_index,
        template: template(0, 1, 1),
        payloads,
        last: false,
        delay: None,
        deadline: None,
    }
}

impl Environment {
    pub(super) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(super) fn with(limits: Limits) -> Self {
        let now = Now { monotonic: Duration::from_secs(1_000), wall: WallTime(1_000_000) };
        let engine = Engine::new(limits.clone());
        let mut environment = Self { engine, log: MemoryLog::default(), now, limits, weak: false };
        environment.engine.start(now, false, &mut environment.log);
        environment
    }

    /// The manager dies and starts again with what the log has, its first `kept` records.
    pub(super) fn restart_with(&mut self, kept: usize) {
        self.log.0.truncate(kept);
        self.engine = Engine::new(self.limits.clone());
        for (number, (record, values)) in self.log.0.iter().enumerate() {
            self.engine.replay(RecordNumber(number as u64 + 1), record, *values);
        }
        self.engine.start(self.now, self.weak, &mut self.log);
    }

    /// The manager dies and starts again with a snapshot of all that the log says.
    pub(super) fn restart_from_snapshot(&mut self) {
        let mut engine = Engine::new(self.limits.clone());
        for part in self.engine.image().parts() {
            engine.restore(RecordNumber(self.log.0.len() as u64), part);
        }
        self.engine = engine;
        self.engine.start(self.now, self.weak, &mut self.log);
    }

    pub(super) fn restart(&mut self) {
        self.restart_with(usize::MAX);
    }

    /// Handles one input in a turn of its own, and returns the effects.
    pub(super) fn input(&mut self, input: Input) -> Vec<Effect> {
        self.engine.handle(self.now, input, &mut self.log);
        self.turn()
    }

    pub(super) fn turn(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        for _ in 0..1_000 {
            self.engine.settle(self.now, &mut self.log);
            effects.extend(std::iter::from_fn(|| self.engine.poll_effect(RecordNumber(u64::MAX))));
            self.engine.check_invariants().expect("what always holds");
            if self.engine.timeout().is_none_or(|(at, _)| at > self.now.monotonic) {
                return effects;
            }
        }
        panic!("there is no end of what is to be done: {:?}", self.engine.timeout());
    }

    pub(super) fn pass(&mut self, duration: Duration) -> Vec<Effect> {
        self.now.monotonic += duration;
        self.now.wall = self.now.wall.plus(duration);
        self.turn()
    }

    pub(super) fn submit(&mut self, key: u8, first_index: u32, count: u32, template: &Arc<Template>) -> Vec<Effect> {
        self.send(Submit { template: template.clone(), ..submission(key, first_index, values(count)) })
    }

    /// Says that a job gets no more tasks.
    pub(super) fn close(&mut self, key: u8) -> Vec<Effect> {
        self.send(Submit { last: true, ..submission(key, 0, values(0)) })
    }

    pub(super) fn send(&mut self, submit: Submit) -> Vec<Effect> {
        self.input(Input::Submit { session: CLIENT, request: 1, caller: CALLER, submit })
    }

    pub(super) fn enrol(&mut self, secret: u8) -> WorkerNumber {
        if self.engine.state().access.token_at(crate::ids::TokenNumber(0)).is_none() {
            self.input(Input::CreateToken {
                session: CLIENT,
                request: 1,
                role: Role::Worker,
                label: String::new(),
                owner: String::new(),
                expires_in: None,
                hash: SecretHash([0; 32]),
            });
        }
        let effects = self.input(Input::Enrol {
            session: CLIENT,
            request: 1,
            token: crate::ids::TokenNumber(0),
            name: format!("worker-{secret}"),
            hash: SecretHash([secret; 32]),
        });
        let [Effect::Enrolled { worker, .. }] = effects[..] else { panic!("{effects:?}") };
        worker
    }

    /// A worker connects; its session has `session` as its number.
    pub(super) fn connect(&mut self, worker: WorkerNumber, session: u64, slots: u32, claims: &[Claim]) -> Vec<Effect> {
        let resume = Resume { slots, window: slots, commands: true, claims: claims.to_vec(), ..Resume::default() };
        self.input(Input::Resume { session: SessionNumber(session), worker, resume })
    }

    /// A process of a worker connects.
    pub(super) fn connect_as(
        &mut self,
        worker: WorkerNumber,
        incarnation: u64,
        session: u64,
        slots: u32,
        claims: &[Claim],
    ) -> Vec<Effect> {
        let resume =
            Resume { incarnation, slots, window: slots, commands: true, claims: claims.to_vec(), ..Resume::default() };
        self.input(Input::Resume { session: SessionNumber(session), worker, resume })
    }

    pub(super) fn report(&mut self, session: u64, ends: &[(LeaseNumber, bool)]) -> Vec<Effect> {
        self.input(Input::Outcomes {
            session: SessionNumber(session),
            number: 1,
            ends: ends.to_vec(),
            details: values(ends.len() as u32),
        })
    }

    pub(super) fn follow(&mut self, key: u8, credit: u32, skip: &[(u32, u32)]) -> Vec<Effect> {
        let follow = Follow {
            target: Target::Key(JobKey([key; 16])),
            skip: skip.to_vec(),
            credit,
            only_end: false,
            only_index: None,
            only_present: false,
        };
        self.input(Input::Follow { session: CLIENT, request: 7, caller: CALLER, follow })
    }

    pub(super) fn finished_records(&self) -> usize {
        self.log.0.iter().filter(|(record, _)| matches!(record, Record::Finished { .. })).count()
    }
}

/// Every task that the effects hand out: session, lease, name.
pub(super) fn assigned(effects: &[Effect]) -> Vec<(u64, LeaseNumber, TaskId)> {
    let of = |effect: &Effect| match effect {
        Effect::Assign { session, first_lease, tasks, .. } => {
            (first_lease.0..).zip(tasks).map(|(lease, task)| (session.0, LeaseNumber(lease), task.task)).collect()
        }
        _ => Vec::new(),
    };
    effects.iter().flat_map(of).collect()
}

/// Every result that the effects tell.
pub(super) fn results(effects: &[Effect]) -> Vec<TaskResult> {
    let of = |effect: &Effect| match effect {
        Effect::Results { results, .. } => results.clone(),
        _ => Vec::new(),
    };
    effects.iter().flat_map(of).collect()
}
