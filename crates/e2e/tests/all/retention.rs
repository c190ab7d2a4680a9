//! What is over is forgotten, and stays forgotten.

use crate::harness::{Site, json, wait_until};

#[test]
fn a_job_that_is_over_is_forgotten_after_its_time_and_one_that_is_not_stays() {
    let mut site = Site::start_with(json!({"retain": "2s"}));
    let _worker = site.worker("one");
    site.log_in();
    let waiting = site.run(&["submit", "--delay", "1h", "--", "true"]).ended_with(0).text().trim().to_owned();
    let submit = ["submit", "--idempotency-key", "once", "--", "echo", "well"];
    let over = site.run(&submit).ended_with(0).text().trim().to_owned();
    site.run(&["wait", &over]).ended_with(0);
    assert_eq!(site.run(&["result", &over]).ended_with(0).text(), "well\n");
    wait_until("it is forgotten", || site.run(&["show", &over]).code() != 0);
    site.run(&["result", &over]).saying(&["there is no job"]);
    let tasks = |site: &Site| site.run(&["status", "--json"]).json()["tasks"].clone();
    assert_eq!((&tasks(&site)["succeeded"], &tasks(&site)["scheduled"]), (&json!(0), &json!(1)));

    site.kill_manager();
    site.start_manager();
    assert_ne!(site.run(&["show", &over]).code(), 0);
    assert_eq!(site.run(&["show", &waiting, "--json"]).ended_with(0).json()["state"], "scheduled");
    // The key still stands for what was done.
    assert_eq!(site.run(&submit).ended_with(0).text().trim(), over);
    assert_eq!(tasks(&site)["queued"], 0);
}

#[test]
fn purging_forgets_what_is_over_and_nothing_else() {
    let site = Site::start_with(json!({"retain": null}));
    let _worker = site.worker("one");
    site.log_in();
    let waiting = site.run(&["submit", "--delay", "1h", "--", "true"]).ended_with(0).text().trim().to_owned();
    let input = (0..1_000).map(|number| format!("{number}\n")).collect::<Vec<_>>().concat();
    site.run_with(&["map", "--", "true"], Some(input.as_bytes())).ended_with(0);
    assert_eq!(site.run(&["purge", "--older-than", "1h", "--json"]).ended_with(0).json()["tasks"], 0);
    assert_eq!(site.run(&["purge", "--older-than", "0s"]).ended_with(0).text(), "1000 tasks forgotten\n");
    let jobs = site.run(&["list", "--json"]).ended_with(0).json();
    assert_eq!(jobs.as_array().map(Vec::len), Some(1), "{jobs}");
    site.run(&["show", &waiting]).ended_with(0);
    site.run(&["purge"]).ended_with(64);
}
