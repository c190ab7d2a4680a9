//! The client against a manager whose links break: nothing may be lost, and nothing repeated.

mod fake_manager;

use std::time::Duration;

use fake_manager::{FakeManager, Numbers};
use task_messenger_client::{
    Client, EncodedTemplate, Error, ExitCode, JobKey, JobOptions, LoneOptions, Role, Target, TaskId, Template, WhenFull,
};

/// More than anything here may take.
const DEADLINE: Duration = Duration::from_mins(1);

async fn connect(manager: &FakeManager) -> Client {
    let connected = async {
        loop {
            // A link may be cut before the greeting is over.
            match Client::connect_with(manager.connector(), FakeManager::options()).await {
                Ok(client) => return client,
                Err(error) => assert_eq!(error.exit_code(), ExitCode::Unavailable, "{error}"),
            }
        }
    };
    tokio::time::timeout(DEADLINE, connected).await.unwrap()
}

fn template(skill: &str) -> EncodedTemplate {
    EncodedTemplate::new(&Template::of_skill(skill)).unwrap()
}

fn payload(index: u32) -> Vec<u8> {
    format!("task {index}").into_bytes()
}

#[tokio::test]
async fn every_task_arrives_once_and_every_result_comes_once_wherever_links_are_cut() {
    const TASKS: u32 = 3_000;
    const SEEDS: u64 = 100;
    let mut sessions = 0;
    for seed in 0..SEEDS {
        let manager = FakeManager::default();
        manager.world().cut_after = Some(Numbers(seed));
        let client = connect(&manager).await;
        let (first, second) = (template("one"), template("two"));
        let run = async {
            let mut job = client.job(JobOptions { name: "cut".to_owned(), ..JobOptions::default() }).unwrap();
            let key = job.key();
            let follower = async {
                let mut seen = vec![0_u32; TASKS as usize];
                let mut results = loop {
                    // The job is there once its first tasks are.
                    let mut results = client.follow(Target::Key(key)).unwrap();
                    match results.next().await {
                        Ok(Some(result)) => {
                            seen[result.index as usize] += 1;
                            break results;
                        }
                        Ok(None) => panic!("the end before the first result"),
                        Err(Error::Refused { .. }) => tokio::task::yield_now().await,
                        Err(error) => panic!("seed {seed}: {error}"),
                    }
                };
                while let Some(result) = results.next().await.unwrap() {
                    assert_eq!(result.outcome.output, payload(result.index));
                    seen[result.index as usize] += 1;
                }
                assert!(seen.iter().all(|count| *count == 1), "seed {seed}");
                results.summary().unwrap().clone()
            };
            let submitter = async {
                for index in 0..TASKS {
                    let template = if index / 500 % 2 == 0 { &first } else { &second };
                    assert_eq!(job.push(template, &payload(index)).await.unwrap(), index);
                    if index % 97 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                job.finish().await.unwrap()
            };
            tokio::join!(submitter, follower)
        };
        let (submitted, summary) = tokio::time::timeout(DEADLINE, run).await.expect("in time");
        assert_eq!((submitted.tasks, summary.tasks, summary.name.as_str()), (TASKS, TASKS, "cut"));
        let world = manager.world();
        let job = world.jobs.values().next().unwrap();
        assert_eq!(world.jobs.len(), 1);
        assert!(job.closed);
        for (index, (template, found)) in (0..TASKS).zip(&job.tasks) {
            assert_eq!((*found).clone(), payload(index));
            assert_eq!(*template, index / 500 % 2, "seed {seed}");
        }
        sessions += world.sessions;
    }
    assert!(u64::from(sessions) > SEEDS * 8, "only {sessions} sessions: the links were hardly cut");
}

#[tokio::test]
async fn a_continued_job_is_compared_with_what_was_submitted_before() {
    let manager = FakeManager::default();
    let client = connect(&manager).await;
    let template = template("one");
    let key = JobKey::from_text("nightly");
    let options = || JobOptions { key: Some(key), ..JobOptions::default() };

    let mut job = client.job(options()).unwrap();
    for index in 0..5_000 {
        job.push(&template, &payload(index)).await.unwrap();
    }
    while job.accepted().unwrap() < 5_000 {
        tokio::task::yield_now().await;
    }
    drop(job);

    let mut differs = client.job(options()).unwrap();
    let mut error = None;
    for index in 0..5_000 {
        let spoilt = if index == 3_000 { b"other".to_vec() } else { payload(index) };
        error = differs.push(&template, &spoilt).await.err();
        assert!(error.is_none() || index == 4_999);
    }
    assert!(matches!(error, Some(Error::InputDiffers { tasks: 5_000, .. })), "{error:?}");

    let mut shorter = client.job(options()).unwrap();
    for index in 0..100 {
        shorter.push(&template, &payload(index)).await.unwrap();
    }
    let error = shorter.finish().await.unwrap_err();
    assert!(matches!(error, Error::InputShorter { found: 5_000, given: 100, .. }), "{error:?}");

    let mut other_template = client.job(options()).unwrap();
    let two = EncodedTemplate::new(&Template::of_skill("two")).unwrap();
    let mut refused = false;
    for index in 0..5_000 {
        refused = other_template.push(&two, &payload(index)).await.is_err();
    }
    assert!(refused, "a template counts too");

    for round in 0..2 {
        let mut continued = client.job(options()).unwrap();
        let opened = continued.open(&template).await.unwrap();
        assert_eq!((opened.already, opened.closed), ([5_000, 7_000][round], round == 1));
        for index in 0..7_000 {
            continued.push(&template, &payload(index)).await.unwrap();
        }
        let submitted = continued.finish().await.unwrap();
        assert_eq!(submitted.tasks, 7_000);
    }
    let mut longer = client.job(options()).unwrap();
    for index in 0..7_000 {
        longer.push(&template, &payload(index)).await.unwrap();
    }
    let error = longer.push(&template, b"more").await.unwrap_err();
    assert!(matches!(error, Error::JobClosed { tasks: 7_000, .. }), "{error:?}");

    let world = manager.world();
    let job = world.jobs.values().next().unwrap();
    assert_eq!((world.jobs.len(), job.tasks.len()), (1, 7_000));
    assert!((0..7_000).all(|index| job.tasks[index as usize].1 == payload(index)));
}

#[tokio::test]
async fn a_full_manager_is_waited_for_or_told_as_the_caller_wishes() {
    let manager = FakeManager::default();
    let client = connect(&manager).await;
    let template = template("one");
    manager.world().full = 7;
    let mut job = client.job(JobOptions::default()).unwrap();
    for index in 0..10_000 {
        job.push(&template, &payload(index)).await.unwrap();
    }
    let submitted = tokio::time::timeout(DEADLINE, job.finish()).await.unwrap().unwrap();
    assert_eq!(submitted.tasks, 10_000);
    assert!(manager.world().largest_batch > 1_000, "tasks leave in batches");
    assert_eq!(manager.world().jobs.values().next().unwrap().tasks.len(), 10_000);

    manager.world().full = 1;
    let options = LoneOptions { when_full: WhenFull::Fail, ..LoneOptions::default() };
    let error = client.submit_one(&template, b"", options).await.unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Unavailable, "{error}");
    let task = client.submit_one(&template, b"", LoneOptions::default()).await.unwrap();
    assert_eq!(task.index, 0);

    // Whatever becomes of what was sent behind it.
    let mut job = client.job(JobOptions { when_full: WhenFull::Fail, ..JobOptions::default() }).unwrap();
    manager.world().full = 1;
    let error = loop {
        match job.push(&template, &[0; 1_000]).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    while client.status().await.is_ok() && job.accepted().is_ok() {}
    assert_eq!((error.to_string().as_str(), error.exit_code()), ("full", ExitCode::Unavailable));
    assert_eq!(job.finish().await.unwrap_err().to_string(), "full");
}

#[tokio::test]
async fn a_job_goes_through_a_queue_that_has_room_for_a_few_of_its_tasks_at_a_time() {
    let manager = FakeManager::default();
    let client = connect(&manager).await;
    let template = template("one");
    manager.world().room = Some(20);
    let mut job = client.job(JobOptions::default()).unwrap();
    for index in 0..500 {
        job.push(&template, &payload(index)).await.unwrap();
    }
    let submitted = tokio::time::timeout(DEADLINE, job.finish()).await.expect("in time").unwrap();
    let world = manager.world();
    let found = &world.jobs.values().next().unwrap().tasks;
    assert_eq!((submitted.tasks, found.len()), (500, 500));
    assert!((5..=20).contains(&world.largest_batch), "{}", world.largest_batch);
    assert!((0..500).zip(found).all(|(index, (_, found))| *found == payload(index)));
}

#[tokio::test]
async fn a_slow_reader_of_large_results_holds_a_bounded_amount_and_misses_none() {
    const TASKS: u32 = 600;
    let manager = FakeManager::default();
    let client = connect(&manager).await;
    let template = template("one");
    let mut job = client.job(JobOptions::default()).unwrap();
    for index in 0..TASKS {
        job.push(&template, &payload(index)).await.unwrap();
    }
    let submitted = job.finish().await.unwrap();
    // 600 MiB in all, of which the first window may be sent before the client knows their size.
    manager.world().padding = 1 << 20;
    let mut results = client.follow(Target::Job(submitted.job)).unwrap();
    // While the status is answered, whatever the manager may send arrives too.
    for _ in 0..50 {
        client.status().await.unwrap();
    }
    let sent = manager.world().results_sent;
    assert!(sent <= 256, "{sent} results of 1 MiB were sent to a client that took none");
    let mut seen = vec![0; TASKS as usize];
    while let Some(result) = results.next().await.unwrap() {
        seen[result.index as usize] += 1;
    }
    assert!(seen.iter().all(|count| *count == 1));
}

#[tokio::test]
async fn a_lone_task_and_its_result_need_no_batch() {
    let manager = FakeManager::default();
    let client = connect(&manager).await;
    let task = client.submit_one(&template("one"), b"hello", LoneOptions::default()).await.unwrap();
    assert_eq!(task.to_string(), "1.0");
    assert_eq!(client.result(task).await.unwrap().outcome.output, &b"hello"[..]);
    let missing = TaskId { job: task_messenger_client::JobNumber(9), index: 0 };
    let error = client.result(missing).await.unwrap_err();
    assert_eq!((error.exit_code(), error.to_string().as_str()), (ExitCode::Failure, "there is no such job"));
}

#[tokio::test]
async fn what_must_not_happen_twice_is_not_repeated_after_a_cut() {
    let manager = FakeManager::default();
    let client = connect(&manager).await;
    let error = client.create_token(Role::Client, "laptop", None, "").await.unwrap_err();
    assert!(matches!(error, Error::Unknown { .. }), "{error:?}");
    assert_eq!(client.status().await.unwrap().software, "fake");
    let world = manager.world();
    assert_eq!((world.tokens_made, world.sessions), (1, 2));
}

#[tokio::test]
async fn a_revoked_credential_ends_everything_with_an_error() {
    let manager = FakeManager::default();
    manager.world().cut_after = Some(Numbers(3));
    let client = connect(&manager).await;
    manager.world().refuse_everybody = true;
    let template = template("one");
    let mut job = client.job(JobOptions::default()).unwrap();
    let error = tokio::time::timeout(DEADLINE, async {
        loop {
            if let Err(error) = job.push(&template, &[0; 1_000]).await {
                return error;
            }
        }
    });
    let error = error.await.unwrap();
    assert_eq!(error.exit_code(), ExitCode::Configuration, "{error}");
    assert!(error.advice().unwrap().contains("token"));
    assert!(client.follow(Target::Key(job.key())).is_err());
    assert!(matches!(*client.status_of_link().borrow(), task_messenger_client::LinkStatus::Ended(_)));
}
