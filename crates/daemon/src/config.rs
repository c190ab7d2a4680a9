//! Configuration: built-in defaults, then a JSON file, then the environment, then flags; the later wins.
//!
//! - The **file** is what `--config` names, else what `TASK_MESSENGER_CONFIG` names, else the default place if there is a
//!   file there. It may leave out any key, at any depth.
//! - A **variable** is `TASK_MESSENGER_` and the key's path in capitals with `__` between keys: `log.level` is
//!   `TASK_MESSENGER_LOG__LEVEL`. Its value is JSON; where a text is wanted, or what stands there is no JSON, the text itself.
//! - A **flag** is whatever a program makes an [`Override`] of.
//!
//! Nothing is ignored: an unknown key, a wrong type or a value that is not allowed is an error from wherever it comes, and
//! all are reported at once. No secret belongs into a configuration, and none is shown.
//!
//! What is known of a key is written once, at its field: its doc comment, its type and what is [`Allowed`]. The JSON Schema
//! is generated from that, and from the schema the checks, the messages and the documentation.

mod allowed;
mod changes;
mod comments;
mod error;
mod file;
mod keys;
mod layers;
mod options;
mod origin;
mod places;
mod print;
mod reference;
mod schema;
mod secrets;
mod size;
mod span;
#[cfg(test)]
mod tests;
mod value;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use allowed::Allowed;
pub use changes::{changes, is_reloadable};
pub use error::{ConfigError, Problem, Report};
pub use layers::{check, load, load_what_fits};
pub use options::ConfigOptions;
pub use origin::{Origin, Origins};
pub use print::{PrintFormat, print};
pub use reference::{INTRODUCTION, reference, sample};
pub use schema::schema;
pub use secrets::redact;
pub use size::ByteSize;
pub use span::ConfigDuration;

/// What all variables of TaskMessenger begin with.
pub const PREFIX: &str = "TASK_MESSENGER_";

/// The variable that names the file.
pub const FILE_VARIABLE: &str = "TASK_MESSENGER_CONFIG";

/// Variables with the prefix that are no configuration of a daemon: the file, the name that a worker gives its tasks, and
/// where the command line finds its credential, and which Windows service this is.
const OTHER_VARIABLES: [&str; 4] =
    [FILE_VARIABLE, "TASK_MESSENGER_TASK", "TASK_MESSENGER_CREDENTIAL", "TASK_MESSENGER_SERVICE"];

/// Says what is wrong with values that are [`Allowed`] each by itself.
pub trait Validate {
    /// All problems, with the keys' paths as in the file (`log.level`, `listen[0]`).
    fn problems(&self) -> Vec<Problem>;
}

/// A component's whole configuration. Its structs are `#[serde(default, deny_unknown_fields)]`.
pub trait Configuration: Default + Serialize + DeserializeOwned + JsonSchema + Validate {
    /// Whose it is: `manager`.
    const COMPONENT: &'static str;

    /// The keys that can change while the daemon runs, and sections of which all can.
    const RELOADABLE: &'static [&'static str];

    /// Whether a key's change to `new` is taken while the daemon runs.
    fn takes(&self, new: &Self, path: &str) -> bool {
        let _ = new;
        is_reloadable::<Self>(path)
    }
}

/// A flag's value for a key.
#[derive(Clone, Debug)]
pub struct Override {
    /// The flag as typed, for errors: `--listen`.
    pub flag: String,
    /// The key's path: `log.level`.
    pub path: String,
    /// The value.
    pub value: Value,
}

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file that a flag names: it must exist.
    pub file: Option<PathBuf>,
    /// The file that is read if nothing names another and it exists.
    pub default_file: Option<PathBuf>,
    /// Variables, those with [`PREFIX`] count.
    pub environment: Vec<(String, String)>,
    /// Flags, the last wins.
    pub flags: Vec<Override>,
}

impl Sources {
    /// This process's environment, and nothing else yet. What is not Unicode is replaced, and so seen in errors.
    pub fn of_process() -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        Self { environment, ..Self::default() }
    }
}

/// A configuration, and where it comes from.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// What holds.
    pub config: T,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// Where each value comes from.
    pub origins: Origins,
}
