//! A configuration holds the paths of secrets. Where a secret itself was pasted, it is refused and never shown.

use std::borrow::Cow;

use serde_json::Value;
use task_messenger_protocol::token::{contains_token, redact_tokens};

/// How a private key's text begins is this, with words between.
const PRIVATE_KEY: (&str, &str) = ("-----BEGIN ", "PRIVATE KEY-----");

/// What secret stands in a value, if one does.
pub(super) fn secret_in(value: &Value) -> Option<&'static str> {
    match value {
        Value::String(text) if contains_token(text) => Some("a token"),
        Value::String(text) if text.contains(PRIVATE_KEY.0) && text.contains(PRIVATE_KEY.1) => Some("a private key"),
        Value::Array(values) => values.iter().find_map(secret_in),
        Value::Object(entries) => entries.values().find_map(secret_in),
        _ => None,
    }
}

/// A text with `***` in the place of each token.
pub fn redact(text: &str) -> Cow<'_, str> {
    redact_tokens(text)
}
