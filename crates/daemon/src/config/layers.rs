//! Putting the layers of a configuration on top of each other.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    ConfigError, Configuration, FILE_VARIABLE, Loaded, OTHER_VARIABLES, Origin, PREFIX, Problem, Report, Sources,
};

/// Loads a configuration, or says everything that is wrong with it.
pub fn load<T: Configuration>(sources: &Sources) -> Result<Loaded<T>, ConfigError> {
    let defaults = serde_json::to_value(T::default()).map_err(ConfigError::Defaults)?;
    let mut layers = Layers { merged: defaults.clone(), origins: Vec::new(), reports: Vec::new() };
    let file = layers.add_file::<T>(sources)?;
    for (name, text) in &sources.environment {
        let Some(key) = name.strip_prefix(PREFIX) else { continue };
        if OTHER_VARIABLES.contains(&name.as_str()) || sources.other_variables.contains(name) {
            continue;
        }
        let path: Vec<String> = key.split("__").map(str::to_lowercase).collect();
        let value = read_variable::<T>(&defaults, &path, text);
        layers.add_value::<T>(&defaults, &Origin::Variable { name: name.clone() }, &path, value);
    }
    for flag in &sources.flags {
        let path: Vec<String> = flag.path.split('.').map(str::to_owned).collect();
        layers.add_value::<T>(&defaults, &Origin::Flag { flag: flag.flag.clone() }, &path, flag.value.clone());
    }
    layers.finish(file)
}

/// What has been put together so far.
struct Layers {
    merged: Value,
    /// Which keys were set by what, in order.
    origins: Vec<(Vec<String>, Origin)>,
    reports: Vec<Report>,
}

impl Layers {
    fn add_file<T: Configuration>(&mut self, sources: &Sources) -> Result<Option<PathBuf>, ConfigError> {
        let named = sources.environment.iter().find(|(name, value)| name == FILE_VARIABLE && !value.is_empty());
        let (path, required) = match (&sources.file, named, &sources.default_file) {
            (Some(path), _, _) => (path.clone(), true),
            (None, Some((_, path)), _) => (PathBuf::from(path), true),
            (None, None, Some(path)) => (path.clone(), false),
            (None, None, None) => return Ok(None),
        };
        let content = match std::fs::read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => return Ok(None),
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        // Read as what it is, it shows the place of an error, and keys that stand there twice.
        let mut deserializer = serde_json::Deserializer::from_slice(&content);
        let checked = serde_path_to_error::deserialize::<_, T>(&mut deserializer)
            .map_err(|error| report_in_file(&path, &error.path().to_string(), error.inner()))
            .and_then(|_| deserializer.end().map_err(|error| report_in_file(&path, "", &error)));
        match checked.and_then(|()| serde_json::from_slice(&content).map_err(|error| report_in_file(&path, "", &error)))
        {
            Ok(layer) => {
                self.note_origins(&layer, &mut Vec::new(), &path);
                merge(&mut self.merged, layer);
            }
            Err(report) => self.reports.push(report),
        }
        Ok(Some(path))
    }

    fn note_origins(&mut self, layer: &Value, keys: &mut Vec<String>, path: &Path) {
        if let Value::Object(map) = layer {
            for (key, value) in map {
                keys.push(key.clone());
                self.note_origins(value, keys, path);
                keys.pop();
            }
        } else {
            self.origins.push((keys.clone(), Origin::File { path: path.to_owned(), position: None }));
        }
    }

    /// Adds one value, if by itself it fits the defaults.
    fn add_value<T: Configuration>(&mut self, defaults: &Value, origin: &Origin, path: &[String], value: Value) {
        let layer = nest(path, value);
        match deserialize::<T>(defaults, layer.clone()) {
            Ok(_) => {
                self.origins.push((path.to_vec(), origin.clone()));
                merge(&mut self.merged, layer);
            }
            Err(problem) => self.reports.push(Report { origin: origin.clone(), problem }),
        }
    }

    fn finish<T: Configuration>(mut self, file: Option<PathBuf>) -> Result<Loaded<T>, ConfigError> {
        if self.reports.is_empty() {
            match deserialize::<T>(&self.merged, Value::Object(Map::new())) {
                Ok(config) => {
                    self.reports = config.problems().into_iter().map(|problem| self.locate(problem)).collect();
                    if self.reports.is_empty() {
                        return Ok(Loaded { config, file });
                    }
                }
                Err(problem) => self.reports.push(self.locate(problem)),
            }
        }
        Err(ConfigError::Wrong { reports: self.reports })
    }

    /// What last set the key, or a key around it or in it.
    fn locate(&self, problem: Problem) -> Report {
        let keys: Vec<_> = problem.path.split('.').collect();
        let touches = |set: &[String]| set.iter().zip(&keys).all(|(set, key)| set == key);
        let origin = self.origins.iter().rev().find(|(set, _)| touches(set));
        Report { origin: origin.map_or(Origin::Default, |(_, origin)| origin.clone()), problem }
    }
}

/// The value of a variable: JSON if that fits, else the text; the text first where the default is one.
fn read_variable<T: DeserializeOwned>(defaults: &Value, path: &[String], text: &str) -> Value {
    let as_text = Value::String(text.to_owned());
    let default = path.iter().try_fold(defaults, |value, key| value.get(key));
    let Ok(as_json) = serde_json::from_str::<Value>(text) else { return as_text };
    let fits = |value: &Value| deserialize::<T>(defaults, nest(path, value.clone())).is_ok();
    if matches!(default, Some(Value::String(_))) && fits(&as_text) {
        return as_text;
    }
    if !fits(&as_json) && fits(&as_text) { as_text } else { as_json }
}

/// An object that holds nothing but the value, at its path.
fn nest(path: &[String], value: Value) -> Value {
    path.iter().rev().fold(value, |value, key| Value::Object(Map::from_iter([(key.clone(), value)])))
}

fn deserialize<T: DeserializeOwned>(base: &Value, layer: Value) -> Result<T, Problem> {
    let mut whole = base.clone();
    merge(&mut whole, layer);
    serde_path_to_error::deserialize(whole)
        .map_err(|error| Problem::new(error.path().to_string(), without_position(error.inner())))
}

/// Objects are merged key by key; anything else replaces what was there.
fn merge(base: &mut Value, layer: Value) {
    match (base, layer) {
        (Value::Object(base), Value::Object(layer)) => {
            for (key, value) in layer {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, layer) => *base = layer,
    }
}

fn report_in_file(path: &Path, key: &str, error: &serde_json::Error) -> Report {
    let position = (error.line() > 0).then(|| (error.line(), error.column()));
    let origin = Origin::File { path: path.to_owned(), position };
    Report { origin, problem: Problem::new(key, without_position(error)) }
}

/// The message without the place, which is told apart.
fn without_position(error: &serde_json::Error) -> String {
    let mut message = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    if let Some(cut) = message.strip_suffix(&position) {
        message.truncate(cut.len());
    }
    message
}
