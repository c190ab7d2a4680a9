//! What `submit`, `map` and `skill` have in common: the parts of a template.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use clap::Args;
use task_messenger_client::{Command, EncodedTemplate, Template, Times, Use};

use crate::failure::UsageError;

/// Attempts as the manager has them when nothing is said.
const MANAGERS_DEFAULT: u32 = 0;

/// How tasks are placed, limited and tried again.
#[derive(Clone, Debug, Default, Args)]
pub struct TaskOptions {
    /// The job's name, for people
    #[arg(long, default_value = "", hide_default_value = true)]
    pub name: String,
    /// Attach this to the job, for `list --label` to find it by; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
    pub label: Vec<(String, String)>,
    /// Higher goes first; -1000 to 1000
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_name = "N")]
    pub priority: i32,
    /// How often a failing task is tried in all [default: 3; 1 where the command waits for its one task]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_attempts: Option<u32>,
    /// End an attempt after this time, such as 90s or 2h
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
    /// Let tasks wait this long before they are queued, such as 10m, from the moment on that the manager takes them
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub delay: Option<Duration>,
    /// Let tasks end as expired that have not started within this time of that moment
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub deadline: Option<Duration>,
    /// How many of a worker's slots a task takes
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub slots: u32,
}

/// Variables for a command's environment.
#[derive(Clone, Debug, Default, Args)]
pub struct EnvironmentOptions {
    /// Set a variable in the task's otherwise clean environment; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_variable)]
    pub env: Vec<(String, String)>,
}

/// A label, as it is attached and asked for.
pub fn parse_label(text: &str) -> Result<(String, String), String> {
    parse_variable(text).map_err(|_| "KEY=VALUE is wanted".to_owned())
}

fn parse_variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("NAME=VALUE is wanted".to_owned()),
    }
}

impl TaskOptions {
    /// The template of a program with its arguments, tried `attempts` times unless the options say how often.
    pub fn command(
        &self,
        words: &[String],
        environment: &EnvironmentOptions,
        payload: Use,
        attempts: Option<u32>,
    ) -> Result<EncodedTemplate> {
        let Some((program, arguments)) = words.split_first() else {
            return Err(UsageError::new("no program is named", "name it behind `--`").into());
        };
        let environment: BTreeMap<String, String> = environment.env.iter().cloned().collect();
        let command =
            Command { program: program.clone(), arguments: arguments.to_vec(), environment, payload: payload.into() };
        self.encode(Template::of_command(command), attempts)
    }

    /// The template of a skill.
    pub fn skill(&self, name: &str, attempts: Option<u32>) -> Result<EncodedTemplate> {
        self.encode(Template::of_skill(name), attempts)
    }

    /// What is attached to the job.
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.label.iter().cloned().collect()
    }

    /// When the tasks are to run.
    pub fn times(&self) -> Result<Times> {
        if let (Some(delay), Some(deadline)) = (self.delay, self.deadline)
            && deadline <= delay
        {
            let (delay, deadline) = (humantime::format_duration(delay), humantime::format_duration(deadline));
            let message = format!("with --delay {delay} no task starts within --deadline {deadline}");
            let advice = "both count from the submit: give a deadline that is longer than the delay";
            return Err(UsageError::new(message, advice).into());
        }
        Ok(Times { delay: self.delay, deadline: self.deadline })
    }

    fn encode(&self, template: Template, attempts: Option<u32>) -> Result<EncodedTemplate> {
        let timeout = self.timeout.map_or(0, |timeout| (timeout.as_millis() as u64).max(1));
        Ok(EncodedTemplate::new(&Template {
            priority: self.priority,
            slots: self.slots,
            max_attempts: self.max_attempts.or(attempts).unwrap_or(MANAGERS_DEFAULT),
            timeout_milliseconds: timeout,
            ..template
        })?)
    }
}

/// The words of `map`'s command: with `{}` as another argument if there is none in them.
pub fn with_placeholder(words: &[String]) -> Vec<String> {
    let mut words = words.to_vec();
    if !words.iter().skip(1).any(|word| word.contains("{}")) {
        words.push("{}".to_owned());
    }
    words
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use task_messenger_client::Kind;

    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_placeholder_is_appended_unless_an_argument_has_it() {
        assert_eq!(with_placeholder(&words(&["gzip", "-9"])), words(&["gzip", "-9", "{}"]));
        assert_eq!(with_placeholder(&words(&["cp", "{}", "{}.old"])), words(&["cp", "{}", "{}.old"]));
        assert_eq!(with_placeholder(&words(&["a{}"])), words(&["a{}", "{}"]));
    }

    #[test]
    fn a_template_holds_what_was_asked_for() {
        let options =
            TaskOptions { timeout: Some(Duration::from_micros(3)), slots: 2, priority: -5, ..TaskOptions::default() };
        let environment = EnvironmentOptions { env: vec![parse_variable("A=b=c").unwrap()] };
        let encoded = options.command(&words(&["echo", "{}"]), &environment, Use::Argument, Some(7)).unwrap();
        let template = Template::decode(encoded.bytes().clone()).unwrap();
        assert_eq!((template.priority, template.slots, template.max_attempts), (-5, 2, 7));
        assert_eq!(template.timeout_milliseconds, 1, "a timeout never becomes none");
        let Some(Kind::Command(command)) = template.kind else { panic!("a command") };
        assert_eq!((command.program.as_str(), command.arguments), ("echo", words(&["{}"])));
        assert_eq!(command.environment.get("A").map(String::as_str), Some("b=c"));
        let times = |delay, deadline| TaskOptions { delay, deadline, ..TaskOptions::default() }.times();
        let (short, long) = (Duration::from_mins(1), Duration::from_secs(61));
        assert_eq!(times(Some(short), Some(long)).unwrap(), Times { delay: Some(short), deadline: Some(long) });
        assert!(times(Some(short), Some(short)).is_err() && times(None, Some(short)).is_ok());
        assert!(options.command(&words(&["echo", "a\0b"]), &environment, Use::None, None).is_err());
        assert!(parse_variable("=x").is_err() && parse_variable("x").is_err());
    }
}
