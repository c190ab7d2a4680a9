//! All keys of a configuration and what is known of each, as its schema tells it.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    Allowed, ConfigError, Configuration, PREFIX, allowed,
    places::entries,
    schema::{self, parts, properties},
};

/// How much of a misspelt key must be right, so that another is taken for the one that is meant.
const CLOSE: f64 = 0.6;

/// What is known of a key.
#[derive(Clone, Debug, Default)]
pub(super) struct Key {
    /// The keys that lead to it.
    pub(super) trail: Vec<String>,
    /// Whether it is an object with keys of its own.
    pub(super) is_section: bool,
    /// Whether it may be `null`.
    pub(super) is_optional: bool,
    /// Whether it is a list; then the kind is that of its entries.
    pub(super) is_list: bool,
    /// What is wanted, in words; empty where it is but one of the choices.
    pub(super) kind: String,
    /// The texts that may stand there, and what each means.
    pub(super) choices: Vec<(String, String)>,
    /// What is allowed beyond the type.
    pub(super) allowed: Option<Allowed>,
    /// What it does.
    pub(super) description: String,
    /// Its default; absent in a section that is left out by default.
    pub(super) default: Option<Value>,
    /// Its default in words, where it depends on the machine.
    pub(super) default_words: Option<String>,
}

/// All keys in the order in which they are declared, each section before its keys. The first is the whole.
#[derive(Clone, Debug)]
pub(super) struct Keys(Vec<Key>);

impl Keys {
    /// The keys of a configuration.
    pub(super) fn of<T: Configuration>() -> Result<Self, ConfigError> {
        let defaults = serde_json::to_string(&T::default()).map_err(ConfigError::Unwritable)?;
        let defaults: &RawValue = serde_json::from_str(&defaults).map_err(ConfigError::Unwritable)?;
        let mut keys = Vec::new();
        collect(&mut keys, &[], &schema::generate::<T>(), Some(defaults)).map_err(ConfigError::Unwritable)?;
        Ok(Self(keys))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    pub(super) fn get(&self, trail: &[String]) -> Option<&Key> {
        self.0.iter().find(|key| key.trail == trail)
    }

    /// The keys of a section.
    pub(super) fn within<'a, 't>(&'a self, trail: &'t [String]) -> impl Iterator<Item = &'a Key> + use<'a, 't> {
        self.0.iter().filter(move |key| key.trail.split_last().is_some_and(|(_, parent)| parent == trail))
    }

    /// What is meant by a key that there is not.
    pub(super) fn suggest(&self, trail: &[String]) -> Option<&Key> {
        let (name, parent) = trail.split_last()?;
        let closeness = |key: &Key| strsim::normalized_damerau_levenshtein(name, key.name());
        let path = trail.join(".");
        let elsewhere = self.0.iter().find(|key| key.path() == path || key.name() == name);
        let close = self.within(parent).filter(|key| closeness(key) >= CLOSE);
        elsewhere.or_else(|| close.max_by(|one, other| closeness(one).total_cmp(&closeness(other))))
    }
}

impl Key {
    /// Its path: `log.level`.
    pub(super) fn path(&self) -> String {
        self.trail.join(".")
    }

    /// Its own name: `level`.
    pub(super) fn name(&self) -> &str {
        self.trail.last().map_or("", String::as_str)
    }

    /// Whether a value of the right type is allowed.
    pub(super) fn is_allowed(&self, value: &Value) -> bool {
        self.allowed.is_none_or(|allowed| allowed.allows(value))
    }

    /// The variable that sets it.
    pub(super) fn variable(&self) -> String {
        format!("{PREFIX}{}", self.trail.join("__").to_uppercase())
    }

    /// What kind of value may stand there, in few words.
    pub(super) fn kinds(&self) -> String {
        self.alternatives(self.kind.split(" such as ").next().unwrap_or_default(), None)
    }

    /// Whether it is one of the texts that may stand there.
    pub(super) fn is_choice(&self, text: &str) -> bool {
        self.choices.iter().any(|(choice, _)| choice == text)
    }

    /// What may stand in the place of a section's object, in words, with that.
    pub(super) fn or_object(&self, object: String) -> String {
        let choices = self.choices.iter().map(|(choice, _)| format!("{choice:?}"));
        either(&choices.chain([object]).chain(self.is_optional.then(|| "null".to_owned())).collect::<Vec<_>>())
    }

    /// What may stand there, in words.
    pub(super) fn wanted(&self, keys: &Keys) -> String {
        if self.is_section {
            let names: Vec<_> = keys.within(&self.trail).map(|key| format!("`{}`", key.name())).collect();
            return self.or_object(format!("an object with the keys {}", names.join(", ")));
        }
        self.alternatives(&self.kind, self.allowed)
    }

    fn alternatives(&self, kind: &str, allowed: Option<Allowed>) -> String {
        let choices = self.choices.iter().map(|(choice, _)| format!("{choice:?}"));
        let allowed = allowed.map(|allowed| format!(" ({allowed})")).unwrap_or_default();
        let kind = match kind {
            "" => None,
            kind if self.is_list => Some(format!("a list{allowed}, each entry {kind}")),
            kind => Some(format!("{kind}{allowed}")),
        };
        let null = self.is_optional.then(|| "null".to_owned());
        either(&choices.chain(kind).chain(null).collect::<Vec<_>>())
    }

    fn read(trail: Vec<String>, schema: &Value, default: Option<&RawValue>) -> Result<Self, serde_json::Error> {
        let text = |value: &Value, word: &str| value.get(word).and_then(Value::as_str).map(str::to_owned);
        let mut key = Self { trail, is_section: properties(schema).is_some(), ..Self::default() };
        key.default = default.map(|value| serde_json::from_str(value.get())).transpose()?;
        key.description = text(schema, "description").unwrap_or_default().replace('\n', " ");
        key.default_words = text(schema, schema::DEFAULT);
        for part in parts(schema) {
            let has_type = |name: &str| match part.get("type") {
                Some(Value::Array(types)) => types.iter().any(|one| one == name),
                one => one.is_some_and(|one| one == name),
            };
            key.is_optional |= has_type("null");
            key.is_list |= has_type("array");
            if let Some(allowed) = part.get(allowed::KEYWORD) {
                key.allowed = Some(Allowed::deserialize(allowed)?);
            }
            if let Some(choice) = text(part, "const") {
                key.choices.push((choice, text(part, "description").unwrap_or_default().replace('\n', " ")));
                continue;
            }
            if let Some(Value::Array(choices)) = part.get("enum") {
                let choices = choices.iter().filter_map(Value::as_str);
                key.choices.extend(choices.map(|choice| (choice.to_owned(), String::new())));
                continue;
            }
            let by_type = [
                ("boolean", "true or false"),
                ("integer", "a whole number"),
                ("number", "a number"),
                ("string", "a text"),
                ("array", "a text"),
            ];
            let by_type = by_type.into_iter().find(|(name, _)| has_type(name)).map(|(_, words)| words.to_owned());
            if let Some(kind) = text(part, schema::WANTED).or_else(|| by_type.filter(|_| key.kind.is_empty())) {
                key.kind = kind;
            }
        }
        Ok(key)
    }
}

fn collect(
    keys: &mut Vec<Key>,
    trail: &[String],
    schema: &Value,
    default: Option<&RawValue>,
) -> Result<(), serde_json::Error> {
    keys.push(Key::read(trail.to_owned(), schema, default)?);
    let Some(properties) = properties(schema) else { return Ok(()) };
    let defaults = default.map(entries).transpose()?.flatten().unwrap_or_default();
    let declared: Vec<_> = defaults.iter().map(|(name, value)| (&**name, Some(*value))).collect();
    let others = properties.keys().map(|name| (name.as_str(), None));
    let others = others.filter(|(name, _)| declared.iter().all(|(known, _)| known != name)).collect::<Vec<_>>();
    for (name, default) in declared.into_iter().chain(others) {
        if let Some(property) = properties.get(name) {
            collect(keys, &[trail, &[name.to_owned()]].concat(), property, default)?;
        }
    }
    Ok(())
}

/// Words as a choice: `a, b or c`.
pub(super) fn either(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
