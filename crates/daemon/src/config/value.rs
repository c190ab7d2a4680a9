//! Values on their way into a configuration.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Problem;

/// How much of a wrong value is shown, in characters.
const SHOWN: usize = 80;

/// What is said of a value that is not allowed.
pub(super) fn refusal(value: &Value, wanted: &str) -> String {
    let text = value.to_string();
    let shown = match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    };
    format!("{shown} is not allowed; wanted: {wanted}")
}

/// The value of a variable: JSON if that fits, else the text; the text first where the default is one.
pub(super) fn read_variable<T: DeserializeOwned>(defaults: &Value, trail: &[String], text: &str) -> Value {
    let as_text = Value::String(text.to_owned());
    let default = trail.iter().try_fold(defaults, |value, key| value.get(key));
    let Ok(as_json) = serde_json::from_str::<Value>(text) else { return as_text };
    let fits = |value: &Value| deserialize::<T>(defaults, nest(trail, value.clone())).is_ok();
    if matches!(default, Some(Value::String(_))) && fits(&as_text) {
        return as_text;
    }
    if !fits(&as_json) && fits(&as_text) { as_text } else { as_json }
}

/// An object that holds nothing but the value, at its place.
pub(super) fn nest(trail: &[String], value: Value) -> Value {
    trail.iter().rev().fold(value, |value, key| Value::Object(Map::from_iter([(key.clone(), value)])))
}

/// Objects are merged key by key; anything else replaces what was there.
pub(super) fn merge(base: &mut Value, layer: Value) {
    match (base, layer) {
        (Value::Object(base), Value::Object(layer)) => {
            for (key, value) in layer {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, layer) => *base = layer,
    }
}

/// A configuration of these values.
pub(super) fn deserialize<T: DeserializeOwned>(base: &Value, layer: Value) -> Result<T, Problem> {
    let mut whole = base.clone();
    merge(&mut whole, layer);
    serde_path_to_error::deserialize(whole).map_err(|error| {
        let message = without_position(error.inner());
        let message = match message.strip_prefix("missing field ") {
            Some(key) => format!("the key {key} is missing"),
            None => message,
        };
        Problem::new(error.path().to_string(), message)
    })
}

/// The message without the place, which is told apart.
pub(super) fn without_position(error: &serde_json::Error) -> String {
    let mut message = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    if let Some(cut) = message.strip_suffix(&position) {
        message.truncate(cut.len());
    }
    message
}
