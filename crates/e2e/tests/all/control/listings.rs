//! `list` with its filters, and `results`.

use serde_json::Value;

use super::{lines, submit, submit_many_held};
use crate::harness::{Held, Signal, Site, json, wait_until};

fn listed(site: &Site, options: &[&str]) -> Vec<u64> {
    let jobs = site.run(&[&["list", "--json"], options].concat()).ended_with(0).json();
    jobs.as_array().unwrap().iter().map(|job| job["job"].as_u64().unwrap()).collect()
}

#[test]
fn jobs_are_listed_by_the_states_of_their_tasks_and_by_age() {
    let site = Site::start();
    let worker = site.worker("one");
    site.log_in();
    for code in ["0", "3", "0", "3"] {
        let words = ["map", "--max-attempts", "1", "--", "sh", "-c", "exit $1", "sh"];
        site.run_with(&words, Some(format!("0\n{code}\n").as_bytes()));
    }
    assert_eq!(listed(&site, &[]), [4, 3, 2, 1]);
    assert_eq!(listed(&site, &["--state", "failed"]), [4, 2]);
    assert_eq!(listed(&site, &["--state", "succeeded", "--since", "1h", "--limit", "2"]), [4, 3]);
    assert_eq!(listed(&site, &["--state", "failed", "--before", "4"]), [2]);
    assert!(listed(&site, &["--state", "queued"]).is_empty());
    let first = site.run(&["list", "--json"]).json()[3]["submitted"].as_str().unwrap().to_owned();
    assert_eq!(listed(&site, &["--since", &first]).len(), 4);
    assert!(listed(&site, &["--since", "2999-01-01T00:00:00Z"]).is_empty());
    let more = site.run(&["list", "--state", "failed", "--limit", "1"]).ended_with(0).saying(&["--before 4"]);
    assert_eq!(lines(&more).len(), 2, "{more}");
    let tasks = site.run(&["list", "--job", "2", "--state", "failed", "--json"]).ended_with(0).json();
    assert_eq!((tasks.as_array().unwrap().len(), &tasks[0]["task"]), (1, &json!("2.1")));
    assert!(site.run(&["list", "--state", "expired"]).text().contains("no such jobs"));
    drop(worker);
}

#[test]
fn jobs_are_found_by_their_labels_also_after_a_restart() {
    let mut site = Site::start();
    site.log_in();
    submit(&site, &["--label", "host=a", "--label", "run=nightly"], &["true"]);
    let words = ["map", "--delay", "1h", "--label", "run=nightly", "--label", "host=b=c", "--", "true"];
    let map = site.invoke(&words, Some(b"1\n"));
    wait_until("the second job is there", || listed(&site, &[]).len() == 2);
    map.signal(Signal::INT);
    map.wait().ended_with(130);
    submit(&site, &[], &["true"]);
    site.kill_manager();
    site.start_manager();
    assert_eq!(listed(&site, &["--label", "run=nightly"]), [2, 1]);
    assert_eq!(listed(&site, &["--label", "run=nightly", "--label", "host=b=c"]), [2]);
    assert!(listed(&site, &["--label", "run=weekly"]).is_empty());
    assert_eq!(site.run(&["show", "1", "--json"]).json()["labels"], json!({"host": "a", "run": "nightly"}));
    assert!(site.run(&["show", "2"]).text().contains("host=b=c, run=nightly"));
    let long = format!("k={}", "x".repeat(257));
    site.run(&["submit", "--label", &long, "--", "true"]).ended_with(2).saying(&["label", "256"]);
    site.run(&["submit", "--label", "novalue", "--", "true"]).ended_with(64).saying(&["KEY=VALUE"]);
}

#[test]
fn results_of_a_job_come_as_its_tasks_end_or_as_far_as_they_have() {
    let site = Site::start();
    let _worker = site.worker("one");
    site.log_in();
    let held = Held::new(&site.path("held"));
    let job = submit_many_held(&site, &held, &["a", "b", "c"]);
    held.wait_for_starts(2);
    assert_eq!(site.run(&["results", &job]).ended_with(0).text(), "");
    let following = site.invoke(&["results", &job, "--follow", "--json"], None);
    held.let_one_go("b");
    let so_far = || {
        let text = String::from_utf8(following.output_so_far()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    wait_until("the first result is told", || !so_far().is_empty());
    assert_eq!((&so_far()[0]["task"], &so_far()[0]["code"]), (&json!(format!("{job}.1")), &json!(0)));
    // Now, without waiting for the rest.
    let now = site.run(&["results", &job]).ended_with(0);
    let words: Vec<&str> = now.text().split_whitespace().collect();
    assert_eq!((words[0], words[1]), (format!("{job}.1").as_str(), "succeeded"));
    assert!(now.text().trim_end().ends_with("exit code 0") && lines(&now).len() == 1, "{now}");
    site.run(&["cancel", &format!("{job}.2")]).ended_with(0);
    held.let_go();
    let all = following.wait().ended_with(1);
    let states: Vec<String> = lines(&all)
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["state"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(states.iter().filter(|state| *state == "succeeded").count(), 2, "{all}");
    assert_eq!((states.len(), states.iter().any(|state| state == "cancelled")), (3, true), "{all}");
    site.run(&["results", "99"]).ended_with(2).saying(&["no job 99"]);
}

#[test]
fn the_outputs_of_a_job_can_be_had_as_they_were() {
    let site = Site::start();
    let _worker = site.worker("one");
    site.log_in();
    let script = r#"printf 'out %s\n' "$1"; printf 'err %s\n' "$1" >&2; test "$1" != 2"#;
    let words = ["map", "--max-attempts", "1", "--", "sh", "-c", script, "sh"];
    site.run_with(&words, Some(b"0\n1\n2\n")).ended_with(1);
    let outputs = site.run(&["results", "1", "--output"]).ended_with(1).saying(&["err 0\n", "err 2\n"]);
    assert_eq!(outputs.text(), "out 0\nout 1\nout 2\n");
    let lines = site.run(&["results", "1"]).ended_with(1);
    assert!(lines.text().lines().nth(2).is_some_and(|line| line.contains("failed") && line.ends_with("exit code 1")));
    let documents = site.run(&["results", "1", "--output", "--json"]).ended_with(1);
    let last: Value = serde_json::from_str(documents.text().lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["task"], &last["output"], &last["errors"]),
        (&json!("1.2"), &json!("out 2\n"), &json!("err 2\n"))
    );
    let task = submit(&site, &["--delay", "1h"], &["true"]);
    assert_eq!(site.run(&["results", task.strip_suffix(".0").unwrap()]).ended_with(0).text(), "");
}
