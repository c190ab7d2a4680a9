//! Loading the configuration anew while tasks run.

use std::net::SocketAddr;

use task_messenger_client::{EncodedTemplate, JobOptions, Target, TaskState, Template, WhenFull};

use crate::harness::{Held, NotifySocket, Signal, Site, get, json, said, wait_until};

fn check(address: SocketAddr) -> serde_json::Value {
    let report: serde_json::Value = serde_json::from_str(&get(address, "/readyz").1).unwrap();
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == "configuration").unwrap().clone()
}

/// The same for the number of a metric.
fn metric(address: SocketAddr, name: &str) -> u64 {
    let text = get(address, "/metrics").1;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.unwrap_or_else(|| panic!("no {name}: {text}"));
    // What may be a fraction is written as one.
    value.strip_suffix(".0").unwrap_or(value).parse().unwrap()
}

#[tokio::test]
async fn limits_and_slots_change_under_load_and_nothing_that_runs_is_disturbed() {
    let http = json!({"http": {"listen": "127.0.0.1:0"}});
    let mut site = Site::start_with(http.clone());
    let mut worker = site.worker_with("worker", http);
    site.log_in();
    let held = Held::new(&site.path("held"));
    let arguments = held.arguments("{}");
    let words: Vec<&str> = ["map", "--", "sh"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    let names: Vec<String> = (0..7).map(|name| name.to_string()).collect();
    let map = site.invoke(&words, Some(names.join("\n").as_bytes()));
    held.wait_for_starts(2);
    let client = site.client().await;
    let skill = EncodedTemplate::new(&Template::of_skill("string-reversal")).unwrap();
    let mut load = client.job(JobOptions::default()).unwrap();
    for _ in 0..20_000 {
        load.push(&skill, br#"{"text":"ab"}"#).await.unwrap();
    }
    let load = load.finish().await.unwrap().job;

    worker.configure(json!({"slots": 6, "name": "renamed", "prefetch": {"most": 1000}}));
    worker.process().signal(Signal::HUP);
    held.wait_for_starts(6);
    wait_until("the manager knows the new slots", || {
        let known = site.run(&["workers", "--json"]).json();
        known[0]["slots"] == 6 && known[0]["name"] == "renamed"
    });
    assert_eq!(metric(worker.http(), "task_messenger_worker_slots"), 6);
    // Fewer than run: nothing new starts until enough have ended.
    worker.configure(json!({"slots": 1}));
    worker.process().signal(Signal::HUP);
    wait_until("the worker has one slot", || metric(worker.http(), "task_messenger_worker_slots") == 1);
    assert_eq!(held.starts().len(), 6);

    site.configure(
        json!({"limits": {"queue_tasks": 5, "worker_window": 4}, "lease": {"grace": "40s"}, "log": {"level": "debug"}}),
    );
    assert!(!site.manager_log().contains("DEBUG"));
    site.write_configuration();
    let reloaded = site.administer(&["reload"]).ended_with(0);
    // (The port that it was given at its start is written down now.)
    let expected = "changed: lease.grace, limits.queue_tasks, limits.worker_window, log.level\nchanged at the next restart: listen\n";
    assert_eq!(reloaded.text(), expected);
    assert_eq!(metric(site.http(), "task_messenger_queue_limit_tasks"), 5);
    let template = EncodedTemplate::new(&held.template()).unwrap();
    let mut job = client.job(JobOptions { when_full: WhenFull::Fail, ..JobOptions::default() }).unwrap();
    // It may be refused here already.
    let _ = job.push(&template, b"x").await;
    let error = job.finish().await.unwrap_err();
    assert!(said(&error).contains("limits.queue_tasks"), "{error}");

    site.wait_for_log(&["DEBUG"]);
    held.let_go();
    assert_eq!(map.wait().ended_with(0).text().lines().count(), 7);
    let mut results = client.follow(Target::Job(load)).unwrap();
    let mut succeeded = 0;
    while let Some(result) = results.next().await.unwrap() {
        assert_eq!(result.state, TaskState::Succeeded);
        assert!(String::from_utf8_lossy(&result.outcome.output).contains("ba"));
        succeeded += 1;
    }
    assert_eq!(succeeded, 20_000);
    assert_eq!(held.starts().len(), 7, "none was started twice");
    assert_eq!(metric(site.http(), "task_messenger_leases_lost_total"), 0);
}

#[test]
fn a_broken_file_leaves_the_old_configuration_in_force_and_is_shown_until_it_is_mended() {
    let mut site = Site::prepare(json!({"http": {"listen": "127.0.0.1:0"}}));
    let mut service = NotifySocket::bind(&site.path("notify"));
    site.set_variable("NOTIFY_SOCKET", service.name());
    site.start_manager();
    service.wait_for("READY=1");
    let (address, file) = (site.http(), site.path("config-manager.json"));
    let good = std::fs::read_to_string(&file).unwrap();
    for (bad, words) in [
        (good.replacen('{', "{\"leese\": {}, ", 1), &["leese", "lease"][..]),
        (good.replacen('{', "{\"lease\": {\"grace\": \"1ms\"}, \"retain\": 5, ", 1), &["lease.grace", "1s", "retain"]),
        ("{".to_owned(), &["line 1"]),
    ] {
        std::fs::write(&file, bad).unwrap();
        let refused = site.administer(&["reload"]);
        assert_ne!(refused.code(), 0);
        let refused = refused.saying(words);
        assert!(refused.errors.contains(file.to_str().unwrap()), "{refused}");
        assert_eq!(get(address, "/readyz").0, 200, "the manager goes on");
        let shown = check(address);
        assert_eq!(shown["ok"], false);
        for word in words {
            assert!(shown["detail"].as_str().unwrap().contains(word), "{shown}");
            site.wait_for_log(&["ERROR", word]);
        }
    }
    // By the signal too.
    std::fs::write(
        &file,
        good.replacen('{', "{\"limits\": {\"payload\": \"1MiB\", \"queue_tasks\": 7}, \"retain\": \"none\", ", 1),
    )
    .unwrap();
    service.forget();
    site.manager().signal(Signal::HUP);
    service.wait_for("RELOADING=1");
    let now: u64 = service.wait_for("MONOTONIC_USEC=")["MONOTONIC_USEC=".len()..].parse().unwrap();
    assert!(now > 0);
    service.wait_for("READY=1");
    wait_until("it is as it should be", || check(address)["ok"] == true);
    let detail = check(address)["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("a restart is needed for limits.payload, retain"), "{detail}");
    site.wait_for_log(&["WARN", "only at a restart", "limits.payload, retain"]);
    // What was heard may have been the word of the reload before.
    wait_until("the new limit holds", || metric(address, "task_messenger_queue_limit_tasks") == 7);
    // Who is not this machine's administrator may not ask.
    assert!(!site.run(&["manager", "reload", "--state-dir", "/nowhere"]).status.success());
}

#[test]
fn a_worker_reloads_by_the_signal_and_goes_where_its_manager_is_now() {
    let mut site = Site::start();
    let mut worker = site.joined_worker("worker", json!({"http": {"listen": "127.0.0.1:0"}}));
    worker.configure(json!({"managers": ["127.0.0.1:1"]}));
    let mut service = NotifySocket::bind(&site.path("notify"));
    worker.set_variable("NOTIFY_SOCKET", service.name());
    worker.start();
    service.wait_for("STATUS=waiting for manager 127.0.0.1:1, next try in ");
    let address = worker.http();
    std::fs::write(site.path("config-worker.json"), "{\"slots\": 0}").unwrap();
    worker.process().signal(Signal::HUP);
    wait_until("what is wrong is shown", || check(address)["ok"] == false);
    assert!(check(address)["detail"].as_str().unwrap().contains("slots"));
    worker
        .configure(json!({"slots": 3, "managers": [site.address().to_string()], "name": "worker", "kill_after": "1s",
        "state_directory": worker.state(), "http": {"listen": "127.0.0.1:0"}, "kinds": {"skill": false}}));
    service.forget();
    worker.process().signal(Signal::HUP);
    service.wait_for("RELOADING=1");
    service.wait_for("READY=1");
    wait_until("it is connected", || get(address, "/readyz").0 == 200);
    let shown = check(address);
    assert!(shown["detail"].as_str().unwrap().contains("a restart is needed for kinds.skill"), "{shown}");
    // By command too, which says what came of it.
    let file = worker.file().to_str().unwrap().to_owned();
    let ask = || site.run(&["worker", "reload", "--config", &file]);
    worker.configure(json!({"slots": 2, "kinds": {"skill": true}, "outbox": {"bytes": "1MiB"}}));
    let asked = ask();
    assert!(asked.status.success(), "{}", asked.errors);
    assert_eq!(String::from_utf8_lossy(&asked.output).trim_end(), "changed: outbox.bytes, slots");
    worker.configure(json!({"slots": 0}));
    let refused = ask();
    assert_eq!(refused.status.code(), Some(1), "{}", refused.errors);
    assert!(
        refused.errors.contains("the worker keeps its configuration") && refused.errors.contains("slots"),
        "{}",
        refused.errors
    );
    worker.process().signal(Signal::TERM);
    worker.wait();
    assert!(ask().errors.contains("no worker is running on the state directory"));
    site.stop_manager();
}
