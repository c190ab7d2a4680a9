//! `map`: a program for every line, interrupted and continued, in order and out of it.

use std::collections::BTreeSet;

use crate::harness::{Invocation, Signal, Site, Worker, json, wait_until};

fn scene() -> (Site, Worker) {
    scene_with(json!({}))
}

fn scene_with(configuration: serde_json::Value) -> (Site, Worker) {
    let site = Site::start_with(configuration);
    let worker = site.worker("one");
    site.log_in();
    (site, worker)
}

fn lines(prefix: &str, count: u32) -> String {
    let lines: Vec<_> = (0..count).map(|index| format!("{prefix}line {index}\n")).collect();
    lines.concat()
}

/// How a job of these lines is submitted under a key: each task writes down that it ran.
struct Noting {
    site: Site,
    script: String,
    _worker: Worker,
}

impl Noting {
    fn new(configuration: serde_json::Value) -> Self {
        let (site, worker) = scene_with(configuration);
        let script = format!(r#"echo "$1" >> {}; sleep 0.05; echo "ran $1""#, site.path("ran").display());
        Self { site, script, _worker: worker }
    }

    fn start(&self, input: &str) -> Invocation {
        let words = ["map", "--job-key", "nightly 1", "--keep-order", "--", "sh", "-c", &self.script, "sh", "{}"];
        self.site.invoke(&words, Some(input.as_bytes()))
    }

    fn ran(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.site.path("ran")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn wait_for(&self, count: usize, what: &str) {
        wait_until(&format!("{count} tasks have run: {what}"), || self.ran().len() >= count);
    }
}

#[test]
fn a_map_that_is_interrupted_and_repeated_runs_nothing_twice_and_writes_everything() {
    // The queue takes a part of the input at a time, so that an interruption leaves a part that was never submitted.
    let noting = Noting::new(json!({"limits": {"queue_tasks": 15}}));
    let input = lines("", 60);
    let first = noting.start(&input);
    noting.wait_for(10, "the first time");
    first.signal(Signal::INT);
    let first = first.wait().ended_with(130).saying(&["interrupted", "--job-key 'nightly 1'"]);
    assert!(first.text().lines().count() < 60, "{first}");

    let second = noting.start(&input);
    noting.wait_for(25, "the second time");
    second.signal(Signal::KILL);
    let second = second.wait().ended_with(128 + 9).saying(&["goes on: "]);
    assert!(second.text().lines().count() < 60, "{second}");

    let third = noting.start(&input).wait().ended_with(0).saying(&["goes on: ", "60 succeeded"]);
    let expected = lines("ran ", 60);
    assert_eq!(third.text(), expected);
    // And once more, when all is over.
    let fourth = noting.start(&input).wait().ended_with(0);
    assert_eq!(fourth.text(), expected);
    let ran = noting.ran();
    let distinct: BTreeSet<_> = ran.iter().collect();
    assert_eq!((ran.len(), distinct.len()), (60, 60), "tasks ran twice: {ran:?}");
}

#[test]
fn a_map_is_not_continued_with_another_input() {
    let noting = Noting::new(json!({}));
    let input = lines("", 6);
    noting.start(&input).wait().ended_with(0);
    let changed = input.replace("line 2\n", "line two\n");
    let refused = noting.start(&changed).wait().ended_with(2);
    refused.saying(&["the input or the command differs", "at or before line 6", "another --job-key"]);
    noting.start(&lines("", 5)).wait().ended_with(2).saying(&["has 5 lines, but 6"]);
    noting.start(&lines("", 7)).wait().ended_with(2).saying(&["more lines than the 6"]);
    assert_eq!(noting.ran().len(), 6);
}

#[test]
fn a_map_holds_little_of_a_long_input() {
    const LINES: usize = 500_000;
    const MEBIBYTE: u64 = 1 << 20;
    let site = Site::start_with(json!({"limits": {"queue_tasks": 1_000}}));
    site.log_in();
    // 100 bytes a line; nobody works on it, so that all but what the queue takes has to wait somewhere.
    let input = format!("{:099}\n", 0).repeat(LINES);
    let map = site.invoke(&["map", "--", "true"], Some(input.as_bytes()));
    let process = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", map.id())).unwrap();
    let number = |text: &str, name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let queued = || site.run(&["status", "--json"]).json()["tasks"]["queued"].as_u64().unwrap();
    wait_until("the queue is full by more than a half", || (500..=1_000).contains(&queued()));
    let position = || number(&process("fdinfo/0"), "pos:");
    wait_until("as much as may be is read", || position() >= 6 * MEBIBYTE);
    let memory = number(&process("status"), "VmHWM:") * 1_024;
    println!("{} MiB of memory, {} MiB read", memory / MEBIBYTE, position() / MEBIBYTE);
    assert!(memory < 64 * MEBIBYTE && position() < 16 * MEBIBYTE, "{memory} bytes of memory, {} read", position());
    map.signal(Signal::INT);
    map.wait().ended_with(130);
}

#[test]
fn outputs_come_as_tasks_finish_or_in_the_order_of_the_input() {
    let (site, _worker) = scene();
    let go = site.path("go");
    // The first line's task ends only when the last one's has.
    let script = format!(
        r#"if [ "$1" = first ]; then while [ ! -e {0} ]; do sleep 0.02; done; fi
        if [ "$1" = last ]; then touch {0}; fi; echo "$1""#,
        go.display()
    );
    let input = "first\nsecond\n\nlast\n";
    let map = |options: &[&str]| {
        let _ = std::fs::remove_file(&go);
        let words = [&["map"], options, &["--", "sh", "-c", &script, "sh", "{}"]].concat();
        site.run_with(&words, Some(input.as_bytes())).ended_with(0)
    };
    assert_eq!(map(&["--keep-order"]).text(), input);
    let finished = map(&[]);
    let finished: Vec<_> = finished.text().lines().collect();
    assert_ne!(finished[0], "first", "{finished:?}");
    assert_eq!(finished.iter().collect::<BTreeSet<_>>().len(), 4, "{finished:?}");
}

#[test]
fn a_map_whose_results_have_no_place_leaves_no_job_behind() {
    let (site, _worker) = scene();
    std::fs::write(site.path("file"), "in the way").unwrap();
    let below = site.path("file/results").display().to_string();
    site.invoke(&["map", "--results", &below, "--", "true"], Some(b"1\n"))
        .wait()
        .saying(&["can't be made"])
        .ended_with(2);
    assert_eq!(site.run(&["list", "--json"]).json().as_array().map(Vec::len), Some(0));
}

#[test]
fn a_map_sends_files_and_writes_results_into_a_directory() {
    let (site, _worker) = scene();
    let (one, other) = (site.path("one.bin"), site.path("other file"));
    std::fs::write(&one, b"\0\xff\n\0").unwrap();
    std::fs::write(&other, vec![b'x'; 300_000]).unwrap();
    let input = format!("{}\n{}\n", one.display(), other.display());
    let results = site.path("results");
    let script = r#"echo "$1"; cat; case "$1" in *other*) echo bad >&2; exit 4;; esac"#;
    let words = ["map", "--send", "--max-attempts", "1", "--results", results.to_str().unwrap()];
    let words = [&words[..], &["--", "sh", "-c", script, "sh", "<{}>"]].concat();
    let output = site.run_with(&words, Some(input.as_bytes())).ended_with(1);
    let output = output.saying(&["1 succeeded", "line 2 (task ", "exit code 4"]);
    assert!(output.output.is_empty(), "{output}");
    let read = |name: &str| std::fs::read(results.join(name)).unwrap();
    let mut expected = format!("<{}>\n", one.display()).into_bytes();
    expected.extend(b"\0\xff\n\0");
    assert_eq!(read("0.out"), expected);
    assert_eq!(read("1.out").len(), format!("<{}>\n", other.display()).len() + 300_000);
    assert_eq!((read("0.err"), read("1.err")), (Vec::new(), b"bad\n".to_vec()));
    let description: serde_json::Value = serde_json::from_slice(&read("1.json")).unwrap();
    assert_eq!((&description["state"], &description["code"]), (&json!("failed"), &json!(4)));
    assert_eq!(std::fs::read_dir(&results).unwrap().count(), 6);

    let missing = site.run_with(&["map", "--send", "--", "cat", "-"], Some(b"/nowhere/at-all\n")).ended_with(2);
    missing.saying(&["line 1 of the input", "/nowhere/at-all can't be read"]);
}
