//! A job as its client pursues it: what was sent, what was acknowledged, what is followed, what came back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use task_messenger_core::ids::JobNumber;

use crate::{client::changes::Retrying, network::ToldResult, script::Script};

/// A job that a client pursues.
#[derive(Debug)]
pub(crate) struct Pursuit {
    pub(crate) script: Arc<Script>,
    pub(crate) begins: Duration,
    pub(crate) number: Option<JobNumber>,
    /// How many tasks were acknowledged.
    pub(crate) acknowledged: u32,
    /// Whether the whole of it was acknowledged in this session.
    pub(crate) confirmed: bool,
    /// The next task to be sent.
    pub(crate) next: u32,
    /// Requests on their way.
    pub(crate) sending: BTreeSet<u64>,
    /// Tasks before this one were sent at some time.
    pub(crate) ever_sent: u32,
    pub(crate) hold_until: Duration,
    pub(crate) follow: Option<Following>,
    pub(crate) results: BTreeMap<u32, ToldResult>,
    pub(crate) looks_again: bool,
    /// Somebody cancelled it before all of its tasks were submitted: it has as many as it has.
    pub(crate) cut: bool,
    pub(crate) retrying: Option<Retrying>,
    pub(crate) retries: u32,
    pub(crate) done: bool,
}

/// A follow that is open.
#[derive(Debug)]
pub(crate) struct Following {
    pub(crate) request: u64,
    pub(crate) what: What,
    pub(crate) credit: u64,
    pub(crate) skip: Vec<(u32, u32)>,
    pub(crate) seen: BTreeSet<u32>,
}

/// What is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Everything,
    /// All of it, though all of it is there.
    Again,
    End,
    Task(u32),
}

impl Pursuit {
    pub(crate) fn new(script: Arc<Script>, begins: Duration) -> Self {
        Self {
            script,
            begins,
            number: None,
            acknowledged: 0,
            confirmed: false,
            next: 0,
            sending: BTreeSet::new(),
            ever_sent: 0,
            hold_until: Duration::ZERO,
            follow: None,
            results: BTreeMap::new(),
            looks_again: false,
            cut: false,
            retrying: None,
            retries: 0,
            done: false,
        }
    }

    /// The session is over, and what was on its way may be lost.
    pub(crate) fn forget_session(&mut self) {
        self.follow = None;
        self.retrying = None;
        self.sending.clear();
        self.confirmed = false;
        self.next = self.again_from();
    }

    /// From where it is sent again: what is under an idempotency key is sent as a whole.
    pub(crate) fn again_from(&self) -> u32 {
        if self.script.idempotency.is_some() { 0 } else { self.acknowledged }
    }

    /// Everything is to be done again, but for what is there (the manager knows).
    pub(crate) fn forget_acknowledgements(&mut self) {
        self.number = None;
        self.acknowledged = 0;
        self.confirmed = false;
        self.cut = false;
        self.next = 0;
    }

    /// The manager has lost the job.
    pub(crate) fn begin_again(&mut self) {
        self.forget_session();
        self.forget_acknowledgements();
        self.results.clear();
        self.looks_again = false;
    }

    pub(crate) fn follows(&self, request: u64) -> bool {
        self.follow.as_ref().is_some_and(|following| following.request == request)
    }

    /// The results that are there, as ranges.
    pub(crate) fn skip(&self) -> Vec<(u32, u32)> {
        let mut skip: Vec<(u32, u32)> = Vec::new();
        for index in self.results.keys() {
            match skip.last_mut() {
                Some((first, count)) if *first + *count == *index => *count += 1,
                _ => skip.push((*index, 1)),
            }
        }
        skip
    }
}

impl fmt::Display for Pursuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, acknowledged, results) = (self.script.size(), self.acknowledged, self.results.len());
        write!(f, "job {:?}: {acknowledged} of {size} acknowledged, {results} results", self.number)
    }
}
