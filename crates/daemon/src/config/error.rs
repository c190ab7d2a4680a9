//! What is wrong with a configuration, and where.

use std::{
    fmt::{self, Write as _},
    io,
    path::PathBuf,
};

use super::{Origin, secrets::redact};

/// Something wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key's path: `log.level`.
    pub path: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl Problem {
    /// A problem.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }

    /// The same problem in a part that lies below `parent`.
    #[must_use]
    pub fn below(self, parent: &str) -> Self {
        Self { path: format!("{parent}.{}", self.path), ..self }
    }
}

/// A problem and where it comes from. What is shown of it holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Where.
    pub origin: Origin,
    /// What.
    pub problem: Problem,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.problem.path.as_str() {
            "" | "." => format!("{}: {}", self.origin, self.problem.message),
            path => format!("{}: {path}: {}", self.origin, self.problem.message),
        };
        // A key or a name may hold what moves a terminal's cursor.
        redact(&text).chars().try_for_each(|character| {
            if character.is_control() { write!(f, "{}", character.escape_default()) } else { f.write_char(character) }
        })
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("the configuration file {path} can't be read", path = redact(&.path.to_string_lossy()))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Values are wrong.
    #[error("the configuration can't be used:{}", list(.reports))]
    Wrong {
        /// All that is wrong.
        reports: Vec<Report>,
    },
    /// The configuration, or its schema, can't be written as JSON: a path is not Unicode.
    #[error("the configuration can't be written as JSON")]
    Unwritable(#[source] serde_json::Error),
}

fn list(reports: &[Report]) -> String {
    reports.iter().flat_map(|report| ["\n  ".to_owned(), report.to_string()]).collect()
}
