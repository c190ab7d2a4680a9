//! How a client and its jobs behave.

use std::{collections::BTreeMap, time::Duration};

use crate::JobKey;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The program with its version, for the manager's log.
    pub software: String,
    /// The longest wait before the first new attempt to connect after a cut; it doubles with each attempt. Each wait is a
    /// random part of it, so that clients that lost their links together don't come back together.
    pub backoff_first: Duration,
    /// The longest wait before any attempt.
    pub backoff_longest: Duration,
    /// When the manager could not be reached for this long, everything that waits ends with an error; `None`: never.
    pub give_up_after: Option<Duration>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            software: concat!("task-messenger-client ", env!("CARGO_PKG_VERSION")).to_owned(),
            backoff_first: Duration::from_millis(200),
            backoff_longest: Duration::from_secs(10),
            give_up_after: None,
        }
    }
}

/// What happens when the manager has no room for more tasks now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The submit is repeated after the time that the manager names.
    #[default]
    Wait,
    /// The submit ends with an error.
    Fail,
}

/// When tasks are to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// For how long they wait before they are queued, from the moment on that the manager takes them.
    pub delay: Option<Duration>,
    /// In what time they have to start, from that moment on; those that have not end `expired`.
    pub deadline: Option<Duration>,
}

/// A job that is submitted in a stream.
#[derive(Clone, Debug, Default)]
pub struct JobOptions {
    /// For people; at most 256 bytes.
    pub name: String,
    /// The key of a job that may be there already, which is then continued; `None`: a new job.
    pub key: Option<JobKey>,
    /// What is attached to it, to find it again: at most 16, keys of 1 to 64 bytes, values of at most 256, no control
    /// characters.
    pub labels: BTreeMap<String, String>,
    /// When its tasks are to run.
    pub times: Times,
    /// What happens when the manager has no room.
    pub when_full: WhenFull,
}

/// A task that is a job of its own.
#[derive(Clone, Debug, Default)]
pub struct LoneOptions {
    /// For people; at most 256 bytes.
    pub name: String,
    /// Repeating the submit with the same text, by any client of the same owner within 24 hours, returns the first task.
    /// Empty: none.
    pub idempotency_key: String,
    /// What is attached to its job, to find it again; limits as in [`JobOptions`].
    pub labels: BTreeMap<String, String>,
    /// When it is to run.
    pub times: Times,
    /// What happens when the manager has no room.
    pub when_full: WhenFull,
}
