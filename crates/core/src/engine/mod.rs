//! The scheduler: takes what happened, decides, writes records down, and says what to tell whom.
//!
//! What must survive is in [`State`] and changes by records alone. What need not (sessions, what workers asked for, who
//! follows what, timers) is kept here. Every effect carries the number of the last record before it and leaves only once
//! that record is durable: [`Engine::poll_effect`] is told how far that is.
//!
//! The caller's turn: any number of [`Engine::handle`], one [`Engine::settle`], effects out, and again when there is input
//! or [`Engine::timeout`] has come.

mod admin;
mod archiving;
mod arrivals;
mod balance;
mod clients;
mod deaths;
mod dispatch;
#[cfg(feature = "faults")]
mod faults;
mod fetched;
mod follows;
mod invariants;
mod moving;
mod queries;
mod retention;
mod timers;
mod work;
mod workers;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use rustc_hash::FxHashMap;

pub use self::archiving::Departure;
use self::{
    archiving::Departures,
    arrivals::Newcomer,
    balance::Balance,
    fetched::Fetched,
    follows::Follows,
    retention::Purges,
    timers::Backoffs,
    workers::{Load, Parted, Presence},
};
use crate::{
    effect::{CloseReason, Effect, Gated, Refusal},
    ids::{JobNumber, LeaseNumber, Place, RecordNumber, SessionNumber, TaskNumber, WorkerNumber},
    image::{Image, Part},
    input::Input,
    limits::Limits,
    meter::Meter,
    record::{Log, Record, Reservation},
    state::{Start, State},
    task::Task,
    time::{Now, WallTime},
};

#[cfg(feature = "faults")]
pub use self::faults::Faults;
#[cfg(feature = "faults")]
pub(crate) use self::faults::ranges_are_unsynced;
pub use self::invariants::Violation;

/// Leases reserved at a time.
const LEASE_RANGE: u64 = 1 << 20;
/// Tasks reserved at a time.
const TASK_RANGE: u64 = 1 << 16;
/// Jobs reserved at a time; few, because people see the gap.
const JOB_RANGE: u64 = 1_000;

/// The scheduler.
#[derive(Debug)]
pub struct Engine {
    state: State,
    limits: Limits,
    last: RecordNumber,
    effects: VecDeque<Gated>,
    /// Sessions of connected workers.
    sessions: FxHashMap<SessionNumber, WorkerNumber>,
    presences: FxHashMap<WorkerNumber, Presence>,
    /// Workers that were there and for which nothing is kept any more.
    parted: FxHashMap<WorkerNumber, Parted>,
    /// Connected workers that want more than they hold.
    roomy: BTreeSet<WorkerNumber>,
    last_served: WorkerNumber,
    /// The worker that gets nothing more until it is empty, for a task that is to run alone.
    vacating: Option<WorkerNumber>,
    /// Processes that come with the identity of a connected worker, until that one has shown whether it is alive.
    newcomers: FxHashMap<WorkerNumber, Newcomer>,
    balance: Balance,
    follows: Follows,
    backoffs: Backoffs,
    purges: Purges,
    departures: Departures,
    /// Jobs that are over and whose results were all told to somebody.
    fetched: Fetched,
    /// When the last turn was.
    turned: Now,
    /// When to look whether a worker was silent for too long; one entry a worker, moved on when it comes up too early.
    silences: BTreeSet<(Duration, WorkerNumber)>,
    /// Files of values that came in and that no record names.
    unused_files: Vec<u64>,
    #[cfg(feature = "faults")]
    faults: Faults,
}

/// Why [`Engine::settle`] wants to be called at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// There is more to do than was done in one turn.
    MoreToDo,
    /// A task's backoff ends.
    Backoff,
    /// A worker may have been silent for too long.
    Silence,
    /// A worker had to show that it is alive.
    Probe,
    /// A task's time comes, or its deadline. Looked at every now and then, because clocks are set.
    Clock,
    /// A worker may hold what another could run now.
    Balance,
    /// A job may have been over for long enough.
    Retention,
}

impl Engine {
    /// An engine that knows nothing yet: [`Engine::replay`] what the store has, then [`Engine::start`].
    pub fn new(limits: Limits) -> Self {
        Self {
            state: State::default(),
            limits,
            last: RecordNumber(0),
            effects: VecDeque::new(),
            sessions: FxHashMap::default(),
            presences: FxHashMap::default(),
            parted: FxHashMap::default(),
            roomy: BTreeSet::new(),
            last_served: WorkerNumber(0),
            vacating: None,
            newcomers: FxHashMap::default(),
            balance: Balance::default(),
            follows: Follows::default(),
            backoffs: Backoffs::default(),
            purges: Purges::default(),
            departures: Departures::default(),
            fetched: Fetched::default(),
            turned: Now::default(),
            silences: BTreeSet::new(),
            unused_files: Vec::new(),
            #[cfg(feature = "faults")]
            faults: Faults::default(),
        }
    }

    /// Its limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What the records say.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Applies a record of the store.
    pub fn replay(&mut self, number: RecordNumber, record: &Record, values: Place) {
        self.last = number;
        self.state.apply(record, values);
    }

    /// Takes a part of the store's snapshot, which holds what the records up to `last` said.
    pub fn restore(&mut self, last: RecordNumber, part: Part) {
        self.last = last;
        self.state.restore(part);
    }

    /// When the queued task that came first was queued; of one that a snapshot brought, when its job was opened.
    pub fn oldest_queued(&mut self) -> Option<WallTime> {
        self.state.oldest_queued()
    }

    /// The state as of the last record, to be written down as a whole.
    pub fn image(&self) -> Image {
        self.state.image()
    }

    /// The files of large values that, as of the last record, are needed no more. They may be removed once it is synced.
    pub fn take_dropped_files(&mut self) -> Vec<u64> {
        self.state.take_dropped_files()
    }

    /// Begins after recovery. `weak` says whether anything may be told before it is synced. Every worker that holds leases
    /// gets the full grace again, and every backoff starts again.
    pub fn start(&mut self, now: Now, weak: bool, log: &mut impl Log) {
        #[cfg(feature = "faults")]
        self.forget();
        self.turned = now;
        // What happened before this process counts no more.
        self.state.meter = Meter::default();
        // Whoever recovered removes what no value needs.
        self.state.take_dropped_files();
        self.state.note_all_over();
        self.commit(log, &Record::Started { time: now.wall, weak });
        for (task, wait) in &self.state.backing_off {
            self.backoffs.insert(now.monotonic + Duration::from_millis(*wait), *task);
        }
        for lease in self.state.leases.values_mut() {
            // Whether it did is not recorded.
            lease.start = Start::Unknown;
        }
        let leases: Vec<_> = self.state.leases.values().copied().collect();
        for lease in leases {
            let load = self.load_of(lease.task);
            let presence = self.presences.entry(lease.worker).or_insert_with(|| Presence::absent(now.monotonic));
            presence.hold(load);
            self.arm_silence(lease.worker);
        }
    }

    /// Takes something that happened.
    pub fn handle(&mut self, now: Now, input: Input, log: &mut impl Log) {
        let Some(input) = self.pass_on(input) else { return };
        match input {
            Input::SessionClosed { session } => {
                self.follows.close(session);
                self.worker_left(session);
            }
            Input::Submit { session, request, caller, submit } => {
                let result = self.submit(now, session, request, caller, &submit, log);
                if result.is_err() {
                    // It is refused before anything of it is written down.
                    self.unused_files.extend(submit.payloads.external_files());
                }
                self.answer_refusal(session, request, result);
            }
            Input::Follow { session, request, caller, follow } => {
                let result = self.follow(session, request, caller, follow);
                self.answer_refusal(session, request, result);
            }
            Input::FollowCredit { session, request, more } => self.follows.credit(session, request, more),
            Input::Unfollow { session, request } => self.follows.remove(session, request),
            Input::Query { session, request, caller, query } => {
                let result = self.complete(now, session, request, caller, &query);
                self.answer_refusal(session, request, result);
            }
            Input::Enrol { session, request, token, name, hash } => {
                let result = self.enrol(now, session, request, token, name, hash, log);
                self.answer_refusal(session, request, result);
            }
            Input::Resume { session, worker, resume } => self.arrive(now, session, worker, resume, log),
            Input::Heard { session } => self.heard(now, session),
            Input::Window { session, slots } => self.window(session, slots),
            Input::Started { session, leases } => self.started(session, &leases),
            Input::Outcomes { session, number, ends, details } => {
                self.outcomes(now, session, number, &ends, &details, log);
            }
            Input::GivenBack { session, leases } => self.given_back(now, session, &leases, log),
            Input::CreateToken { session, request, role, label, owner, expires_in, hash } => {
                let result = self.create_token(now, session, request, role, label, owner, expires_in, hash, log);
                self.answer_refusal(session, request, result);
            }
            Input::RevokeToken { session, request, token, with_workers } => {
                let result = self.revoke_token(now, session, request, token, with_workers, log);
                self.answer_refusal(session, request, result);
            }
            Input::Cancel { session, request, caller, named } => {
                let result = self.cancel(now, session, request, caller, named, log);
                self.answer_refusal(session, request, result);
            }
            Input::Retry { session, request, caller, named } => {
                let result = self.requeue(now, session, request, caller, named, log);
                self.answer_refusal(session, request, result);
            }
            Input::Acknowledge { session, request, caller, job } => {
                let result = self.acknowledge(now, session, request, caller, job, log);
                self.answer_refusal(session, request, result);
            }
            Input::Purge { session, request, caller, older_than } => {
                self.purge(now, session, request, caller, older_than);
            }
            Input::SetWorker { session, request, worker, mode } => {
                let result = self.set_worker(session, request, worker, mode, log);
                self.answer_refusal(session, request, result);
            }
            Input::RemoveWorker { session, request, worker } => {
                let result = self.remove_worker(now, session, request, worker, log);
                self.answer_refusal(session, request, result);
            }
        }
    }

    /// Ends a turn: fires what is due, hands out what can be placed, and tells followers.
    pub fn settle(&mut self, now: Now, log: &mut impl Log) {
        self.turned = now;
        self.retry_due(now, log);
        self.clock_due(now, log);
        self.probes_due(now, log);
        self.end_silent(now, log);
        self.dispatch(now, log);
        self.take_back(now);
        self.tell_followers();
        self.forget_jobs(now, log);
        self.note_departures();
    }

    /// The next effect whose records are durable, given that everything up to `durable` is.
    pub fn poll_effect(&mut self, durable: RecordNumber) -> Option<Effect> {
        let ready = self.effects.front().is_some_and(|gated| gated.after <= durable);
        #[cfg(feature = "faults")]
        let ready = ready || self.faults.tell_before_durable;
        if ready { self.effects.pop_front().map(|gated| gated.effect) } else { None }
    }

    /// The files of values that came in and were not kept (refused, repeated or too late): no record names them, now or
    /// ever, so they can be removed at once.
    pub fn take_unused_files(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.unused_files)
    }

    /// How many effects wait.
    pub fn waiting_effects(&self) -> usize {
        self.effects.len()
    }

    /// When [`Engine::settle`] is to be called at the latest, on the monotonic clock, and why.
    pub fn timeout(&self) -> Option<(Duration, Wake)> {
        if self.follows.is_busy() || self.is_purging() {
            return Some((Duration::ZERO, Wake::MoreToDo));
        }
        let wakes = [
            self.backoffs.first().map(|at| (at, Wake::Backoff)),
            self.silences.first().map(|(at, _)| (*at, Wake::Silence)),
            self.newcomers.values().map(|newcomer| (newcomer.until, Wake::Probe)).min_by_key(|(at, _)| *at),
            self.clock_timeout().map(|at| (at, Wake::Clock)),
            self.balance.timeout().map(|at| (at, Wake::Balance)),
            self.retention_timeout().map(|at| (at, Wake::Retention)),
        ];
        wakes.into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Writes a record down and carries it out.
    fn commit(&mut self, log: &mut impl Log, record: &Record) {
        log.witness(record, &self.state);
        let appended = log.append(record);
        self.last = appended.number;
        self.state.apply(record, appended.values);
    }

    /// Queues an effect behind the last record.
    fn tell(&mut self, effect: Effect) {
        self.effects.push_back(Gated { after: self.last, effect });
    }

    fn answer_refusal(&mut self, session: SessionNumber, request: u64, result: Result<(), Refusal>) {
        if let Err(refusal) = result {
            self.tell(Effect::Refused { session, request, refusal });
        }
    }

    fn close(&mut self, session: SessionNumber, reason: CloseReason) {
        self.tell(Effect::Close { session, reason });
    }

    /// Sees to it that this many numbers of each kind may be given out.
    fn reserve(&mut self, leases: u64, tasks: u64, jobs: u64, log: &mut impl Log) {
        let next = self.state.next;
        let reserved = self.state.reserved;
        let enough = next.lease.0 + leases <= reserved.leases.0
            && next.task.0 + tasks <= reserved.tasks.0
            && next.job.0 + jobs <= reserved.jobs.0;
        if enough {
            return;
        }
        let reservation = Reservation {
            leases: reserved.leases.max(LeaseNumber(next.lease.0 + leases + LEASE_RANGE)),
            tasks: reserved.tasks.max(TaskNumber(next.task.0 + tasks + TASK_RANGE)),
            jobs: reserved.jobs.max(JobNumber(next.job.0 + jobs + JOB_RANGE)),
        };
        self.commit(log, &Record::Reserved(reservation));
    }

    fn slots_of(&self, task: TaskNumber) -> u32 {
        let template = self.state.tasks.get(task).and_then(|task| self.state.templates.get(task.template));
        template.map_or(1, |template| template.slots)
    }

    /// What a worker that holds the task has to carry.
    fn load_of(&self, task: TaskNumber) -> Load {
        let care = self.state.tasks.get(task).map(Task::care).unwrap_or_default();
        Load { slots: self.slots_of(task), care }
    }
}
