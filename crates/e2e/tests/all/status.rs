//! `status`: what it shows agrees with what was done, also while it is watched and the manager comes and goes.

use serde_json::Value;

use crate::harness::{Held, Invocation, Signal, Site, json, wait_until};

fn log_in_as_administrator(site: &Site) {
    let token = site.token("admin");
    site.run_with(&["login", "-"], Some(token.as_bytes())).ended_with(0);
}

fn status(site: &Site) -> Value {
    site.run(&["status", "--json"]).ended_with(0).json()
}

/// The only worker of a status.
fn worker(status: &Value) -> &Value {
    assert_eq!(status["workers"].as_array().map(Vec::len), Some(1), "{status}");
    &status["workers"][0]
}

/// What a command has printed so far.
fn printed(invocation: &Invocation) -> String {
    String::from_utf8(invocation.output_so_far()).unwrap()
}

fn screens(invocation: &Invocation) -> usize {
    printed(invocation).matches("manager   READY").count()
}

#[test]
fn a_status_agrees_with_what_was_done() {
    let site = Site::start_with(json!({"limits": {"queue_tasks": 1_000, "queue": "1GiB"}}));
    let _one = site.worker_with("one", json!({"slots": 1}));
    log_in_as_administrator(&site);
    for _ in 0..2 {
        site.run(&["submit", "--wait", "--", "true"]).ended_with(0);
    }
    let failed = site.run(&["submit", "--max-attempts", "2", "--", "false"]).ended_with(0);
    site.run(&["wait", failed.text().trim()]).ended_with(1);
    let held = Held::new(&site.path("held"));
    let arguments = held.arguments("a");
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    site.run(&[&["submit", "--", "sh"], &words[..]].concat()).ended_with(0);
    held.wait_for_starts(1);
    // It fits no worker.
    let waits = site.run(&["submit", "--slots", "2", "--", "true"]).ended_with(0);

    let now = status(&site);
    let tasks = &now["tasks"];
    assert_eq!(
        (&tasks["succeeded"], &tasks["failed"], &now["dead_letters"]),
        (&json!(2), &json!(1), &json!(1)),
        "{now}"
    );
    assert_eq!((&tasks["running"], &tasks["queued"], &now["queue_tasks"]), (&json!(1), &json!(1), &json!(2)), "{now}");
    assert_eq!((&now["ready"], &now["troubles"]), (&json!(true), &json!([])), "{now}");
    assert_eq!((&now["queue_limit_tasks"], &now["queue_limit_bytes"]), (&json!(1_000), &json!(1 << 30)), "{now}");
    let since_start = json!({"submitted": 5, "ended": 3, "leases": 5, "retried": 1, "leases_lost": 0});
    assert_eq!(now["since_start"], since_start, "{now}");
    assert_eq!(now["disk_reserve_wanted_bytes"], json!(16 << 20), "{now}");
    for key in ["uptime_seconds", "oldest_queued_seconds", "disk_free_bytes", "journal_bytes", "archive_bytes"] {
        assert!(now[key].as_f64().unwrap() > 0.0, "{key}: {now}");
    }
    let one = worker(&now);
    assert_eq!(
        (&one["name"], &one["state"], &one["slots_used"]),
        (&json!("one"), &json!("active"), &json!(1)),
        "{now}"
    );
    assert!(one["last_heard_seconds"].is_f64() && one["connected_seconds"].is_f64(), "{now}");
    assert_eq!(&site.run(&["workers", "--json"]).ended_with(0).json()[0]["state"], "active");

    let screen = site.run(&["status"]).ended_with(0);
    for line in [
        "manager   READY, task-messenger-manager ",
        "queue     1 queued, 1 running\n",
        "2 of 1,000 tasks (0.2%), ",
        " of 1.0 GiB (0.0%)\n",
        "finished  2 succeeded, 0 cancelled, 0 expired; 5 jobs\n",
        "failed    1 dead letter: task-messenger list --state failed\n",
        "reserve 16.0 MiB of 16.0 MiB\n",
        "workers   1 of 1 connected, 1 of 1 slots used\n",
        "one   active  ##### 1/1  ",
    ] {
        assert!(screen.text().contains(line), "{line:?} is not in {screen}");
    }
    assert!(!screen.text().contains('\u{1b}'), "{screen}");
    // The command that it names lists what it counts.
    let dead = site.run(&["list", "--state", "failed", "--json"]).ended_with(0).json();
    assert_eq!((dead.as_array().unwrap().len(), &dead[0]["counts"]["failed"]), (1, &json!(1)), "{dead}");

    held.let_go();
    site.run(&["cancel", waits.text().trim()]).ended_with(0);
    wait_until("the rates follow", || {
        let now = status(&site);
        let positive = |key: &str| now[key].as_f64().unwrap() > 0.0;
        now["queue_tasks"] == 0 && now["oldest_queued_seconds"].is_null() && positive("ended_per_second")
    });
    // What succeeded is counted also when it is in the archive.
    wait_until("the archive has what succeeded", || status(&site)["archive_tasks"] == 3);
    let now = status(&site);
    assert_eq!((&now["tasks"]["succeeded"], &now["archive_lag_tasks"]), (&json!(3), &json!(0)), "{now}");
}

#[test]
fn a_killed_worker_is_silent_and_then_gone_and_it_stays_known_when_it_was_heard_last() {
    let site = Site::start_with(json!({"lease": {"grace": "10s"}}));
    let mut one = site.worker("one");
    site.log_in();
    wait_until("the worker is there", || {
        let now = status(&site);
        now["workers"][0]["state"] == "active" && now["workers_connected"] == 1
    });
    one.kill();
    let mut address = Value::Null;
    wait_until("the worker is silent", || {
        let now = status(&site);
        address = worker(&now)["address"].clone();
        worker(&now)["state"] == "silent" && worker(&now)["connected_seconds"].is_null()
    });
    let mut last_heard = 0.0;
    wait_until("the worker is gone", || {
        let now = status(&site);
        let heard = worker(&now)["last_heard_seconds"].as_f64().unwrap();
        assert!(heard >= last_heard, "{now}");
        last_heard = heard;
        worker(&now)["state"] == "gone"
    });
    assert!(last_heard >= 10.0, "{last_heard}");
    let now = status(&site);
    assert_eq!((&worker(&now)["address"], &now["workers_connected"]), (&address, &json!(0)), "{now}");
    let screen = site.run(&["status"]).ended_with(0);
    let line = screen.text().lines().find(|line| line.starts_with("one ")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!((words[1], words[4], words.last()), ("gone", address.as_str().unwrap(), Some(&"ago")), "{screen}");
    assert!(screen.text().contains("workers   0 of 1 connected, "), "{screen}");
    one.start();
    wait_until("the worker is back", || worker(&status(&site))["state"] == "active");
}

#[test]
fn who_watches_sees_the_manager_go_and_come_back() {
    let mut site = Site::start();
    site.log_in();
    // The next manager has it, but not from anybody who submitted it since its start.
    site.run(&["submit", "--", "true"]).ended_with(0);
    let watching = site.invoke(&["status", "--watch", "0.2"], None);
    let lines = site.invoke(&["status", "--watch", "0.2", "--json"], None);
    wait_until("there are several screens", || screens(&watching) >= 3);
    assert!(printed(&watching).contains("\n\n20"), "{}", printed(&watching));

    site.kill_manager();
    wait_until("it is said that the manager is away", || printed(&watching).contains("no connection since 20"));
    assert!(printed(&watching).contains("; trying again\n"), "{}", printed(&watching));
    wait_until("it is said beside the objects", || lines.errors_so_far().contains("no connection since 20"));
    let before = (screens(&watching), printed(&lines).lines().count());
    site.start_manager();
    wait_until("it goes on", || screens(&watching) >= before.0 + 2);
    wait_until("the objects go on", || printed(&lines).lines().count() >= before.1 + 2);
    assert_eq!(printed(&watching).matches("no connection since").count(), 1);
    assert!(lines.errors_so_far().contains("the manager is back"), "{}", lines.errors_so_far());

    // A manager that is there and does not answer.
    site.manager().signal(Signal::STOP);
    wait_until("it is said that no answer comes", || printed(&watching).contains("no answer since 20"));
    let before = screens(&watching);
    site.manager().signal(Signal::CONT);
    wait_until("it goes on", || screens(&watching) >= before + 2);

    for invocation in [watching, lines] {
        invocation.signal(Signal::INT);
        let ended = invocation.wait().ended_with(0);
        if !ended.text().starts_with('{') {
            continue;
        }
        let objects = ended.text().lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut submitted: Vec<Value> = objects.map(|now| now["since_start"]["submitted"].clone()).collect();
        submitted.dedup();
        assert_eq!(submitted, [json!(1), json!(0)], "{ended}");
    }
    site.kill_manager();
    site.run(&["status", "--watch"]).ended_with(69);
    site.run(&["status", "--watch", "0.1"]).ended_with(64).saying(&["0.2 to 3600"]);
}

#[test]
fn a_manager_that_is_not_ready_says_why_and_what_to_do() {
    let Some(mut site) = Site::prepare_small(json!({"disk": {"reserve": "16MiB"}, "journal": {"segment": "2MiB"}}), 64)
    else {
        return;
    };
    site.start_manager();
    site.log_in();
    wait_until("the manager is ready", || status(&site)["ready"] == true);
    site.disk().fill();
    wait_until("the manager is not ready", || status(&site)["ready"] == false);
    let now = status(&site);
    assert_eq!((&now["troubles"][0]["name"], &now["troubles"][0]["required"]), (&json!("disk"), &json!(true)), "{now}");
    let screen = site.run(&["status"]).ended_with(0);
    for words in ["manager   NOT READY, ", "\n          disk since 20", "\n          what to do: make room on the disk"]
    {
        assert!(screen.text().contains(words), "{words:?} is not in {screen}");
    }
    site.disk().empty();
    wait_until("the manager is ready again", || site.run(&["status"]).text().contains("manager   READY"));
}
