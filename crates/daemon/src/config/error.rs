//! What is wrong with a configuration, and where.

use std::{fmt, io, path::PathBuf};

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

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The program itself.
    Default,
    /// A file, with line and column (from 1) where known.
    File {
        /// The file.
        path: PathBuf,
        /// Line and column.
        position: Option<(usize, usize)>,
    },
    /// A variable of the environment.
    Variable {
        /// Its name.
        name: String,
    },
    /// A flag.
    Flag {
        /// As typed.
        flag: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the built-in default"),
            Self::File { path, position: None } => write!(f, "{}", path.display()),
            Self::File { path, position: Some((line, column)) } => {
                write!(f, "{}, line {line}, column {column}", path.display())
            }
            Self::Variable { name } => write!(f, "the variable {name}"),
            Self::Flag { flag } => write!(f, "the flag {flag}"),
        }
    }
}

/// A problem and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Where.
    pub origin: Origin,
    /// What.
    pub problem: Problem,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problem.path.as_str() {
            "" | "." => write!(f, "{}: {}", self.origin, self.problem.message),
            path => write!(f, "{}: {path}: {}", self.origin, self.problem.message),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("the configuration file {path} can't be read", path = .path.display())]
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
    /// The program's own defaults can't be written as JSON.
    #[error("the configuration can't be written as JSON")]
    Defaults(#[source] serde_json::Error),
}

fn list(reports: &[Report]) -> String {
    reports.iter().flat_map(|report| ["\n  ".to_owned(), report.to_string()]).collect()
}
