//! Workers as people and as programs read them.

use std::time::Duration;

use serde_json::{Value, json};
use task_messenger_client::{WorkerContact, WorkerMode, WorkerSummary};

use crate::format;

/// What kind of state a worker is in, the one that most wants to be looked at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Its link is cut, and what it holds is kept for it until its grace is over.
    Silent,
    /// It is not there, and should be.
    Gone,
    /// It gets nothing for now.
    Paused,
    /// It gets nothing, because it is to be taken away.
    Draining,
    /// It is there and gets tasks.
    Active,
    /// It is not there, and nobody counts on it: it was paused or drained before.
    Away,
    /// It may not come back.
    Removed,
}

/// What kind of state a worker is in.
pub fn standing(worker: &WorkerSummary) -> Standing {
    match (presence(worker), worker.mode()) {
        _ if worker.revoked => Standing::Removed,
        (WorkerContact::Connected, WorkerMode::Active) => Standing::Active,
        (WorkerContact::Connected, WorkerMode::Paused) => Standing::Paused,
        (WorkerContact::Connected, WorkerMode::Draining) => Standing::Draining,
        (WorkerContact::Silent, _) => Standing::Silent,
        (_, WorkerMode::Active) => Standing::Gone,
        _ => Standing::Away,
    }
}

/// Whether it is there. A manager that doesn't say more says at least whether it is connected.
fn presence(worker: &WorkerSummary) -> WorkerContact {
    match worker.contact() {
        WorkerContact::Unspecified if worker.connected => WorkerContact::Connected,
        WorkerContact::Unspecified => WorkerContact::Gone,
        known => known,
    }
}

/// A worker's state: whether it is there, or what it gets.
pub fn state(worker: &WorkerSummary) -> &'static str {
    match standing(worker) {
        Standing::Silent => "silent",
        Standing::Gone | Standing::Away => "gone",
        Standing::Removed => "removed",
        Standing::Active | Standing::Paused | Standing::Draining => format::mode(worker),
    }
}

/// A worker's state with what it gets, where it is not there and gets nothing either.
pub fn state_and_mode(worker: &WorkerSummary) -> String {
    let state = state(worker);
    match standing(worker) {
        Standing::Away | Standing::Silent if worker.mode() != WorkerMode::Active => {
            format!("{state}, {}", format::mode(worker))
        }
        _ => state.to_owned(),
    }
}

/// How long ago it was heard last.
pub fn last_heard(worker: &WorkerSummary) -> String {
    match worker.last_heard_milliseconds {
        Some(milliseconds) if milliseconds < 1_000 => "now".to_owned(),
        Some(milliseconds) => format!("{} ago", format::duration(Duration::from_millis(milliseconds))),
        None if worker.contact() == WorkerContact::Unspecified => "?".to_owned(),
        None => "not since start".to_owned(),
    }
}

/// A worker's version: the whole of what it calls itself, unless it is this project's program.
pub fn version(worker: &WorkerSummary) -> &str {
    worker.software.strip_prefix("task-messenger-worker ").unwrap_or(&worker.software)
}

/// A worker for programs.
pub fn worker_json(worker: &WorkerSummary) -> Value {
    json!({
        "worker": worker.worker,
        "name": worker.name,
        "state": state(worker),
        "connected": worker.connected,
        "mode": format::mode(worker),
        "slots": worker.slots,
        "slots_used": worker.slots_used,
        "leases": worker.leases,
        "software": worker.software,
        "address": worker.address,
        "enrolled": format::time_json(worker.enrolled_milliseconds),
        "last_heard_seconds": worker.last_heard_milliseconds.map(format::seconds),
        "connected_seconds": worker.connected_milliseconds.map(format::seconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(contact: WorkerContact, mode: WorkerMode) -> WorkerSummary {
        let connected = contact == WorkerContact::Connected;
        WorkerSummary { connected, contact: contact.into(), mode: mode.into(), ..WorkerSummary::default() }
    }

    #[test]
    fn a_state_says_first_whether_a_worker_is_there_and_then_what_it_gets() {
        use WorkerContact::{Connected, Gone, Silent, Unspecified};
        use WorkerMode::{Active, Draining, Paused};
        for (contact, mode, text, kind) in [
            (Connected, Active, "active", Standing::Active),
            (Connected, Paused, "paused", Standing::Paused),
            (Connected, Draining, "drained", Standing::Draining),
            (Silent, Active, "silent", Standing::Silent),
            (Silent, Paused, "silent, paused", Standing::Silent),
            (Gone, Active, "gone", Standing::Gone),
            (Gone, Draining, "gone, drained", Standing::Away),
            // As a manager says it that doesn't know more.
            (Unspecified, Active, "gone", Standing::Gone),
        ] {
            let worker = worker(contact, mode);
            assert_eq!((state_and_mode(&worker).as_str(), standing(&worker)), (text, kind));
        }
        let holds = WorkerSummary { leases: 2, ..worker(Connected, Draining) };
        assert_eq!(state_and_mode(&holds), "draining");
        let older = WorkerSummary { connected: true, contact: 0, ..holds };
        assert_eq!(standing(&older), Standing::Draining);
        assert_eq!(state(&WorkerSummary { revoked: true, ..older }), "removed");
    }

    #[test]
    fn what_is_not_known_of_a_worker_is_not_made_up() {
        let heard = |last_heard_milliseconds| {
            let worker = WorkerSummary { last_heard_milliseconds, ..worker(WorkerContact::Gone, WorkerMode::Active) };
            (last_heard(&worker), worker_json(&worker)["last_heard_seconds"].clone())
        };
        assert_eq!(heard(None), ("not since start".to_owned(), Value::Null));
        assert_eq!(heard(Some(0)), ("now".to_owned(), json!(0.0)));
        assert_eq!(heard(Some(61_500)), ("1 min 1 s ago".to_owned(), json!(61.5)));
        assert_eq!(last_heard(&WorkerSummary::default()), "?");
    }
}
