//! Delays and deadlines.

use super::{show, state, submit, submit_held};
use crate::harness::{Held, Site, json, wait_until};

fn milliseconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

#[test]
fn a_delayed_task_starts_when_its_time_has_come_and_not_before() {
    let site = Site::start();
    let _worker = site.worker("one");
    site.log_in();
    let began = milliseconds();
    let task = submit(&site, &["--delay", "2s"], &["date", "+%s%3N"]);
    let later = submit(&site, &["--delay", "1h"], &["true"]);
    assert_eq!(state(&site, &task), "scheduled");
    site.run(&["wait", &task]).ended_with(0);
    let ran: u64 = site.run(&["result", &task]).ended_with(0).text().trim().parse().unwrap();
    println!("a delay of 2,000 ms took {} ms", ran - began);
    assert!(ran - began >= 2_000, "it ran after {} ms", ran - began);
    assert_eq!(state(&site, &later), "scheduled");
    // `map` and `skill` have it too.
    let began = milliseconds();
    site.run_with(&["map", "--delay", "300ms", "--", "true"], Some(b"a\nb\n")).ended_with(0);
    let words = ["skill", "string-reversal", "--delay", "300ms", "--json", r#"{"text": "ab"}"#];
    site.run(&words).ended_with(0);
    assert!(milliseconds() - began >= 600);
}

#[test]
fn what_has_not_started_by_its_deadline_expires_and_what_has_goes_on() {
    let mut site = Site::start();
    let _worker = site.worker_with("one", json!({"slots": 1}));
    site.log_in();
    let held = Held::new(&site.path("held"));
    let arguments = held.arguments("a");
    let words: Vec<&str> = std::iter::once("sh").chain(arguments.iter().map(String::as_str)).collect();
    let running = submit(&site, &["--deadline", "5s"], &words);
    held.wait_for_starts(1);
    // The only slot is taken.
    let waits = site.invoke(&["submit", "--wait", "--deadline", "300ms", "--", "true"], None);
    waits.wait().ended_with(125).saying(&["expired: it had not started before its deadline"]);
    let late = submit(&site, &["--deadline", "300ms", "--delay", "100ms"], &["echo", "late"]);
    site.run(&["wait", &late]).ended_with(1);
    assert_eq!(state(&site, &late), "expired");
    site.run(&["result", &late]).ended_with(1).saying(&["expired"]);

    // It is so after a restart, and nothing expires that has started.
    site.kill_manager();
    site.start_manager();
    assert_eq!(state(&site, &late), "expired");
    let past = submit(&site, &["--deadline", "5s"], &["true"]);
    site.run(&["wait", &past]).ended_with(1);
    assert_eq!(state(&site, &running), "running");
    held.let_go();
    site.run(&["wait", &running]).ended_with(0);
    // Wanted after all, it runs.
    site.run(&["retry", &late]).ended_with(0);
    site.run(&["wait", &late]).ended_with(0);
    assert_eq!(site.run(&["result", &late]).text(), "late\n");
}

#[test]
fn deadlines_are_kept_although_nobody_asks_and_no_worker_is_there() {
    let site = Site::start();
    site.log_in();
    let held = Held::new(&site.path("held"));
    let forever = submit_held(&site, &held, "a");
    let task = submit(&site, &["--deadline", "200ms"], &["true"]);
    wait_until("it has expired", || show(&site, &task)["state"] == "expired");
    assert_eq!(state(&site, &forever), "queued");
}
