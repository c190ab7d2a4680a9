//! The manager is killed, or stops in order, while there is work.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use task_messenger_client::{
    Client, Command, EncodedTemplate, JobKey, JobNumber, JobOptions, JobWriter, LoneOptions, Submitted, Target,
    TaskResult, TaskState, Template,
};

use crate::harness::{Held, Site, json, random, until};

/// The most tasks that are acknowledged between two kills.
const MOST_BETWEEN_KILLS: u64 = 2_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_acknowledged_task_has_one_right_outcome_after_twenty_kills_of_the_manager() {
    kill_under_load("strict", 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn with_interval_durability_a_killed_manager_loses_nothing_either() {
    kill_under_load("interval", 4).await;
}

async fn kill_under_load(durability: &str, rounds: u32) {
    let mut site = Site::start_with(json!({"durability": durability}));
    let _workers = [site.worker("one"), site.worker("two")];
    let client = site.client().await;
    let template = EncodedTemplate::new(&Template::of_skill("string-reversal")).unwrap();
    let mut writer = client.job(JobOptions::default()).unwrap();
    writer.open(&template).await.unwrap();
    let job = writer.known_job_number().unwrap().unwrap();
    let load = Arc::new(Load::default());
    let pushing = tokio::spawn(push(writer, template, Arc::clone(&load)));
    let receiving = tokio::spawn(receive(client.clone(), job, Arc::clone(&load)));

    let started = Instant::now();
    for round in 1..=rounds {
        if round % 5 == 0 {
            // While it starts, at the moment when it has replayed its journal.
            let opened = || site.manager_log().matches("the store is open").count();
            let before = opened();
            until("the store is open", || async { opened() > before }).await;
        } else {
            let enough = load.acknowledged() + random(MOST_BETWEEN_KILLS);
            until("more tasks are acknowledged", || async { load.acknowledged() >= enough }).await;
        }
        site.kill_manager();
        let (acknowledged, outcomes) = (load.acknowledged(), load.outcomes());
        let after = started.elapsed().as_millis();
        println!("kill {round} after {after} ms: {acknowledged} tasks acknowledged, {outcomes} outcomes received");
        site.launch_manager();
        if (round + 1) % 5 != 0 {
            let tasks = client.job_summary(job).await.unwrap().unwrap().tasks;
            assert!(u64::from(tasks) >= acknowledged, "{acknowledged} tasks were acknowledged, {tasks} are there");
        }
    }
    load.enough.store(true, Ordering::Relaxed);
    let submitted = pushing.await.unwrap();
    let received = receiving.await.unwrap();
    println!("{} tasks, {} ms", submitted.tasks, started.elapsed().as_millis());
    assert!(u64::from(submitted.tasks) >= load.acknowledged());
    check(&received, submitted.tasks);

    // What was told stays: to another client, after another kill.
    site.kill_manager();
    site.start_manager();
    let another = site.client().await;
    let again = receive(another.clone(), job, Arc::default()).await;
    assert!(again == received, "an outcome that was told has changed");
    let counts = another.job_summary(job).await.unwrap().unwrap().counts.unwrap();
    assert_eq!(counts.succeeded, u64::from(submitted.tasks), "{counts:?}");
    assert_eq!(counts.queued + counts.running + counts.failed, 0, "{counts:?}");
}

#[derive(Default)]
struct Load {
    acknowledged: AtomicU64,
    outcomes: AtomicU64,
    enough: AtomicBool,
}

impl Load {
    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    fn outcomes(&self) -> u64 {
        self.outcomes.load(Ordering::Relaxed)
    }
}

fn payload(index: u32) -> String {
    format!(r#"{{"text":"task number {index}"}}"#)
}

async fn push(mut writer: JobWriter, template: EncodedTemplate, load: Arc<Load>) -> Submitted {
    let mut index = 0;
    while !load.enough.load(Ordering::Relaxed) {
        writer.push(&template, payload(index).as_bytes()).await.unwrap();
        index += 1;
        load.acknowledged.store(writer.accepted().unwrap().into(), Ordering::Relaxed);
        // Not much further ahead than what has come back, so that there is work at every moment and an end soon.
        while u64::from(index) > load.outcomes() + 3_000 && !load.enough.load(Ordering::Relaxed) {
            load.acknowledged.store(writer.accepted().unwrap().into(), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    writer.finish().await.unwrap()
}

/// All results of a job, by index; fails when one comes twice.
async fn receive(client: Client, job: JobNumber, load: Arc<Load>) -> BTreeMap<u32, TaskResult> {
    let mut received = BTreeMap::new();
    let mut results = client.follow(Target::Job(job)).unwrap();
    while let Some(result) = results.next().await.unwrap() {
        let index = result.index;
        assert!(received.insert(index, result).is_none(), "task {index} came twice");
        load.outcomes.store(received.len() as u64, Ordering::Relaxed);
    }
    received
}

fn check(received: &BTreeMap<u32, TaskResult>, tasks: u32) {
    assert!(received.keys().copied().eq(0..tasks), "{} of {tasks} outcomes are there", received.len());
    for (index, result) in received {
        let right: String = format!("task number {index}").chars().rev().collect();
        let output: serde_json::Value = serde_json::from_slice(&result.outcome.output).unwrap();
        assert_eq!((result.state, output), (TaskState::Succeeded, json!({"text": right})), "task {index}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_command_of_thirty_seconds_survives_kills_of_the_manager_and_runs_once() {
    let mut site = Site::start();
    let _worker = site.worker("one");
    let client = site.client().await;
    let file = site.path("file");
    let script = format!("echo start >> {0}; sleep 30; echo end >> {0}; echo done", file.display());
    let task = client.submit_one(&command(&script), b"", LoneOptions::default()).await.unwrap();
    let lines = || std::fs::read_to_string(&file).unwrap_or_default();
    until("it runs", || async { lines() == "start\n" }).await;
    for _ in 0..3 {
        site.kill_manager();
        site.start_manager();
        let summary = client.task(task).await.unwrap().summary.unwrap();
        assert_eq!((summary.state(), summary.attempts, summary.failures), (TaskState::Running, 1, 0));
    }
    let result = client.result(task).await.unwrap();
    assert_eq!((result.state, result.attempts), (TaskState::Succeeded, 1));
    assert_eq!((&result.outcome.output[..], lines().as_str()), (&b"done\n"[..], "start\nend\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_manager_that_stops_in_order_leaves_running_tasks_alone_and_takes_their_results_later() {
    let mut site = Site::start();
    let worker = site.worker("one");
    let client = site.client().await;
    let held = Held::new(&site.path("held"));
    let template = EncodedTemplate::new(&held.template()).unwrap();
    let key = JobKey::random().unwrap();
    let mut writer = client.job(JobOptions { key: Some(key), ..JobOptions::default() }).unwrap();
    for name in ["a", "b", "c"] {
        writer.push(&template, name.as_bytes()).await.unwrap();
    }
    writer.finish().await.unwrap();
    held.wait_for_starts(2);
    site.stop_manager();
    let log = site.manager_log();
    assert!(log.contains("the manager has stopped"), "{log}");
    assert_eq!(held.starts().len(), 2);
    held.let_one_go("a");
    held.let_one_go("b");
    // They end while nobody is there to hear of it.
    held.wait_for_ends(2);
    site.start_manager();
    held.let_go();
    let mut results = client.follow(Target::Key(key)).unwrap();
    let mut names = Vec::new();
    while let Some(result) = results.next().await.unwrap() {
        assert_eq!((result.state, result.attempts), (TaskState::Succeeded, 1), "{:?}", result.outcome);
        assert!(worker.owns(String::from_utf8_lossy(&result.outcome.output).trim()));
        names.push(result.index);
    }
    names.sort_unstable();
    assert_eq!((names, held.starts().len(), held.ends().len()), (vec![0, 1, 2], 3, 3));
}

/// A shell's script as a template.
fn command(script: &str) -> EncodedTemplate {
    let command =
        Command { program: "sh".to_owned(), arguments: vec!["-c".to_owned(), script.to_owned()], ..Command::default() };
    EncodedTemplate::new(&Template::of_command(command)).unwrap()
}
