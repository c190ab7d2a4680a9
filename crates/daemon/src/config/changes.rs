//! What differs between two configurations, and what of it can change while a daemon runs.

use serde::Serialize;
use serde_json::Value;

use super::Configuration;

/// The paths of all keys that differ (`log.level`). A list is one value; so is a part that one of both leaves out.
pub fn changes(old: &impl Serialize, new: &impl Serialize) -> Vec<String> {
    let mut changed = Vec::new();
    // What was read from JSON can be written as JSON.
    compare(
        "",
        &serde_json::to_value(old).unwrap_or_default(),
        &serde_json::to_value(new).unwrap_or_default(),
        &mut changed,
    );
    changed
}

/// Whether a key can change while the daemon runs: it, or what it lies in, is [`Configuration::RELOADABLE`].
pub fn is_reloadable<T: Configuration>(path: &str) -> bool {
    let within = |part: &str| path.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    T::RELOADABLE.iter().any(|part| within(part))
}

fn compare(path: &str, old: &Value, new: &Value, changed: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let added = new.keys().filter(|key| !old.contains_key(*key));
            for key in old.keys().chain(added) {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(&path, old.get(key).unwrap_or(&Value::Null), new.get(key).unwrap_or(&Value::Null), changed);
            }
        }
        _ if old != new => changed.push(path.to_owned()),
        _ => (),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_named_leaf_by_leaf() {
        let old = json!({"a": 1, "b": {"c": [1, 2], "d": null, "e": 5}, "f": {"g": 1}, "h": 0});
        let new = json!({"a": 1, "b": {"c": [1, 3], "d": {"x": 1}, "e": 5}, "f": null, "i": 0});
        assert_eq!(changes(&old, &new), ["b.c", "b.d", "f", "h", "i"]);
        assert!(changes(&old, &old).is_empty());
    }
}
