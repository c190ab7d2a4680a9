//! Tasks that fail.

use crate::harness::{Site, json};

#[test]
fn a_failing_command_is_tried_again_after_growing_waits_and_ends_as_a_dead_letter() {
    let site = Site::start();
    let _worker = site.worker("one");
    site.log_in();
    let file = site.path("file");
    // Each attempt notes when it was, in milliseconds.
    let script = format!("date +%s%3N >> {}; echo out; echo no luck >&2; exit 3", file.display());
    let submitted = site.run(&["submit", "--max-attempts", "3", "--", "sh", "-c", &script]).ended_with(0);
    let task = submitted.text().trim();
    site.run(&["wait", task]).ended_with(1);

    let times: Vec<u64> = std::fs::read_to_string(&file).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(times.len(), 3);
    // One second, then two, each made shorter or longer by chance; never none.
    let (first, second) = (times[1] - times[0], times[2] - times[1]);
    println!("waits: {first} ms, {second} ms");
    assert!(first >= 450 && second >= 900, "the waits were {first} and {second} ms");

    let shown = site.run(&["show", task, "--json"]).ended_with(0).json();
    let counts = (&shown["state"], &shown["attempts"], &shown["failures"]);
    assert_eq!(counts, (&json!("failed"), &json!(3), &json!(3)), "{shown}");
    let listed = site.run(&["list", task.strip_suffix(".0").unwrap(), "--state", "failed", "--json"]).ended_with(0);
    assert_eq!(listed.json().as_array().unwrap().len(), 1, "{listed}");
    let result = site.run(&["result", task]).ended_with(1).saying(&["no luck", "failed", "exit code 3"]);
    assert_eq!(result.text(), "out\n");
    let result = site.run(&["result", task, "--json"]).ended_with(1).json();
    assert_eq!(
        (&result["output"], &result["errors"], &result["code"]),
        (&json!("out\n"), &json!("no luck\n"), &json!(3))
    );
}

#[test]
fn a_command_that_fails_once_succeeds_in_its_second_attempt() {
    let site = Site::start();
    let _worker = site.worker("one");
    site.log_in();
    let file = site.path("file");
    let script = format!("echo x >> {0}; test $(wc -l < {0}) -ge 2 && echo well", file.display());
    let output = site.run(&["submit", "--wait", "--max-attempts", "3", "--", "sh", "-c", &script]).ended_with(0);
    assert_eq!(output.text(), "well\n");
    let jobs = site.run(&["list", "--json"]).json();
    let job = jobs[0]["job"].to_string();
    let listed = site.run(&["list", &job, "--json"]).ended_with(0).json();
    let task = &listed[0];
    assert_eq!((&task["state"], &task["attempts"], &task["failures"]), (&json!("succeeded"), &json!(2), &json!(1)));
}
