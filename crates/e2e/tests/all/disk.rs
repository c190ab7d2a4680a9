//! Disks that fill up, are full at the start, or fail.

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use task_messenger_client::{
    Client, Command, EncodedTemplate, Error, ExitCode, LoneOptions, TaskState, Template, Use, WhenFull,
};

use crate::harness::{Held, Signal, Site, json, said, until, wait_until};

const MIB: u64 = 1 << 20;

/// Tells that it started, waits until it is let go, and writes as many bytes as it was told.
const WRITER: &str = r#"name=${1%%:*}
echo "$name $HOME $$" >> "$2/started"
while [ ! -e "$2/go-$name" ] && [ -d "$2" ]; do sleep 0.05; done
head -c "${1##*:}" /dev/zero | tr '\0' x"#;

/// A command like those of [`Held`] whose payload is its name, a colon, and how many bytes it writes in the end.
fn writer(site: &Site) -> EncodedTemplate {
    let directory = site.path("held").to_str().unwrap().to_owned();
    let arguments = ["-c", WRITER, "sh", "{}"].map(str::to_owned).into_iter().chain([directory]).collect();
    let command = Command { program: "sh".to_owned(), arguments, payload: Use::Argument.into(), ..Command::default() };
    EncodedTemplate::new(&Template::of_command(command)).unwrap()
}

fn impatient() -> LoneOptions {
    LoneOptions { when_full: WhenFull::Fail, ..LoneOptions::default() }
}

/// What somebody is told who can't wait, once the manager has noticed that there is no room.
async fn refusal(client: &Client, template: &EncodedTemplate) -> Error {
    refusal_while(client, template, || ()).await
}

/// The same, with something done before each attempt.
async fn refusal_while(client: &Client, template: &EncodedTemplate, before: impl Fn()) -> Error {
    let refusal = Cell::new(None);
    until("new work is refused", async || {
        before();
        match client.submit_one(template, br#"{"text":"ab"}"#, impatient()).await {
            Ok(_) => false,
            Err(error) => {
                refusal.set(Some(error));
                true
            }
        }
    })
    .await;
    refusal.take().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_full_disk_refuses_new_work_while_what_runs_ends_and_then_all_goes_on_by_itself() {
    let Some(mut site) = Site::prepare_small(json!({}), 200) else { return };
    site.start_manager();
    let _worker = site.worker("one");
    site.log_in();
    let client = site.client().await;
    let held = Held::new(&site.path("held"));
    let (template, skill) = (writer(&site), EncodedTemplate::new(&Template::of_skill("string-reversal")).unwrap());
    let small = client.submit_one(&template, b"small:10", LoneOptions::default()).await.unwrap();
    // This one's outcome becomes a file of its own.
    let large = client.submit_one(&template, b"large:900000", LoneOptions::default()).await.unwrap();
    held.wait_for_starts(2);
    assert_eq!(site.disk().length("store/reserve"), 32 * MIB);

    // A segment that was being made at that moment goes again and leaves its room: it is filled until there is none.
    let error = refusal_while(&client, &skill, || site.disk().fill()).await;
    assert_eq!(error.exit_code(), ExitCode::Unavailable);
    let text = said(&error);
    let directory = site.path("manager");
    for word in ["disk is full", " 0 bytes are free", "32 MiB", "remove", "disk.reserve", directory.to_str().unwrap()] {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
    let big = client.submit_one(&skill, &vec![b'x'; 400_000], impatient()).await.unwrap_err();
    assert!(said(&big).contains("disk is full"), "{big}");
    site.wait_for_log(&["the disk is full", "no new work is taken"]);
    let mut map = site.invoke(&["map", "--", "echo", "{}"], Some(b"one\ntwo\nthree\n"));

    for name in ["small", "large"] {
        held.let_one_go(name);
    }
    let check = async |client: &Client| {
        for (task, length) in [(small, 10), (large, 900_000)] {
            let result = client.result(task).await.unwrap();
            assert_eq!((result.state, result.attempts), (TaskState::Succeeded, 1));
            assert_eq!(result.outcome.output.len(), length);
        }
    };
    check(&client).await;
    refusal(&client, &skill).await;

    // What was told is on the disk, and the manager starts on a full one.
    site.kill_manager();
    site.start_manager();
    check(&site.client().await).await;
    refusal(&client, &skill).await;
    assert!(!map.has_ended());
    assert!(site.disk().length("store/reserve") < 32 * MIB, "it gave what was written since");

    site.disk().empty();
    let mapped = map.wait().ended_with(0);
    let mut lines: Vec<_> = mapped.text().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["one", "three", "two"]);
    site.wait_for_log(&["there is room on the disk again"]);
    assert_eq!(site.disk().length("store/reserve"), 32 * MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn outcomes_that_the_reserve_can_not_take_wait_at_their_worker_and_nothing_more_is_handed_out() {
    let configuration = json!({"lease": {"grace": "1s"}, "link": {"silence": "2s"}, "journal": {"segment": "2MiB"}});
    let Some(mut site) = Site::prepare_small(configuration, 100) else { return };
    site.start_manager();
    let worker = site.worker_with("one", json!({"slots": 3, "limits": {"output": "12MB"}, "prefetch": {"most": 0}}));
    let client = site.client().await;
    let held = Held::new(&site.path("held"));
    let (template, skill) = (writer(&site), EncodedTemplate::new(&Template::of_skill("string-reversal")).unwrap());
    let mut tasks = Vec::new();
    for payload in ["a:10000000", "b:10000000", "c:9000000", "d:5", "e:5", "f:5"] {
        tasks.push(client.submit_one(&template, payload.as_bytes(), LoneOptions::default()).await.unwrap());
    }
    held.wait_for_starts(3);
    refusal_while(&client, &skill, || site.disk().fill()).await;

    // Two fit into the reserve, of which then more than half is used.
    for (name, task) in [("a", tasks[0]), ("b", tasks[1])] {
        held.let_one_go(name);
        assert_eq!(client.result(task).await.unwrap().outcome.output.len(), 10_000_000);
    }
    site.wait_for_log(&["the disk is full", "nothing more is handed out"]);
    // Of the others, one took the first's slot, and perhaps another the second's.
    let started = held.starts().len();
    held.let_one_go("d");
    assert_eq!(client.result(tasks[3]).await.unwrap().state, TaskState::Succeeded);
    // Nor does a worker that comes now get anything.
    let _another = site.worker("two");
    until("another worker is connected", async || client.status().await.unwrap().workers_connected == 2).await;
    held.let_one_go("c");
    site.wait_for_log(&["outcomes of a worker wait"]);
    let began = Instant::now();
    until("the grace is over, and over again", async || began.elapsed() > Duration::from_secs(4)).await;
    let summary = client.task(tasks[2]).await.unwrap().summary.unwrap();
    assert_eq!((summary.state(), summary.attempts), (TaskState::Running, 1));
    assert_eq!(held.starts().len(), started, "a slot is free, and nothing was handed out");
    let log = worker.log();
    assert!(log.matches("connected address=").count() == 1 && !log.contains("lost"), "its session went on: {log}");

    site.disk().empty();
    let result = client.result(tasks[2]).await.unwrap();
    assert_eq!((result.state, result.attempts, result.outcome.output.len()), (TaskState::Succeeded, 1, 9_000_000));
    for (name, task) in [("e", tasks[4]), ("f", tasks[5])] {
        held.let_one_go(name);
        assert_eq!(client.result(task).await.unwrap().state, TaskState::Succeeded);
    }
}

#[test]
fn a_manager_that_finds_the_disk_full_at_its_start_waits_for_room() {
    let Some(mut site) = Site::prepare_small(json!({"listen": ["127.0.0.1:0"]}), 120) else { return };
    site.disk().fill();
    site.launch_manager();
    site.wait_for_log(&["the disk is full", "the manager waits for room"]);
    // It hears that it is to stop.
    site.stop_manager();
    site.launch_manager();
    wait_until("it waits again", || site.manager_log().matches("the manager waits for room").count() == 2);
    assert!(!site.manager().has_ended());
    site.disk().empty();
    site.wait_for_log(&["the manager is ready"]);
    site.stop_manager();
}

/// Lets the manager write no further than this in any file, from now on.
fn let_writes_fail(site: &mut Site, behind: u64) {
    let process = Pid::from_raw(site.manager().id().cast_signed());
    let limit = Rlimit { current: Some(behind), maximum: Some(behind) };
    prlimit(process, Resource::Fsize, limit).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_write_that_fails_ends_the_manager_with_1_and_its_next_start_goes_on() {
    let mut site = Site::prepare(json!({}));
    // Without this a write over the limit would kill the manager instead of failing.
    site.start_programs_by(&["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
    site.start_manager();
    let client = site.client().await;
    let mut command = Command { program: "wc".to_owned(), arguments: vec!["-c".to_owned()], ..Command::default() };
    command.payload = Use::Stdin.into();
    let template = Arc::new(EncodedTemplate::new(&Template::of_command(command)).unwrap());
    let mut tasks = Vec::new();
    // A large value in a file of its own; many small ones in the journal.
    for (count, length, words) in
        [(1, 3 * MIB, ["the store failed", "values/"]), (10, 200_000, ["the journal", "segment"])]
    {
        let_writes_fail(&mut site, MIB);
        let submitting: Vec<_> = (0..count)
            .map(|_| {
                let (client, template) = (client.clone(), Arc::clone(&template));
                let payload = vec![b'x'; length as usize];
                tokio::spawn(async move { client.submit_one(&template, &payload, LoneOptions::default()).await })
            })
            .collect();
        let status = site.manager().wait();
        assert_eq!(status.code(), Some(1), "{status}");
        site.wait_for_log(&[&["error:", "File too large"][..], &words].concat());
        site.kill_manager();
        site.start_manager();
        for submitted in submitting {
            tasks.push((submitted.await.unwrap().unwrap(), length));
        }
    }
    let _worker = site.worker("one");
    for (task, length) in tasks {
        let result = client.result(task).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&result.outcome.output).trim(), length.to_string());
    }
    site.manager().signal(Signal::TERM);
    assert!(site.manager().wait().success());
}
