//! Putting the layers of a configuration on top of each other.
//!
//! Each value of each layer is looked at alone, laid over the defaults: what doesn't fit is reported and left out, and the
//! rest goes on. So one mistake hides no other.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{
    ConfigError, Configuration, FILE_VARIABLE, Loaded, OTHER_VARIABLES, Origin, Origins, PREFIX, Problem, Report,
    Sources, file,
    keys::{Key, Keys, either},
    places::{Places, Trail, path_of, trail_of},
    secrets::secret_in,
    value::{deserialize, merge, nest, read_variable, refusal},
};

/// Loads a configuration, or says everything that is wrong with it. It can be called again: all sources are read anew.
pub fn load<T: Configuration>(sources: &Sources) -> Result<Loaded<T>, ConfigError> {
    let (layers, file) = gather::<T>(sources)?;
    layers.finish(file)
}

/// What fits of a configuration that [`load`] refuses as a whole: to find a daemon by it that runs.
///
/// # Errors
/// Nothing can be read of it.
pub fn load_what_fits<T: Configuration>(sources: &Sources) -> Result<T, ConfigError> {
    let (mut layers, _) = gather::<T>(sources)?;
    // Without these it would be another daemon's.
    if layers.reports.iter().any(|report| matches!(report.problem.path.as_str(), "" | "." | "state_directory")) {
        return Err(ConfigError::Wrong { reports: layers.reports });
    }
    layers.fit_together::<T>().ok_or(ConfigError::Wrong { reports: layers.reports })
}

fn gather<T: Configuration>(sources: &Sources) -> Result<(Layers, Option<PathBuf>), ConfigError> {
    let defaults = serde_json::to_value(T::default()).map_err(ConfigError::Unwritable)?;
    let merged = defaults.clone();
    let mut layers =
        Layers { keys: Keys::of::<T>()?, defaults, merged, origins: Origins::default(), reports: Vec::new() };
    let file = layers.add_file::<T>(sources)?;
    let mut variables: Vec<_> = sources.environment.iter().collect();
    // A section before what lies in it, which is more exact.
    variables.sort();
    for (name, text) in variables {
        let Some(key) = name.strip_prefix(PREFIX) else { continue };
        if OTHER_VARIABLES.contains(&name.as_str()) {
            continue;
        }
        let trail: Trail = key.split("__").map(str::to_lowercase).collect();
        let value = read_variable::<T>(&layers.defaults, &trail, text);
        layers.add::<T>(&Source::Variable(name), &trail, value);
    }
    for flag in &sources.flags {
        layers.add::<T>(&Source::Flag(&flag.flag), &trail_of(&flag.path), flag.value.clone());
    }
    Ok((layers, file))
}

/// What is wrong with a configuration that a program has put together.
pub fn check<T: Configuration>(config: &T) -> Result<Vec<Problem>, ConfigError> {
    let keys = Keys::of::<T>()?;
    let values = serde_json::to_value(config).map_err(ConfigError::Unwritable)?;
    let mut problems = Vec::new();
    for key in keys.iter() {
        let value = key.trail.iter().try_fold(&values, |value, name| value.get(name));
        if let Some(value) = value.filter(|value| !key.is_allowed(value)) {
            problems.push(Problem::new(key.path(), refusal(value, &key.wanted(&keys))));
        }
    }
    problems.extend(config.problems());
    Ok(problems)
}

/// What a layer is.
enum Source<'a> {
    File(&'a Path, &'a Places),
    Variable(&'a str),
    Flag(&'a str),
}

impl Source<'_> {
    /// Where a value comes from.
    fn value(&self, trail: &[String]) -> Origin {
        match *self {
            Self::File(path, places) => Origin::File { path: path.to_owned(), position: places.value(trail) },
            Self::Variable(name) => Origin::Variable { name: name.to_owned() },
            Self::Flag(flag) => Origin::Flag { flag: flag.to_owned() },
        }
    }

    /// Where a key comes from.
    fn key(&self, trail: &[String]) -> Origin {
        match *self {
            Self::File(path, places) => Origin::File { path: path.to_owned(), position: places.key(trail) },
            _ => self.value(trail),
        }
    }

    /// A key as it is written there.
    fn spell(&self, key: &Key) -> String {
        if matches!(self, Self::Variable(_)) { format!("`{}`", key.variable()) } else { format!("`{}`", key.path()) }
    }
}

/// What has been put together so far.
struct Layers {
    keys: Keys,
    defaults: Value,
    merged: Value,
    origins: Origins,
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
        match file::parse(content) {
            Ok((layer, places)) => {
                let source = Source::File(&path, &places);
                for (trail, first) in &places.twice {
                    let message = format!("the key stands there twice, first in line {}; once is allowed", first.0);
                    self.report(source.key(trail), trail, message);
                }
                self.add::<T>(&source, &[], layer);
                self.reports.sort_by_key(|report| report.origin.position());
                self.origins.places = places;
            }
            Err((position, message)) => self.report(Origin::File { path: path.clone(), position }, &[], message),
        }
        Ok(Some(path))
    }

    /// Adds what fits of a value, and reports the rest.
    fn add<T: Configuration>(&mut self, source: &Source<'_>, trail: &[String], value: Value) {
        let Some(key) = self.keys.get(trail) else {
            return self.report(source.key(trail), trail, self.unknown(source, trail));
        };
        if let (true, Value::Object(entries)) = (key.is_section, &value) {
            for (name, value) in entries {
                self.add::<T>(source, &[trail, std::slice::from_ref(name)].concat(), value.clone());
            }
            return;
        }
        let problems = self.problems_of_value::<T>(key, &value);
        if problems.is_empty() {
            self.origins.set.push((trail.to_vec(), source.value(trail)));
            merge(&mut self.merged, nest(trail, value));
        }
        for (trail, message) in problems {
            self.report(source.value(&trail), &trail, message);
        }
    }

    fn report(&mut self, origin: Origin, trail: &[String], message: String) {
        self.reports.push(Report { origin, problem: Problem::new(path_of(trail), message) });
    }

    /// What is wrong with the value of a key, or with entries of it.
    fn problems_of_value<T: Configuration>(&self, key: &Key, value: &Value) -> Vec<(Trail, String)> {
        let wanted = key.wanted(&self.keys);
        if let Some(secret) = secret_in(value) {
            return vec![(
                key.trail.clone(),
                format!("{secret} stands where {wanted} is wanted; put it in a file of its own"),
            )];
        }
        let refused = || vec![(key.trail.clone(), refusal(value, &wanted))];
        if key.is_section {
            let fits = value.is_null() && key.is_optional || value.as_str().is_some_and(|text| key.is_choice(text));
            return if fits { Vec::new() } else { refused() };
        }
        let fits = |value: &Value| {
            let error = deserialize::<T>(&self.defaults, nest(&key.trail, value.clone())).err();
            // In a section that is left out by default others may be missing; that is seen when all is together.
            error.is_none_or(|error| !trail_of(&error.path).starts_with(&key.trail))
        };
        if let (true, Value::Array(entries)) = (key.is_list, value) {
            let entries = entries.iter().enumerate();
            let wrong = entries.filter(|(_, entry)| !fits(&Value::Array(vec![Value::clone(entry)])));
            let trail = |index: usize| [&key.trail[..], &[format!("[{index}]")]].concat();
            let problems: Vec<_> = wrong.map(|(index, entry)| (trail(index), refusal(entry, &key.kind))).collect();
            if !problems.is_empty() {
                return problems;
            }
        }
        if fits(value) && key.is_allowed(value) { Vec::new() } else { refused() }
    }

    /// What is said of a key that there is not; never its value, which may be a secret.
    fn unknown(&self, source: &Source<'_>, trail: &[String]) -> String {
        if let Some(key) = self.keys.suggest(trail) {
            if key.path() == path_of(trail) {
                return format!("there is no such key; write it as {}", nest(&key.trail, "…".into()));
            }
            return format!("there is no such key; is {} meant?", source.spell(key));
        }
        let mut parents = (0..trail.len()).rev().map(|length| &trail[..length]);
        let section = parents.find_map(|parent| self.keys.get(parent));
        let known: Vec<_> = section
            .into_iter()
            .flat_map(|section| self.keys.within(&section.trail))
            .map(|key| source.spell(key))
            .collect();
        if known.is_empty() {
            return "there is no such key".to_owned();
        }
        format!("there is no such key; allowed here: {}", either(&known))
    }

    fn finish<T: Configuration>(mut self, file: Option<PathBuf>) -> Result<Loaded<T>, ConfigError> {
        // What a file sets that is no JSON isn't known: then what is wrong with defaults may be none of its mistakes.
        let is_known = self.reports.iter().all(|report| !report.problem.path.is_empty());
        if let Some(config) = self.fit_together::<T>() {
            let problems = config.problems().into_iter();
            let reports = problems.map(|problem| Report { origin: self.origins.of(&problem.path), problem });
            let reports: Vec<_> = reports.filter(|report| is_known || report.origin != Origin::Default).collect();
            self.reports.extend(reports);
            if self.reports.is_empty() {
                return Ok(Loaded { config, file, origins: self.origins });
            }
        }
        Err(ConfigError::Wrong { reports: self.reports })
    }

    /// All layers as a whole. A section that lacks something is reported, and is by default then.
    fn fit_together<T: Configuration>(&mut self) -> Option<T> {
        loop {
            let problem = match deserialize::<T>(&self.merged, Value::Object(Map::new())) {
                Ok(config) => return Some(config),
                Err(problem) => problem,
            };
            let trail = trail_of(&problem.path);
            // If a part of it was refused, that is why it isn't there.
            if !self.reports.iter().any(|report| trail_of(&report.problem.path).starts_with(&trail)) {
                self.reports.push(Report { origin: self.origins.of(&problem.path), problem });
            }
            let section = trail.first()?;
            let default = self.defaults.get(section)?;
            let set = self.merged.get_mut(section).filter(|set| *set != default)?;
            set.clone_from(default);
        }
    }
}
