//! Logs: to standard error, as text or as JSON, one event a line.

use std::io::IsTerminal;

use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, util::SubscriberInitExt};

use crate::config::{Problem, Validate};

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug` or `trace`; per module with commas: `info,rustls=debug`.
    pub level: String,
    /// How it is written.
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
        let problem = |error| {
            let message = format!(
                "{:?} is not a log level ({error}): `error`, `warn`, `info`, `debug` or `trace`, and per module as in \
                 `info,rustls=debug`",
                self.level
            );
            vec![Problem::new("level", message)]
        };
        self.filter().err().map_or_else(Vec::new, problem)
    }
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level is none.
    #[error("the log level is none")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    /// Something in this process logs already.
    #[error("logging is set up already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

impl LogConfig {
    /// Sets up logging for the whole process, once.
    pub fn init(&self) -> Result<(), LoggingError> {
        let filter = self.filter()?;
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        match self.format {
            LogFormat::Json => builder.json().flatten_event(true).finish().try_init()?,
            LogFormat::Text => {
                let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
                builder.with_ansi(colour).finish().try_init()?;
            }
        }
        Ok(())
    }

    fn filter(&self) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
        EnvFilter::builder().parse(&self.level)
    }
}
