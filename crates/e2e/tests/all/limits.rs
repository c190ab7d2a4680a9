//! What exceeds a limit is refused or cut, and says so.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use task_messenger_client::{EncodedTemplate, Error, ExitCode, JobOptions, Target, Template, WhenFull};

use crate::harness::{Site, json, until};

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
