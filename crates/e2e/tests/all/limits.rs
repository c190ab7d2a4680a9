//! What exceeds a limit is refused or cut, and says so.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use task_messenger_client::{
    Client, Command, EncodedTemplate, Error, ExitCode, JobOptions, LoneOptions, Target, TaskState, Template, Use,
    WhenFull,
};

use crate::harness::{Held, Site, json, said, until};

fn skill() -> EncodedTemplate {
    EncodedTemplate::new(&Template::of_skill("string-reversal")).unwrap()
}

/// Runs `wc -c` on its payload.
fn counting(environment: &[(&str, &str)]) -> EncodedTemplate {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (program, arguments) = ("wc".to_owned(), vec!["-c".to_owned()]);
    let command = Command { program, arguments, environment, payload: Use::Stdin.into() };
    EncodedTemplate::new(&Template::of_command(command)).unwrap()
}

/// Submits a task without waiting for room.
async fn submit(client: &Client, template: &EncodedTemplate, payload: &[u8]) -> Result<(), Error> {
    let options = LoneOptions { when_full: WhenFull::Fail, ..LoneOptions::default() };
    client.submit_one(template, payload, options).await.map(drop)
}

#[track_caller]
fn refused(result: Result<(), Error>, code: ExitCode, words: &[&str]) {
    let error = result.unwrap_err();
    let text = said(&error);
    assert!(error.exit_code() == code && words.iter().all(|word| text.contains(word)), "{text}");
}

#[test]
fn a_payload_over_the_limit_is_refused_and_the_rest_goes_on() {
    let site = Site::start_with(json!({"limits": {"payload": "10KB"}}));
    let _worker = site.worker("one");
    site.log_in();
    let submit = |bytes: usize| {
        let input = vec![b'x'; bytes];
        site.run_with(&["submit", "--wait", "--stdin", "-", "--", "wc", "-c"], Some(&input))
    };
    submit(10_001).ended_with(125).saying(&["10001 bytes", "at most 10000"]);
    assert_eq!(submit(10_000).ended_with(0).text().trim(), "10000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_full_queue_refuses_and_goes_on_when_there_is_room() {
    let site = Site::start_with(json!({"limits": {"queue_tasks": 20}}));
    let client = site.client().await;
    let template = EncodedTemplate::new(&Template::of_skill("string-reversal")).unwrap();
    let submit = async |when_full: WhenFull, count: u32, refused: &AtomicBool| {
        let mut job = client.job(JobOptions { when_full, ..JobOptions::default() })?;
        for _ in 0..count {
            job.push(&template, br#"{"text":"ab"}"#).await?;
        }
        let submitted = job.finish().await;
        refused.store(submitted.is_err(), Ordering::Relaxed);
        submitted
    };
    let refused = AtomicBool::new(false);
    submit(WhenFull::Fail, 20, &refused).await.unwrap();
    let error = submit(WhenFull::Fail, 1, &refused).await.unwrap_err();
    assert!(matches!(&error, Error::Refused { .. }) && error.exit_code() == ExitCode::Unavailable, "{error}");
    assert!(error.to_string().contains("20"), "{error}");

    // A patient client waits, in which the manager is not bothered, until a worker makes room.
    let done = Arc::new(AtomicBool::new(false));
    let patient = {
        let (client, template, done) = (client.clone(), template.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let mut job = client.job(JobOptions::default()).unwrap();
            for _ in 0..100 {
                job.push(&template, br#"{"text":"ab"}"#).await.unwrap();
            }
            let submitted = job.finish().await.unwrap();
            done.store(true, Ordering::Relaxed);
            submitted
        })
    };
    until("the queue is full", || async {
        let counts = client.status().await.unwrap().tasks.unwrap();
        assert!(counts.queued <= 20, "{counts:?}");
        counts.queued == 20
    })
    .await;
    assert!(!done.load(Ordering::Relaxed));
    let _worker = site.worker("one");
    let submitted = patient.await.unwrap();
    let mut results = client.follow(Target::Job(submitted.job)).unwrap();
    let mut count = 0;
    while results.next().await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 100);
}

#[test]
fn output_over_the_limit_keeps_its_end_and_says_what_is_missing() {
    let site = Site::start();
    let _worker = site.worker_with("one", json!({"limits": {"output": "10KB"}}));
    site.log_in();
    // 10 bytes a line.
    let script = "seq -f '%09.0f' 1 2000; seq -f '%09.0f' 5001 6500 >&2";
    let output = site.run(&["submit", "--wait", "--", "sh", "-c", script]).ended_with(0);
    let lines = |text: &str| -> (usize, String, String) {
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with("00")).collect();
        (lines.len(), (*lines.first().unwrap()).to_owned(), (*lines.last().unwrap()).to_owned())
    };
    assert_eq!(lines(output.text()), (1_000, "000001001".to_owned(), "000002000".to_owned()));
    assert_eq!(lines(&output.errors), (1_000, "000005501".to_owned(), "000006500".to_owned()));
    let output = output.saying(&["of its output are missing", "of its errors are missing"]);
    assert!(output.errors.contains("9.8 KiB") && output.errors.contains("4.9 KiB"), "{output}");
    let job = site.run(&["list", "--json"]).json()[0]["job"].to_string();
    let result = site.run(&["result", &job, "--json"]).ended_with(0).json();
    assert_eq!((&result["output_dropped"], &result["errors_dropped"]), (&json!(10_000), &json!(5_000)), "{result}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn bytes_in_the_queue_are_taken_up_to_the_limit_and_not_one_more() {
    let site = Site::start_with(json!({"limits": {"queue": "1000B"}}));
    let client = site.client().await;
    submit(&client, &skill(), &[b'x'; 600]).await.unwrap();
    let words = ["bytes of payloads in the queue", "`limits.queue`", "1000"];
    refused(submit(&client, &skill(), &[b'x'; 401]).await, ExitCode::Unavailable, &words);
    submit(&client, &skill(), &[b'x'; 400]).await.unwrap();
    refused(submit(&client, &skill(), b"x").await, ExitCode::Unavailable, &words);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn templates_are_taken_up_to_the_limit_and_not_one_byte_more() {
    let largest = counting(&[("A", &"x".repeat(1_500))]);
    let bytes = largest.bytes().len();
    let site = Site::start_with(json!({"limits": {"template": format!("{bytes}B")}}));
    let client = site.client().await;
    submit(&client, &largest, b"").await.unwrap();
    let larger = counting(&[("A", &"x".repeat(1_501))]);
    let error = submit(&client, &larger, b"").await.unwrap_err();
    let text = said(&error);
    assert!(text.contains("template") && text.contains(&bytes.to_string()), "{text}");
    submit(&client, &largest, b"").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn idempotency_keys_are_kept_up_to_the_limit_and_those_that_are_kept_still_count() {
    let site = Site::start_with(json!({"limits": {"idempotency_keys": 2}}));
    let client = site.client().await;
    let submit = async |key: &str| {
        let options =
            LoneOptions { idempotency_key: key.to_owned(), when_full: WhenFull::Fail, ..LoneOptions::default() };
        client.submit_one(&skill(), b"{}", options).await
    };
    let first = submit("one").await.unwrap();
    submit("two").await.unwrap();
    refused(
        submit("three").await.map(drop),
        ExitCode::Unavailable,
        &["idempotency keys", "`limits.idempotency_keys`", "2"],
    );
    assert_eq!(submit("one").await.unwrap(), first);
    submit("").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_holds_no_more_than_the_limit_however_many_slots_it_has() {
    let site = Site::start_with(json!({"limits": {"worker_window": 2}}));
    let _worker = site.worker_with("one", json!({"slots": 4}));
    let client = site.client().await;
    let held = Held::new(&site.path("held"));
    let template = EncodedTemplate::new(&held.template()).unwrap();
    for name in ["a", "b", "c"] {
        submit(&client, &template, name.as_bytes()).await.unwrap();
    }
    held.wait_for_starts(2);
    let worker = client.workers().await.unwrap().pop().unwrap();
    assert_eq!((worker.slots, worker.leases), (4, 2));
    held.let_one_go("a");
    held.wait_for_starts(3);
    let order: Vec<_> = held.starts().into_iter().map(|start| start.name).collect();
    assert_eq!(order.last().unwrap(), "c");
    held.let_go();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_outcome_is_shortened_to_what_the_manager_takes() {
    let site = Site::start_with(json!({"limits": {"outcome": "2KiB"}}));
    let _worker = site.worker("one");
    let client = site.client().await;
    let script = |bytes: usize| {
        let arguments = vec!["-c".to_owned(), format!("head -c {bytes} /dev/zero | tr '\\0' x")];
        let command = Command { program: "sh".to_owned(), arguments, ..Command::default() };
        EncodedTemplate::new(&Template::of_command(command)).unwrap()
    };
    for (bytes, whole) in [(1_900, true), (2_048, false), (500_000, false)] {
        let task = client.submit_one(&script(bytes), b"", LoneOptions::default()).await.unwrap();
        let result = client.result(task).await.unwrap();
        let kept = result.outcome.output.len();
        assert_eq!((result.state, kept as u64 + result.outcome.output_dropped), (TaskState::Succeeded, bytes as u64));
        assert!(kept > 1_000 && (kept == bytes) == whole, "{kept} of {bytes} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn limits_below_what_is_stored_refuse_new_work_and_let_what_is_there_go_on() {
    let mut site = Site::start();
    let client = site.client().await;
    let mut tasks = Vec::new();
    // More than a message may have later; a template over its limit; more tasks, keys and bytes than may be queued.
    for (bytes, environment, key) in [(5 << 20, "", "one"), (20, "x", "two"), (2_000, "", "three"), (30, "x", "")] {
        let template = counting(&[("A", &environment.repeat(3_000))]);
        let options = LoneOptions { idempotency_key: key.to_owned(), ..LoneOptions::default() };
        tasks.push((client.submit_one(&template, &vec![b'x'; bytes], options).await.unwrap(), bytes));
    }
    site.stop_manager();
    site.configure(json!({"limits": {
        "payload": "1KiB", "outcome": "1KiB", "template": "1KiB", "message": "1025KiB", "queue_tasks": 1, "queue": "1KiB",
        "idempotency_keys": 1, "worker_window": 1,
    }}));
    site.start_manager();
    let again = site.client().await;
    refused(
        submit(&again, &skill(), b"{}").await,
        ExitCode::Unavailable,
        &["tasks in the queue", "`limits.queue_tasks`", "1"],
    );

    let _worker = site.worker("one");
    for (task, bytes) in tasks {
        let result = client.result(task).await.unwrap();
        let output = String::from_utf8_lossy(&result.outcome.output).trim().to_owned();
        assert_eq!((result.state, result.attempts, output), (TaskState::Succeeded, 1, bytes.to_string()));
    }
    // There is room again, within the new limits.
    submit(&again, &skill(), br#"{"text":"ab"}"#).await.unwrap();
    let text = said(&submit(&again, &skill(), &[b'x'; 1_025]).await.unwrap_err());
    assert!(text.contains("1024"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn more_templates_than_a_session_knows_at_a_time_stay_what_they_are() {
    let site = Site::start();
    let client = site.client().await;
    // Whoever takes one for another runs the wrong skill.
    let mut job = client.job(JobOptions::default()).unwrap();
    for number in 0..3_000 {
        let (skill, payload) = match number % 3 {
            0 => ("string-reversal", r#"{"text":"ab"}"#),
            _ => ("math-operation", r#"{"operation":"multiply","a":6,"b":7}"#),
        };
        let template = Template { timeout_milliseconds: 60_000 + number / 3, ..Template::of_skill(skill) };
        job.push(&EncodedTemplate::new(&template).unwrap(), payload.as_bytes()).await.unwrap();
    }
    let submitted = job.finish().await.unwrap();
    let _worker = site.worker_with("one", json!({"slots": 4}));
    let mut results = client.follow(Target::Job(submitted.job)).unwrap();
    let mut count = 0;
    while let Some(result) = results.next().await.unwrap() {
        let output = String::from_utf8_lossy(&result.outcome.output).into_owned();
        let expected = if result.index % 3 == 0 { r#"{"text":"ba"}"# } else { r#"{"result":42.0}"# };
        assert_eq!((result.state, output.as_str()), (TaskState::Succeeded, expected), "task {}", result.index);
        count += 1;
    }
    assert_eq!(count, 3_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn memory_for_jobs_and_templates_is_taken_up_to_the_limit_and_free_again() {
    let site = Site::start_with(json!({"limits": {"descriptions": "1MiB"}}));
    let client = site.client().await;
    let word = "x".repeat(100_000);
    let long = |number: u32| counting(&[("A", &format!("{number}{word}")), ("B", &word)]);
    for number in 0..5 {
        submit(&client, &long(number), b"").await.unwrap();
    }
    let words = ["bytes of jobs and templates in memory", "`limits.descriptions`", "1048576"];
    refused(submit(&client, &long(5), b"").await, ExitCode::Unavailable, &words);
    submit(&client, &long(4), b"").await.unwrap();
    let _worker = site.worker("one");
    until("there is room again", || async { submit(&client, &long(6), b"").await.is_ok() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn results_that_nobody_fetched_are_kept_up_to_the_limit_and_then_nothing_new_is_taken() {
    for (limits, large, words) in [
        (json!({"finished_tasks": 5}), 0, ["limits.finished_tasks", "5"]),
        (json!({"finished": "1MiB"}), 10, ["limits.finished", "1MiB"]),
    ] {
        let site = Site::start_with(json!({"limits": limits}));
        let _worker = site.worker("one");
        let client = site.client().await;
        let texts: Vec<String> = (0..100_000).map(|at| "ab".repeat(if at < large { 100_000 } else { 1 })).collect();
        let submit = async |text: &str| {
            let options = LoneOptions { when_full: WhenFull::Fail, ..LoneOptions::default() };
            client.submit_one(&skill(), json!({"text": text}).to_string().as_bytes(), options).await
        };
        let mut tasks = Vec::new();
        // While much comes in, nothing goes to the archive: most of these are small.
        let error = loop {
            match submit(&texts[tasks.len()]).await {
                Ok(task) => tasks.push(task),
                Err(error) => break error,
            }
            let succeeded = tasks.len() as u64;
            until("it is done", || async { client.status().await.unwrap().tasks.unwrap().succeeded == succeeded })
                .await;
        };
        refused(Err(error), ExitCode::Unavailable, &[&words[..], &["nobody has fetched"]].concat());
        // None was dropped silently. Once they have been fetched, the oldest go and make room.
        for (task, text) in tasks.iter().zip(&texts) {
            let reversed = json!({"text": text.replace("ab", "ba")}).to_string();
            assert_eq!(client.result(*task).await.unwrap().outcome.output, reversed.as_bytes());
        }
        until("there is room again", || async { submit("ab").await.is_ok() }).await;
        until("the oldest is gone", || async { client.result(tasks[0]).await.is_err() }).await;
    }
}
