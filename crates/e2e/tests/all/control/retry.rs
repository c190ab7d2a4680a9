//! Running again.

use super::{job_of, jobs, show, state, submit};
use crate::harness::{Site, json};

#[test]
fn dead_letters_run_again_with_a_clean_slate_and_what_succeeded_does_not() {
    let site = Site::start();
    let _worker = site.worker("one");
    site.log_in();
    let (ran, good) = (site.path("ran"), site.path("good"));
    // One succeeds; the others do once the file is there.
    let script = format!(r#"echo "$1" >> {}; test "$1" = 0 || test -e {}"#, ran.display(), good.display());
    let words = ["map", "--max-attempts", "1", "--", "sh", "-c", &script, "sh"];
    site.run_with(&words, Some(b"0\n1\n2\n")).ended_with(1).saying(&["line 2", "exit code 1 after 1 attempt"]);
    let failed = site.run(&["list", "--state", "failed", "--json"]).ended_with(0).json();
    assert_eq!((&failed[0]["job"], &failed[0]["counts"]["failed"]), (&json!(1), &json!(2)));
    site.run(&["wait", "1"]).ended_with(1);

    std::fs::write(&good, "").unwrap();
    assert_eq!(site.run(&["retry", "1.1"]).ended_with(0).text(), "task 1.1 is queued again\n");
    assert_eq!(site.run(&["retry", "1", "--json"]).ended_with(0).json(), json!([{"job": 1, "queued": 1}]));
    site.run(&["wait", "1"]).ended_with(0);
    let shown = show(&site, "1.1");
    let counts = (&shown["state"], &shown["attempts"], &shown["failures"]);
    assert_eq!(counts, (&json!("succeeded"), &json!(2), &json!(0)), "{shown}");
    assert_eq!(std::fs::read_to_string(&ran).unwrap().lines().filter(|line| *line == "0").count(), 1);

    let nothing = site.run(&["retry", "1"]).ended_with(0);
    assert!(nothing.text().contains("nothing runs again"), "{nothing}");
    site.run(&["retry", "1.0"]).ended_with(2).saying(&["task 1.0 is succeeded", "only what failed"]);
    let some = site.run(&["retry", "1.0", "1.9", "1"]).ended_with(2).saying(&["task 1.0", "1.9"]);
    assert_eq!(some.text().lines().count(), 1, "{some}");
}

#[test]
fn what_was_cancelled_runs_after_all_also_after_a_restart_of_the_manager() {
    let mut site = Site::start();
    site.log_in();
    let tasks: Vec<String> = (0..3).map(|_| submit(&site, &[], &["true"])).collect();
    for task in &tasks {
        site.run(&["cancel", job_of(task)]).ended_with(0);
    }
    site.run(&["retry", &tasks[0], job_of(&tasks[1])]).ended_with(0);
    site.kill_manager();
    site.start_manager();
    assert_eq!(tasks.iter().map(|task| state(&site, task)).collect::<Vec<_>>(), ["queued", "queued", "cancelled"]);
    let _worker = site.worker("one");
    for task in &tasks[..2] {
        site.run(&["wait", task]).ended_with(0);
    }
    assert_eq!(state(&site, &tasks[2]), "cancelled");
    assert_eq!(jobs(&site).len(), 3);
}
