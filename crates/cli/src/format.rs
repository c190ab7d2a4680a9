//! Values as people and as programs read them.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use task_messenger_client::{Counts, Ending, JobSummary, Outcome, TaskResult, TaskState, TaskSummary};

/// A state's name.
pub fn state(state: TaskState) -> &'static str {
    match state {
        TaskState::StateUnspecified => "unknown",
        TaskState::Waiting => "waiting",
        TaskState::Scheduled => "scheduled",
        TaskState::Queued => "queued",
        TaskState::Running => "running",
        TaskState::Succeeded => "succeeded",
        TaskState::Failed => "failed",
        TaskState::Cancelled => "cancelled",
        TaskState::Expired => "expired",
    }
}

/// All states that a task can be in.
pub const STATES: [TaskState; 8] = [
    TaskState::Waiting,
    TaskState::Scheduled,
    TaskState::Queued,
    TaskState::Running,
    TaskState::Succeeded,
    TaskState::Failed,
    TaskState::Cancelled,
    TaskState::Expired,
];

/// Whether a state is final.
pub fn is_final(state: TaskState) -> bool {
    matches!(state, TaskState::Succeeded | TaskState::Failed | TaskState::Cancelled | TaskState::Expired)
}

/// A moment on the wall clock of this machine, from milliseconds since the Unix epoch; 0 is `never`.
pub fn time(milliseconds: u64) -> String {
    if milliseconds == 0 {
        return "never".to_owned();
    }
    match timestamp(milliseconds) {
        Some(timestamp) => timestamp.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => "?".to_owned(),
    }
}

/// A moment for programs: RFC 3339 in UTC; 0 is null.
pub fn time_json(milliseconds: u64) -> Value {
    match timestamp(milliseconds) {
        Some(timestamp) if milliseconds > 0 => json!(timestamp.to_string()),
        _ => Value::Null,
    }
}

fn timestamp(milliseconds: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(milliseconds.try_into().ok()?).ok()
}

/// A length of time, in its two largest units.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// A number of bytes in binary units.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1_024.0;
    let mut unit = 0;
    while value >= 1_024.0 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS.get(unit).unwrap_or(&"TiB"))
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// How an attempt ended, in words.
pub fn ending(outcome: &Outcome) -> String {
    let reason = match outcome.ending() {
        Ending::Exited => format!("exit code {}", outcome.code),
        Ending::Signalled => format!("ended by signal {}", outcome.code),
        Ending::TimedOut => "ended because of its timeout".to_owned(),
        Ending::Error => "error".to_owned(),
        Ending::Panicked => "panic".to_owned(),
        Ending::Unspecified => "no outcome".to_owned(),
    };
    if outcome.text.is_empty() { reason } else { format!("{reason}: {}", harmless(&outcome.text)) }
}

/// A text that a worker sent, without what could steer the terminal: control characters are shown as they are written in
/// Rust and C.
fn harmless(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, character| {
        if character.is_control() && !matches!(character, '\n' | '\t') {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
        shown
    })
}

fn ending_name(ending: Ending) -> &'static str {
    match ending {
        Ending::Exited => "exited",
        Ending::Signalled => "signalled",
        Ending::TimedOut => "timed_out",
        Ending::Error => "error",
        Ending::Panicked => "panicked",
        Ending::Unspecified => "none",
    }
}

/// How many tasks there are in each state, for programs.
pub fn counts_json(counts: &Counts) -> Value {
    json!({
        "waiting": counts.waiting,
        "scheduled": counts.scheduled,
        "queued": counts.queued,
        "running": counts.running,
        "succeeded": counts.succeeded,
        "failed": counts.failed,
        "cancelled": counts.cancelled,
        "expired": counts.expired,
    })
}

/// Tasks that are not at their end.
pub fn open(counts: &Counts) -> u64 {
    counts.waiting + counts.scheduled + counts.queued + counts.running
}

/// Tasks that ended otherwise than they should.
pub fn not_succeeded(counts: &Counts) -> u64 {
    counts.failed + counts.cancelled + counts.expired
}

/// A job for programs.
pub fn job_json(job: &JobSummary) -> Value {
    json!({
        "job": job.job,
        "name": job.name,
        "owner": job.owner,
        "tasks": job.tasks,
        "closed": job.closed,
        "counts": counts_json(&job.counts.unwrap_or_default()),
        "submitted": time_json(job.submitted_milliseconds),
    })
}

/// A task for programs.
pub fn task_json(task: &TaskSummary) -> Value {
    json!({
        "task": format!("{}.{}", task.job, task.index),
        "state": state(task.state()),
        "attempts": task.attempts,
        "failures": task.failures,
        "worker": if task.worker.is_empty() { Value::Null } else { json!(task.worker) },
        "started": task.started,
    })
}

/// A result for programs, without its outputs.
pub fn result_json(job: u64, result: &TaskResult) -> Value {
    let outcome = &result.outcome;
    json!({
        "task": format!("{job}.{}", result.index),
        "state": state(result.state),
        "attempts": result.attempts,
        "ending": ending_name(outcome.ending()),
        "code": outcome.code,
        "text": outcome.text,
        "output_bytes": outcome.output.len(),
        "errors_bytes": outcome.errors.len(),
        "output_dropped": outcome.output_dropped,
        "errors_dropped": outcome.errors_dropped,
        "started": time_json(outcome.started_milliseconds),
        "run_seconds": outcome.run_microseconds as f64 / 1e6,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_well() {
        assert_eq!(bytes(1_023), "1023 B");
        assert_eq!(bytes(1_536), "1.5 KiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
        assert_eq!(duration(Duration::from_millis(12)), "12 ms");
        assert_eq!(duration(Duration::from_secs(3_725)), "1 h 2 min");
        assert_eq!(time(0), "never");
        assert_eq!(time_json(1_500), json!("1970-01-01T00:00:01.5Z"));
        assert_eq!(time_json(0), Value::Null);
        let outcome =
            Outcome { ending: Ending::Error.into(), text: "no such program".to_owned(), ..Outcome::default() };
        assert_eq!(ending(&outcome), "error: no such program");
        let outcome = Outcome { text: "\u{1b}[2J\ttoo\nmuch\r".to_owned(), ..outcome };
        assert_eq!(ending(&outcome), "error: \\u{1b}[2J\ttoo\nmuch\\r");
    }
}
