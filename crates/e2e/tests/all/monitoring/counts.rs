//! The metrics of both daemons agree with what was done.

use std::{collections::BTreeSet, time::Duration};

use task_messenger_client::{
    Command, EncodedTemplate, JobOptions, LoneOptions, Named, Target, TaskId, Template, Times, WhenFull,
};
use task_messenger_protocol::{secret::Secret, token::Token};

use super::{exposition::Exposition, scene};
use crate::harness::{Ended, Held, Signal, Site, json, wait_until};

/// A command without arguments.
fn command(program: &str, attempts: u32) -> EncodedTemplate {
    let command = Command { program: program.to_owned(), ..Command::default() };
    EncodedTemplate::new(&Template { max_attempts: attempts, ..Template::of_command(command) }).unwrap()
}

fn skill() -> EncodedTemplate {
    EncodedTemplate::new(&Template::of_skill("string-reversal")).unwrap()
}

/// Logs in with a secret that nobody has been given.
fn guess(site: &Site) -> Ended {
    let token = Token::parse(&site.token("client")).unwrap();
    let wrong = Token { secret: Secret::random().unwrap(), ..token }.to_text().unwrap();
    site.run_with(&["login", "-"], Some(wrong.as_bytes()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_metrics_of_both_daemons_say_what_was_done_and_nothing_else() {
    let (site, worker) = scene();
    let client = site.client().await;
    // Ten that succeed.
    let mut job = client.job(JobOptions::default()).unwrap();
    for _ in 0..10 {
        job.push(&skill(), br#"{"text": "ab"}"#).await.unwrap();
    }
    let job = job.finish().await.unwrap().job;
    let mut results = client.follow(Target::Job(job)).unwrap();
    while results.next().await.unwrap().is_some() {}
    // One that fails twice, is retried, and fails twice again.
    let failing = client.submit_one(&command("false", 2), b"", LoneOptions::default()).await.unwrap();
    let ended = async |task: TaskId| {
        let mut results = client.follow(Target::Task(task)).unwrap();
        while results.next().await.unwrap().is_some() {}
    };
    ended(failing).await;
    assert_eq!(client.retry(Named::Task(failing)).await.unwrap().tasks, 1);
    ended(failing).await;
    // One that is cancelled before its time, and one whose deadline comes before it.
    let hour = Some(Duration::from_hours(1));
    let times = |deadline| LoneOptions { times: Times { delay: hour, deadline }, ..LoneOptions::default() };
    let late = client.submit_one(&skill(), b"{}", times(None)).await.unwrap();
    assert_eq!(client.cancel(Named::Task(late)).await.unwrap().tasks, 1);
    let overdue = client.submit_one(&skill(), b"{}", times(Some(Duration::from_millis(1)))).await.unwrap();
    ended(overdue).await;
    // One that runs while it is looked.
    let held = Held::new(&site.path("held"));
    let template = EncodedTemplate::new(&held.template()).unwrap();
    let running = client.submit_one(&template, b"one", LoneOptions::default()).await.unwrap();
    held.wait_for_starts(1);
    // One that nobody can run.
    let two_slots = Template { slots: 3, ..Template::of_skill("string-reversal") };
    client.submit_one(&EncodedTemplate::new(&two_slots).unwrap(), b"{}", LoneOptions::default()).await.unwrap();
    guess(&site).ended_with(78);

    let found = Exposition::wait_for(
        site.http(),
        &[
            ("ready", 1.0),
            ("tasks_submitted_total", 15.0),
            (r#"tasks{state="succeeded"}"#, 10.0),
            (r#"tasks{state="failed"}"#, 1.0),
            (r#"tasks{state="cancelled"}"#, 1.0),
            (r#"tasks{state="expired"}"#, 1.0),
            (r#"tasks{state="running"}"#, 1.0),
            (r#"tasks{state="queued"}"#, 1.0),
            (r#"tasks{state="waiting"}"#, 0.0),
            (r#"tasks{state="scheduled"}"#, 0.0),
            (r#"tasks_ended_total{state="succeeded"}"#, 10.0),
            (r#"tasks_ended_total{state="failed"}"#, 2.0),
            (r#"tasks_ended_total{state="cancelled"}"#, 1.0),
            (r#"tasks_ended_total{state="expired"}"#, 1.0),
            ("tasks_retried_total", 2.0),
            ("tasks_requeued_total", 1.0),
            ("leases_total", 15.0),
            ("leases_lost_total", 0.0),
            ("leases_released_total", 0.0),
            ("requests_refused_total", 0.0),
            ("queue_tasks", 2.0),
            ("queue_bytes", 5.0),
            ("task_queued_seconds_count", 12.0),
            ("task_running_seconds_count", 14.0),
            ("dispatch_seconds_count", 15.0),
            (r#"sessions{role="worker"}"#, 1.0),
            (r#"sessions{role="client"}"#, 1.0),
            (r#"sessions{role="admin"}"#, 0.0),
            (r#"sessions{role="joining"}"#, 0.0),
            ("workers_enrolled", 1.0),
            ("slots", 2.0),
            ("slots_used", 1.0),
            ("slots_free", 1.0),
            ("auth_failures_total", 1.0),
            ("connections_refused_total", 0.0),
            ("disk_full", 0.0),
        ],
    );
    assert_eq!(found.value("journal_sync_seconds_count"), found.value("journal_commits_total"), "it is strict");
    let taken: f64 = ["task_queued_seconds_sum", "task_running_seconds_sum", "oldest_queued_seconds"]
        .map(|name| found.value(name))
        .iter()
        .sum();
    assert!(taken > 0.0 && taken < 100.0, "{taken}");
    for name in [
        "uptime_seconds",
        "jobs",
        "link_received_bytes_total",
        "link_sent_bytes_total",
        "journal_commits_total",
        "journal_written_bytes_total",
        "journal_records_total",
        "journal_bytes",
        "journal_sync_seconds_sum",
        "snapshot_lag_records",
        "archive_bytes",
        "archive_lag_limit_tasks",
        "disk_free_bytes",
        "disk_reserve_bytes",
        "queue_limit_tasks",
        "queue_limit_bytes",
    ] {
        assert!(found.value(name) > 0.0, "{name}");
    }
    let version = env!("CARGO_PKG_VERSION");
    let information = format!("build_info{{component=\"manager\",version=\"{version}\",durability=\"strict\"}}");
    assert_eq!(found.value(&information), 1.0);

    held.let_go();
    ended(running).await;
    let found = Exposition::wait_for(
        worker.http(),
        &[
            ("ready", 1.0),
            ("worker_connected", 1.0),
            ("worker_reconnects_total", 0.0),
            ("worker_slots", 2.0),
            ("worker_slots_used", 0.0),
            ("worker_tasks_held", 0.0),
            ("worker_tasks_received_total", 15.0),
            ("worker_tasks_given_back_total", 0.0),
            (r#"worker_tasks_ended_total{outcome="succeeded"}"#, 11.0),
            (r#"worker_tasks_ended_total{outcome="failed"}"#, 4.0),
            ("worker_task_run_seconds_count", 15.0),
            ("worker_outbox_tasks", 0.0),
            ("worker_outbox_bytes", 0.0),
            ("worker_outbox_limit_bytes", f64::from(64 << 20)),
        ],
    );
    assert!(found.value("worker_task_run_seconds_sum") > 0.0 && found.value("uptime_seconds") > 0.0);
    assert_eq!(found.value(&format!("build_info{{component=\"worker\",version=\"{version}\"}}")), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_that_dies_or_gives_back_and_work_that_is_refused_are_counted() {
    let mut site = Site::prepare(json!({
        "http": {"listen": "127.0.0.1:0"}, "limits": {"queue_tasks": 2}, "link": {"silence": "2s"}, "lease": {"grace": "1s"}
    }));
    site.start_manager();
    let client = site.client().await;
    let held = Held::new(&site.path("held"));
    let template = EncodedTemplate::new(&held.template()).unwrap();
    for name in ["one", "two"] {
        client.submit_one(&template, name.as_bytes(), LoneOptions::default()).await.unwrap();
    }
    let options = || LoneOptions { when_full: WhenFull::Fail, ..LoneOptions::default() };
    client.submit_one(&template, b"three", options()).await.unwrap_err();
    Exposition::wait_for(site.http(), &[("requests_refused_total", 1.0), ("slots_free", 0.0)]);

    let mut dying = site.worker("dying");
    held.wait_for_starts(2);
    dying.kill();
    let wanted = [("leases_lost_total", 2.0), (r#"tasks{state="queued"}"#, 2.0), (r#"sessions{role="worker"}"#, 0.0)];
    Exposition::wait_for(site.http(), &wanted);
    // They run alone now, one after the other: their worker died with them.
    let mut leaving = site.worker_with("leaving", json!({"shutdown": {"grace": "0s"}}));
    held.wait_for_starts(3);
    leaving.process().signal(Signal::TERM);
    assert!(leaving.wait().success());
    Exposition::wait_for(
        site.http(),
        &[("leases_total", 3.0), ("leases_released_total", 1.0), ("workers_enrolled", 2.0)],
    );
    let created = site.administer(&["token", "create", "--role", "admin", "--owner", "boss"]).ended_with(0);
    site.run_with(&["login", "-"], Some(&created.output)).ended_with(0);
    site.run(&["worker", "remove", "--yes", "dying"]).ended_with(0);
    Exposition::wait_for(site.http(), &[("workers_enrolled", 1.0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn labels_have_few_values_whatever_is_submitted() {
    let (site, worker) = scene();
    let client = site.client().await;
    let series = || [site.http(), worker.http()].map(|address| owned(&Exposition::scrape(address)));
    let before = series();
    for number in 0..100 {
        let name = format!("name {number}");
        let labels = [(format!("label{number}"), format!("value \"{number}\""))].into();
        let template = command(if number % 2 == 0 { "true" } else { "no-such-program" }, 1 + number % 7);
        let options = LoneOptions { name, labels, ..LoneOptions::default() };
        client.submit_one(&template, number.to_string().as_bytes(), options).await.unwrap();
    }
    guess(&site);
    let _other = site.worker("two");
    let submitted = [("tasks_submitted_total", 100.0), (r#"sessions{role="worker"}"#, 2.0)];
    Exposition::wait_for(site.http(), &submitted);
    wait_until("the worker has done some", || {
        let found = Exposition::scrape(worker.http());
        ["succeeded", "failed"]
            .iter()
            .all(|outcome| found.value(&format!("worker_tasks_ended_total{{outcome=\"{outcome}\"}}")) > 0.0)
    });
    assert_eq!(series(), before);
    for series in before {
        assert!(series.len() < 300, "{} series", series.len());
    }
}

fn owned(exposition: &Exposition) -> BTreeSet<String> {
    exposition.series().into_iter().map(str::to_owned).collect()
}

#[test]
fn both_forms_say_the_same_and_names_follow_the_conventions() {
    let (site, worker) = scene();
    for address in [site.http(), worker.http()] {
        let (plain, open) = (Exposition::scrape(address), Exposition::scrape_open(address));
        assert_eq!(plain.series(), open.series());
        for (name, family) in &plain.families {
            assert_eq!(name.ends_with("_total"), family.kind == "counter", "{name}");
            let head = if family.kind == "counter" { name.strip_suffix("_total").unwrap() } else { name };
            let open = &open.families[head];
            assert_eq!((&open.kind, &open.help, &open.labels), (&family.kind, &family.help, &family.labels), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            let words: Vec<&str> = head.split('_').collect();
            for foreign in
                ["ms", "milliseconds", "microseconds", "minutes", "kb", "mib", "kibibytes", "percent", "count"]
            {
                assert!(!words.contains(&foreign), "{name}");
            }
            // A unit stands last.
            for unit in ["seconds", "bytes"] {
                assert!(!words.contains(&unit) || words.last() == Some(&unit), "{name}");
            }
            assert!(family.kind != "histogram" || head.ends_with("_seconds"), "{name}");
            assert!(family.help.ends_with('.') && family.labels.len() <= 3, "{name}: {}", family.help);
        }
    }
}
