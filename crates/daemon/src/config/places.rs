//! Where in a file each key and each value stands, and which keys stand twice.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

/// Line and column, from 1; the column in characters.
pub(super) type Position = (usize, usize);

/// The keys that lead to a value; an entry of a list has its index, `[0]`.
pub(super) type Trail = Vec<String>;

/// A trail as it is shown: `log.level`, `listen[0]`.
pub(super) fn path_of(trail: &[String]) -> String {
    trail.join(".").replace(".[", "[")
}

/// The trail of a path.
pub(super) fn trail_of(path: &str) -> Trail {
    path.replace('[', ".[").split('.').filter(|key| !key.is_empty()).map(str::to_owned).collect()
}

/// The places of a text.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// Of each key and of its value.
    found: BTreeMap<Trail, (Position, Position)>,
    /// Keys that stand in their object again, and where each stands first. The places are those of the last.
    pub(super) twice: Vec<(Trail, Position)>,
}

impl Places {
    /// The places of a text that is JSON.
    pub(super) fn of(text: &str) -> Result<Self, serde_json::Error> {
        let mut places = Self::default();
        let root: &RawValue = serde_json::from_str(text)?;
        let at = position(text, root.get());
        places.found.insert(Trail::new(), (at, at));
        places.add(text, &mut Trail::new(), root)?;
        Ok(places)
    }

    /// Where the key stands.
    pub(super) fn key(&self, trail: &[String]) -> Option<Position> {
        self.found.get(trail).map(|(key, _)| *key)
    }

    /// Where the value stands, or the innermost value around it.
    pub(super) fn value(&self, trail: &[String]) -> Option<Position> {
        (0..=trail.len()).rev().find_map(|length| self.found.get(&trail[..length])).map(|(_, value)| *value)
    }

    fn add(&mut self, text: &str, trail: &mut Trail, value: &RawValue) -> Result<(), serde_json::Error> {
        if let Some(entries) = entries(value)? {
            for (key, value) in entries {
                let at = position(text, value.get());
                // A key with an escape isn't a part of the text.
                let key_at = offset(text, &key).map_or(at, |offset| position_at(text, offset.saturating_sub(1)));
                trail.push(key.into_owned());
                if let Some((first, _)) = self.found.insert(trail.clone(), (key_at, at)) {
                    self.twice.push((trail.clone(), first));
                }
                self.add(text, trail, value)?;
                trail.pop();
            }
        } else if value.get().starts_with('[') {
            for (index, value) in serde_json::from_str::<Vec<&RawValue>>(value.get())?.into_iter().enumerate() {
                let at = position(text, value.get());
                trail.push(format!("[{index}]"));
                self.found.insert(trail.clone(), (at, at));
                self.add(text, trail, value)?;
                trail.pop();
            }
        }
        Ok(())
    }
}

/// A key with its value.
pub(super) type Entry<'a> = (Cow<'a, str>, &'a RawValue);

/// The keys and values of an object, in their order; `None` of anything else.
pub(super) fn entries(value: &RawValue) -> Result<Option<Vec<Entry<'_>>>, serde_json::Error> {
    if !value.get().starts_with('{') {
        return Ok(None);
    }
    serde_json::from_str::<Entries<'_>>(value.get()).map(|entries| Some(entries.0))
}

struct Entries<'a>(Vec<Entry<'a>>);

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((Key(key), value)) = map.next_entry()? {
                    entries.push((key, value));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

fn position(text: &str, part: &str) -> Position {
    position_at(text, offset(text, part).unwrap_or_default())
}

/// Where a part of a text begins in it, if it is one.
fn offset(text: &str, part: &str) -> Option<usize> {
    let offset = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    (offset + part.len() <= text.len()).then_some(offset)
}

/// The line and the column of an offset.
pub(super) fn position_at(text: &str, offset: usize) -> Position {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trail(keys: &str) -> Trail {
        keys.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn every_key_and_value_has_its_place_and_keys_that_stand_twice_are_found() {
        let text = "{\n  \"a\": 1, \"é\": {\"b\" :\n [true,  \"x\"]},\n\t\"a\": 2, \"\\u0063\": null}\n";
        let places = Places::of(text).unwrap();
        assert_eq!((places.key(&trail("a")), places.value(&trail("a"))), (Some((4, 2)), Some((4, 7))));
        assert_eq!((places.key(&trail("é.b")), places.value(&trail("é.b"))), (Some((2, 17)), Some((3, 2))));
        assert_eq!((places.value(&trail("é.b.[0]")), places.value(&trail("é.b.[1]"))), (Some((3, 3)), Some((3, 10))));
        // The innermost that is there; the value of a key with an escape.
        assert_eq!((places.value(&trail("é.z.y")), places.value(&trail("z"))), (Some((2, 16)), Some((1, 1))));
        assert_eq!(places.key(&trail("c")), Some((4, 20)));
        assert_eq!(places.twice, [(trail("a"), (2, 3))]);
    }
}
