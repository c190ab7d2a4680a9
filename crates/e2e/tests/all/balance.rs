//! Tasks that wait at one worker while another has nothing to do.

use std::collections::BTreeSet;

use task_messenger_client::{EncodedTemplate, JobOptions, TaskState};

use crate::harness::{Held, Site, json, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn long_tasks_that_wait_behind_another_go_to_a_worker_that_is_idle() {
    let site = Site::start();
    let first = site.worker_with("one", json!({"slots": 1}));
    site.log_in();
    // Short ones teach it to hold more than it runs.
    let input = "x\n".repeat(300);
    site.run_with(&["map", "--", "true"], Some(input.as_bytes())).ended_with(0);

    let client = site.client().await;
    let held = Held::new(&site.path("held"));
    let template = EncodedTemplate::new(&held.template()).unwrap();
    let mut job = client.job(JobOptions::default()).unwrap();
    for name in ["a", "b", "c"] {
        job.push(&template, name.as_bytes()).await.unwrap();
    }
    let job = job.finish().await.unwrap().job;
    held.wait_for_starts(1);
    // Two more have no other place to be than the queue or the one worker, wherever they are now.
    let second = site.worker_with("two", json!({"slots": 2}));
    held.wait_for_starts(3);
    let at_first = held.starts().iter().filter(|start| first.owns(&start.home)).count();
    let at_second = held.starts().iter().filter(|start| second.owns(&start.home)).count();
    assert_eq!((at_first, at_second), (1, 2));
    held.let_go();
    let mut names = BTreeSet::new();
    let mut results = client.follow(task_messenger_client::Target::Job(job)).unwrap();
    while let Some(result) = results.next().await.unwrap() {
        assert_eq!(result.state, TaskState::Succeeded);
        names.insert(result.index);
    }
    assert_eq!((names.len(), held.starts().len()), (3, 3), "none is started twice");
    wait_until("the first worker is idle", || site.run(&["workers", "--json"]).json()[0]["slots_used"] == 0);
}
