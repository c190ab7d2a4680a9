//! What a worker has asked for ahead does not keep its place there when it turns out to take long.

use task_messenger_client::{
    Client, EncodedTemplate, JobNumber, JobOptions, LoneOptions, Named, Target, TaskState, Template,
};

use crate::harness::{Held, Site, json, until};

async fn submit(client: &Client, template: &Template, payloads: &[String]) -> JobNumber {
    let template = EncodedTemplate::new(template).unwrap();
    let mut writer = client.job(JobOptions::default()).unwrap();
    for payload in payloads {
        writer.push(&template, payload.as_bytes()).await.unwrap();
    }
    writer.finish().await.unwrap().job
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn long_commands_after_quick_skills_wait_at_the_manager_and_what_is_urgent_passes_them() {
    let site = Site::start();
    let worker = site.worker_with("one", json!({"slots": 2}));
    let client = site.client().await;
    let reversal = Template::of_skill("string-reversal");
    let quick = submit(&client, &reversal, &vec![r#"{"text":"ab"}"#.to_owned(); 5_000]).await;
    let mut results = client.follow(Target::Job(quick)).unwrap();
    while results.next().await.unwrap().is_some() {}

    let held = Held::new(&site.path("held"));
    let names: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
    let long = submit(&client, &held.template(), &names).await;
    held.wait_for_starts(2);
    let leases = || async { client.workers().await.unwrap()[0].leases };
    println!("it held {} tasks", leases().await);
    until("it holds no more than it runs", || async { leases().await == 2 }).await;

    // It comes last, and is next.
    let urgent = EncodedTemplate::new(&Template { priority: 1, ..held.template() }).unwrap();
    let urgent = client.submit_one(&urgent, b"urgent", LoneOptions::default()).await.unwrap();
    let first = held.starts()[0].name.clone();
    held.let_one_go(&first);
    held.wait_for_starts(3);
    assert_eq!(held.starts()[2].name, "urgent");
    held.let_one_go("urgent");
    assert_eq!(client.result(urgent).await.unwrap().state, TaskState::Succeeded);
    // In order after that.
    held.wait_for_starts(4);
    assert_eq!(held.starts()[3].name, "2");
    client.cancel(Named::Job(long)).await.unwrap();
    until("all that ran is stopped", || async { leases().await == 0 }).await;
    assert_eq!((held.starts().len(), worker.log().contains("ERROR")), (4, false));
}
