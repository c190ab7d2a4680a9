//! Log files that are rotated while they are written, disks that fill up under them, and the system's journal.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::{fs::MetadataExt, net::UnixDatagram},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use task_messenger_client::{Client, EncodedTemplate, JobNumber, JobOptions, Target, Template};

use crate::harness::{DEADLINE, Held, Signal, Site, SmallDisk, json, wait_until};

/// Tasks of a load; each changes three times.
const TASKS: usize = 10_000;

async fn submit(client: &Client, tasks: usize) -> JobNumber {
    let template = EncodedTemplate::new(&Template::of_skill("string-reversal")).unwrap();
    let mut writer = client.job(JobOptions::default()).unwrap();
    for _ in 0..tasks {
        writer.push(&template, br#"{"text":"ab"}"#).await.unwrap();
    }
    writer.finish().await.unwrap().job
}

async fn wait_for(client: &Client, job: JobNumber) {
    let mut results = client.follow(Target::Job(job)).unwrap();
    while results.next().await.unwrap().is_some() {}
}

/// All files of a directory.
fn files(directory: &Path) -> Vec<(PathBuf, String)> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// Each task of the job is told once to be submitted and to have finished, and at least once to be handed out.
fn assert_complete<'a>(lines: impl Iterator<Item = &'a str>, task_in: impl Fn(&str) -> Option<(String, String)>) {
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (message, task) in lines.filter_map(task_in) {
        told.entry(message).or_default().push(task);
    }
    let names: BTreeSet<String> = (0..TASKS).map(|index| format!("1.{index}")).collect();
    for (message, once) in [("submitted", true), ("handed out", false), ("finished", true)] {
        let tasks = told.remove(message).unwrap_or_default();
        assert!(!once || tasks.len() == TASKS, "{message}: {} lines", tasks.len());
        assert_eq!(tasks.into_iter().collect::<BTreeSet<_>>(), names, "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn no_line_is_lost_when_the_manager_rotates_its_log_under_load() {
    let mut site = Site::prepare(json!({}));
    let file = site.path("logs/manager.log");
    let rotation = json!({"size": "64KiB", "keep": 1000});
    site.configure(json!({"log": {"level": "debug", "file": file, "rotation": rotation}}));
    site.start_manager();
    let _worker = site.worker_with("one", json!({"log": {"level": "debug"}}));
    let client = site.client().await;
    let job = submit(&client, TASKS).await;
    wait_for(&client, job).await;
    site.stop_manager();

    let files = files(&site.path("logs"));
    println!("{} files", files.len());
    assert!(files.len() > 20);
    assert!(files.iter().all(|(_, text)| text.len() <= 64 << 10 && text.ends_with('\n')));
    let lines = files.iter().flat_map(|(_, text)| text.lines());
    assert!(lines.clone().all(|line| line.starts_with("20") && line.contains("Z ")), "each line is whole");
    assert_complete(lines, |line| {
        let (_, rest) = line.split_once("DEBUG task_messenger_manager::tasks: ")?;
        let (message, rest) = rest.split_once(" task=")?;
        Some((message.to_owned(), rest.split_once(' ')?.0.to_owned()))
    });
    assert_eq!(site.manager_log(), "", "nothing is on standard error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn no_line_is_lost_when_another_program_rotates_the_log_under_load() {
    let mut site = Site::prepare(json!({}));
    let file = site.path("logs/manager.log");
    let log = json!({"level": "debug", "format": "json", "file": file, "rotation": {"mode": "external"}});
    site.configure(json!({"log": log}));
    site.start_manager();
    let mut worker = site.worker("one");
    let client = site.client().await;
    let mut renamed = 0;
    let load = tokio::spawn(async move {
        let job = submit(&client, TASKS).await;
        wait_for(&client, job).await;
    });
    let old = |number: usize| file.with_file_name(format!("manager.log.{number}"));
    while !load.is_finished() || renamed < 3 {
        fs::rename(&file, old(renamed)).unwrap();
        // What is written in between goes to the file that was renamed.
        tokio::time::sleep(Duration::from_millis(2)).await;
        site.manager().signal(Signal::USR1);
        wait_until("the manager has made a new file", || file.exists());
        renamed += 1;
    }
    load.await.unwrap();
    println!("{renamed} files were renamed");
    // It has no log file, and goes on.
    worker.process().signal(Signal::USR1);
    let again = site.client().await;
    let job = submit(&again, 1).await;
    tokio::time::timeout(DEADLINE, wait_for(&again, job)).await.expect("the worker goes on");
    assert!(!worker.process().has_ended());
    site.stop_manager();

    let files = files(&site.path("logs"));
    let lines = files.iter().flat_map(|(_, text)| text.lines());
    assert_complete(lines, |line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let task = line["task"].as_str().filter(|task| task.starts_with("1."))?;
        Some((line["message"].as_str()?.to_owned(), task.to_owned()))
    });
}

#[test]
fn a_full_disk_costs_lines_that_are_counted_and_nothing_else() {
    let mut site = Site::prepare(json!({}));
    let directory = site.path("logs");
    fs::create_dir(&directory).unwrap();
    let Some(disk) = SmallDisk::mount(&directory, 1) else { return };
    let file = disk.view(&directory.join("manager.log"));
    site.configure(json!({"log": {"level": "debug", "file": directory.join("manager.log")}}));
    let prefix = disk.prefix();
    site.start_programs_by(&prefix.iter().map(String::as_str).collect::<Vec<_>>());
    site.start_manager();
    site.log_in();
    let _worker = site.worker("one");
    disk.fill();
    let submit = || site.run(&["submit", "--wait", "--", "true"]).ended_with(0);
    wait_until("a line was left out", || {
        submit();
        site.manager_log().contains("can't be written")
    });
    submit();
    let before = fs::read_to_string(&file).unwrap();
    disk.empty();
    submit();
    wait_until("it says how many", || fs::read_to_string(&file).unwrap().contains("lines could not be written"));
    let after = fs::read_to_string(&file).unwrap();
    assert!(after.starts_with(&before));
    assert_eq!(site.manager_log().lines().count(), 2, "once each: {}", site.manager_log());
    site.wait_for_log(&["can be written again"]);
    site.stop_manager();
}

#[test]
fn a_log_file_that_can_never_be_ends_the_start_with_78() {
    let site = Site::prepare(json!({}));
    fs::write(site.path("file"), "").unwrap();
    for component in ["manager", "worker"] {
        let log = json!({"file": site.path("file/x.log"), "rotation": {"size": "1MiB"}});
        let configuration = site.path("config.json");
        fs::write(&configuration, json!({"log": log, "state_directory": site.path("state")}).to_string()).unwrap();
        let run = [component, "run", "--config", configuration.to_str().unwrap()];
        site.run(&run).ended_with(78).saying(&["log.file", "x.log"]);
    }
}

#[test]
fn every_change_of_a_worker_and_of_a_task_is_a_line() {
    let mut site = Site::prepare(json!({"log": {"level": "info,task_messenger_manager::tasks=debug"}}));
    site.start_manager();
    let admin = site.token("admin");
    site.run_with(&["login", "-"], Some(admin.as_bytes())).ended_with(0);
    site.wait_for_log(&["INFO", "a token was created", "role=\"admin\""]);
    let mut worker = site.worker("one");
    site.wait_for_log(&["INFO", "a worker enrolled", "worker=0", "name=\"one\""]);
    site.wait_for_log(&[
        "INFO",
        "a worker is connected",
        "worker=0",
        "name=\"one\"",
        "slots=2",
        "address=\"127.0.0.1:",
    ]);

    let submit = |options: &[&str], program: &[&str]| -> String {
        let words = [&["submit"], options, &["--"], program].concat();
        site.run(&words).ended_with(0).text().trim().to_owned()
    };
    let failing = submit(&["--max-attempts", "2"], &["false"]);
    let told = |task: &str, words: &[&str]| {
        let name = format!("task={task} ");
        site.wait_for_log(&[&["DEBUG", "task_messenger_manager::tasks", name.as_str()], words].concat());
    };
    told(&failing, &["submitted", "state=\"queued\""]);
    told(&failing, &["handed out", "attempt=1", "worker=0"]);
    told(&failing, &["failed: it is tried again", "lease="]);
    told(&failing, &["queued: its wait is over"]);
    told(&failing, &["finished", "outcome=\"failed\""]);
    site.run(&["retry", &failing]).ended_with(0);
    told(&failing, &["queued: somebody wants it run again"]);
    let late = submit(&["--delay", "100ms"], &["true"]);
    told(&late, &["submitted", "state=\"scheduled\""]);
    told(&late, &["queued: its time has come"]);
    told(&late, &["finished", "outcome=\"succeeded\""]);
    let never = submit(&["--delay", "1h"], &["true"]);
    site.run(&["cancel", &never]).ended_with(0);
    told(&never, &["cancelled"]);

    let held = Held::new(&site.path("held"));
    let words = [&["sh".to_owned()][..], &held.arguments("a")].concat();
    let running = submit(&[], &words.iter().map(String::as_str).collect::<Vec<_>>());
    held.wait_for_starts(1);
    worker.kill();
    site.wait_for_log(&["INFO", "a worker is disconnected", "worker=0", "reason="]);
    worker.start();
    site.wait_for_log(&["INFO", "the leases of a lost worker end", "worker=0", "leases=1"]);
    told(&running, &["its worker was lost", "it counts a crash"]);
    held.wait_for_starts(2);
    site.run(&["cancel", &running]).ended_with(0);
    told(&running, &["cancelled: it is asked to stop"]);
    told(&running, &["finished", "outcome=\"cancelled\""]);

    site.run(&["pause", "one"]).ended_with(0);
    site.wait_for_log(&["INFO", "what a worker gets was changed", "worker=0", "mode=\"paused\""]);
    let late = submit(&["--deadline", "100ms"], &["true"]);
    told(&late, &["expired"]);
    site.run(&["worker", "remove", "--yes", "one"]).ended_with(0);
    site.wait_for_log(&["INFO", "a worker was removed", "worker=0"]);
    site.wait_for_log(&["INFO", "a worker is disconnected", "the worker was removed"]);
    assert_eq!(worker.wait().code(), Some(78));
    assert!(!site.manager_log().contains("WARN"), "nobody has to look: {}", site.manager_log());
}

/// The fields of an entry in the journal's own protocol.
fn fields(entry: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut rest = entry;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = std::str::from_utf8(&rest[..end]).unwrap().to_owned();
        rest = &rest[end + 1..];
        if let Some((name, value)) = line.split_once('=') {
            fields.insert(name.to_owned(), value.to_owned());
        } else {
            let (length, value) = rest.split_first_chunk::<8>().unwrap();
            let (value, after) = value.split_at(u64::from_le_bytes(*length) as usize);
            fields.insert(line, String::from_utf8(value.to_vec()).unwrap());
            rest = &after[1..];
        }
    }
    fields
}

type Entries = Arc<Mutex<Vec<BTreeMap<String, String>>>>;

/// Takes what comes, until nobody else wants to know of it.
fn take_entries(journal: &UnixDatagram, all: &Entries) {
    let mut buffer = vec![0; 1 << 16];
    while Arc::strong_count(all) > 1 {
        if let Ok(length) = journal.recv(&mut buffer) {
            all.lock().unwrap().push(fields(&buffer[..length]));
        }
    }
}

#[test]
fn the_journal_gets_fields_and_no_second_time() {
    let mut site = Site::prepare(json!({"log": {"level": "debug"}}));
    // A journal of its own, at the place that is the same everywhere.
    let Some(disk) = SmallDisk::mount(Path::new("/run"), 1) else { return };
    fs::create_dir_all(disk.view(Path::new("/run/systemd/journal"))).unwrap();
    let journal = UnixDatagram::bind(disk.view(Path::new("/run/systemd/journal/socket"))).unwrap();
    journal.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let all = Entries::default();
    let own = all.clone();
    let taking = std::thread::spawn(move || take_entries(&journal, &own));
    // Standard error is the stream that is named, as systemd does.
    fs::write(site.path("manager.log"), "").unwrap();
    let stream = fs::metadata(site.path("manager.log")).unwrap();
    let variable = format!("JOURNAL_STREAM={}:{}", stream.dev(), stream.ino());
    let prefix = disk.prefix();
    let words: Vec<&str> = prefix.iter().map(String::as_str).chain(["env", &variable]).collect();
    site.start_programs_by(&words);
    site.start_manager();
    site.log_in();
    let _worker = site.worker("one");
    site.run(&["submit", "--wait", "--", "true"]).ended_with(0);
    let message = |entry: &BTreeMap<String, String>| entry.get("MESSAGE").cloned().unwrap_or_default();
    // Entries of several threads come in any order, so each of them is waited for.
    let entry = |words: &str| {
        let find = || all.lock().unwrap().iter().find(|entry| message(entry).starts_with(words)).cloned();
        wait_until(&format!("the journal says {words:?}"), || find().is_some());
        find().unwrap()
    };
    let expected = [
        (
            "finished",
            &[("TASK", "1.0"), ("JOB", "1"), ("WORKER", "0"), ("OUTCOME", "succeeded"), ("PRIORITY", "7")][..],
        ),
        ("handed out", &[("TASK", "1.0"), ("ATTEMPT", "1")]),
        ("a worker is connected", &[("WORKER", "0"), ("NAME", "one"), ("SLOTS", "2"), ("PRIORITY", "6")]),
        ("the peer left peer=\"local\" session=1", &[("SPAN_NAME", "session"), ("SESSION", "1"), ("PEER", "local")]),
        ("the manager is ready", &[("SYSLOG_IDENTIFIER", "task-messenger-manager"), ("PRIORITY", "6")]),
    ];
    for (words, expected) in expected {
        let entry = entry(words);
        for (name, value) in expected {
            assert_eq!(entry.get(*name).map(String::as_str), Some(*value), "{name} of {entry:#?}");
        }
        assert!(entry["TARGET"].starts_with("task_messenger_manager"), "{entry:#?}");
    }
    let lease = entry("handed out")["LEASE"].clone();
    assert_eq!(entry("finished")["LEASE"], lease);
    // What people see says the fields too, and no time but the journal's own.
    assert_eq!(
        message(&entry("finished")),
        format!("finished task=1.0 job=1 lease={lease} worker=0 outcome=\"succeeded\"")
    );
    assert_eq!(site.manager_log(), "", "nothing is said twice");
    site.stop_manager();

    // Without the journal's socket there are priorities at least.
    drop(all);
    taking.join().unwrap();
    fs::remove_file(disk.view(Path::new("/run/systemd/journal/socket"))).unwrap();
    site.start_manager();
    site.wait_for_log(&["<4>", "the journal's socket can't be reached"]);
    site.wait_for_log(&["<6>", "the manager is ready"]);
    assert!(site.manager_log().lines().all(|line| line.starts_with('<')), "{}", site.manager_log());
}
