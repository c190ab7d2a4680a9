//! A worker is killed, or stops in order, while it has work.

use std::time::{Duration, Instant};

use task_messenger_client::{
    Client, EncodedTemplate, JobNumber, JobOptions, Target, TaskId, TaskResult, TaskState, Template,
};

use crate::harness::{Held, Signal, Site, json, until};

async fn submit(client: &Client, template: &Template, names: &[&str]) -> JobNumber {
    let template = EncodedTemplate::new(template).unwrap();
    let mut writer = client.job(JobOptions::default()).unwrap();
    for name in names {
        writer.push(&template, name.as_bytes()).await.unwrap();
    }
    writer.finish().await.unwrap().job
}

async fn results(client: &Client, job: JobNumber) -> Vec<TaskResult> {
    let mut results = client.follow(Target::Job(job)).unwrap();
    let mut received = Vec::new();
    while let Some(result) = results.next().await.unwrap() {
        received.push(result);
    }
    received.sort_unstable_by_key(|result| result.index);
    received
}

async fn failures(client: &Client, job: JobNumber) -> Vec<u32> {
    let tasks = client.tasks(job, None, 0).next(1_000).await.unwrap();
    tasks.iter().map(|task| task.failures).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_tasks_of_a_killed_worker_run_again_as_soon_as_it_is_back_and_nobody_is_charged() {
    // Long enough to see that nobody waited for it.
    let site = Site::start_with(json!({"lease": {"grace": "10min"}}));
    let mut worker = site.worker("one");
    let client = site.client().await;
    let held = Held::new(&site.path("held"));
    let job = submit(&client, &held.template(), &["a", "b", "c"]).await;
    held.wait_for_starts(2);
    worker.kill();
    held.let_go();
    let back = Instant::now();
    worker.start();
    let results = results(&client, job).await;
    assert!(back.elapsed() < Duration::from_mins(2), "it took {:?}", back.elapsed());
    let attempts: Vec<_> = results.iter().map(|result| (result.state, result.attempts)).collect();
    let (once, twice) = ((TaskState::Succeeded, 1), (TaskState::Succeeded, 2));
    assert!(attempts[..2] == [twice, twice] && (attempts[2] == once || attempts[2] == twice), "{attempts:?}");
    assert_eq!(failures(&client, job).await, [0, 0, 0]);
    assert_eq!(held.starts().len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_that_stops_finishes_what_runs_and_the_rest_goes_elsewhere() {
    let site = Site::start();
    let mut first = site.worker_with("first", json!({"slots": 1}));
    let client = site.client().await;
    // Quick ones first: a worker that finds its tasks quick asks for more than it can run.
    let quick = submit(&client, &Template::of_skill("string-reversal"), &[r#"{"text":"ab"}"#; 500]).await;
    assert!(results(&client, quick).await.iter().all(|result| result.state == TaskState::Succeeded));
    let held = Held::new(&site.path("held"));
    let job = submit(&client, &held.template(), &["a", "b", "c"]).await;
    held.wait_for_starts(1);
    println!("the worker holds {} tasks", client.workers().await.unwrap()[0].leases);
    first.process().signal(Signal::TERM);
    let second = site.worker_with("second", json!({"slots": 2}));
    held.wait_for_starts(3);
    held.let_one_go("b");
    held.let_one_go("c");
    held.wait_for_ends(2);
    assert!(!first.process().has_ended(), "it did not wait for what it runs");
    held.let_one_go("a");
    let status = first.wait();
    assert_eq!(status.code(), Some(0));
    let results = results(&client, job).await;
    let by_first: Vec<_> =
        results.iter().map(|result| first.owns(String::from_utf8_lossy(&result.outcome.output).trim())).collect();
    assert_eq!(by_first, [true, false, false]);
    assert!(second.owns(&held.starts()[1].home) && second.owns(&held.starts()[2].home));
    assert_eq!((results[0].attempts, held.starts().len()), (1, 3));
    assert_eq!(failures(&client, job).await, [0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_task_that_outlasts_its_workers_grace_is_ended_and_runs_elsewhere_uncharged() {
    let site = Site::start();
    let mut first = site.worker_with("first", json!({"shutdown": {"grace": "300ms"}, "kill_after": "200ms"}));
    let client = site.client().await;
    let held = Held::new(&site.path("held"));
    let job = submit(&client, &held.template(), &["a"]).await;
    held.wait_for_starts(1);
    let second = site.worker("second");
    first.process().signal(Signal::TERM);
    assert_eq!(first.wait().code(), Some(0));
    held.wait_for_starts(2);
    let process = held.starts()[0].process;
    until("its process is gone", || async { !std::path::Path::new(&format!("/proc/{process}")).exists() }).await;
    held.let_go();
    let results = results(&client, job).await;
    assert_eq!((results[0].state, results[0].attempts), (TaskState::Succeeded, 2));
    assert!(second.owns(&held.starts()[1].home));
    assert_eq!((failures(&client, job).await, held.ends()), (vec![0], vec!["a".to_owned()]));
    let detail = client.task(TaskId { job, index: 0 }).await.unwrap();
    assert_eq!(detail.summary.unwrap().attempts, 2);
}
