//! Draining, pausing and removing workers.

use serde_json::Value;
use task_messenger_protocol::token::Token;

use super::{log_in_as_administrator, show, state, submit_held};
use crate::harness::{Held, Site, json, wait_until};

fn worker(site: &Site, name: &str) -> Value {
    let workers = site.run(&["workers", "--json"]).ended_with(0).json();
    workers.as_array().unwrap().iter().find(|worker| worker["name"] == name).cloned().unwrap_or_default()
}

fn wait_for_mode(site: &Site, name: &str, mode: &str) {
    wait_until(&format!("{name} is {mode}"), || worker(site, name)["mode"] == mode);
}

fn charged(site: &Site, task: &str) -> (u64, u64) {
    let shown = show(site, task);
    (shown["attempts"].as_u64().unwrap(), shown["failures"].as_u64().unwrap())
}

#[test]
fn a_drained_worker_finishes_what_it_runs_gets_nothing_new_and_goes_on_when_it_is_resumed() {
    let mut site = Site::start();
    let mut one = site.worker_with("one", json!({"slots": 1}));
    log_in_as_administrator(&site);
    let held = Held::new(&site.path("held"));
    let (a, b) = (submit_held(&site, &held, "a"), submit_held(&site, &held, "b"));
    held.wait_for_starts(1);
    let mut draining = site.invoke(&["drain", "one"], None);
    wait_for_mode(&site, "one", "draining");
    assert!(site.run(&["workers"]).text().contains("draining"));
    wait_until("it says what it waits for", || draining.errors_so_far().contains("holds 1 task"));
    // It stays so over a restart of both.
    site.kill_manager();
    site.start_manager();
    wait_until("the worker is back", || worker(&site, "one")["connected"] == true);
    assert!(!draining.has_ended() && state(&site, &b) == "queued");
    held.let_one_go("a");
    let drained = draining.wait().ended_with(0);
    assert_eq!(drained.text(), "worker 0 (one) is drained\n");
    assert_eq!((state(&site, &a).as_str(), charged(&site, &a)), ("succeeded", (1, 0)));
    assert!(site.run(&["workers"]).text().contains("drained"));
    one.kill();
    one.start();
    wait_until("the worker is back", || worker(&site, "one")["connected"] == true);
    // What is drained already is not waited for.
    let again = site.run(&["drain", "0", "--json"]).ended_with(0).json();
    assert_eq!((&again[0]["mode"], &again[0]["leases"]), (&json!("drained"), &json!(0)));
    assert_eq!((held.starts().len(), state(&site, &b).as_str()), (1, "queued"));

    assert_eq!(site.run(&["resume", "one"]).ended_with(0).text(), "worker 0 (one) is active\n");
    held.wait_for_starts(2);
    held.let_go();
    site.run(&["wait", &b]).ended_with(0);
    assert_eq!(charged(&site, &b), (1, 0));
}

#[test]
fn a_paused_worker_gets_nothing_and_others_do_its_work() {
    let site = Site::start();
    let one = site.worker_with("one", json!({"slots": 1}));
    wait_until("the first worker is there", || one.log().contains("runs"));
    let two = site.worker_with("two", json!({"slots": 1}));
    log_in_as_administrator(&site);
    let held = Held::new(&site.path("held"));
    wait_until("both are there", || {
        worker(&site, "two")["connected"] == true && worker(&site, "one")["connected"] == true
    });
    let paused = site.run(&["pause", "two", "1", "--json"]).ended_with(0).json();
    assert_eq!((paused.as_array().unwrap().len(), &paused[0]["mode"]), (1, &json!("paused")), "{paused}");
    submit_held(&site, &held, "a");
    let b = submit_held(&site, &held, "b");
    held.wait_for_starts(1);
    assert!(one.owns(&held.starts()[0].home));
    // Draining what runs something returns at once if it is told to.
    let said = site.run(&["drain", "--no-wait", "one"]).ended_with(0);
    assert_eq!(said.text(), "worker 0 (one) is draining, and still holds 1 task\n");
    assert_eq!(state(&site, &b), "queued");
    site.run(&["resume", "two"]).ended_with(0);
    held.wait_for_starts(2);
    assert!(two.owns(&held.starts()[1].home));

    // Somebody else changes his mind while one waits.
    let waiting = site.invoke(&["drain", "one"], None);
    wait_until("it waits", || waiting.errors_so_far().contains("holds 1 task"));
    site.run(&["resume", "one"]).ended_with(0);
    waiting.wait().ended_with(2).saying(&["worker 0 (one)", "it is active"]);
    held.let_go();
}

#[test]
fn a_worker_is_named_by_its_number_or_by_a_name_that_only_one_has() {
    let site = Site::start();
    let one = site.joined_worker("one", json!({}));
    // A second identity with the same name.
    std::fs::remove_file(one.state().join("worker.credential")).unwrap();
    let _twin = site.joined_worker("one", json!({}));
    let _other = site.joined_worker("other", json!({}));
    site.log_in();
    site.run(&["pause", "other"]).ended_with(2).saying(&["administrator", "next:"]);
    log_in_as_administrator(&site);
    site.run(&["pause", "one"]).ended_with(2).saying(&["2 workers are called", "0 (one, away), 1 (one, away)"]);
    site.run(&["drain", "othr"]).ended_with(2).saying(&["no worker \"othr\"", "2 (other, away)"]);
    // Nothing is done before all are known.
    site.run(&["pause", "other", "nobody"]).ended_with(2).saying(&["nobody"]);
    assert_eq!(worker(&site, "other")["mode"], json!("active"));
    site.run(&["pause", "1", "other"]).ended_with(0);
    let table = site.run(&["workers"]).ended_with(0);
    assert_eq!(table.text().matches("gone, paused").count(), 2, "{table}");
}

#[test]
fn a_removed_worker_exits_for_good_and_its_tasks_run_elsewhere_uncharged() {
    let site = Site::start();
    let mut one = site.worker_with("one", json!({"kill_after": "300ms"}));
    log_in_as_administrator(&site);
    let held = Held::new(&site.path("held"));
    let (a, b) = (submit_held(&site, &held, "a"), submit_held(&site, &held, "b"));
    held.wait_for_starts(2);
    site.run(&["worker", "remove", "one"]).ended_with(64).saying(&["--yes"]);
    let removed = site.run(&["worker", "remove", "--yes", "one"]).ended_with(0);
    assert_eq!(removed.text(), "worker 0 (one) is removed; 2 tasks that it held will run elsewhere\n");
    assert_eq!(one.wait().code(), Some(78));
    let left = held.starts();
    wait_until("its processes are gone", || {
        left.iter().all(|start| !std::path::Path::new(&format!("/proc/{}", start.process)).exists())
    });
    one.start();
    assert_eq!(one.wait().code(), Some(78), "{}", one.log());
    assert!(site.run(&["workers", "--json"]).json().as_array().unwrap().is_empty());
    site.run(&["drain", "one"]).ended_with(2).saying(&["no worker \"one\""]);

    let two = site.worker("two");
    held.wait_for_starts(4);
    held.let_go();
    for task in [&a, &b] {
        site.run(&["wait", task]).ended_with(0);
        assert_eq!(charged(&site, task), (2, 0));
    }
    assert!(held.starts()[2..].iter().all(|start| two.owns(&start.home)) && held.ends().len() == 2);
}

#[test]
fn a_token_that_is_revoked_with_its_workers_takes_them_along_and_nobody_else() {
    let site = Site::start();
    let token = site.token("worker");
    let mut gone = [site.joined_worker_by(&token, "one", json!({})), site.joined_worker_by(&token, "two", json!({}))];
    for worker in &mut gone {
        worker.start();
    }
    log_in_as_administrator(&site);
    let held = Held::new(&site.path("held"));
    let tasks: Vec<String> = (0..4).map(|number| submit_held(&site, &held, &number.to_string())).collect();
    held.wait_for_starts(4);
    let stays = site.worker("three");
    let number = Token::parse(&token).unwrap().number.to_string();
    site.run(&["token", "revoke", &number, "--with-workers"]).ended_with(0);
    for worker in &mut gone {
        assert_eq!(worker.wait().code(), Some(78));
    }
    held.wait_for_starts(6);
    held.let_go();
    for task in &tasks {
        site.run(&["wait", task]).ended_with(0);
        assert_eq!(charged(&site, task), (2, 0), "{task}");
    }
    assert!(held.starts()[4..].iter().all(|start| stays.owns(&start.home)));
    let workers = site.run(&["workers", "--json"]).ended_with(0).json();
    assert_eq!((workers.as_array().unwrap().len(), &workers[0]["name"]), (1, &json!("three")), "{workers}");
    let late = site.path("late");
    let arguments = ["worker", "join", "-", "--state-dir", late.to_str().unwrap()];
    site.run_with(&arguments, Some(token.as_bytes())).ended_with(78).saying(&["revoked"]);
}
