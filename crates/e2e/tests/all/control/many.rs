//! A million tasks at once, beside somebody who only wants one done.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use task_messenger_client::{Client, EncodedTemplate, JobOptions, LoneOptions, Target, TaskState, Template};

use super::show;
use crate::harness::{Site, json, wait_until};

const TASKS: u32 = 1_000_000;

/// How long anybody else's lone task may take meanwhile, on a machine that is busy with other tests.
const QUICK: Duration = Duration::from_secs(20);

/// Submits lone tasks one after another until it is told to end.
#[derive(Default)]
struct LoneTasks {
    over: AtomicBool,
    done: AtomicU32,
}

impl LoneTasks {
    /// How long the slowest took.
    async fn run(&self, client: Client) -> Duration {
        let template = EncodedTemplate::new(&Template::of_skill("string-reversal")).unwrap();
        let mut slowest = Duration::ZERO;
        while !self.over.load(Ordering::Relaxed) {
            let began = Instant::now();
            let task = client.submit_one(&template, br#"{"text":"ab"}"#, LoneOptions::default()).await.unwrap();
            let result = client.follow(Target::Task(task)).unwrap().next().await.unwrap().unwrap();
            assert_eq!(result.state, TaskState::Succeeded);
            slowest = slowest.max(began.elapsed());
            self.done.fetch_add(1, Ordering::Relaxed);
        }
        slowest
    }

    fn done(&self) -> u32 {
        self.done.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_tasks_are_cancelled_and_retried_while_others_lone_tasks_stay_quick() {
    let site = Site::start();
    let _worker = site.worker("one");
    site.log_in();
    let client = site.client().await;
    // No worker has it: they wait.
    let template = EncodedTemplate::new(&Template::of_skill("none-has-it")).unwrap();
    let mut writer = client.job(JobOptions::default()).unwrap();
    for index in 0..TASKS {
        writer.push(&template, &index.to_le_bytes()).await.unwrap();
    }
    let job = writer.finish().await.unwrap().job.to_string();
    let lone = Arc::new(LoneTasks::default());
    let running = tokio::spawn({
        let (lone, client) = (Arc::clone(&lone), site.client().await);
        async move { lone.run(client).await }
    });
    wait_until("lone tasks run", || lone.done() >= 10);
    let before = lone.done();

    let began = Instant::now();
    let cancelled = site.run(&["cancel", &job, "--json"]).ended_with(0).json();
    let cancelling = began.elapsed();
    assert_eq!((&cancelled[0]["cancelled"], &cancelled[0]["running"]), (&json!(TASKS), &json!(0)));
    let began = Instant::now();
    let retried = site.run(&["retry", &job, "--json"]).ended_with(0).json();
    let retrying = began.elapsed();
    assert_eq!(retried[0]["queued"], json!(TASKS));
    assert_eq!(show(&site, &job)["counts"]["queued"], json!(TASKS));
    let began = Instant::now();
    site.run(&["cancel", &job]).ended_with(0);
    let again = began.elapsed();
    let meanwhile = lone.done() - before;
    lone.over.store(true, Ordering::Relaxed);
    let slowest = running.await.unwrap();
    println!(
        "{TASKS} tasks: cancel {cancelling:?}, retry {retrying:?}, cancel again {again:?}; \
         of {meanwhile} lone tasks meanwhile the slowest took {slowest:?}"
    );
    assert!(meanwhile > 0 && slowest < QUICK, "{meanwhile} lone tasks, the slowest took {slowest:?}");
}
