//! Templates: from what a client sends to what the core schedules and a worker runs.

mod numbers;

use std::time::Duration;

pub use numbers::{Definition, MOST as MOST_NUMBERS, TemplateNumbers};

use bytes::Bytes;
use prost::Message;
use task_messenger_core::template::{Kind, RetryPolicy, Template as CoreTemplate};

use crate::messages::{Command, Skill, Template, command::Use, template};

/// The longest encoded template that is ever accepted; a manager may accept less ([`crate::messages::Limits`]). 1 MiB.
pub const LONGEST_TEMPLATE: u64 = 1024 * 1024;

/// The environment variable that every task gets: a template can't set it.
pub const TASK_VARIABLE: &str = "TASK_MESSENGER_TASK";

/// The most slots of a worker, and so of a task.
pub const MOST_SLOTS: u32 = 65_536;
const HIGHEST_PRIORITY: i32 = 1_000;
const MOST_ATTEMPTS: u32 = 1_000;
const LONGEST_BACKOFF: Duration = Duration::from_hours(24);
const LONGEST_TIMEOUT: Duration = Duration::from_hours(366 * 24);
const LONGEST_PROGRAM: usize = 4_096;
const MOST_ARGUMENTS: usize = 4_096;
const MOST_VARIABLES: usize = 1_024;
const LONGEST_SKILL: usize = 64;

/// Why a template is refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    /// The bytes are no template.
    #[error("the template can't be decoded ({cause})")]
    Malformed {
        /// Why.
        cause: prost::DecodeError,
    },
    /// It is too long.
    #[error("the template has {length} bytes; at most {limit} are allowed")]
    TooLong {
        /// Its length, encoded.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// It says neither command nor skill, or a kind that this version doesn't know.
    #[error("the template has no kind that this version knows: a command or a skill")]
    NoKind,
    /// A field's value is not allowed.
    #[error("the template's {field} {problem}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong, and what is allowed.
        problem: String,
    },
}

/// Decodes and checks a template of at most `limit` bytes: what the manager does with a client's, and a worker with the
/// manager's.
pub fn decode(body: &Bytes, limit: u64) -> Result<Template, TemplateError> {
    let limit = limit.min(LONGEST_TEMPLATE);
    if body.len() as u64 > limit {
        return Err(TemplateError::TooLong { length: body.len() as u64, limit });
    }
    let template = Template::decode(body.clone()).map_err(|cause| TemplateError::Malformed { cause })?;
    template.check()?;
    Ok(template)
}

/// Decodes and checks a template of at most `limit` bytes for the core. The bytes are kept as they are, in memory of
/// their own: they live for long, the frame that they came in doesn't.
pub fn to_core(body: &Bytes, limit: u64) -> Result<CoreTemplate, TemplateError> {
    let template = decode(body, limit)?;
    let kind = match template.kind {
        Some(template::Kind::Command(_)) => Kind::Command,
        Some(template::Kind::Skill(ref skill)) => Kind::Skill(skill.name.clone()),
        None => return Err(TemplateError::NoKind),
    };
    Ok(CoreTemplate {
        kind,
        priority: template.priority,
        slots: template.slots.max(1),
        retry: template.retry_policy(),
        body: Bytes::copy_from_slice(body),
    })
}

impl Template {
    /// A template for a program of the worker's machine; everything else is as by default.
    pub fn of_command(command: Command) -> Self {
        Self { kind: Some(template::Kind::Command(command)), ..Self::default() }
    }

    /// A template for a skill; everything else is as by default.
    pub fn of_skill(name: impl Into<String>) -> Self {
        Self { kind: Some(template::Kind::Skill(Skill { name: name.into() })), ..Self::default() }
    }

    /// Checks the template and encodes it. Equal templates give equal bytes.
    pub fn to_bytes(&self) -> Result<Bytes, TemplateError> {
        self.check()?;
        let length = self.encoded_len() as u64;
        if length > LONGEST_TEMPLATE {
            return Err(TemplateError::TooLong { length, limit: LONGEST_TEMPLATE });
        }
        Ok(self.encode_to_vec().into())
    }

    /// When a running attempt is ended; `None` means never.
    pub fn timeout(&self) -> Option<Duration> {
        (self.timeout_milliseconds > 0).then(|| Duration::from_millis(self.timeout_milliseconds))
    }

    /// How a failing task is tried again, with the defaults filled in.
    pub fn retry_policy(&self) -> RetryPolicy {
        let default = RetryPolicy::default();
        let milliseconds = |value, otherwise| if value == 0 { otherwise } else { Duration::from_millis(value) };
        let backoff_first = milliseconds(self.backoff_first_milliseconds, default.backoff_first);
        RetryPolicy {
            max_attempts: if self.max_attempts == 0 { default.max_attempts } else { self.max_attempts },
            backoff_first,
            backoff_longest: milliseconds(
                self.backoff_longest_milliseconds,
                default.backoff_longest.max(backoff_first),
            ),
        }
    }

    /// Checks every field.
    pub fn check(&self) -> Result<(), TemplateError> {
        match &self.kind {
            Some(template::Kind::Command(command)) => check_command(command)?,
            Some(template::Kind::Skill(skill)) => check_skill(skill)?,
            None => return Err(TemplateError::NoKind),
        }
        if self.priority.unsigned_abs() > HIGHEST_PRIORITY.unsigned_abs() {
            let problem = format!("is {}; {} to {HIGHEST_PRIORITY} is allowed", self.priority, -HIGHEST_PRIORITY);
            return Err(TemplateError::Field { field: "priority", problem });
        }
        at_most("slots", u64::from(self.slots), u64::from(MOST_SLOTS))?;
        at_most("max_attempts", u64::from(self.max_attempts), u64::from(MOST_ATTEMPTS))?;
        let longest = LONGEST_BACKOFF.as_millis() as u64;
        at_most("backoff_first_milliseconds", self.backoff_first_milliseconds, longest)?;
        at_most("backoff_longest_milliseconds", self.backoff_longest_milliseconds, longest)?;
        let retry = self.retry_policy();
        if retry.backoff_first > retry.backoff_longest {
            let problem = "is more than backoff_longest_milliseconds".to_owned();
            return Err(TemplateError::Field { field: "backoff_first_milliseconds", problem });
        }
        at_most("timeout_milliseconds", self.timeout_milliseconds, LONGEST_TIMEOUT.as_millis() as u64)
    }
}

fn check_command(command: &Command) -> Result<(), TemplateError> {
    let field = |field, problem: &str| Err(TemplateError::Field { field, problem: problem.to_owned() });
    if command.program.is_empty() {
        return field("program", "is empty");
    }
    at_most("program's length", command.program.len() as u64, LONGEST_PROGRAM as u64)?;
    at_most("number of arguments", command.arguments.len() as u64, MOST_ARGUMENTS as u64)?;
    at_most("number of environment variables", command.environment.len() as u64, MOST_VARIABLES as u64)?;
    if command.program.contains('\0') {
        return field("program", "contains a NUL");
    }
    if command.arguments.iter().any(|argument| argument.contains('\0')) {
        return field("arguments", "contain a NUL");
    }
    for (name, value) in &command.environment {
        if name.is_empty() || name.contains(['=', '\0']) {
            return field(
                "environment",
                &format!("sets {name:?}: a name has at least one character and neither `=` nor NUL"),
            );
        }
        if value.contains('\0') {
            return field("environment", &format!("sets {name:?} to a value that contains a NUL"));
        }
        if name == TASK_VARIABLE {
            return field("environment", &format!("sets {TASK_VARIABLE}, which every task gets from its worker"));
        }
    }
    match Use::try_from(command.payload) {
        Ok(_) => Ok(()),
        Err(_) => field("payload", "is used in a way that this version doesn't know"),
    }
}

fn check_skill(skill: &Skill) -> Result<(), TemplateError> {
    let name = &skill.name;
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > LONGEST_SKILL || !name.bytes().all(allowed) {
        let shown: String = name.chars().take(LONGEST_SKILL).collect();
        let problem =
            format!("is {shown:?}; 1 to {LONGEST_SKILL} characters of a to z, 0 to 9, `-`, `_` and `.` are allowed");
        return Err(TemplateError::Field { field: "skill name", problem });
    }
    Ok(())
}

fn at_most(field: &'static str, value: u64, most: u64) -> Result<(), TemplateError> {
    if value > most {
        return Err(TemplateError::Field { field, problem: format!("is {value}; at most {most} is allowed") });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Template {
        Template::of_command(Command { program: "sha256sum".to_owned(), ..Command::default() })
    }

    #[test]
    fn defaults_are_filled_in_and_the_bytes_are_kept() {
        let body = command().to_bytes().unwrap();
        let core = to_core(&body, LONGEST_TEMPLATE).unwrap();
        assert_eq!(core.kind, Kind::Command);
        assert_eq!((core.slots, core.priority, core.retry), (1, 0, RetryPolicy::default()));
        assert_eq!(core.body, body);
        let skill = Template { slots: 4, max_attempts: 9, ..Template::of_skill("dgemm") };
        let core = to_core(&skill.to_bytes().unwrap(), LONGEST_TEMPLATE).unwrap();
        assert_eq!((core.kind, core.slots, core.retry.max_attempts), (Kind::Skill("dgemm".to_owned()), 4, 9));
    }

    #[test]
    fn every_limit_is_kept_and_names_its_field() {
        type Break = fn(&mut Template, &mut Command);
        let cases: [(&str, Break); 15] = [
            ("program", |_, command| command.program.clear()),
            ("program", |_, command| command.program = "a\0b".to_owned()),
            ("program's length", |_, command| command.program = "a".repeat(LONGEST_PROGRAM + 1)),
            ("arguments", |_, command| command.arguments.push("\0".to_owned())),
            ("number of arguments", |_, command| command.arguments = vec![String::new(); MOST_ARGUMENTS + 1]),
            ("environment", |_, command| drop(command.environment.insert("A=B".to_owned(), String::new()))),
            ("environment", |_, command| drop(command.environment.insert("A".to_owned(), "\0".to_owned()))),
            ("environment", |_, command| drop(command.environment.insert(TASK_VARIABLE.to_owned(), String::new()))),
            ("payload", |_, command| command.payload = 99),
            ("priority", |template, _| template.priority = 1_001),
            ("priority", |template, _| template.priority = i32::MIN),
            ("slots", |template, _| template.slots = MOST_SLOTS + 1),
            ("max_attempts", |template, _| template.max_attempts = MOST_ATTEMPTS + 1),
            ("backoff_longest_milliseconds", |template, _| template.backoff_longest_milliseconds = 86_400_001),
            ("timeout_milliseconds", |template, _| template.timeout_milliseconds = u64::MAX),
        ];
        for (expected, spoil) in cases {
            let mut template = command();
            let mut part = Command { program: "true".to_owned(), ..Command::default() };
            spoil(&mut template, &mut part);
            template.kind = Some(template::Kind::Command(part));
            let refused = decode(&template.encode_to_vec().into(), LONGEST_TEMPLATE);
            assert!(matches!(&refused, Err(TemplateError::Field { field, .. }) if *field == expected), "{refused:?}");
        }
        for name in ["", "No Capitals", "a/b", &"x".repeat(65)] {
            assert!(matches!(Template::of_skill(name).check(), Err(TemplateError::Field { field: "skill name", .. })));
        }
        assert_eq!(Template::default().check(), Err(TemplateError::NoKind));
        let backwards = Template { backoff_first_milliseconds: 2, backoff_longest_milliseconds: 1, ..command() };
        assert!(backwards.check().is_err());
        let extremes = Template { priority: -1_000, slots: MOST_SLOTS, max_attempts: MOST_ATTEMPTS, ..command() };
        assert_eq!(extremes.check(), Ok(()));
        assert_eq!(decode(&vec![0; 9].into(), 8), Err(TemplateError::TooLong { length: 9, limit: 8 }));
        assert!(matches!(decode(&vec![0xff; 8].into(), 8), Err(TemplateError::Malformed { .. })));
    }
}
