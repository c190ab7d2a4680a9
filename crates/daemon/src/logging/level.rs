//! Levels as people write them.

use tracing_subscriber::filter::{LevelFilter, Targets};

/// A text is not a log level.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{part:?} is not a log level: `off`, `error`, `warn`, `info`, `debug` or `trace`, and per module as in \
     `info,task_messenger_manager=debug`"
)]
pub struct NotALevel {
    part: String,
}

/// Stricter than the library, which takes a misspelt level for the name of a module.
pub(super) fn parse(text: &str) -> Result<Targets, NotALevel> {
    let level = |text: &str| match text {
        "off" => Some(LevelFilter::OFF),
        "error" => Some(LevelFilter::ERROR),
        "warn" => Some(LevelFilter::WARN),
        "info" => Some(LevelFilter::INFO),
        "debug" => Some(LevelFilter::DEBUG),
        "trace" => Some(LevelFilter::TRACE),
        _ => None,
    };
    text.split(',').map(str::trim).try_fold(Targets::new(), |targets, part| {
        let wrong = || NotALevel { part: part.to_owned() };
        match part.split_once('=') {
            None => Ok(targets.with_default(level(part).ok_or_else(wrong)?)),
            Some(("", _)) => Err(wrong()),
            Some((module, text)) => Ok(targets.with_target(module, level(text).ok_or_else(wrong)?)),
        }
    })
}
