//! The command line as people use it: `submit`, what it prints and how it ends, and the questions.

use crate::harness::{Held, Site, Worker, json, wait_until};

fn scene() -> (Site, Worker) {
    let site = Site::start();
    let worker = site.worker("one");
    site.log_in();
    (site, worker)
}

/// `submit --wait` of a shell's script.
fn shell<'a>(options: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&["submit", "--wait"], options, &["--", "sh", "-c", script]].concat()
}

#[test]
fn a_submit_that_waits_behaves_like_the_program_itself() {
    let (site, _worker) = scene();
    let failing = site.run(&shell(&[], r"printf 'out\0\377put'; printf 'err\n' >&2; exit 7")).ended_with(7);
    assert_eq!((&failing.output[..], failing.errors.as_str()), (&b"out\0\xffput"[..], "err\n"));
    let silent = site.run(&shell(&[], "true")).ended_with(0);
    assert_eq!((silent.output.len(), silent.errors.as_str()), (0, ""));

    // More than fits into a pipe, of bytes that are no text.
    let bytes: Vec<u8> = (0..300_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(site.path("bytes"), &bytes).unwrap();
    let file = site.path("bytes");
    let copied = site.run(&["submit", "--wait", "--stdin", file.to_str().unwrap(), "--", "cat"]).ended_with(0);
    assert!(copied.output == bytes, "{} bytes came back", copied.output.len());
    let piped = site.run_with(&["submit", "--wait", "--stdin", "-", "--", "wc", "-c"], Some(&bytes)).ended_with(0);
    assert_eq!(piped.text().trim(), "300000");

    site.run(&shell(&[], "kill -KILL $$")).ended_with(128 + 9);
    site.run(&shell(&[], "kill -TERM $$")).ended_with(128 + 15);
    site.run(&shell(&["--timeout", "300ms"], "sleep 600")).ended_with(124).saying(&["timeout"]);
    site.run(&["submit", "--wait", "--", "no-such-program"]).ended_with(126).saying(&["no-such-program"]);
    // It is the client that failed.
    site.run(&["--manager", "127.0.0.1:1", "submit", "--wait", "--", "true"]).ended_with(125).saying(&["127.0.0.1:1"]);
    site.run(&["submit", "--wait", "--credential", "/nowhere", "--", "true"]).ended_with(125).saying(&["log in"]);
    site.run(&["submit", "--credential", "/nowhere", "--", "true"]).ended_with(78).saying(&["log in"]);
}

#[test]
fn a_task_starts_with_a_clean_environment_and_what_it_was_given() {
    let (site, _worker) = scene();
    let output = site.run(&["submit", "--wait", "--env", "COLOUR=deep blue", "--env", "E=", "--", "env"]).ended_with(0);
    let mut variables: Vec<_> = output.text().lines().collect();
    variables.sort_unstable();
    let names: Vec<_> = variables.iter().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert_eq!(names, ["COLOUR", "E", "HOME", "LANG", "PATH", "TASK_MESSENGER_TASK"], "{variables:?}");
    assert!(
        variables.contains(&"COLOUR=deep blue") && variables.contains(&"E=") && variables.contains(&"LANG=C.UTF-8")
    );
    // Its home is a directory of its own, which is gone afterwards.
    let home = variables.iter().find_map(|line| line.strip_prefix("HOME=")).unwrap();
    assert!(home.starts_with(site.path("one").to_str().unwrap()), "{home}");
    wait_until("the scratch directory is gone", || !std::path::Path::new(home).exists());
}

#[test]
fn a_submit_with_the_same_idempotency_key_is_the_same_task() {
    let (site, _worker) = scene();
    let file = site.path("file");
    let script = format!("echo once >> {}", file.display());
    let submit = |script: &str| site.run(&["submit", "--idempotency-key", "monday", "--", "sh", "-c", script]);
    let first = submit(&script).ended_with(0);
    let second = submit(&script).ended_with(0);
    assert_eq!(first.text(), second.text());
    let task = first.text().trim();
    site.run(&["wait", task]).ended_with(0);
    // It is so after its end too.
    assert_eq!(submit(&script).ended_with(0).text(), first.text());
    submit("echo twice").ended_with(2).saying(&["error: ", "idempotency key was used for something else"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "once\n");
    let jobs = site.run(&["list", "--json"]).ended_with(0).json();
    assert_eq!(jobs.as_array().unwrap().len(), 1, "{jobs}");
}

#[test]
fn what_runs_and_what_ran_can_be_asked_for() {
    let (site, _worker) = scene();
    let held = Held::new(&site.path("held"));
    let arguments = held.arguments("a");
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let submitted = site.run(&[&["submit", "--name", "held", "--", "sh"], &words[..]].concat()).ended_with(0);
    let task = submitted.text().trim();
    let job = task.strip_suffix(".0").unwrap();
    held.wait_for_starts(1);

    let shown = site.run(&["show", task, "--json"]).ended_with(0).json();
    assert_eq!((&shown["state"], &shown["attempts"], &shown["worker"]), (&json!("running"), &json!(1), &json!("one")));
    let workers = site.run(&["workers", "--json"]).ended_with(0).json();
    assert_eq!((&workers[0]["name"], &workers[0]["slots_used"]), (&json!("one"), &json!(1)), "{workers}");
    let status = site.run(&["status", "--json"]).ended_with(0).json();
    assert_eq!((&status["tasks"]["running"], &status["workers_connected"]), (&json!(1), &json!(1)), "{status}");
    site.run(&["result", task]).ended_with(2).saying(&["no result yet", "task-messenger wait"]);

    let waiting = site.invoke(&["wait", job, "--json"], None);
    held.let_go();
    let summary = waiting.wait().ended_with(0).json();
    assert_eq!((&summary["name"], &summary["tasks"]), (&json!("held"), &json!(1)), "{summary}");
    let result = site.run(&["result", task]).ended_with(0);
    assert!(result.text().starts_with(site.path("one").to_str().unwrap()), "{result}");
    let listed = site.run(&["list", job, "--state", "succeeded", "--json"]).ended_with(0).json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    for table in [&["list"][..], &["list", job], &["show", job], &["show", task], &["status"], &["workers"]] {
        let table = site.run(table).ended_with(0);
        assert!(!table.text().trim().is_empty(), "{table}");
    }
    site.run(&["show", "999"]).ended_with(2).saying(&["no job 999", "task-messenger list"]);
    site.run(&["show", "x"]).ended_with(64);
}

#[test]
fn a_skill_answers_or_says_what_is_wrong() {
    let (site, _worker) = scene();
    let reversed = site.run(&["skill", "string-reversal", "--json", r#"{"text": "hello"}"#]).ended_with(0);
    assert_eq!(reversed.json(), json!({"text": "olleh"}));
    site.run(&["skill", "string-reversal", "--json", r#"{"texts": "hello"}"#]).ended_with(1).saying(&["texts"]);
    site.run(&["skill", "string-reversal", "--json", "hello"]).ended_with(64).saying(&["JSON"]);
}
