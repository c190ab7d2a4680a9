//! Configurations that can't work, and ports that are taken.

use crate::harness::{Site, json};

fn write(site: &Site, content: &str) -> String {
    let path = site.path("config.json");
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_bad_configuration_ends_with_78_and_names_file_key_and_what_is_allowed() {
    let site = Site::prepare(json!({}));
    let cases = [
        ("manager", r#"{"lease": {"grace": "1ms"}}"#, &["lease.grace", "1s to 1day"][..]),
        ("manager", r#"{"leese": {}}"#, &["leese", "lease"]),
        ("manager", r#"{"durability": "maybe"}"#, &["durability", "strict", "interval", "none"]),
        ("manager", "{\n  \"limits\": {\"payload\": true}\n}", &["limits.payload", "line 2"]),
        ("manager", "{", &["line 1"]),
        ("worker", r#"{"slots": 0}"#, &["slots", "1 to 65536"]),
        ("worker", r#"{"managers": ["nonsense"]}"#, &["managers", "HOST:PORT"]),
        ("worker", r#"{"kinds": {"wasm": true}}"#, &["kinds.wasm", "command"]),
    ];
    for (component, content, words) in cases {
        let file = write(&site, content);
        for command in [&[component, "run", "--config", &file][..], &[component, "--check-config", "--config", &file]] {
            site.run(command).ended_with(78).saying(&[&[file.as_str()], words].concat());
        }
    }
    site.run(&["manager", "run", "--config", "/nowhere.json"]).ended_with(78).saying(&["/nowhere.json"]);
    site.run(&["manager", "run", "--no-such-flag"]).ended_with(78);
    site.run(&["worker", "run", "--no-such-flag"]).ended_with(78);
    assert!(!site.path("manager").exists(), "nothing is made by a start that can't succeed");
}

#[test]
fn a_good_configuration_is_printed_as_it_is_in_effect() {
    let site = Site::prepare(json!({}));
    let file = write(&site, r#"{"lease": {"grace": "45s"}}"#);
    let manager = site.run(&["manager", "--print-config", "--config", &file]).ended_with(0).json();
    assert_eq!((&manager["lease"]["grace"], &manager["durability"]), (&json!("45s"), &json!("strict")));
    site.run(&["manager", "--check-config", "--config", &file]).ended_with(0);
    let file = write(&site, r#"{"shutdown": {"grace": "45s"}}"#);
    let worker = site.run(&["worker", "--print-config", "--config", &file]).ended_with(0).json();
    assert_eq!(worker["shutdown"]["grace"], json!("45s"));
    for program in [&["manager", "--version"][..], &["worker", "--version"], &["--version"]] {
        assert!(site.run(program).ended_with(0).text().contains(env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn a_port_that_is_taken_ends_with_1_and_touches_nothing() {
    let site = Site::start();
    let address = site.address().to_string();
    let other = site.path("other");
    let run = ["manager", "run", "--listen", &address, "--state-dir", other.to_str().unwrap()];
    site.run(&run).ended_with(1).saying(&[&address, "listen"]);
    assert!(!other.exists());
}
