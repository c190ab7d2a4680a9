//! The JSON Schema of a configuration, generated from its structs.
//!
//! Keywords of our own carry what JSON Schema has no words for: `x-allowed` (see [`Allowed`]), `x-wanted` (what kind of
//! value it is, in words; of a list: each of its entries) and `x-default` (the default in words, where it depends on the
//! machine).

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Allowed, ConfigError, Configuration, allowed};

/// What kind of value is wanted, in words.
pub(super) const WANTED: &str = "x-wanted";

/// The default in words.
pub(super) const DEFAULT: &str = "x-default";

/// The schema as it is published: all that is known of a key stands in its description too, where editors show it.
pub fn schema<T: Configuration>() -> Result<String, ConfigError> {
    let mut schema = generate::<T>();
    describe(&mut schema);
    if let Value::Object(root) = &mut schema {
        root.insert("title".to_owned(), format!("The configuration of TaskMessenger's {}", T::COMPONENT).into());
    }
    serde_json::to_string_pretty(&schema).map(|text| text + "\n").map_err(ConfigError::Unwritable)
}

/// The schema with everything in its place: no part refers to another.
pub(super) fn generate<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// The properties of an object, also of one that may be left out.
pub(super) fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    parts(schema).into_iter().find_map(|part| part.get("properties")?.as_object())
}

/// A schema and everything that it leaves the choice between.
pub(super) fn parts(schema: &Value) -> Vec<&Value> {
    let choices = ["anyOf", "oneOf"].into_iter().filter_map(|word| schema.get(word)?.as_array()).flatten();
    std::iter::once(schema).chain(choices.flat_map(parts)).collect()
}

fn describe(schema: &mut Value) {
    let choices = ["anyOf", "oneOf"];
    for choice in choices {
        for part in schema.get_mut(choice).and_then(Value::as_array_mut).into_iter().flatten() {
            describe(part);
        }
    }
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for property in properties.into_iter().flat_map(Map::values_mut) {
        let allowed = property.get(allowed::KEYWORD).and_then(|word| Allowed::deserialize(word).ok());
        let default = property.get(DEFAULT).and_then(Value::as_str).map(str::to_owned);
        if let Value::Object(property) = property {
            // A machine's own default is no other's, and the defaults of a section are those of its keys.
            let is_own = default.is_some() && property.get("default").is_some_and(|value| !value.is_null());
            if is_own || property.get("default").is_some_and(Value::is_object) {
                property.remove("default");
            }
            let description =
                property.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ");
            let allowed = allowed.map(|allowed| format!("Allowed: {allowed}."));
            let default = default.map(|default| format!("Default: {default}."));
            let words = [Some(description), allowed, default].into_iter().flatten().collect::<Vec<_>>();
            property.insert("description".to_owned(), words.join(" ").trim().into());
        }
        describe(property);
    }
}
