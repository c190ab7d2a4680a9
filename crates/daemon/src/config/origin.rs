//! Where the values of a configuration come from.

use std::{fmt, path::PathBuf};

use super::places::{Places, Trail, trail_of};

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

impl Origin {
    /// Line and column in a file, where known.
    pub fn position(&self) -> Option<(usize, usize)> {
        if let Self::File { position, .. } = self { *position } else { None }
    }
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

/// Where each value of a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// Which values were set by what, in order.
    pub(super) set: Vec<(Trail, Origin)>,
    /// Where things stand in the file.
    pub(super) places: Places,
}

impl Origins {
    /// What last set the key of this path (`log.level`), or a key around it or in it.
    pub fn of(&self, path: &str) -> Origin {
        let trail = trail_of(path);
        let touches = |set: &[String]| set.iter().zip(&trail).all(|(set, key)| set == key);
        match self.set.iter().rev().find(|(set, _)| touches(set)) {
            None => Origin::Default,
            Some((_, Origin::File { path, position })) => {
                Origin::File { path: path.clone(), position: self.places.value(&trail).or(*position) }
            }
            Some((_, origin)) => origin.clone(),
        }
    }
}
