//! How a component is set up as a service: the data of `extras/windows-service/COMPONENT.toml`, with an installation's own
//! names put in.

use std::{collections::BTreeMap, fs, io, path::Path, time::Duration};

use serde::Deserialize;

use super::layout::Layout;

/// Why the settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file can't be read.
    #[error("{path} can't be read: the archive has to be unpacked as a whole")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It says something that isn't known.
    #[error("{path} can't be used")]
    Wrong {
        /// Which.
        path: String,
        /// What.
        source: Box<toml::de::Error>,
    },
    /// A text has a name in braces that stands for nothing.
    #[error("{path}: {{{name}}} stands for nothing here")]
    Name {
        /// In which file.
        path: String,
        /// What is between the braces.
        name: String,
    },
}

/// A component's settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) service: Service,
    pub(super) recovery: Recovery,
    /// By NSSM's own names, in their alphabetical order.
    pub(super) nssm: BTreeMap<String, Value>,
}

/// What the service control manager keeps.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    pub(super) display_name: String,
    pub(super) description: String,
    pub(super) startup_type: StartupType,
    pub(super) account: String,
    pub(super) dependencies: Vec<String>,
}

/// When a service starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StartupType {
    /// With the system, after all that is automatic.
    DelayedAutomatic,
    /// With the system.
    Automatic,
    /// When somebody starts it.
    Manual,
    /// Not at all: an operator has said so to Windows, and it stays so.
    #[value(skip)]
    Disabled,
}

/// What is done when the process of a service dies.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recovery {
    reset_seconds: u64,
    restart_seconds: Vec<u64>,
}

impl Recovery {
    pub(super) fn reset(&self) -> Duration {
        Duration::from_secs(self.reset_seconds)
    }

    pub(super) fn restarts(&self) -> impl Iterator<Item = Duration> {
        self.restart_seconds.iter().copied().map(Duration::from_secs)
    }
}

/// A setting of NSSM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Value {
    Number(u64),
    Text(String),
    /// One each.
    List(Vec<String>),
    /// One for each of something.
    Each(BTreeMap<String, String>),
}

impl Settings {
    /// Reads the file of a layout's component in a tree, and puts the layout's names in.
    pub(super) fn read(layout: &Layout, tree: &Path, stop: Duration) -> Result<Self, SettingsError> {
        let file = layout.settings(tree);
        let path = file.display().to_string();
        let text = fs::read_to_string(&file).map_err(|source| SettingsError::Read { path: path.clone(), source })?;
        Self::parse(&text, &path, layout, stop)
    }

    pub(super) fn parse(text: &str, path: &str, layout: &Layout, stop: Duration) -> Result<Self, SettingsError> {
        let mut settings: Self = toml::from_str(text)
            .map_err(|source| SettingsError::Wrong { path: path.to_owned(), source: Box::new(source) })?;
        let shown = |path: &Path| path.display().to_string();
        let names = [
            ("service", layout.service()),
            ("instance", layout.instance().map(|name| format!(" {name}")).unwrap_or_default()),
            ("program", shown(&layout.program())),
            ("bin", shown(&layout.bin())),
            ("config", shown(&layout.configuration())),
            ("logs", shown(&layout.logs())),
            ("stop_milliseconds", stop.as_millis().to_string()),
        ];
        let mut wrong = None;
        settings.texts(|text| match fill(text, &names) {
            Ok(filled) => *text = filled,
            Err(name) => wrong = Some(name),
        });
        match wrong {
            Some(name) => Err(SettingsError::Name { path: path.to_owned(), name }),
            None => Ok(settings),
        }
    }

    fn texts(&mut self, mut change: impl FnMut(&mut String)) {
        let Service { display_name, description, account, dependencies, .. } = &mut self.service;
        [display_name, description, account].into_iter().chain(dependencies).for_each(&mut change);
        for value in self.nssm.values_mut() {
            match value {
                Value::Number(_) => {}
                Value::Text(text) => change(text),
                Value::List(texts) => texts.iter_mut().for_each(&mut change),
                Value::Each(texts) => texts.values_mut().for_each(&mut change),
            }
        }
    }
}

/// Puts names in; the one that stands for nothing.
fn fill(text: &str, names: &[(&str, String)]) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, after) = behind.split_once('}').ok_or_else(|| behind.to_owned())?;
        let (_, value) = names.iter().find(|(known, _)| *known == name).ok_or_else(|| name.to_owned())?;
        filled.push_str(before);
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}
