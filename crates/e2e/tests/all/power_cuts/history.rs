//! What clients and workers were told, and when.

use std::{
    sync::Mutex,
    time::{Duration, Instant, SystemTime},
};

use task_messenger_client::{TaskId, TaskResult};

/// Something that somebody was told, or has said.
#[derive(Clone, Debug)]
pub(super) enum Fact {
    /// The worker of this name is enrolled.
    Enrolled(&'static str),
    /// A token of this owner's.
    Token(Owner, String),
    /// A task was accepted.
    Accepted(Submitted),
    /// A task's result.
    Result(TaskId, TaskResult),
    /// A task was cancelled.
    Cancelled(TaskId),
    /// A worker holds a task under this lease.
    Leased(u64),
    /// A worker may forget what came of a task.
    Taken(TaskId),
    /// Finished jobs are about to be purged.
    Purging(Vec<TaskId>),
    /// They were.
    Purged(Vec<TaskId>),
}

/// Whose tasks they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// One that keeps everything.
    Keeper,
    /// One that purges.
    Purger,
}

/// A task as it was submitted.
#[derive(Clone, Debug)]
pub(super) struct Submitted {
    pub(super) owner: Owner,
    pub(super) task: TaskId,
    pub(super) work: Work,
    /// The idempotency key under which it would be found again.
    pub(super) key: Option<String>,
}

/// What a task is.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// A text is reversed.
    Reversal(String),
    /// A program runs for a while.
    Wait,
    /// A program is to run in an hour.
    Delayed,
}

/// All facts, each with the time when it was known.
pub(super) struct History {
    facts: Mutex<Vec<(u64, Fact)>>,
    began: (SystemTime, Instant),
}

impl History {
    pub(super) fn new() -> Self {
        Self { facts: Mutex::default(), began: (SystemTime::now(), Instant::now()) }
    }

    /// Notes something that is known now.
    pub(super) fn note(&self, fact: Fact) {
        // The list is in order only if the time is taken while it is held.
        let mut facts = self.facts.lock().unwrap();
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        // The recording's times are cut off to microseconds.
        facts.push((since_epoch.as_micros() as u64 + 1, fact));
    }

    /// How many facts are of this kind.
    pub(super) fn count(&self, of_kind: impl Fn(&Fact) -> bool) -> usize {
        self.facts.lock().unwrap().iter().filter(|(_, fact)| of_kind(fact)).count()
    }

    /// All of it, in order.
    pub(super) fn into_facts(self) -> Vec<(u64, Fact)> {
        let (clock, timer) = (self.began.0.elapsed().unwrap(), self.began.1.elapsed());
        assert!(clock.abs_diff(timer) < Duration::from_millis(20), "the clock was set meanwhile: try again");
        self.facts.into_inner().unwrap()
    }
}
