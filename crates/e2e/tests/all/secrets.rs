//! Secrets stay where they belong: not in a log, not on a command line, not in a task's environment, not in an open file.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use task_messenger_protocol::{credential::WorkerCredential, secret::Secret, token::Token};

use crate::harness::{Held, Signal, Site, get, json, wait_until};

/// Everything that a secret could be recognised by: itself, in hexadecimal, and in the texts of tokens.
struct Secrets(Vec<(String, Vec<u8>)>);

impl Secrets {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn add(&mut self, name: &str, secret: &Secret) {
        let bytes = secret.expose();
        let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let hexadecimal = digits.concat();
        self.0.push((format!("{name}, as it is"), bytes.to_vec()));
        self.0.push((format!("{name}, in hexadecimal"), hexadecimal.to_uppercase().into_bytes()));
        self.0.push((format!("{name}, in hexadecimal"), hexadecimal.into_bytes()));
        // As a debugger would print it.
        let listed: Vec<_> = bytes[..8].iter().map(ToString::to_string).collect();
        self.0.push((format!("{name}, as numbers"), listed.join(", ").into_bytes()));
    }

    fn add_token(&mut self, name: &str, text: &str) {
        self.add(name, &Token::parse(text).unwrap().secret);
        // The middle of the text is the secret's.
        self.0.push((format!("{name}, as text"), text.as_bytes()[20..50].to_vec()));
    }

    fn found_in(&self, content: &[u8]) -> Option<&str> {
        let (name, _) = self.0.iter().find(|(_, secret)| content.windows(secret.len()).any(|part| part == secret))?;
        Some(name)
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files.extend(files_below(&entry.path()));
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// What tasks are given and come to, for a search in everything that is not theirs.
const PRIVATE: &str = "Tr0ub4dor";

#[test]
fn nothing_that_a_task_is_given_or_comes_to_is_in_a_log_or_an_argument_of_a_daemon() {
    let mut site = Site::prepare(json!({}));
    let file = site.path("logs/manager.log");
    let rotation = json!({"size": "256KiB", "keep": 1000});
    let http = json!({"listen": "127.0.0.1:0"});
    let log = json!({"level": "trace", "file": file, "format": "json", "rotation": rotation});
    site.configure(json!({"http": http, "log": log}));
    site.start_manager();
    let mut worker = site.worker_with("one", json!({"http": http, "log": {"level": "trace"}}));
    let client = site.token("client");
    site.run_with(&["login", "-"], Some(client.as_bytes())).ended_with(0);
    let variable = format!("PASSWORD={PRIVATE}");
    let print = "cat; echo \"$PASSWORD $1\"; echo \"$PASSWORD\" >&2; exit \"$2\"";
    let options = ["--env", &variable, "--max-attempts", "1", "--stdin", "-", "--", "sh", "-c", print, "sh", PRIVATE];
    for code in ["0", "7"] {
        let submit = [&["submit", "--wait"], &options[..], &[code]].concat();
        let ended = site.run_with(&submit, Some(PRIVATE.as_bytes()));
        assert_eq!((ended.code().to_string().as_str(), ended.text().matches(PRIVATE).count()), (code, 3));
    }
    let lines = format!("{PRIVATE}\n").repeat(50);
    site.run_with(&["map", "--", "echo", "{}"], Some(lines.as_bytes())).ended_with(0);
    site.run(&["submit", "--wait", "--", "no-such-program", PRIVATE]).ended_with(126);
    site.run(&["skill", "string-reversal", "--json", &json!({"text": PRIVATE}).to_string()]).ended_with(0);
    assert_ne!(site.run(&["skill", "math-operation", "--json", &json!({"operation": PRIVATE}).to_string()]).code(), 0);
    let held = Held::new(&site.path("held"));
    let arguments = held.arguments(PRIVATE);
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let task = site.run(&[&["submit", "--env", &variable, "--", "sh"], &words[..]].concat()).ended_with(0);
    held.wait_for_starts(1);
    for (name, process) in [("the worker", worker.process().id()), ("the manager", site.manager().id())] {
        let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap();
        assert!(!line.is_empty() && !contains(&line, PRIVATE), "{name}'s arguments");
    }
    let told = files_below(&site.path("logs")).into_iter().map(|file| std::fs::read_to_string(file).unwrap());
    let told = told.collect::<String>();
    let line = told.lines().find(|line| line.contains("HTTP is answered")).unwrap();
    let address =
        serde_json::from_str::<serde_json::Value>(line).unwrap()["address"].as_str().unwrap().parse().unwrap();
    for address in [address, worker.http()] {
        for path in ["/metrics", "/readyz", "/healthz"] {
            let (status, body) = get(address, path);
            assert!(status == 200 && !body.contains(PRIVATE), "{path}: {body}");
        }
    }
    site.run(&["cancel", task.text().trim()]).ended_with(0);
    worker.process().signal(Signal::TERM);
    assert!(worker.wait().success());
    site.stop_manager();

    let logs = files_below(&site.path("logs"));
    for log in logs.iter().chain(&[site.path("manager.log"), site.path("one.log")]) {
        let content = std::fs::read(log).unwrap();
        let found = String::from_utf8_lossy(&content).lines().find(|line| line.contains(PRIVATE)).map(str::to_owned);
        assert_eq!(found, None, "in {}", log.display());
    }
    // What was looked through is what tells of tasks.
    assert!(logs.iter().any(|log| contains(&std::fs::read(log).unwrap(), "\"handed out\"")));
    assert!(worker.log().contains("ending=\"exited\" code=7"), "{}", worker.log());
}

fn contains(content: &[u8], text: &str) -> bool {
    content.windows(text.len()).any(|part| part == text.as_bytes())
}

#[test]
fn no_secret_is_in_a_log_an_argument_an_environment_or_a_file_that_others_can_read() {
    let log = json!({"level": "trace"});
    let mut site = Site::start_with(json!({"log": log, "journal": {"segment": "2MiB"}}));
    let mut secrets = Secrets::new();
    let (client, join) = (site.token("client"), site.token("worker"));
    secrets.add_token("the client's token", &client);
    secrets.add_token("the join token", &join);
    site.run_with(&["login", "-"], Some(client.as_bytes())).ended_with(0);
    let mut worker = site.joined_worker_by(&join, "one", json!({"log": log}));
    let credential = worker.state().join("worker.credential");
    secrets.add("the worker's secret", &WorkerCredential::load(&credential).unwrap().secret);
    let key = std::fs::read(site.path("manager/key.pem")).unwrap();
    secrets.0.push(("the manager's key".to_owned(), key[60..100].to_vec()));
    worker.start();

    let held = Held::new(&site.path("held"));
    let arguments = held.arguments("a");
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let waiting = site.invoke(&[&["submit", "--wait", "--", "sh"], &words[..]].concat(), None);
    held.wait_for_starts(1);

    let mut processes = BTreeMap::from([("the client", waiting.id()), ("the worker", worker.process().id())]);
    processes.insert("the manager", site.manager().id());
    processes.insert("the task", held.starts()[0].process);
    for (name, process) in processes {
        for file in ["cmdline", "environ"] {
            let content = std::fs::read(format!("/proc/{process}/{file}")).unwrap();
            assert!(!content.is_empty() && secrets.found_in(&content).is_none(), "{name}'s {file} has a secret");
        }
    }
    held.let_go();
    waiting.wait().ended_with(0);
    // What fails is logged at more length than what goes well.
    let wrong = Token { secret: Secret::random().unwrap(), ..Token::parse(&client).unwrap() }.to_text().unwrap();
    secrets.add_token("a wrong token", &wrong);
    site.run_with(&["login", "-"], Some(wrong.as_bytes())).ended_with(78);
    site.kill_manager();
    wait_until("the worker has noticed", || worker.log().contains("connecting again"));
    site.start_manager();
    site.run(&["submit", "--wait", "--", "true"]).ended_with(0);
    site.stop_manager();

    let own = [site.path("home/.config/task-messenger/client.json"), credential, site.path("manager/key.pem")];
    let mut scanned = 0;
    for file in files_below(site.root()) {
        let content = std::fs::read(&file).unwrap();
        if own.contains(&file) {
            assert_eq!(mode(&file), 0o600, "{}", file.display());
            assert!(secrets.found_in(&content).is_some(), "{} is not what it should be", file.display());
        } else if !file.starts_with(site.path("runs")) {
            // What this test itself typed and read is in `runs`.
            assert_eq!(secrets.found_in(&content), None, "in {}", file.display());
            scanned += 1;
        }
    }
    assert!(scanned >= 8, "{scanned} files were looked through");
    for directory in [site.path("manager"), site.path("one"), site.path("home/.config/task-messenger")] {
        assert_eq!(mode(&directory), 0o700, "{}", directory.display());
    }
    for file in ["manager/listening.json", "manager/key.pem"] {
        assert_eq!(mode(&site.path(file)), 0o600, "{file}");
    }
}
