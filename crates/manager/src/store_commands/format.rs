//! Tasks as JSON, under the names that the command line's `show`, `result` and `results` have for the same things.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use task_messenger_core::{task::TaskState, time::WallTime};
use task_messenger_protocol::messages::{Outcome, Template, outcome::Ending, template::Kind};

/// The state with this name.
pub(super) fn parse_state(text: &str) -> Result<TaskState, String> {
    let found = TaskState::ALL.into_iter().find(|state| state.name() == text);
    found.ok_or_else(|| format!("one of {} is wanted", TaskState::ALL.map(TaskState::name).join(", ")))
}

/// A moment: RFC 3339 in UTC; 0 is null.
pub(super) fn time(time: WallTime) -> Value {
    let timestamp = i64::try_from(time.0).ok().and_then(|time| Timestamp::from_millisecond(time).ok());
    match timestamp {
        Some(timestamp) if time.0 > 0 => json!(timestamp.to_string()),
        _ => Value::Null,
    }
}

/// A number of bytes in binary units.
pub(super) fn bytes(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1_024.0 {
            break;
        }
        (value, unit) = (value / 1_024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// Adds bytes: as text under this name, or in Base64 under another where they are not UTF-8.
pub(super) fn add_bytes(fields: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => fields.insert(name.to_owned(), json!(text)),
        Err(_) => fields.insert(format!("{name}_base64"), json!(STANDARD.encode(bytes))),
    };
}

/// What tasks share.
pub(super) fn template(template: &Template) -> Value {
    let kind = match &template.kind {
        Some(Kind::Command(command)) => json!({
            "command": {
                "program": command.program,
                "arguments": command.arguments,
                "environment": command.environment,
                "payload": command.payload().as_str_name().to_lowercase(),
            }
        }),
        Some(Kind::Skill(skill)) => json!({ "skill": skill.name }),
        None => Value::Null,
    };
    json!({
        "kind": kind,
        "priority": template.priority,
        "slots": template.slots.max(1),
        "max_attempts": template.retry_policy().max_attempts,
        "timeout_seconds": template.timeout().map(|timeout| timeout.as_secs_f64()),
    })
}

/// How the last attempt of a task ended that is at this end, and what it wrote.
pub(super) fn outcome(state: TaskState, outcome: &Outcome) -> Value {
    let ending = match outcome.ending() {
        // Nothing else ends a task's attempts so.
        Ending::Unspecified if state == TaskState::Failed && outcome.text.is_empty() => "workers_died",
        Ending::Unspecified => "none",
        Ending::Exited => "exited",
        Ending::Signalled => "signalled",
        Ending::TimedOut => "timed_out",
        Ending::Error => "error",
        Ending::Panicked => "panicked",
    };
    let code = matches!(outcome.ending(), Ending::Exited | Ending::Signalled).then_some(outcome.code);
    let mut fields = Map::new();
    for (name, value) in [
        ("ending", json!(ending)),
        ("code", json!(code)),
        ("text", json!(outcome.text)),
        ("output_bytes", json!(outcome.output.len())),
        ("errors_bytes", json!(outcome.errors.len())),
        ("output_dropped", json!(outcome.output_dropped)),
        ("errors_dropped", json!(outcome.errors_dropped)),
        ("started", time(WallTime(outcome.started_milliseconds))),
        ("run_seconds", json!(outcome.run_microseconds as f64 / 1e6)),
    ] {
        fields.insert(name.to_owned(), value);
    }
    add_bytes(&mut fields, "output", &outcome.output);
    add_bytes(&mut fields, "errors", &outcome.errors);
    fields.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_well() {
        assert_eq!([1_023, 1_536, u64::MAX].map(bytes), ["1023 B", "1.5 KiB", "16777216.0 TiB"]);
        assert_eq!(time(WallTime(1_500)), json!("1970-01-01T00:00:01.5Z"));
        assert_eq!(time(WallTime(0)), Value::Null);
        assert_eq!(parse_state("expired"), Ok(TaskState::Expired));
        assert!(parse_state("gone").unwrap_err().contains("queued, running"));
        let mut fields = Map::new();
        add_bytes(&mut fields, "payload", "ü".as_bytes());
        add_bytes(&mut fields, "output", &[0xff, 0]);
        assert_eq!(Value::Object(fields), json!({"payload": "ü", "output_base64": "/wA="}));
        let none = Outcome::default();
        assert_eq!(outcome(TaskState::Failed, &none)["ending"], "workers_died");
        assert_eq!(outcome(TaskState::Cancelled, &none)["ending"], "none");
    }
}
