//! Cancelling what waits, what runs, what is over; and that a cancel is never taken back.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use task_messenger_client::{Command, EncodedTemplate, Error, JobOptions, Template};

use super::{job_of, lines, show, state, submit, submit_held, submit_many_held};
use crate::harness::{Held, Signal, Site, json, wait_until};

fn is_there(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

#[test]
fn what_waits_is_cancelled_at_once_and_what_is_over_stays_as_it_is() {
    let site = Site::start();
    site.log_in();
    let waiting = submit(&site, &[], &["true"]);
    assert_eq!(site.run(&["cancel", &waiting]).ended_with(0).text(), format!("task {waiting} is cancelled\n"));
    assert_eq!(state(&site, &waiting), "cancelled");
    let again = site.run(&["cancel", &waiting]).ended_with(0);
    assert_eq!(again.text(), format!("task {waiting} is cancelled already: there is nothing to cancel\n"));
    assert_eq!(site.run(&["wait", &waiting]).ended_with(1).text(), format!("task {waiting} is cancelled\n"));
    site.run(&["result", &waiting]).ended_with(1).saying(&["is cancelled"]);

    // Whoever waits for it learns of it.
    let waits = site.invoke(&["submit", "--wait", "--", "true"], None);
    let mut job = String::new();
    wait_until("it is submitted", || {
        job = site.run(&["list", "--state", "queued", "--json"]).json()[0]["job"].to_string();
        job != "null"
    });
    site.run(&["cancel", &job]).ended_with(0);
    waits.wait().ended_with(125).saying(&["is cancelled"]);

    let _worker = site.worker("one");
    let done = submit(&site, &[], &["true"]);
    site.run(&["wait", &done]).ended_with(0);
    let refused = site.run(&["cancel", &done]).ended_with(0);
    assert_eq!(refused.text(), format!("task {done} is succeeded already: there is nothing to cancel\n"));
    assert_eq!(state(&site, &done), "succeeded");
    let over = site.run(&["cancel", job_of(&done)]).ended_with(0);
    assert!(over.text().contains("(1 succeeded): there is nothing to cancel"), "{over}");

    // What is refused of several is said, and the rest is cancelled all the same.
    let (first, second) = (submit(&site, &["--delay", "1h"], &["true"]), submit(&site, &["--delay", "1h"], &["true"]));
    let some = site.run(&["cancel", &first, "999", job_of(&second), "--json"]).ended_with(2).saying(&["no job 999"]);
    let second: u64 = job_of(&second).parse().unwrap();
    let expected = json!([
        {"task": first, "cancelled": 1, "running": 0},
        {"job": second, "cancelled": 1, "running": 0},
    ]);
    assert_eq!(some.json(), expected);
}

#[test]
fn what_runs_is_stopped_within_the_kill_grace_and_counts_as_cancelled() {
    let site = Site::start();
    let mut worker = site.worker_with("one", json!({"kill_after": "300ms"}));
    site.log_in();
    let held = Held::new(&site.path("held"));
    let gentle = submit_held(&site, &held, "gentle");
    // It ignores the request to end, as does its child.
    let (file, child) = (site.path("stubborn"), site.path("child"));
    let script = format!(
        "trap '' TERM; (echo $(sh -c 'echo $PPID') > {}; while :; do sleep 0.1; done) & echo $$ > {}; wait; wait",
        child.display(),
        file.display()
    );
    let stubborn = submit(&site, &[], &["sh", "-c", &script]);
    held.wait_for_starts(1);
    let number = |path: &Path| std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u32>().ok());
    wait_until("both run", || number(&file).is_some() && number(&child).is_some());
    let processes = [held.starts()[0].process, number(&file).unwrap(), number(&child).unwrap()];
    assert!(processes.iter().all(|process| is_there(*process)));

    // A worker that does not hear of it yet.
    worker.process().signal(Signal::STOP);
    let said = site.run(&["cancel", &gentle, &stubborn]).ended_with(0);
    for (line, task) in lines(&said).into_iter().zip([&gentle, &stubborn]) {
        assert_eq!(line, format!("task {task} is cancelled, and still runs until its worker has stopped it"));
    }
    let shown = show(&site, &gentle);
    assert_eq!((&shown["state"], &shown["cancelling"]), (&json!("running"), &json!(true)));
    assert!(site.run(&["show", &gentle]).text().contains("running (cancelling)"));
    assert!(site.run(&["list", job_of(&gentle)]).text().contains("running (cancelling)"));
    // Said again, it is waited for all the same.
    let waiting = site.invoke(&["cancel", "--wait", &gentle, job_of(&stubborn), "--json"], None);
    wait_until("it waits", || waiting.errors_so_far().contains("2 tasks that run"));
    worker.process().signal(Signal::CONT);
    let heard = Instant::now();
    let done = waiting.wait().ended_with(0).json();
    let counts = done.as_array().unwrap().iter().map(|entry| (entry["cancelled"].clone(), entry["running"].clone()));
    assert_eq!(counts.collect::<Vec<_>>(), vec![(json!(1), json!(0)); 2], "{done}");
    wait_until("their processes are gone", || processes.iter().all(|process| !is_there(*process)));
    let took = heard.elapsed();
    println!("with a kill grace of 300 ms, both were stopped and told after {took:?}");
    assert!(took < Duration::from_secs(20), "it took {took:?}");
    assert_eq!((state(&site, &gentle), state(&site, &stubborn)), ("cancelled".to_owned(), "cancelled".to_owned()));
    assert!(held.ends().is_empty());

    // The slots are free again.
    site.run(&["submit", "--wait", "--slots", "2", "--", "true"]).ended_with(0);
}

#[test]
fn a_job_that_is_cancelled_half_way_runs_nothing_more_gets_nothing_more_and_its_counts_add_up() {
    let site = Site::start_with(json!({"limits": {"queue_tasks": 100}}));
    let _worker = site.worker("one");
    site.log_in();
    let file = site.path("ran");
    let script = format!("echo x >> {}; sleep 0.03", file.display());
    let input = (0..500).map(|number| format!("{number}\n")).collect::<Vec<_>>().concat();
    let map = site.invoke(&["map", "--", "sh", "-c", &script], Some(input.as_bytes()));
    let ran = || std::fs::read_to_string(&file).unwrap_or_default().lines().count();
    wait_until("some of it has run", || ran() >= 30);
    let cancelled = site.run(&["cancel", "--wait", "--json", "1"]).ended_with(0).json();
    let (started, shown) = (ran() as u64, show(&site, "1"));
    let counts = &shown["counts"];
    let count = |state: &str| counts[state].as_u64().unwrap();
    let tasks = shown["tasks"].as_u64().unwrap();
    assert_eq!(count("succeeded") + count("cancelled"), tasks, "{shown}");
    assert_eq!(cancelled[0]["cancelled"], counts["cancelled"], "{cancelled} {shown}");
    assert!(count("succeeded") <= started && count("cancelled") > 0 && tasks < 500, "{started} started: {shown}");
    assert_eq!(shown["closed"], json!(true));
    map.wait().ended_with(2).saying(&["no more lines can be submitted", "cancelled"]);
    println!("{started} of {tasks} tasks had started, {} were cancelled", count("cancelled"));

    // Everything else gets the slots now, and nothing of that job ran meanwhile.
    for _ in 0..10 {
        site.run(&["submit", "--wait", "--", "true"]).ended_with(0);
    }
    assert_eq!((ran() as u64, &show(&site, "1")["counts"]), (started, counts));
    site.run(&["wait", "1"]).ended_with(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_cancelled_job_gets_no_more_tasks_under_its_key() {
    let site = Site::start();
    let client = site.client().await;
    site.log_in();
    let command = Command { program: "true".to_owned(), ..Command::default() };
    let template = EncodedTemplate::new(&Template::of_command(command)).unwrap();
    let mut job = client.job(JobOptions::default()).unwrap();
    let number = job.open(&template).await.unwrap().job;
    job.push(&template, b"").await.unwrap();
    wait_until("the first task is there", || show(&site, &number.to_string())["tasks"] == 1);
    site.run(&["cancel", &number.to_string()]).ended_with(0);
    job.push(&template, b"").await.unwrap();
    let refused = job.finish().await.unwrap_err();
    assert!(matches!(&refused, Error::Refused { text, .. } if text.contains("closed")), "{refused:?}");
    assert_eq!(show(&site, &number.to_string())["counts"]["cancelled"], 1);
}

#[test]
fn a_cancel_that_was_acknowledged_survives_the_managers_death_at_once() {
    let mut site = Site::start();
    let _worker = site.worker("one");
    site.log_in();
    let held = Held::new(&site.path("held"));
    let names: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let job = submit_many_held(&site, &held, &names);
    held.wait_for_starts(2);
    let cancelled = site.run(&["cancel", &job, "--json"]).ended_with(0);
    site.kill_manager();
    assert_eq!(cancelled.json()[0]["cancelled"], json!(198), "{cancelled}");
    site.start_manager();
    site.run(&["wait", &job]).ended_with(1).saying(&[]);
    let shown = show(&site, &job);
    assert_eq!(shown["counts"]["cancelled"], json!(200), "{shown}");
    let starts = held.starts();
    assert_eq!(starts.len(), 2);
    wait_until("their processes are gone", || starts.iter().all(|start| !is_there(start.process)));
    assert!(held.ends().is_empty());
}
