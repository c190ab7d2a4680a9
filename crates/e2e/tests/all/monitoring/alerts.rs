//! A real Prometheus with the rules, the configuration and the dashboard that are shipped.

use std::{fs, net::SocketAddr};

use task_messenger_client::{Command, EncodedTemplate, LoneOptions, Target, TaskState, Template};

use super::{
    exposition::Exposition,
    files::{panels, queries},
    http,
    prometheus::{Prometheus, RANGE, is_installed, promtool, shortened_rules},
    read, scene, shipped,
};
use crate::harness::{Held, Site, get, json, wait_until};

/// How often the test's Prometheus reads and judges.
const INTERVAL: &str = "500ms";

/// A place for a Prometheus: what is shipped, with a test's times and addresses.
fn lay_out(site: &Site) -> std::path::PathBuf {
    let directory = site.path("prometheus");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("alerts.yml"), shortened_rules()).unwrap();
    let mut configuration = read("extras/monitoring/prometheus.yml");
    for (shipped, own) in [
        ("scrape_interval: 15s", format!("scrape_interval: {INTERVAL}")),
        ("evaluation_interval: 15s", format!("evaluation_interval: {INTERVAL}")),
        ("- targets: ['127.0.0.1:7480']", format!("- targets: ['{}']", site.http())),
        // They are in a file.
        ("- targets: ['127.0.0.1:7481']", "- targets: []".to_owned()),
    ] {
        assert_eq!(configuration.matches(shipped).count(), 1, "{shipped}");
        configuration = configuration.replace(shipped, &own);
    }
    fs::write(directory.join("prometheus.yml"), configuration).unwrap();
    directory
}

/// Tells Prometheus where the workers are.
fn name_workers(site: &Site, workers: &[SocketAddr]) {
    let path = |name: &str| site.path("prometheus").join(name);
    let targets: Vec<String> = workers.iter().map(ToString::to_string).collect();
    fs::write(path("workers.new"), json!([{"targets": targets}]).to_string()).unwrap();
    fs::rename(path("workers.new"), path("task-messenger-workers.yml")).unwrap();
}

#[test]
fn promtool_finds_the_rules_the_example_and_the_metrics_good_and_each_alert_fires_and_clears() {
    if !is_installed() {
        return;
    }
    let directory = shipped("extras/monitoring");
    for arguments in [
        &["check", "rules", "alerts.yml"][..],
        &["test", "rules", "alerts-test.yml"],
        &["check", "config", "prometheus.yml"],
    ] {
        let said = promtool(&directory, arguments, None);
        assert!(said.contains("SUCCESS") && !said.contains("FAILED"), "{said}");
    }
    let (site, worker) = scene();
    for (name, address) in [("manager", site.http()), ("worker", worker.http())] {
        let file = site.path(name).with_extension("metrics");
        fs::write(&file, get(address, "/metrics").1).unwrap();
        assert_eq!(promtool(&directory, &["check", "metrics"], Some(&file)), "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_real_prometheus_reads_both_daemons_and_alerts_fire_and_clear() {
    if !is_installed() {
        return;
    }
    let mut site = Site::start_with(
        json!({"http": {"listen": "127.0.0.1:0"}, "link": {"silence": "2s"}, "lease": {"grace": "1s"}}),
    );
    let client = site.client().await;
    let submit = async |template: &Template, payload: &[u8]| {
        let template = EncodedTemplate::new(template).unwrap();
        client.submit_one(&template, payload, LoneOptions::default()).await.unwrap()
    };
    let skill = Template::of_skill("string-reversal");
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(submit(&skill, br#"{"text": "ab"}"#).await);
    }
    let directory = lay_out(&site);
    promtool(&directory, &["check", "config", "prometheus.yml"], None);
    let prometheus = Prometheus::start(&directory);

    // Tasks are queued, and there is no worker.
    prometheus.wait_for_alert("TaskMessengerNoWorkers");
    let alert = prometheus.firing().into_iter().find(|alert| alert["labels"]["alertname"] == "TaskMessengerNoWorkers");
    let alert = alert.unwrap();
    let summary = format!("3 tasks are queued at {} and no worker is connected", site.http());
    assert_eq!((&alert["annotations"]["summary"], &alert["labels"]["severity"]), (&json!(summary), &json!("critical")));

    let mut worker = site.worker_with("one", http());
    name_workers(&site, &[worker.http()]);
    let up = |job: &str| (format!("task-messenger-{job}"), "up".to_owned());
    wait_until("both are read", || {
        let mut targets = prometheus.targets();
        targets.sort();
        targets == [up("manager"), up("worker")]
    });
    let failing = Command { program: "false".to_owned(), ..Command::default() };
    tasks.push(submit(&Template { max_attempts: 2, ..Template::of_command(failing) }, b"").await);
    for task in tasks {
        let mut results = client.follow(Target::Task(task)).unwrap();
        while results.next().await.unwrap().is_some() {}
    }
    prometheus.wait_for_alert("TaskMessengerDeadLetters");
    for (expression, value) in [
        ("task_messenger_tasks_submitted_total", 4.0),
        (r#"task_messenger_tasks_ended_total{state="succeeded"}"#, 3.0),
        (r#"task_messenger_tasks_ended_total{state="failed"}"#, 1.0),
        ("task_messenger_tasks_retried_total", 1.0),
        ("task_messenger_leases_total", 5.0),
        ("task_messenger_task_queued_seconds_count", 4.0),
        (r#"task_messenger_task_running_seconds_bucket{le="+Inf"}"#, 5.0),
        (r#"task_messenger_worker_tasks_ended_total{outcome="succeeded"}"#, 3.0),
        (r#"task_messenger_worker_tasks_ended_total{outcome="failed"}"#, 2.0),
        (r#"task_messenger_sessions{role="worker"}"#, 1.0),
        ("task_messenger_worker_connected", 1.0),
        ("sum(task_messenger_ready)", 2.0),
    ] {
        wait_until(&format!("{expression} is {value}"), || prometheus.value(expression) == Some(value));
    }
    // It has taken all that both say.
    for address in [site.http(), worker.http()] {
        for name in Exposition::scrape_open(address).names() {
            let expression = format!("count(task_messenger_{name}{{instance=\"{address}\"}})");
            assert!(prometheus.value(&expression).is_some(), "{name} of {address} is not there");
        }
    }
    for rule in prometheus.rules() {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    let dashboard = serde_json::from_str(&read("extras/monitoring/dashboard.json")).unwrap();
    let completed = |query: &str| query.replace("$__rate_interval", RANGE).replace("$instance", ".*");
    for query in queries(&dashboard) {
        prometheus.query(&completed(&query)).unwrap();
    }
    for panel in panels(&dashboard) {
        for query in queries(panel) {
            let found = prometheus.query(&completed(&query)).unwrap();
            assert!(!found.is_empty(), "{} shows nothing: {query}", panel["title"]);
        }
    }
    prometheus.wait_for_silence();

    // A worker dies with its task.
    let held = Held::new(&site.path("held"));
    let task = submit(&held.template(), b"one").await;
    held.wait_for_starts(1);
    worker.kill();
    for name in ["TaskMessengerWorkerDown", "TaskMessengerLeasesLost", "TaskMessengerWorkersAway"] {
        prometheus.wait_for_alert(name);
    }
    wait_until("the task is queued and nobody is there", || {
        prometheus.firing().iter().any(|alert| alert["labels"]["alertname"] == "TaskMessengerNoWorkers")
    });
    worker.start();
    wait_until("the worker answers again", || worker.log().matches("HTTP is answered").count() == 2);
    name_workers(&site, &[worker.http()]);
    held.let_go();
    let mut results = client.follow(Target::Task(task)).unwrap();
    let mut states = Vec::new();
    while let Some(result) = results.next().await.unwrap() {
        states.push(result.state);
    }
    assert_eq!(states, [TaskState::Succeeded]);
    prometheus.wait_for_silence();

    // The manager dies. It comes back where it was.
    site.configure(json!({"http": {"listen": site.http()}}));
    site.kill_manager();
    for name in ["TaskMessengerManagerDown", "TaskMessengerWorkerDisconnected"] {
        prometheus.wait_for_alert(name);
    }
    site.start_manager();
    prometheus.wait_for_silence();
    for alert in prometheus.query("count by (alertname) (last_over_time(ALERTS[1h]))").unwrap() {
        println!("fired: {}", alert.labels["alertname"]);
    }
}

#[test]
fn a_real_prometheus_reads_a_manager_over_tls_with_its_own_certificate() {
    if !is_installed() {
        return;
    }
    let site = Site::start_with(json!({"http": {"listen": "127.0.0.1:0", "tls": "own"}}));
    let (address, certificate) = (site.http(), site.path("manager").join("certificate.pem"));
    let configuration = json!({
        "global": {"scrape_interval": INTERVAL},
        "scrape_configs": [{
            "job_name": "task-messenger-manager",
            "scheme": "https",
            "tls_config": {"ca_file": certificate, "server_name": "task-messenger"},
            "static_configs": [{"targets": [address]}],
        }],
    });
    // JSON is YAML.
    fs::write(site.path("prometheus.yml"), configuration.to_string()).unwrap();
    let prometheus = Prometheus::start(site.root());
    wait_until("it is read", || prometheus.value("task_messenger_ready") == Some(1.0));
}
