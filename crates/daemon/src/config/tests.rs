use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;
use crate::logging::LogConfig;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Example {
    slots: u32,
    name: String,
    label: Option<String>,
    addresses: Vec<String>,
    payload: ByteSize,
    grace: Option<ConfigDuration>,
    log: LogConfig,
}

impl Default for Example {
    fn default() -> Self {
        Self {
            slots: 4,
            name: "one".to_owned(),
            label: None,
            addresses: Vec::new(),
            payload: ByteSize(1 << 20),
            grace: Some(ConfigDuration(Duration::from_secs(30))),
            log: LogConfig::default(),
        }
    }
}

impl Validate for Example {
    fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<_> = self.log.problems().into_iter().map(|problem| problem.below("log")).collect();
        if !(1..=64).contains(&self.slots) {
            problems.push(Problem::new("slots", format!("{} is not allowed; 1 to 64", self.slots)));
        }
        if self.payload.0 == 0 {
            problems.push(Problem::new("payload", "0 is not allowed"));
        }
        problems
    }
}

fn variables(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn flag(flag: &str, path: &str, value: Value) -> Override {
    Override { flag: flag.to_owned(), path: path.to_owned(), value }
}

/// Sources with a file of this content.
fn with_file(content: &str) -> (tempfile::TempDir, Sources) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.json");
    std::fs::write(&file, content).unwrap();
    (directory, Sources { file: Some(file), ..Sources::default() })
}

fn wrong(sources: &Sources) -> String {
    load::<Example>(sources).unwrap_err().to_string()
}

#[test]
fn later_layers_win_key_by_key() {
    let (_directory, mut sources) =
        with_file(r#"{"slots": 5, "name": "file", "log": {"level": "debug"}, "addresses": ["a:1", "b:2"]}"#);
    sources.environment = variables(&[
        ("TASK_MESSENGER_SLOTS", "6"),
        ("TASK_MESSENGER_NAME", "42"),
        ("TASK_MESSENGER_LABEL", "7"),
        ("TASK_MESSENGER_LOG__FORMAT", "json"),
        ("TASK_MESSENGER_ADDRESSES", r#"["c:3"]"#),
        ("TASK_MESSENGER_GRACE", "null"),
        ("TASK_MESSENGER_TASK", "1.2"),
        ("PATH", "/bin"),
    ]);
    sources.flags = vec![flag("--slots", "slots", json!(7)), flag("--payload", "payload", json!("2KiB"))];
    let loaded = load::<Example>(&sources).unwrap();
    let log = LogConfig { level: "debug".to_owned(), format: crate::logging::LogFormat::Json, ..LogConfig::default() };
    let expected = Example {
        slots: 7,
        name: "42".to_owned(),
        label: Some("7".to_owned()),
        addresses: vec!["c:3".to_owned()],
        payload: ByteSize(2048),
        grace: None,
        log,
    };
    assert_eq!(loaded.config, expected);
    assert_eq!(loaded.file, sources.file);

    // What is printed says the same as a file.
    let (_directory, printed) = with_file(&print(&loaded.config).unwrap());
    assert_eq!(load::<Example>(&printed).unwrap().config, expected);
}

#[test]
fn the_file_is_the_named_one_or_the_default_one_if_it_exists() {
    let (directory, with_flag) = with_file(r#"{"slots": 5}"#);
    let default = directory.path().join("default.json");
    let sources = Sources { default_file: Some(default.clone()), ..Sources::default() };
    assert_eq!(load::<Example>(&sources).unwrap().config, Example::default());
    std::fs::write(&default, r#"{"slots": 9}"#).unwrap();
    assert_eq!(load::<Example>(&sources).unwrap().config.slots, 9);
    let named = with_flag.file.as_ref().unwrap().display().to_string();
    let environment = variables(&[(FILE_VARIABLE, &named)]);
    let sources = Sources { environment, ..sources };
    assert_eq!(load::<Example>(&sources).unwrap().config.slots, 5);
    let sources = Sources { file: Some(directory.path().join("missing.json")), ..sources };
    assert!(matches!(load::<Example>(&sources), Err(ConfigError::Read { .. })));
}

#[test]
fn an_error_in_the_file_names_the_place_the_key_and_what_is_allowed() {
    for (content, parts) in [
        ("{\n  \"slotz\": 1}", &["config.json, line 2, column 9: slotz", "unknown field `slotz`", "`slots`"][..]),
        ("{\"log\": {\n\"format\": \"xml\"}}", &["line 2", "log.format", "`text` or `json`"]),
        ("{\"slots\": \"many\"}", &["line 1", "slots", "expected u32"]),
        ("{\"slots\": -1}", &["slots", "expected u32"]),
        ("{\"addresses\": [\"a:1\", 5]}", &["addresses[1]", "expected a string"]),
        ("{\"payload\": \"lots\"}", &["payload", "64MiB"]),
        ("{\"grace\": 30}", &["grace", "\"30s\""]),
        ("{\"slots\": 1, \"slots\": 2}", &["duplicate field `slots`"]),
        ("{\"slots\": 1,\n}", &["line 2", "trailing comma"]),
        ("{} {}", &["trailing characters"]),
        ("", &["EOF"]),
    ] {
        let (_directory, sources) = with_file(content);
        let text = wrong(&sources);
        for part in parts {
            assert!(text.contains(part), "{part:?} is missing in: {text}");
        }
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_where_it_comes_from() {
    let (_directory, mut sources) = with_file(r#"{"slots": true}"#);
    sources.environment = variables(&[("TASK_MESSENGER_NOPE", "1"), ("TASK_MESSENGER_LOG__FORMAT", "xml")]);
    sources.flags = vec![flag("--grace", "grace", json!("soon"))];
    let text = wrong(&sources);
    for part in [
        "config.json, line 1, column 14: slots",
        "the variable TASK_MESSENGER_NOPE: nope: unknown field",
        "the variable TASK_MESSENGER_LOG__FORMAT: log.format: unknown variant `xml`",
        "the flag --grace: grace: ",
    ] {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }

    let (_directory, mut sources) = with_file(r#"{"slots": 65}"#);
    sources.environment = variables(&[("TASK_MESSENGER_LOG__LEVEL", "x=y=z")]);
    sources.flags = vec![flag("--payload", "payload", json!(0))];
    let text = wrong(&sources);
    for part in [
        "config.json: slots: 65 is not allowed; 1 to 64",
        "the variable TASK_MESSENGER_LOG__LEVEL: log.level: \"x=y=z\" is not a log level",
        "the flag --payload: payload: 0 is not allowed",
    ] {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}
