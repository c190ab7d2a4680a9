//! What is allowed for a key, written once: at its field, as `#[schemars(transform = Allowed::times(LEAST, MOST))]`.
//!
//! From there it goes into the JSON Schema, and from the schema into the check, the messages and the documentation.

use std::{fmt, time::Duration};

use schemars::{Schema, transform::Transform};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ByteSize, ConfigDuration};

/// The schema's keyword.
pub(super) const KEYWORD: &str = "x-allowed";

/// What is allowed for a key, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Allowed {
    /// Whole numbers.
    Numbers {
        /// From here.
        least: u64,
        /// To here; `u64::MAX` is no limit.
        most: u64,
    },
    /// Sizes.
    Sizes {
        /// From here.
        least: ByteSize,
        /// To here.
        most: ByteSize,
    },
    /// Durations.
    Times {
        /// From here.
        least: ConfigDuration,
        /// To here.
        most: ConfigDuration,
    },
    /// Entries of a list.
    Entries {
        /// From here.
        least: usize,
        /// To here.
        most: usize,
    },
    /// Bytes of a text, which has no control characters either.
    Length {
        /// To here.
        most: usize,
    },
}

impl Allowed {
    /// Whole numbers.
    pub const fn numbers(least: u64, most: u64) -> Self {
        Self::Numbers { least, most }
    }

    /// Sizes, in bytes.
    pub const fn sizes(least: u64, most: u64) -> Self {
        Self::Sizes { least: ByteSize(least), most: ByteSize(most) }
    }

    /// Durations.
    pub const fn times(least: Duration, most: Duration) -> Self {
        Self::Times { least: ConfigDuration(least), most: ConfigDuration(most) }
    }

    /// Lists with so many entries.
    pub const fn entries(least: usize, most: usize) -> Self {
        Self::Entries { least, most }
    }

    /// Texts without control characters, of at most so many bytes.
    pub const fn length(most: usize) -> Self {
        Self::Length { most }
    }

    /// Whether a value that has its key's type is allowed. What this does not speak about is.
    pub(super) fn allows(&self, value: &Value) -> bool {
        match (*self, value) {
            (Self::Numbers { least, most }, value) => value.as_u64().is_none_or(|n| (least..=most).contains(&n)),
            (Self::Sizes { least, most }, value) => {
                serde_json::from_value(value.clone()).is_ok_and(|size: ByteSize| (least..=most).contains(&size))
                    || value.is_null()
            }
            // A word that may stand instead of a duration is none.
            (Self::Times { least, most }, value) => serde_json::from_value(value.clone())
                .map_or(true, |time: ConfigDuration| (least..=most).contains(&time)),
            (Self::Entries { least, most }, Value::Array(entries)) => (least..=most).contains(&entries.len()),
            (Self::Length { most }, Value::String(text)) => text.len() <= most && !text.chars().any(char::is_control),
            _ => true,
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbers { least, most: u64::MAX } => write!(f, "at least {least}"),
            Self::Numbers { least, most } => write!(f, "{least} to {most}"),
            Self::Sizes { least, most } => write!(f, "{least} to {most}"),
            Self::Times { least, most } => write!(f, "{least} to {most}"),
            Self::Entries { least: 0, most } => write!(f, "at most {most} entries"),
            Self::Entries { least, most } => write!(f, "{least} to {most} entries"),
            Self::Length { most } => write!(f, "at most {most} bytes, no control characters"),
        }
    }
}

impl Transform for Allowed {
    fn transform(&mut self, schema: &mut Schema) {
        match *self {
            Self::Numbers { least, most } => {
                schema.insert("minimum".to_owned(), least.into());
                if most < u64::MAX {
                    schema.insert("maximum".to_owned(), most.into());
                }
            }
            Self::Entries { least, most } => {
                schema.insert("minItems".to_owned(), least.into());
                schema.insert("maxItems".to_owned(), most.into());
            }
            // JSON Schema has no words for these (its lengths count characters): they stand in the description.
            Self::Sizes { .. } | Self::Times { .. } | Self::Length { .. } => (),
        }
        if let Ok(allowed) = serde_json::to_value(*self) {
            schema.insert(KEYWORD.to_owned(), allowed);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_ends_are_allowed_and_nothing_beyond() {
        let second = Duration::from_secs(1);
        let cases = [
            (Allowed::numbers(1, 9), json!([1, 9]), json!([0, 10]), "1 to 9"),
            (Allowed::numbers(1, u64::MAX), json!([1, u64::MAX]), json!([0]), "at least 1"),
            (
                Allowed::sizes(1 << 10, 1 << 20),
                json!(["1KiB", 1024, "1MiB", null]),
                json!([1023, "1025KiB"]),
                "1KiB to 1MiB",
            ),
            (
                Allowed::times(second, second * 60),
                json!(["1s", "1min", "none", null]),
                json!(["999ms", "61s"]),
                "1s to 1m",
            ),
            (Allowed::entries(1, 2), json!([["a"], ["a", "b"]]), json!([[], ["a", "b", "c"]]), "1 to 2 entries"),
            (
                Allowed::length(3),
                json!(["", "abc", "é"]),
                json!(["abcd", "éé", "a\n"]),
                "at most 3 bytes, no control characters",
            ),
        ];
        for (allowed, good, bad, words) in cases {
            assert_eq!(allowed.to_string(), words);
            for value in good.as_array().unwrap() {
                assert!(allowed.allows(value), "{allowed}: {value}");
            }
            for value in bad.as_array().unwrap() {
                assert!(!allowed.allows(value), "{allowed}: {value}");
            }
            let mut schema = schemars::json_schema!({});
            let mut transform = allowed;
            transform.transform(&mut schema);
            assert_eq!(serde_json::from_value::<Allowed>(schema.get(KEYWORD).unwrap().clone()).unwrap(), allowed);
        }
    }
}
