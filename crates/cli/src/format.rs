//! Values as people and as programs read them.

use std::time::Duration;

use indicatif::HumanCount;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use task_messenger_client::{
    Counts, Ending, JobSummary, Outcome, TaskResult, TaskState, TaskSummary, WorkerMode, WorkerSummary,
};

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

/// A task's state, with what else is known of where it is in its life.
pub fn state_of(task: &TaskSummary) -> String {
    match task.state() {
        TaskState::Running if task.cancelling => "running (cancelling)".to_owned(),
        TaskState::Failed if !task.has_outcome => format!("failed: {WORKERS_DIED}"),
        known => state(known).to_owned(),
    }
}

/// Why a task failed without an outcome: nothing else ends its attempts so.
const WORKERS_DIED: &str = "the workers that ran it alone died";

/// What a worker gets, and whether it is drained.
pub fn mode(worker: &WorkerSummary) -> &'static str {
    match worker.mode() {
        WorkerMode::Active => "active",
        WorkerMode::Paused => "paused",
        WorkerMode::Draining if worker.leases == 0 => "drained",
        WorkerMode::Draining => "draining",
    }
}

/// A number of tasks in words.
pub fn tasks(count: u64) -> String {
    if count == 1 { "1 task".to_owned() } else { format!("{count} tasks") }
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
    time_in(milliseconds, &TimeZone::system())
}

/// The same on the clock of a time zone.
pub fn time_in(milliseconds: u64, zone: &TimeZone) -> String {
    if milliseconds == 0 {
        return "never".to_owned();
    }
    match timestamp(milliseconds) {
        Some(timestamp) => timestamp.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
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

/// A number with commas between thousands.
pub fn grouped(number: u64) -> String {
    HumanCount(number).to_string()
}

/// A part of 1 in percent.
pub fn percent(part: f64) -> String {
    format!("{:.1}%", part * 100.0)
}

/// How often something happens, without the unit.
pub fn rate(rate: f64) -> String {
    if rate < 1_000.0 { format!("{rate:.1}") } else { grouped(rate as u64) }
}

/// Milliseconds as seconds, for programs.
pub fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1e3
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// What a task came to, in words: its final state and why.
pub fn end(result: &TaskResult) -> String {
    let name = state(result.state);
    match result.state {
        TaskState::Succeeded | TaskState::Cancelled => name.to_owned(),
        TaskState::Expired => format!("{name}: it had not started before its deadline"),
        _ => format!("{name}: {}", cause(result)),
    }
}

/// Why a task failed.
pub fn cause(result: &TaskResult) -> String {
    if workers_died(result) { WORKERS_DIED.to_owned() } else { ending(&result.outcome) }
}

/// Whether a task failed without an outcome.
pub fn workers_died(result: &TaskResult) -> bool {
    let outcome = &result.outcome;
    result.state == TaskState::Failed && outcome.ending() == Ending::Unspecified && outcome.text.is_empty()
}

/// A text as a part of one line, cut where it gets long.
pub fn one_line(text: &str, most: usize) -> String {
    text.chars().take(most).map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// How an attempt ended, in words.
fn ending(outcome: &Outcome) -> String {
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

fn ending_name(result: &TaskResult) -> &'static str {
    match result.outcome.ending() {
        _ if workers_died(result) => "workers_died",
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

/// How many tasks there are in each state, without those in which there are none.
pub fn counts_text(counts: &Counts) -> String {
    let counts = [
        (counts.waiting, TaskState::Waiting),
        (counts.scheduled, TaskState::Scheduled),
        (counts.queued, TaskState::Queued),
        (counts.running, TaskState::Running),
        (counts.succeeded, TaskState::Succeeded),
        (counts.failed, TaskState::Failed),
        (counts.cancelled, TaskState::Cancelled),
        (counts.expired, TaskState::Expired),
    ];
    let some: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, known)| format!("{count} {}", state(*known)))
        .collect();
    if some.is_empty() { "none".to_owned() } else { some.join(", ") }
}

/// A job for programs.
pub fn job_json(job: &JobSummary) -> Value {
    json!({
        "job": job.job,
        "name": job.name,
        "owner": job.owner,
        "labels": job.labels,
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
        "cancelling": task.cancelling,
        "crashes": task.crashes,
        "has_outcome": task.has_outcome,
    })
}

/// A result for programs, without its outputs.
pub fn result_json(job: u64, result: &TaskResult) -> Value {
    let outcome = &result.outcome;
    let code = matches!(outcome.ending(), Ending::Exited | Ending::Signalled).then_some(outcome.code);
    json!({
        "task": format!("{job}.{}", result.index),
        "state": state(result.state),
        "attempts": result.attempts,
        "ending": ending_name(result),
        "code": code,
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
        assert_eq!(time_in(1_500, &TimeZone::UTC), "1970-01-01 00:00:01");
        assert_eq!((grouped(999).as_str(), grouped(1_234_567).as_str()), ("999", "1,234,567"));
        assert_eq!(
            (percent(0.1234).as_str(), rate(12.34).as_str(), rate(1_234.5).as_str()),
            ("12.3%", "12.3", "1,234")
        );
        assert_eq!(time_json(1_500), json!("1970-01-01T00:00:01.5Z"));
        assert_eq!(time_json(0), Value::Null);
        let outcome =
            Outcome { ending: Ending::Error.into(), text: "no such program".to_owned(), ..Outcome::default() };
        assert_eq!(ending(&outcome), "error: no such program");
        let outcome = Outcome { text: "\u{1b}[2J\ttoo\nmuch\r".to_owned(), ..outcome };
        assert_eq!(ending(&outcome), "error: \\u{1b}[2J\ttoo\nmuch\\r");
        assert_eq!(one_line("a\nlong line", 6), "a long");
    }

    #[test]
    fn an_end_without_an_outcome_says_what_it_means() {
        let result = |state, ending: Ending, text: &str| {
            let outcome = Outcome { ending: ending.into(), code: 3, text: text.to_owned(), ..Outcome::default() };
            TaskResult { index: 0, state, attempts: 3, outcome }
        };
        let died = result(TaskState::Failed, Ending::Unspecified, "");
        assert_eq!(end(&died), "failed: the workers that ran it alone died");
        assert_eq!(
            (&result_json(1, &died)["ending"], &result_json(1, &died)["code"]),
            (&json!("workers_died"), &Value::Null)
        );
        assert_eq!(end(&result(TaskState::Failed, Ending::Exited, "")), "failed: exit code 3");
        assert_eq!(
            end(&result(TaskState::Failed, Ending::Unspecified, "can't be read")),
            "failed: no outcome: can't be read"
        );
        assert_eq!(end(&result(TaskState::Cancelled, Ending::Unspecified, "")), "cancelled");
        assert_eq!(result_json(1, &result(TaskState::Cancelled, Ending::Unspecified, ""))["ending"], json!("none"));
        let counts = Counts { queued: 2, failed: 1, ..Counts::default() };
        assert_eq!(
            (counts_text(&counts).as_str(), counts_text(&Counts::default()).as_str()),
            ("2 queued, 1 failed", "none")
        );
    }
}
