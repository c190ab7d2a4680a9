//! Logs: to standard error, as text or as JSON, one event a line.

use std::io::IsTerminal;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::config::{Problem, Validate};

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// What is logged: `off`, `error`, `warn`, `info`, `debug` or `trace`, each with all before it; per module with commas:
    /// `info,rustls=debug`.
    pub level: String,
    /// How log lines are written.
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people; in colour on a terminal.
    #[default]
    Text,
    /// For programs.
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::default() }
    }
}

impl Validate for LogConfig {
    fn problems(&self) -> Vec<Problem> {
        match self.filter() {
            Ok(_) => Vec::new(),
            Err(error) => vec![Problem::new("level", error.to_string())],
        }
    }
}

/// A text is not a log level.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{part:?} is not a log level: `off`, `error`, `warn`, `info`, `debug` or `trace`, and per module as in \
     `info,rustls=debug`"
)]
pub struct NotALevel {
    part: String,
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level is none.
    #[error(transparent)]
    Level(#[from] NotALevel),
    /// Something in this process logs already.
    #[error("logging is set up already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

impl LogConfig {
    /// Sets up logging for the whole process, once.
    pub fn init(&self) -> Result<(), LoggingError> {
        let filter = self.filter()?;
        let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let layer = match self.format {
            LogFormat::Json => layer.json().flatten_event(true).boxed(),
            LogFormat::Text => {
                let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
                layer.with_ansi(colour).boxed()
            }
        };
        Ok(tracing_subscriber::registry().with(layer.with_filter(filter)).try_init()?)
    }

    /// Stricter than the library, which takes a misspelt level for the name of a module.
    fn filter(&self) -> Result<Targets, NotALevel> {
        let level = |text: &str| match text {
            "off" => Some(LevelFilter::OFF),
            "error" => Some(LevelFilter::ERROR),
            "warn" => Some(LevelFilter::WARN),
            "info" => Some(LevelFilter::INFO),
            "debug" => Some(LevelFilter::DEBUG),
            "trace" => Some(LevelFilter::TRACE),
            _ => None,
        };
        self.level.split(',').map(str::trim).try_fold(Targets::new(), |targets, part| {
            let wrong = || NotALevel { part: part.to_owned() };
            match part.split_once('=') {
                None => Ok(targets.with_default(level(part).ok_or_else(wrong)?)),
                Some(("", _)) => Err(wrong()),
                Some((module, text)) => Ok(targets.with_target(module, level(text).ok_or_else(wrong)?)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_no_level() {
        let problems = |level: &str| LogConfig { level: level.to_owned(), ..LogConfig::default() }.problems();
        for level in ["info", "off", "warn,rustls=debug", "error, task_messenger_manager::session=trace"] {
            assert_eq!(problems(level), []);
        }
        for level in ["", "verbose", "info,", "info,rustls", "rustls=loud", "=info", "INFO"] {
            assert_eq!(problems(level).len(), 1, "{level}");
        }
    }
}
