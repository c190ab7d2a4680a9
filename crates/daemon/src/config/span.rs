//! Durations as people write them.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration, written as `"30s"`, `"5min"`, `"7days"` or `"1h 30min"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigDuration(pub Duration);

/// A text is not a duration.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a duration: a number and ms, s, min, h or d is wanted, as in \"30s\"")]
pub struct NotADuration {
    text: String,
}

impl FromStr for ConfigDuration {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, NotADuration> {
        humantime::parse_duration(text.trim()).map(Self).map_err(|_| NotADuration { text: text.to_owned() })
    }
}

impl fmt::Display for ConfigDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl Serialize for ConfigDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ConfigDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Visitor)
    }
}

impl JsonSchema for ConfigDuration {
    fn schema_name() -> Cow<'static, str> {
        "ConfigDuration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^\\s*([0-9]+\\s*[a-zA-Z]+\\s*)+$",
            "x-wanted": "a duration such as \"30s\"",
        })
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = ConfigDuration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration with its unit, such as \"30s\" or \"5min\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ConfigDuration, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_with_their_units() {
        for (text, milliseconds) in [("30s", 30_000), ("250ms", 250), ("7d", 604_800_000), ("1h 30min", 5_400_000)] {
            let duration: ConfigDuration = text.parse().unwrap();
            assert_eq!(duration.0, Duration::from_millis(milliseconds));
            assert_eq!(duration.to_string().parse(), Ok(duration));
        }
        for text in ["", "30", "-1s", "soon"] {
            assert!(text.parse::<ConfigDuration>().is_err(), "{text}");
        }
        let error = serde_json::from_str::<ConfigDuration>("30").unwrap_err().to_string();
        assert!(error.contains("\"30s\""), "{error}");
    }
}
