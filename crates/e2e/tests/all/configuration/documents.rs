//! What is published about configurations is generated, and current.

use serde_json::Value;
use task_messenger_daemon::config::{Configuration, INTRODUCTION, Sources, load, reference, sample, schema};
use task_messenger_manager::config::Config;
use task_messenger_worker::config::WorkerConfig;

const RENEW: &str = "UPDATE_DOCS=1 cargo test -p task-messenger-e2e what_is_published";

#[test]
fn what_is_published_about_configurations_is_current() {
    let chapters = [INTRODUCTION.to_owned(), reference::<Config>().unwrap(), reference::<WorkerConfig>().unwrap()];
    let documents = [
        ("CONFIGURATION.md", chapters.join("\n")),
        ("config-manager.schema.json", schema::<Config>().unwrap()),
        ("config-worker.schema.json", schema::<WorkerConfig>().unwrap()),
        ("config-manager.sample.jsonc", sample::<Config>().unwrap()),
        ("config-worker.sample.jsonc", sample::<WorkerConfig>().unwrap()),
    ];
    for (name, content) in documents {
        let path = format!("{}/../../docs/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &content).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(published == content, "docs/{name} is not what the source says; renew it with: {RENEW}");
    }
}

/// A component's published files hold for the component itself.
fn check_documents<T: Configuration + PartialEq + std::fmt::Debug>() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), sample::<T>().unwrap()).unwrap();
    let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
    let sampled = load::<T>(&sources).unwrap().config;
    assert_eq!(sampled, T::default());

    let schema: Value = serde_json::from_str(&schema::<T>().unwrap()).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let defaults = serde_json::to_value(&sampled).unwrap();
    validator.validate(&defaults).unwrap();
    for path in T::RELOADABLE {
        assert!(defaults.pointer(&format!("/{}", path.replace('.', "/"))).is_some(), "{path} is no key");
    }
}

#[test]
fn samples_are_the_defaults_and_schemas_accept_them() {
    check_documents::<Config>();
    check_documents::<WorkerConfig>();
}

#[test]
fn schemas_accept_and_refuse_what_the_programs_do() {
    let schema: Value = serde_json::from_str(&schema::<Config>().unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (content, good) in [
        ("{}", true),
        (r#"{"retain": "none"}"#, true),
        (r#"{"retain": "1h 30min"}"#, true),
        (r#"{"retain": null, "durability": "none"}"#, true),
        (r#"{"limits": {"payload": "2 MiB", "outcome": 4096}, "disk": {"reserve": null}}"#, true),
        (r#"{"certificate": {"chain": "/c.pem", "key": "/k.pem"}}"#, true),
        (r#"{"listen": ["127.0.0.1:0"], "link": {"connections": 1000000}}"#, true),
        (r#"{"leese": {}}"#, false),
        (r#"{"lease": {"grace": "1s", "more": 1}}"#, false),
        (r#"{"lease": {"grace": 30}}"#, false),
        (r#"{"lease": null}"#, false),
        (r#"{"durability": "maybe"}"#, false),
        (r#"{"limits": {"payload": "2 mib"}}"#, false),
        (r#"{"limits": {"payload": -1}}"#, false),
        (r#"{"certificate": {"chain": "/c.pem"}}"#, false),
        (r#"{"listen": []}"#, false),
        (r#"{"link": {"connections": 0}}"#, false),
        (r#"{"link": {"connections": 1000001}}"#, false),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
        assert_eq!(load::<Config>(&sources).is_ok(), good, "{content}");
        assert_eq!(validator.is_valid(&serde_json::from_str(content).unwrap()), good, "{content}");
    }
}
