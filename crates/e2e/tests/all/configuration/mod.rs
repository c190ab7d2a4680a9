//! Configurations that can't work, what is printed of one that can, what is published about them, and ports that are taken.

mod documents;
mod wrong;

use crate::harness::{Site, json};

/// Writes a configuration file.
fn write(site: &Site, content: &str) -> String {
    let path = site.path("config.json");
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_good_configuration_is_printed_as_it_is_in_effect_with_where_it_comes_from() {
    let site = Site::prepare(json!({}));
    let file = write(&site, "{\n  // Slow links.\n  \"lease\": {\"grace\": \"45s\"}\n}");
    let arguments = ["manager", "--print-config", "--config", &file, "--state-dir", "/state"];
    let mut command = site.program(&arguments);
    command.env("TASK_MESSENGER_LOG__LEVEL", "debug");
    let listing = site.invoke_command(command, None).wait().ended_with(0);
    for (key, value, origin) in [
        ("lease.grace", "\"45s\"", &*format!("{file}, line 3, column 22")),
        ("log.level", "\"debug\"", "the variable TASK_MESSENGER_LOG__LEVEL"),
        ("state_directory", "\"/state\"", "the flag --state-dir"),
        ("durability", "\"strict\"", "the built-in default"),
    ] {
        let line = listing.text().lines().find(|line| line.split_whitespace().next() == Some(key)).unwrap();
        let (set, comment) = line.split_once('#').unwrap();
        assert_eq!((set.split_once('=').unwrap().1.trim(), comment.trim()), (value, origin), "{line}");
    }

    let manager = site.run(&["manager", "--print-config=json", "--config", &file]).ended_with(0).json();
    let config = &manager["config"];
    assert_eq!((&config["lease"]["grace"], &config["durability"]), (&json!("45s"), &json!("strict")));
    assert_eq!(manager["file"], json!(file));
    assert_eq!(manager["origins"]["lease.grace"], json!(format!("{file}, line 3, column 22")));
    site.run(&["manager", "--check-config", "--config", &file]).ended_with(0);
    // What is printed is a configuration that says the same.
    let file = write(&site, &config.to_string());
    assert_eq!(
        site.run(&["manager", "--print-config=json", "--config", &file]).ended_with(0).json()["config"],
        *config
    );

    let file = write(&site, r#"{"shutdown": {"grace": "45s"}}"#);
    let worker = site.run(&["worker", "--print-config=json", "--config", &file]).ended_with(0).json();
    assert_eq!(worker["config"]["shutdown"]["grace"], json!("45s"));
    site.run(&["worker", "--print-config=xml", "--config", &file]).ended_with(78).saying(&["`text` or `json`"]);
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
