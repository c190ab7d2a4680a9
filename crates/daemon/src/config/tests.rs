use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;
use crate::{
    http::{HttpCertificate, HttpTls},
    logging::LogConfig,
};

/// All kinds of keys that there are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Example {
    /// How many run
    /// at a time.
    #[schemars(transform = Allowed::numbers(1, 64))]
    slots: u32,
    /// Its name.
    #[schemars(extend("x-default" = "the machine's name"))]
    name: String,
    /// What people call it.
    #[schemars(extend("x-default" = "the machine's"))]
    label: Option<String>,
    #[schemars(extend("x-wanted" = "HOST:PORT"), transform = Allowed::entries(0, 3))]
    addresses: Vec<String>,
    #[schemars(transform = Allowed::sizes(1, 1 << 30))]
    payload: ByteSize,
    #[schemars(transform = Allowed::times(Duration::ZERO, Duration::from_mins(1)))]
    grace: Option<ConfigDuration>,
    pair: Option<Pair>,
    log: LogConfig,
}

/// Two that belong together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Pair {
    #[schemars(extend("x-wanted" = "a path"))]
    one: PathBuf,
    /// The other one.
    other: u8,
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
            pair: None,
            log: LogConfig::default(),
        }
    }
}

impl Validate for Example {
    fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<_> = self.log.problems().into_iter().map(|problem| problem.below("log")).collect();
        for (index, address) in self.addresses.iter().enumerate().filter(|(_, address)| !address.contains(':')) {
            problems.push(Problem::new(format!("addresses[{index}]"), format!("{address} is no address")));
        }
        if self.name == "labelled" && self.label.is_none() {
            problems.push(Problem::new("label", "a label is wanted"));
        }
        if self.payload.0 < u64::from(self.slots) {
            problems.push(Problem::new("payload", "at least a byte a slot is wanted"));
        }
        problems
    }
}

impl Configuration for Example {
    const COMPONENT: &'static str = "example";
    const RELOADABLE: &'static [&'static str] = &["slots", "log"];
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
        pair: None,
        log,
    };
    assert_eq!(loaded.config, expected);
    assert_eq!(loaded.file, sources.file);

    // What is printed says the same as a file.
    let printed: Value = serde_json::from_str(&print(&loaded, PrintFormat::Json).unwrap()).unwrap();
    let (_directory, again) = with_file(&printed["config"].to_string());
    assert_eq!(load::<Example>(&again).unwrap().config, expected);
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
        ("{\n  \"slotz\": 1}", &["config.json, line 2, column 3: slotz: there is no such key; is `slots` meant?"][..]),
        ("{\"log\": {\n\"format\": \"xml\"}}", &["line 2, column 11: log.format: \"xml\"", "\"text\" or \"json\""]),
        (
            "{\"slots\": \"many\"}",
            &["line 1, column 11: slots: \"many\" is not allowed; wanted: a whole number (1 to 64)"],
        ),
        ("// one\n{\"slots\": /* two */ -1}", &["line 2, column 21: slots: -1 is not allowed", "1 to 64"]),
        ("{\"slots\": 65}", &["column 11: slots: 65 is not allowed", "1 to 64"]),
        (
            "{\"addresses\": [\"a:1\", 5, []]}",
            &["column 23: addresses[1]: 5 is", "column 26: addresses[2]: []", "HOST:PORT"],
        ),
        ("{\"addresses\": [\"a:1\",\n \"b\"]}", &["line 2, column 2: addresses[1]: b is no address"]),
        ("{\"addresses\": [\"a:1\", \"a:1\", \"a:1\", \"a:1\"]}", &["addresses: [", "at most 3 entries"]),
        ("{\"payload\": \"lots\"}", &["payload", "64MiB", "1B to 1GiB"]),
        ("{\"payload\": 0}", &["payload: 0 is not allowed", "1B to 1GiB"]),
        ("{\"grace\": 30}", &["grace", "\"30s\"", "0s to 1m"]),
        ("{\"slots\": 1,\n \"slots\": 2}", &["line 2, column 2: slots: the key stands there twice, first in line 1"]),
        ("{\"slots\": 1,\n}", &["line 2, column 1: this is not JSON: trailing comma"]),
        ("{} {}", &["trailing characters"]),
        ("", &["EOF"]),
        ("{}\n /* no end", &["line 2, column 2: this is not JSON"]),
        ("[]", &["line 1, column 1: [] is not allowed; wanted: an object with the keys `slots`"]),
        (
            "{\"log\": [\"info\"]}",
            &["log: [\"info\"] is not allowed; wanted: an object with the keys `level`, `format`"],
        ),
        ("{\"log\": null}", &["log: null is not allowed"]),
        ("{\"log.level\": \"info\"}", &["log.level: there is no such key; write it as {\"log\":{\"level\":\"…\"}}"]),
        ("{\"a\\u001b[31m\\n\": 1}", &["a\\u{1b}[31m\\n: there is no such key"]),
        ("{\"level\": \"info\"}", &["is `log.level` meant?"]),
        ("{\"nothing\": {\"like\": \"it\"}}", &["nothing: there is no such key; allowed here: `slots`, `name`"]),
        ("{\"pair\": {\"one\": 1, \"three\": 3}}", &["pair.one: 1 is", "a path", "pair.three: there is no such key"]),
        ("{\"pair\":\n{\"one\": \"x\"}}", &["line 2, column 1: pair: the key `other` is missing"]),
    ] {
        let (_directory, sources) = with_file(content);
        let text = wrong(&sources);
        for part in parts {
            assert!(text.contains(part), "{part:?} is missing in: {text}");
        }
    }
}

#[test]
fn a_section_may_be_put_together_from_several_layers() {
    let (_directory, mut sources) = with_file("{\"pair\": {\"one\": \"x\"}}");
    sources.environment = variables(&[("TASK_MESSENGER_PAIR__OTHER", "7")]);
    let loaded = load::<Example>(&sources).unwrap();
    assert_eq!(loaded.config.pair, Some(Pair { one: "x".into(), other: 7 }));
    assert_eq!(loaded.origins.of("pair.other"), Origin::Variable { name: "TASK_MESSENGER_PAIR__OTHER".to_owned() });
    sources.environment = variables(&[("TASK_MESSENGER_PAIR", "null")]);
    assert_eq!(load::<Example>(&sources).unwrap().config.pair, None);
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_where_it_comes_from() {
    let content = "{\"slots\": true,\n\"payload\": \"3GiB\",\n\"lag\": {},\n\"log\": {\"level\": \"loud\"}}";
    let (_directory, mut sources) = with_file(content);
    sources.environment = variables(&[
        ("TASK_MESSENGER_NOPE", "1"),
        ("TASK_MESSENGER_NAMES", "1"),
        ("TASK_MESSENGER_PAIR", "{\"one\": \"x\"}"),
        ("TASK_MESSENGER_LOG", "{\"format\": \"xml\", \"colour\": true}"),
    ]);
    sources.flags = vec![flag("--grace", "grace", json!("soon")), flag("--address", "addresses", json!(["here"]))];
    let text = wrong(&sources);
    let expected = [
        "config.json, line 1, column 11: slots: true is not allowed",
        "config.json, line 2, column 12: payload: \"3GiB\" is not allowed",
        "config.json, line 3, column 1: lag: there is no such key; is `log` meant?",
        "the variable TASK_MESSENGER_LOG: log.colour: there is no such key",
        "the variable TASK_MESSENGER_LOG: log.format: \"xml\" is not allowed",
        "the variable TASK_MESSENGER_NAMES: names: there is no such key; is `TASK_MESSENGER_NAME` meant?",
        "the variable TASK_MESSENGER_NOPE: nope: there is no such key; allowed here: `TASK_MESSENGER_SLOTS`",
        "the flag --grace: grace: \"soon\" is not allowed",
        "the variable TASK_MESSENGER_PAIR: pair: the key `other` is missing",
        "config.json, line 4, column 18: log.level: \"loud\" is not a log level",
        "the flag --address: addresses[0]: here is no address",
    ];
    let lines: Vec<_> = text.lines().skip(1).collect();
    assert_eq!(lines.len(), expected.len(), "{text}");
    for (line, part) in lines.iter().zip(expected) {
        assert!(line.contains(part), "{part:?} is missing in: {line}");
    }
}

#[test]
fn what_a_file_lacks_that_cannot_be_read_is_no_problem_of_its_own() {
    let (_directory, mut sources) = with_file("{");
    sources.environment = variables(&[("TASK_MESSENGER_LOG__LEVEL", "loud"), ("TASK_MESSENGER_NAME", "labelled")]);
    let text = wrong(&sources);
    assert!(text.contains("this is not JSON") && text.contains("\"loud\" is not a log level"), "{text}");
    assert!(!text.contains("a label is wanted"), "{text}");
    std::fs::write(sources.file.as_ref().unwrap(), "{}").unwrap();
    assert!(wrong(&sources).contains("the built-in default: label: a label is wanted"));
    std::fs::write(sources.file.as_ref().unwrap(), b"{\"name\":\n \"\xff\"}").unwrap();
    assert!(wrong(&sources).contains("line 2, column 3: this is not UTF-8"), "{}", wrong(&sources));
}

#[test]
fn what_holds_is_printed_with_where_it_comes_from() {
    let (_directory, mut sources) = with_file("{\n\"slots\": 5, // five\n\"log\": {\"level\": \"debug\"}}");
    sources.environment = variables(&[("TASK_MESSENGER_NAME", "seven")]);
    sources.flags = vec![flag("--address", "addresses", json!(["a:1"]))];
    let loaded = load::<Example>(&sources).unwrap();
    let file = sources.file.as_ref().unwrap().display().to_string();
    let text = print(&loaded, PrintFormat::Text).unwrap();
    let expected = [
        format!("# the configuration that holds, with the file {file}"),
        format!("slots             = 5           # {file}, line 2, column 10"),
        "name              = \"seven\"     # the variable TASK_MESSENGER_NAME".to_owned(),
        "label             = null        # the built-in default".to_owned(),
        "addresses         = [\"a:1\"]     # the flag --address".to_owned(),
        "payload           = \"1MiB\"      # the built-in default".to_owned(),
        "grace             = \"30s\"       # the built-in default".to_owned(),
        "pair              = null        # the built-in default".to_owned(),
        format!("log.level         = \"debug\"     # {file}, line 3, column 18"),
        "log.format        = \"text\"      # the built-in default".to_owned(),
        "log.file          = null        # the built-in default".to_owned(),
        "log.rotation.mode = \"internal\"  # the built-in default".to_owned(),
        "log.rotation.size = \"64MiB\"     # the built-in default".to_owned(),
        "log.rotation.age  = \"1day\"      # the built-in default".to_owned(),
        "log.rotation.keep = 8           # the built-in default".to_owned(),
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);

    let printed: Value = serde_json::from_str(&print(&loaded, PrintFormat::Json).unwrap()).unwrap();
    assert_eq!((&printed["file"], &printed["config"]), (&json!(file), &json!(loaded.config)));
    let origins = printed["origins"].as_object().unwrap();
    assert_eq!((origins.len(), &origins["name"]), (14, &json!("the variable TASK_MESSENGER_NAME")));
}

#[test]
fn a_secret_is_refused_wherever_it_stands_and_shown_nowhere() {
    let token = "tm1w_AQAAAAerq6urq6urq6urq6urq6urq6urq6urq6urq6urq6urqwDNzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3NzQIU";
    let key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----";
    let content = json!({
        "name": token, "label": format!("x {token}"), "slots": token, "addresses": [token], "log": token, token: 1,
        "pair": {"one": key, "other": 1}, "password": "hunter2", "secrets": {"it": "hunter2"},
    });
    let (_directory, mut sources) = with_file(&content.to_string());
    sources.environment = variables(&[
        ("TASK_MESSENGER_PAYLOAD", token),
        ("TASK_MESSENGER_LOG__FORMAT", token),
        ("TASK_MESSENGER_TOKEN", "hunter2"),
    ]);
    sources.flags = vec![flag("--grace", "grace", json!(token))];
    let error = load::<Example>(&sources).unwrap_err();
    let text = crate::exit::chain(&error);
    assert!(!text.contains("tm1w_") && !text.contains("hunter2") && !text.contains("MHcCAQEE"), "{text}");
    for path in ["name", "label", "slots", "addresses", "log", "payload", "log.format", "grace"] {
        assert!(text.contains(&format!(": {path}: a token stands where ")), "{path}: {text}");
    }
    for part in
        ["pair.one: a private key stands where a path is wanted", "***: there is no such key", "password: there"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("is missing"), "what was refused is not missing too: {text}");
    let missing = Sources { file: Some(token.into()), ..Sources::default() };
    assert!(wrong(&missing).contains("the configuration file *** can't be read"));
    // Whatever a program puts together is printed without.
    let config = Example { name: token.to_owned(), ..Example::default() };
    let loaded = Loaded { config, file: None, origins: Origins::default() };
    for format in [PrintFormat::Text, PrintFormat::Json] {
        assert!(!print(&loaded, format).unwrap().contains("tm1w_"));
    }
}

#[test]
fn what_is_generated_says_all_that_is_known_of_a_key() {
    let schema: Value = serde_json::from_str(&schema::<Example>().unwrap()).unwrap();
    let name = &schema["properties"]["name"];
    assert_eq!(
        *name,
        json!({"type": "string", "description": "Its name. Default: the machine's name.",
        "x-default": "the machine's name"})
    );
    let slots = &schema["properties"]["slots"];
    assert_eq!((&slots["minimum"], &slots["maximum"], &slots["default"]), (&json!(1), &json!(64), &json!(4)));
    assert_eq!(slots["description"], "How many run at a time. Allowed: 1 to 64.");
    assert_eq!(schema["additionalProperties"], false);
    let chapter = reference::<Example>().unwrap();
    for line in [
        "| `slots`<br>`TASK_MESSENGER_SLOTS` | a whole number | 1 to 64 | `4` | at a reload | How many run at a time. |",
        "| `label`<br>`TASK_MESSENGER_LABEL` | a text or null |  | the machine's | at a restart | What people call it. |",
        "| `addresses`<br>`TASK_MESSENGER_ADDRESSES` | a list, each entry HOST:PORT | at most 3 entries | `[]` | at a restart |  |",
        "| `pair.other`<br>`TASK_MESSENGER_PAIR__OTHER` | a whole number |  | none | at a restart | The other one. |",
        "### `pair` of the example",
    ] {
        assert!(chapter.lines().any(|found| found == line), "{line}\nis missing in\n{chapter}");
    }
    assert!(
        chapter
            .contains("\"text\" or \"json\" |  | `\"text\"` | at a reload | How log lines are written. \"text\": For")
    );

    let (_directory, sources) = with_file(&sample::<Example>().unwrap());
    assert_eq!(load::<Example>(&sources).unwrap().config, Example::default());
    let reloadable = ["slots", "log", "log.level", "name", "pair.one"].map(is_reloadable::<Example>);
    assert_eq!(reloadable, [true, true, true, false, false]);
    assert_eq!(check(&Example::default()).unwrap(), []);
    assert_eq!(check(&Example { slots: 65, ..Example::default() }).unwrap()[0].path, "slots");
}

/// An object for which a text may stand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Choosing {
    /// Which certificate is shown.
    tls: Option<HttpTls>,
}

impl Validate for Choosing {
    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }
}

impl Configuration for Choosing {
    const COMPONENT: &'static str = "choosing";
    const RELOADABLE: &'static [&'static str] = &[];
}

#[test]
fn a_text_may_stand_for_an_object_if_it_is_one_of_those_that_may() {
    for (content, tls) in [
        (r#"{"tls": "own"}"#, Some(HttpTls::Own)),
        (r#"{"tls": null}"#, None),
        (
            r#"{"tls": {"chain": "a", "key": "b"}}"#,
            Some(HttpTls::Files(HttpCertificate { chain: "a".into(), key: "b".into() })),
        ),
    ] {
        let (_directory, sources) = with_file(content);
        assert_eq!(load::<Choosing>(&sources).unwrap().config.tls, tls, "{content}");
    }
    let (_directory, sources) = with_file(r#"{"tls": "other"}"#);
    let said = load::<Choosing>(&sources).unwrap_err().to_string();
    let wanted = "\"own\", an object with the keys `chain`, `key` or null";
    assert!(said.contains(&format!("\"other\" is not allowed; wanted: {wanted}")), "{said}");
    assert!(reference::<Choosing>().unwrap().contains("| \"own\", an object (below) or null |"));
}
