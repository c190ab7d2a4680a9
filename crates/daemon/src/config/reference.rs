//! What people read about a configuration, generated from the same source as the schema: a chapter of
//! `docs/CONFIGURATION.md`, and a sample file.

use super::{
    ConfigError, Configuration, is_reloadable,
    keys::{Key, Keys},
};

/// The width of comments in a sample.
const WIDTH: usize = 100;

/// What holds for every configuration.
pub const INTRODUCTION: &str = include_str!("introduction.md");

/// The chapter about a component's configuration, in Markdown.
pub fn reference<T: Configuration>() -> Result<String, ConfigError> {
    let keys = Keys::of::<T>()?;
    let component = T::COMPONENT;
    let mut lines = vec![
        format!("## The {component}"),
        String::new(),
        format!(
            "File: `config-{component}.json`. Schema: \
             [config-{component}.schema.json](config-{component}.schema.json). Sample: \
             [config-{component}.sample.jsonc](config-{component}.sample.jsonc)."
        ),
    ];
    for section in keys.iter().filter(|key| key.is_section) {
        if !section.trail.is_empty() {
            let title = format!("### `{}` of the {component}", section.path());
            lines.extend([String::new(), title, String::new(), section.description.clone()]);
        }
        let columns = "| key and variable | type | allowed | default | changes take effect | what it sets |";
        lines.extend(["", columns, "| --- | --- | --- | --- | --- | --- |"].map(str::to_owned));
        for key in keys.within(&section.trail).filter(|key| !key.is_section || key.is_optional) {
            let when = if is_reloadable::<T>(&key.path()) { "at a reload" } else { "at a restart" };
            let allowed = key.allowed.map(|allowed| allowed.to_string()).unwrap_or_default();
            let kinds = if key.is_section { key.or_object("an object (below)".to_owned()) } else { key.kinds() };
            let name = format!("`{}`<br>`{}`", key.path(), key.variable());
            let cells = [name, kinds, allowed, default(key), when.to_owned(), explain(key)];
            lines.push(format!("| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | ")));
        }
    }
    Ok(lines.join("\n") + "\n")
}

/// A file with every key at its default, explained in comments.
pub fn sample<T: Configuration>() -> Result<String, ConfigError> {
    let keys = Keys::of::<T>()?;
    let component = T::COMPONENT;
    let mut lines = comment(
        "",
        &format!(
            "A configuration of TaskMessenger's {component}: every key, at its default. A file may leave out any; what it \
             leaves out is as here. Comments may stand in it as they do here. See docs/CONFIGURATION.md."
        ),
    );
    lines.push("{".to_owned());
    add_section(&mut lines, &keys, &[], "  ");
    lines.push("}\n".to_owned());
    Ok(lines.join("\n"))
}

fn add_section(lines: &mut Vec<String>, keys: &Keys, trail: &[String], indent: &str) {
    let section: Vec<_> = keys.within(trail).collect();
    let last = section.iter().rposition(|key| is_active(key));
    for (index, key) in section.into_iter().enumerate() {
        let comma = if Some(index) == last { "" } else { "," };
        let name = key.name();
        if index > 0 {
            lines.push(String::new());
        }
        if key.is_section && !key.is_optional {
            lines.extend(comment(indent, &key.description));
            lines.push(format!("{indent}\"{name}\": {{"));
            add_section(lines, keys, &key.trail, &format!("{indent}  "));
            lines.push(format!("{indent}}}{comma}"));
            continue;
        }
        lines.extend(comment(indent, &about(key, keys)));
        for inner in keys.within(&key.trail) {
            lines.extend(comment(indent, &format!("- {}: {}", inner.name(), about(inner, keys))));
        }
        lines.push(match &key.default {
            Some(default) if is_active(key) => format!("{indent}\"{name}\": {default}{comma}"),
            _ => format!("{indent}// \"{name}\": …,"),
        });
    }
}

/// Whether a key's default is the same on every machine, and so can stand in a sample.
fn is_active(key: &Key) -> bool {
    key.default_words.is_none() || key.default.as_ref().is_some_and(serde_json::Value::is_null)
}

fn about(key: &Key, keys: &Keys) -> String {
    let default = key.default_words.as_ref().map(|words| format!(" Default: {words}.")).unwrap_or_default();
    format!("{} Wanted: {}.{default}", explain(key), key.wanted(keys))
}

/// What a key does, and what each of its choices means.
fn explain(key: &Key) -> String {
    let meanings = key.choices.iter().filter(|(_, meaning)| !meaning.is_empty());
    let meanings: Vec<_> = meanings.map(|(choice, meaning)| format!(" {choice:?}: {meaning}")).collect();
    format!("{}{}", key.description, meanings.concat())
}

fn default(key: &Key) -> String {
    match (&key.default_words, &key.default) {
        (Some(words), _) => words.clone(),
        (None, Some(value)) => format!("`{value}`"),
        (None, None) => "none".to_owned(),
    }
}

/// A comment, in lines.
fn comment(indent: &str, text: &str) -> Vec<String> {
    let mut lines = vec![format!("{indent}//")];
    for word in text.split_whitespace() {
        if lines.last().is_some_and(|line| line.chars().count() + 1 + word.chars().count() > WIDTH) {
            lines.push(format!("{indent}//"));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines
}
