//! Logs: one event a line, as text or as JSON.
//!
//! - With `log.file` they go there and nowhere else.
//! - Else, where standard error (or output) is the system's journal, they go there with native fields (`TASK`, `WORKER`, …),
//!   unless `log.format` asks for JSON: then each entry's text is the JSON line.
//! - Else they go to standard error; in colour if that is a terminal and `NO_COLOR` is not set.
//!
//! WARN means that somebody should look. What is said again and again at that level is summed up ([`repeats`]). Nothing here
//! ever blocks or ends the process because a line can't be written.

mod file;
pub(crate) mod journal;
mod level;
mod repeats;
mod rotation;
#[cfg(test)]
mod tests;

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::{
    Layer, Registry, filter::Targets, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use self::{
    file::Writer,
    repeats::{Counts, Repeats},
};
pub use self::{
    level::NotALevel,
    rotation::{Rotation, RotationMode},
};
use crate::{
    config::{Problem, Validate},
    exit,
};

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// What is logged: `off`, `error`, `warn`, `info`, `debug` or `trace`, each with all before it; per module with commas:
    /// `info,task_messenger_manager=debug`.
    pub level: String,
    /// How log lines are written.
    pub format: LogFormat,
    /// Where it is written; by default to the system's journal or to standard error, whichever standard error is. The
    /// directory is made if it is missing.
    #[schemars(extend("x-wanted" = "a path"))]
    pub file: Option<PathBuf>,
    /// When the file is put aside and a new one begun.
    pub rotation: Rotation,
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
        Self { level: "info".to_owned(), format: LogFormat::default(), file: None, rotation: Rotation::default() }
    }
}

impl Validate for LogConfig {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Err(error) = level::parse(&self.level) {
            problems.push(Problem::new("level", error.to_string()));
        }
        if self.file.as_deref().is_some_and(|file| file.file_name().is_none()) {
            problems.push(Problem::new("file", "this is not the path of a file"));
        }
        problems
    }
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level is none.
    #[error(transparent)]
    Level(#[from] NotALevel),
    /// The file can't be used.
    #[error("the log file {path} can't be opened (`log.file`)", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something in this process logs already.
    #[error("logging is set up already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

impl LoggingError {
    /// Whether the same start can never succeed.
    pub fn is_final(&self) -> bool {
        use io::ErrorKind;
        match self {
            Self::Level(_) => true,
            Self::File { source, .. } => matches!(
                source.kind(),
                ErrorKind::PermissionDenied
                    | ErrorKind::NotADirectory
                    | ErrorKind::IsADirectory
                    | ErrorKind::AlreadyExists
                    | ErrorKind::ReadOnlyFilesystem
                    | ErrorKind::InvalidFilename
                    | ErrorKind::InvalidInput
                    | ErrorKind::NotFound
            ),
            Self::Twice(_) => false,
        }
    }
}

/// Logging that is set up. When this is dropped, what was summed up and not yet told is.
#[derive(Debug)]
pub struct Logging {
    level: reload::Handle<Targets, Registry>,
    file: Option<Writer>,
    counts: Arc<Counts>,
}

impl Logging {
    /// Logs at another level from now on.
    pub fn set_level(&self, level: &str) -> Result<(), NotALevel> {
        let targets = level::parse(level)?;
        // It fails only when nobody logs any more.
        let _ = self.level.reload(targets);
        Ok(())
    }

    /// Opens the log file anew, by its name; without a file this does nothing.
    pub fn reopen(&self) {
        self.reopener()();
    }

    /// Says in the log file what ends the program, which is printed to standard error anyway.
    pub fn failed(&self, error: &(dyn std::error::Error + 'static)) {
        if self.file.is_some() {
            tracing::error!(error = exit::chain(error), "this is the end");
        }
    }

    /// What opens the log file anew, for whoever hears that it is wanted.
    pub fn reopener(&self) -> impl Fn() + Send + 'static + use<> {
        let file = self.file.clone();
        move || {
            if let Some(file) = &file {
                file.reopen();
            }
        }
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.counts.tell_rest();
    }
}

type Output = Box<dyn Layer<Registry> + Send + Sync>;

impl LogConfig {
    /// Sets up logging for the whole process, once. `program` is what the system's journal calls it.
    pub fn init(&self, program: &str) -> Result<Logging, LoggingError> {
        let (filter, level) = reload::Layer::new(level::parse(&self.level)?);
        let (output, file) = match &self.file {
            Some(path) => self.to_file(path)?,
            None => (self.to_journal(program).unwrap_or_else(|| self.to_stderr()), None),
        };
        let counts = Arc::new(Counts::default());
        let layer = Repeats::new(output, counts.clone()).with_filter(filter);
        tracing_subscriber::registry().with(layer).try_init()?;
        Ok(Logging { level, file, counts })
    }

    fn to_file(&self, path: &Path) -> Result<(Output, Option<Writer>), LoggingError> {
        let writer = Writer::open(path, &self.rotation, self.format)
            .map_err(|source| LoggingError::File { path: path.to_owned(), source })?;
        let layer = fmt::layer().with_writer(writer.clone());
        let layer = match self.format {
            LogFormat::Json => layer.json().flatten_event(true).boxed(),
            LogFormat::Text => layer.with_ansi(false).boxed(),
        };
        Ok((layer, Some(writer)))
    }

    /// `None` if the journal is not where this program writes to, or not as text.
    fn to_journal(&self, program: &str) -> Option<Output> {
        (self.format == LogFormat::Text && journal::is_here()).then(|| journal::layer(program))
    }

    fn to_stderr(&self) -> Output {
        let layer = fmt::layer().with_writer(io::stderr);
        match self.format {
            LogFormat::Json => layer.json().flatten_event(true).boxed(),
            LogFormat::Text => {
                let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
                layer.with_ansi(colour).boxed()
            }
        }
    }
}
