//! Every wrong configuration ends with 78, and gives its message: where, which key, what is allowed.

use super::write;
use crate::harness::{Ended, Site, json};

/// A join token, as it is pasted.
const TOKEN: &str = "tm1w_AQAAAAerq6urq6urq6urq6urq6urq6urq6urq6urq6urq6urqwDNzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3NzQIUbWFuYWdlci5leGFtcGxlOjc0MDAOW2ZkMDA6OjFdOjc0MDDj-Nr0";

/// A component, the content of its file, the line of the problem, and what is said.
type Row = (&'static str, &'static str, usize, &'static [&'static str]);

const FILES: &[Row] = &[
    // What is no JSON.
    ("manager", "", 1, &["not JSON", "EOF"]),
    ("manager", "{", 1, &["not JSON", "EOF"]),
    ("manager", "{\n\"listen\": [],\n}", 3, &["not JSON", "trailing comma"]),
    ("manager", "{}\n{}", 2, &["not JSON", "trailing characters"]),
    ("manager", "{}\n/* for ever", 2, &["not JSON"]),
    ("manager", "lease:\n  grace: 30s", 1, &["not JSON"]),
    ("manager", "[]", 1, &["an object with the keys `state_directory`, `listen`"]),
    ("worker", "\"slots\"", 1, &["an object with the keys"]),
    // Keys.
    ("manager", "{\n\"leese\": {}}", 2, &["leese: there is no such key", "`lease`"]),
    ("manager", "{\"lease\":\n{\"garce\": \"45s\"}}", 2, &["lease.garce: there is no such key", "`lease.grace`"]),
    ("manager", r#"{"grace": "45s"}"#, 1, &["grace: there is no such key", "`lease.grace`"]),
    ("manager", r#"{"log.level": "info"}"#, 1, &["log.level: there is no such key", r#"{"log":{"level""#]),
    ("manager", r#"{"slots": 4}"#, 1, &["slots: there is no such key", "allowed here", "`listen`"]),
    ("worker", r#"{"kinds": {"wasm": true}}"#, 1, &["kinds.wasm: there is no such key", "`kinds.command`"]),
    (
        "manager",
        "{\"retain\": \"1h\",\n\"retain\": \"2h\"}",
        2,
        &["retain: the key stands there twice", "once is allowed"],
    ),
    (
        "worker",
        "{\"log\": {\"level\": \"info\",\n\n\"level\": \"warn\"}}",
        3,
        &["log.level: the key stands there twice"],
    ),
    // Types.
    ("manager", r#"{"lease": "30s"}"#, 1, &["lease: \"30s\" is not allowed", "an object with the keys `grace`"]),
    ("manager", r#"{"lease": null}"#, 1, &["lease: null is not allowed", "an object"]),
    ("manager", r#"{"lease": ["30s"]}"#, 1, &["lease: [\"30s\"] is not allowed", "an object"]),
    (
        "manager",
        "{\"lease\":\n{\"grace\": 30}}",
        2,
        &["lease.grace: 30 is not allowed", "a duration such as \"30s\" (1s to 1day)"],
    ),
    (
        "manager",
        "{\n  \"limits\": {\"payload\": true}\n}",
        2,
        &["limits.payload: true", "a size such as \"64MiB\" (1B to 1GiB)"],
    ),
    ("manager", r#"{"limits": {"outcome": "64 mib"}}"#, 1, &["limits.outcome: \"64 mib\"", "1KiB to 1GiB"]),
    (
        "manager",
        r#"{"limits": {"finished_tasks": "many"}}"#,
        1,
        &["limits.finished_tasks", "a whole number (at least 1)"],
    ),
    ("manager", r#"{"limits": {"idempotency_keys": -5}}"#, 1, &["limits.idempotency_keys: -5", "a whole number"]),
    ("manager", r#"{"link": {"connections": 1.5}}"#, 1, &["link.connections: 1.5", "a whole number (1 to 1000000)"]),
    (
        "manager",
        r#"{"link": {"handshakes_per_address": 4294967296}}"#,
        1,
        &["link.handshakes_per_address", "1 to 1000000"],
    ),
    ("manager", r#"{"durability": "maybe"}"#, 1, &["durability: \"maybe\"", "\"strict\", \"interval\" or \"none\""]),
    ("manager", r#"{"retain": 7}"#, 1, &["retain: 7", "\"none\", a duration such as \"30s\" (1s to 100years) or null"]),
    (
        "manager",
        r#"{"listen": "[::]:7400"}"#,
        1,
        &["listen: \"[::]:7400\"", "a list (1 to 16 entries), each entry an IP address and port"],
    ),
    (
        "manager",
        "{\"listen\": [\"[::]:7400\",\n\"here\"]}",
        2,
        &["listen[1]: \"here\"", "an IP address and port such as"],
    ),
    ("manager", r#"{"certificate": {"chain": 1, "key": "/k"}}"#, 1, &["certificate.chain: 1", "a path"]),
    ("manager", r#"{"certificate": {"chain": "/c.pem"}}"#, 1, &["certificate: the key `key` is missing"]),
    ("manager", r#"{"log": {"format": "xml"}}"#, 1, &["log.format: \"xml\"", "\"text\" or \"json\""]),
    ("worker", r#"{"slots": "many"}"#, 1, &["slots: \"many\"", "a whole number (1 to 65536)"]),
    ("worker", r#"{"kinds": {"skill": "yes"}}"#, 1, &["kinds.skill: \"yes\"", "true or false"]),
    ("worker", r#"{"kill_after": 5}"#, 1, &["kill_after: 5", "a duration such as \"30s\" (0s to 1day)"]),
    ("worker", r#"{"credential_file": true}"#, 1, &["credential_file: true", "a path or null"]),
    ("worker", r#"{"managers": ["a:1", 2]}"#, 1, &["managers[1]: 2", "HOST:PORT"]),
    // Ranges.
    ("manager", r#"{"listen": []}"#, 1, &["listen: []", "1 to 16 entries"]),
    ("manager", r#"{"lease": {"grace": "1ms"}}"#, 1, &["lease.grace: \"1ms\"", "1s to 1day"]),
    ("manager", r#"{"retain": "1ms"}"#, 1, &["retain: \"1ms\"", "1s to 100years"]),
    ("manager", r#"{"link": {"silence": "2h"}}"#, 1, &["link.silence: \"2h\"", "500ms to 1h"]),
    ("manager", r#"{"link": {"handshake_timeout": "1ms"}}"#, 1, &["link.handshake_timeout", "100ms to 5m"]),
    ("manager", r#"{"link": {"connections": 0}}"#, 1, &["link.connections: 0", "1 to 1000000"]),
    ("manager", r#"{"limits": {"payload": "2GiB"}}"#, 1, &["limits.payload: \"2GiB\"", "1B to 1GiB"]),
    ("manager", r#"{"limits": {"template": "1MiB"}}"#, 1, &["limits.template: \"1MiB\"", "1KiB to 512KiB"]),
    ("manager", r#"{"limits": {"queue_tasks": 0}}"#, 1, &["limits.queue_tasks: 0", "at least 1"]),
    ("manager", r#"{"limits": {"finished": "1KiB"}}"#, 1, &["limits.finished: \"1KiB\"", "1MiB to 1024TiB"]),
    ("manager", r#"{"limits": {"descriptions": 0}}"#, 1, &["limits.descriptions: 0", "1MiB to 1TiB"]),
    ("manager", r#"{"limits": {"worker_window": 0}}"#, 1, &["limits.worker_window: 0", "1 to 4294967295"]),
    ("manager", r#"{"disk": {"reserve": "1MiB"}}"#, 1, &["disk.reserve: \"1MiB\"", "16MiB to 1TiB"]),
    ("worker", r#"{"slots": 0}"#, 1, &["slots: 0", "1 to 65536"]),
    ("worker", r#"{"name": "a\nb"}"#, 1, &["name: \"a\\nb\"", "at most 255 bytes, no control characters"]),
    ("worker", r#"{"limits": {"output": "1GiB"}}"#, 1, &["limits.output: \"1GiB\"", "1KiB to 256MiB"]),
    ("worker", r#"{"shutdown": {"grace": "2days"}}"#, 1, &["shutdown.grace: \"2days\"", "0s to 1day"]),
    ("worker", r#"{"prefetch": {"most": 1048577}}"#, 1, &["prefetch.most: 1048577", "0 to 1048576"]),
    ("worker", r#"{"outbox": {"bytes": "1B"}}"#, 1, &["outbox.bytes: \"1B\"", "1MiB to 1TiB"]),
    // What only several values, or a closer look, make wrong.
    ("manager", "{\"lease\":\n{\"grace\": \"4s\"}}", 2, &["lease.grace: 4s", "more than a third of link.silence (5s)"]),
    ("manager", r#"{"limits": {"message": "16MiB"}}"#, 1, &["limits.message: 16MiB", "17MiB) to 2GiB"]),
    ("manager", r#"{"journal": {"segment": "2097153B"}}"#, 1, &["journal.segment: 2097153B", "a multiple of 4KiB"]),
    ("manager", "{\"advertise\": [\"a:1\",\n\"nonsense\"]}", 2, &["advertise[1]", "HOST:PORT"]),
    ("manager", r#"{"log": {"level": "loud"}}"#, 1, &["log.level: \"loud\"", "`info`"]),
    ("worker", r#"{"kinds": {"command": false, "skill": false}}"#, 1, &["kinds", "at least one kind"]),
    ("worker", r#"{"managers": ["nonsense"]}"#, 1, &["managers[0]", "HOST:PORT"]),
    // Secrets.
    (
        "worker",
        r#"{"join_token_file": "TOKEN"}"#,
        1,
        &["join_token_file: a token stands where a path or null is wanted"],
    ),
    ("manager", r#"{"advertise": ["a:1", "TOKEN"]}"#, 1, &["advertise: a token stands where a list"]),
    (
        "manager",
        r#"{"certificate": {"chain": "/c", "key": "-----BEGIN PRIVATE KEY-----\nhunter2"}}"#,
        1,
        &["certificate.key: a private key stands where a path is wanted"],
    ),
    ("worker", r#"{"password": "hunter2"}"#, 1, &["password: there is no such key"]),
];

/// A component, a variable or a flag with its value, and what is said.
const OTHERS: &[(&str, &str, &[&str])] = &[
    ("manager", "TASK_MESSENGER_LEASE__GRACE=1ms", &["lease.grace: \"1ms\"", "1s to 1day"]),
    (
        "manager",
        "TASK_MESSENGER_LEASE__GARCE=45s",
        &["lease.garce: there is no such key", "`TASK_MESSENGER_LEASE__GRACE`"],
    ),
    ("manager", "TASK_MESSENGER_LOG={\"level\": 5}", &["log.level: 5", "a text"]),
    ("worker", "TASK_MESSENGER_SLOTS=many", &["slots: \"many\"", "1 to 65536"]),
    ("worker", "TASK_MESSENGER_MANAGERS=[\"nonsense\"]", &["managers[0]", "HOST:PORT"]),
    ("worker", "TASK_MESSENGER_JOIN_TOKEN_FILE=TOKEN", &["join_token_file: a token stands where"]),
    ("worker", "TASK_MESSENGER_TOKEN=hunter2", &["token: there is no such key"]),
    ("manager", "--listen=here", &["listen[0]: \"here\"", "an IP address and port"]),
    ("manager", "--state-dir=TOKEN", &["state_directory: a token stands where a path or null is wanted"]),
    ("worker", "--slots=0", &["slots: 0", "1 to 65536"]),
];

/// Runs a component with a setting (`NAME=VALUE` or `--flag=VALUE`) and these arguments.
fn run_with(site: &Site, component: &str, setting: &str, arguments: &[&str]) -> Ended {
    let mut command = site.program(&[&[component, "run"], arguments].concat());
    match setting.split_once('=') {
        Some((name, value)) if !name.starts_with('-') => _ = command.env(name, value),
        _ => _ = command.arg(setting),
    }
    site.invoke_command(command, None).wait()
}

#[track_caller]
fn check(ended: Ended, place: &str, words: &[&str]) {
    let ended = ended.ended_with(78).saying(&[place]).saying(words);
    let said = format!("{}{}", ended.text(), ended.errors);
    assert!(!said.contains("tm1w_") && !said.contains("hunter2"), "a secret is shown: {said}");
    let problems = ended.errors.lines().filter(|line| line.starts_with("  ")).count();
    assert_eq!(problems, 1, "one mistake is one problem: {ended}");
}

#[test]
fn every_wrong_configuration_ends_with_78_and_names_its_place_the_key_and_what_is_allowed() {
    assert!(FILES.len() + OTHERS.len() >= 40);
    let site = Site::prepare(json!({}));
    for (index, (component, content, line, words)) in FILES.iter().enumerate() {
        let file = write(&site, &content.replace("TOKEN", TOKEN));
        let place = format!("{file}, line {line}, column ");
        check(site.run(&[component, "--check-config", "--config", &file]), &place, words);
        if index % 8 == 0 {
            check(site.run(&[component, "run", "--config", &file]), &place, words);
            check(site.run(&[component, "--print-config", "--config", &file]), &place, words);
        }
    }
    for (component, setting, words) in OTHERS {
        let (name, value) = setting.split_once('=').unwrap();
        let setting = format!("{name}={}", if value == "TOKEN" { TOKEN } else { value });
        let place = if name.starts_with('-') { format!("the flag {name}: ") } else { format!("the variable {name}: ") };
        check(run_with(&site, component, &setting, &["--check-config"]), &place, words);
        check(run_with(&site, component, &setting, &[]), &place, words);
    }
    site.run(&["manager", "run", "--config", "/nowhere.json"]).ended_with(78).saying(&["/nowhere.json"]);
    site.run(&["manager", "run", "--no-such-flag"]).ended_with(78);
    site.run(&["worker", "run", "--no-such-flag"]).ended_with(78);
    assert!(!site.path("manager").exists(), "nothing is made by a start that can't succeed");
}

#[test]
fn eleven_mistakes_in_a_file_are_told_at_once_in_their_order() {
    let site = Site::prepare(json!({}));
    let file = write(
        &site,
        r#"{
            "durability": "maybe",
            "listen": ["here"],
            "leese": {"grace": "45s"},
            "retain": 7,
            "link": {
                "connections": 0,
                "silence": "2h",
                "silent": true
            },
            "limits": {
                "payload": true,
                "queue_tasks": -1 // all of them
            },
            "certificate": "/etc/certificate.pem",
            "log": {"level": "loud"}
        }"#,
    );
    let ended = site.run(&["manager", "--check-config", "--config", &file]).ended_with(78);
    let told: Vec<_> =
        ended.errors.lines().skip(1).map(|line| line.trim().split(": ").take(2).collect::<Vec<_>>()).collect();
    let expected = [
        (2, 27, "durability"),
        (3, 24, "listen[0]"),
        (4, 13, "leese"),
        (5, 23, "retain"),
        (7, 32, "link.connections"),
        (8, 28, "link.silence"),
        (9, 17, "link.silent"),
        (12, 28, "limits.payload"),
        (13, 32, "limits.queue_tasks"),
        (15, 28, "certificate"),
        (16, 30, "log.level"),
    ];
    let expected: Vec<Vec<_>> = expected
        .iter()
        .map(|(line, column, path)| vec![format!("{file}, line {line}, column {column}"), (*path).to_owned()])
        .collect();
    assert_eq!(told, expected, "{ended}");
}

#[test]
fn a_token_in_a_wrong_place_of_the_command_line_is_not_shown() {
    let site = Site::prepare(json!({}));
    let ended = site.run(&["worker", "run", "--slots", TOKEN]).ended_with(78).saying(&["--slots", "***"]);
    assert!(!ended.errors.contains("tm1w_"), "{ended}");
    let ended = site.run(&["manager", "run", "--config", TOKEN]).ended_with(78).saying(&["***"]);
    assert!(!ended.errors.contains("tm1w_"), "{ended}");
}
