//! `--print-config`: what holds, and where each value comes from.

use std::{collections::BTreeMap, fmt::Write as _, str::FromStr};

use serde::Serialize;
use serde_json::value::RawValue;

use super::{ConfigError, Loaded, places::entries, secrets::redact};

/// Values up to this width stand in a column.
const WIDEST: usize = 40;

/// How a configuration is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrintFormat {
    /// For people: a line a key, with where its value comes from.
    #[default]
    Text,
    /// For programs: the configuration as a file would say it, the file, and the origin of each value.
    Json,
}

impl FromStr for PrintFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("`text` or `json` is wanted".to_owned()),
        }
    }
}

#[derive(Serialize)]
struct Printed<'a, T> {
    file: Option<String>,
    config: &'a T,
    origins: BTreeMap<String, String>,
}

/// What holds, and where each value comes from.
pub fn print<T: Serialize>(loaded: &Loaded<T>, format: PrintFormat) -> Result<String, ConfigError> {
    let text = serde_json::to_string(&loaded.config).map_err(ConfigError::Unwritable)?;
    let mut leaves = Vec::new();
    serde_json::from_str(&text)
        .and_then(|values| add_leaves(&mut leaves, "", values))
        .map_err(ConfigError::Unwritable)?;
    let file = loaded.file.as_ref().map(|file| file.to_string_lossy().into_owned());
    let origin = |path: &str| loaded.origins.of(path).to_string();
    let printed = match format {
        PrintFormat::Text => {
            let file = file.map_or_else(|| "no file".to_owned(), |file| format!("the file {file}"));
            list(&format!("the configuration that holds, with {file}"), &leaves, origin)
        }
        PrintFormat::Json => {
            let origins = leaves.into_iter().map(|(path, _)| (path.clone(), origin(&path))).collect();
            serde_json::to_string_pretty(&Printed { file, config: &loaded.config, origins })
                .map_err(ConfigError::Unwritable)?
        }
    };
    Ok(redact(&printed).into_owned())
}

fn list(title: &str, leaves: &[(String, &str)], origin: impl Fn(&str) -> String) -> String {
    let width =
        |texts: &mut dyn Iterator<Item = &str>| texts.map(|text| text.chars().count()).max().unwrap_or_default();
    let keys = width(&mut leaves.iter().map(|(path, _)| path.as_str()));
    let values = width(&mut leaves.iter().map(|(_, value)| *value).filter(|value| value.chars().count() <= WIDEST));
    let mut text = format!("# {title}");
    for (path, value) in leaves {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n{path:keys$} = {value:values$}  # {}", origin(path));
    }
    text
}

/// All values but sections, with their paths, in the order in which they are declared.
fn add_leaves<'a>(
    leaves: &mut Vec<(String, &'a str)>,
    path: &str,
    value: &'a RawValue,
) -> Result<(), serde_json::Error> {
    let Some(entries) = entries(value)? else {
        leaves.push((path.to_owned(), value.get()));
        return Ok(());
    };
    for (name, value) in entries {
        let path = if path.is_empty() { name.into_owned() } else { format!("{path}.{name}") };
        add_leaves(leaves, &path, value)?;
    }
    Ok(())
}
