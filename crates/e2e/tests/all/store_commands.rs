//! Looking into the store of a manager that is stopped: `store check`, `stats` and `export`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use prost::Message;
use serde_json::Value;
use task_messenger_client::{Command, Ending, Outcome, Template};
use task_messenger_core::{
    ids::{JobNumber, OwnerNumber, RecordNumber, TaskId, TaskNumber, TemplateNumber},
    labels::Labels,
    task::TaskState,
    template::{Kind, RetryPolicy, Template as CoreTemplate},
    time::WallTime,
    values::Value as StoredValue,
};
use task_messenger_store::archive::{
    ARCHIVE_FILE, Archive, ArchivedJob, ArchivedTask, ArchivedTemplate, Batch, FinalCounts,
};

use crate::harness::{Ended, Site, json};

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// What was shown of tasks while the manager ran, by their names.
type Shown = BTreeMap<String, Value>;

/// All files below a directory.
fn files(directory: &Path) -> Files {
    let mut files = Files::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files.extend(self::files(&entry.path()));
        } else if kind.is_file() {
            files.insert(entry.path(), fs::read(entry.path()).unwrap());
        }
    }
    files
}

/// A store command, which changes nothing whatever comes of it.
#[track_caller]
fn look(site: &Site, arguments: &[&str]) -> Ended {
    let before = files(&site.path("manager"));
    let ended = site.administer(&[&["store"], arguments].concat());
    assert!(files(&site.path("manager")) == before, "something was changed by {arguments:?}");
    ended
}

fn flip(path: &Path, offset: usize) {
    let mut content = fs::read(path).unwrap();
    content[offset] ^= 4;
    fs::write(path, content).unwrap();
}

fn segment(number: u64) -> String {
    format!("journal/{number:012}.segment")
}

/// The tasks of a listing that are shown, with their results if they have any.
fn shown(site: &Site, job: &str) -> (Shown, Shown) {
    let tasks = site.run(&["list", job, "--json", "--limit", "1000"]).ended_with(0).json();
    let name = |task: &Value| task["task"].as_str().unwrap().to_owned();
    let details = tasks.as_array().unwrap().iter().map(|task| {
        let task = name(task);
        let detail = site.run(&["show", &task, "--json"]).ended_with(0).json();
        (task, detail)
    });
    let results = site.run(&["results", job, "--json", "--output"]);
    let results = results.text().lines().map(|line| {
        let result: Value = serde_json::from_str(line).unwrap();
        (name(&result), result)
    });
    (details.collect(), results.collect())
}

/// A stopped manager that did real work, and what it told of it.
fn worked() -> (Site, Shown, Shown) {
    let config = json!({"retain": null, "journal": {"segment": "2MiB"}, "disk": {"reserve": "16MiB"}});
    let mut site = Site::start_with(config);
    let _worker = site.worker("one");
    site.log_in();
    let lines = |count: usize| (0..count).map(|number| format!("line {number}\n")).collect::<Vec<_>>().concat();
    // Outcomes of 300 kB lie in files of their own, those of 200 kB in the journal. One of those tasks fails, so that its job
    // stays there.
    for (count, length, code) in [(3, "300000", 0), (40, "200000", 1)] {
        let script = format!("head -c {length} /dev/zero | tr '\\0' x; [ \"$1\" != 'line 39' ]");
        let options = ["map", "--name", "outputs", "--label", "size=large", "--max-attempts", "1"];
        let map = [&options[..], &["--", "sh", "-c", &script, "sh", "{}"]].concat();
        site.run_with(&map, Some(lines(count).as_bytes())).ended_with(code);
    }
    let submit =
        |arguments: &[&str]| site.run(&[&["submit"], arguments].concat()).ended_with(0).text().trim().to_owned();
    fs::write(site.path("large"), "p".repeat(400_000)).unwrap();
    let large = site.path("large");
    let failing = submit(&[
        "--max-attempts",
        "1",
        "--label",
        "run=nightly",
        "--stdin",
        large.to_str().unwrap(),
        "--env",
        "A=B",
        "--",
        "sh",
        "-c",
        "printf '\\377\\0' ; echo 'oh no' >&2; exit 3",
    ]);
    site.run(&["wait", &failing]).ended_with(1);
    let cancelled = submit(&["--delay", "1h", "--", "echo", "{}"]);
    site.run(&["cancel", &cancelled]).ended_with(0);
    submit(&["--delay", "1h", "--timeout", "30s", "--priority", "7", "--", "true"]);
    site.run(&["skill", "string-reversal", "--json", r#"{"text": "abc"}"#]).ended_with(0);
    let (mut details, mut results) = (Shown::new(), Shown::new());
    for job in site.run(&["list", "--json"]).ended_with(0).json().as_array().unwrap() {
        let (more_details, more_results) = shown(&site, &job["job"].to_string());
        details.extend(more_details);
        results.extend(more_results);
    }
    site.stop_manager();
    assert_eq!((details.len(), results.len()), (47, 46));
    (site, details, results)
}

fn lines(ended: &Ended) -> Shown {
    let parse = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        (line["task"].as_str().unwrap().to_owned(), line)
    };
    let lines: Vec<_> = ended.text().lines().map(parse).collect();
    let count = lines.len();
    let lines: Shown = lines.into_iter().collect();
    assert_eq!(lines.len(), count, "a task is written twice");
    lines
}

#[test]
fn a_store_that_worked_is_whole_and_counted_and_every_task_of_it_is_written_as_it_was_shown() {
    let (mut site, details, results) = worked();
    let store = site.path("manager/store");
    let report = look(&site, &["check", "--json"]).ended_with(0).json();
    let count = |directory: &str| fs::read_dir(store.join(directory)).unwrap().count();
    assert_eq!((&report["whole"], &report["findings"]), (&json!(true), &json!([])));
    assert_eq!(report["journal"]["segments"], count("journal"));
    assert_eq!(report["snapshots"]["count"], 1);
    // 45 outcomes, and the payloads of what did not succeed; of what moved to the archive nothing is needed any more.
    let archived = |report: &Value, pointer: &str| report.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let values = report["values"].as_u64().unwrap() + archived(&report, "/archive/tasks");
    assert_eq!((values, &report["large_values"]["count"]), (49, &json!(4)));
    let text = look(&site, &["check"]).ended_with(0);
    assert!(text.text().ends_with("nothing is wrong\n"), "{text}");

    let stats = look(&site, &["stats", "--json"]).ended_with(0).json();
    let moved = archived(&stats, "/archive/tasks/succeeded");
    let tasks = json!({"waiting": 0, "scheduled": 1, "queued": 0, "running": 0, "succeeded": 43 - moved, "failed": 2,
                       "cancelled": 1, "expired": 0});
    assert_eq!((&stats["store"], &stats["tasks"]), (&report["store"], &tasks));
    let jobs = 6 - archived(&stats, "/archive/jobs");
    assert_eq!((&stats["format"], &stats["jobs"]), (&json!(1), &json!({"total": jobs, "over": jobs - 1})));
    assert_eq!(stats["segments"]["count"], count("journal"));
    assert!(count("journal") > 4 && stats["segments"]["segment_bytes"] == 2 << 20, "{stats}");
    // A clean stop leaves nothing to be replayed.
    assert_eq!((&stats["snapshot"]["record"], &stats["records"]["replayed"]), (&stats["records"]["last"], &json!(0)));
    assert_eq!(stats["large_values"]["count"], 4);
    assert!(stats["large_values"]["bytes"].as_u64().is_some_and(|bytes| (1_300_000..1_310_000).contains(&bytes)));
    assert_eq!((&stats["tokens"]["valid"], &stats["workers"]), (&json!(2), &json!({"enrolled": 1, "removed": 0})));
    assert_eq!(stats["disk"]["reserve"], 16 << 20);
    let text = look(&site, &["stats"]).ended_with(0);
    let tasks = format!("1 scheduled, {} succeeded, 2 failed, 1 cancelled", 43 - moved);
    assert!(text.text().contains(&tasks), "{text}");

    let written = lines(&look(&site, &["export"]).ended_with(0));
    assert!(written.keys().eq(details.keys()), "{:?}", written.keys());
    for (task, line) in &written {
        for field in [
            "task",
            "state",
            "attempts",
            "failures",
            "crashes",
            "cancelling",
            "has_outcome",
            "worker",
            "job_name",
            "payload_bytes",
            "submitted",
            "template",
        ] {
            assert_eq!(line[field], details[task][field], "{field} of {task}");
        }
        let Some(result) = results.get(task) else {
            assert_eq!((&line["state"], &line["outcome"]), (&json!("scheduled"), &Value::Null));
            continue;
        };
        for (field, value) in result.as_object().unwrap() {
            let found = if line[field].is_null() { &line["outcome"][field] } else { &line[field] };
            assert_eq!(found, value, "{field} of {task}");
        }
    }
    let failed = lines(&look(&site, &["export", "--state", "failed"]).ended_with(0));
    assert_eq!(failed.len(), 2);
    let failed = failed.values().find(|line| line["job_name"] != "outputs").unwrap();
    assert_eq!(failed["payload"].as_str().map(str::len), Some(400_000));
    assert_eq!((&failed["labels"], &failed["owner"]), (&json!({"run": "nightly"}), &json!("tester")));
    assert_eq!(
        (&failed["outcome"]["output_base64"], &failed["outcome"]["errors"]),
        (&json!("/wA="), &json!("oh no\n"))
    );
    assert_eq!(failed["outcome"]["code"], 3);
    assert_eq!(lines(&look(&site, &["export", "--job", "1"]).ended_with(0)).len(), 3);
    assert_eq!(lines(&look(&site, &["export", "--since", "1d"]).ended_with(0)).len(), 47);
    assert!(lines(&look(&site, &["export", "--since", "2999-01-01T00:00:00Z"]).ended_with(0)).is_empty());
    look(&site, &["export", "--job", "99"]).ended_with(1).saying(&["there is no job 99"]);

    // A manager that was killed leaves a whole store too.
    site.start_manager();
    site.kill_manager();
    look(&site, &["check"]).ended_with(0);
}

#[test]
fn damage_that_no_start_would_notice_is_found_where_it_is_and_nothing_is_changed() {
    let (site, ..) = worked();
    let store = site.path("manager/store");
    let stats = look(&site, &["stats", "--json"]).ended_with(0).json();
    fill_archive(&store, &stats, &[50, 51]);
    look(&site, &["check"]).ended_with(0);
    let value = fs::read_dir(store.join("values")).unwrap().next().unwrap().unwrap().path();
    let value_name = format!("values/{}", value.file_name().unwrap().to_str().unwrap());
    let length = fs::metadata(&value).unwrap().len();
    let archive = store.join(ARCHIVE_FILE);
    let old = store.join(segment(2));
    // The second block of an old segment: where the first one ends.
    let block = {
        let header = fs::read(&old).unwrap();
        let payload = u32::from_le_bytes(header[48..52].try_into().unwrap());
        (64 + payload as usize).next_multiple_of(4096)
    };
    let place = |file: &str, offset: u64| [file.to_owned(), format!("offset {offset}:")];
    let cases = [
        (&old, block + 100, place(&segment(2), block as u64)),
        (&old, 60, place(&segment(2), 0)),
        (&value, 1_000, place(&value_name, length - 4)),
        // The kind of the page that the first table begins with, behind the one that says where others are.
        (&archive, 2 * 8_192, [ARCHIVE_FILE.to_owned(), String::new()]),
    ];
    for (file, offset, words) in cases {
        flip(file, offset);
        let said =
            look(&site, &["check"]).ended_with(78).saying(&["is damaged", "nothing in it was changed", "what to do"]);
        let is_it = |line: &str| line.starts_with("FOUND") && words.iter().all(|word| line.contains(word));
        assert!(said.text().lines().any(is_it), "{words:?} of {}: {said}", file.display());
        let report = look(&site, &["check", "--json"]).ended_with(78).json();
        assert_eq!((&report["whole"], &report["findings"][0]["file"]), (&json!(false), &json!(words[0])));
        flip(file, offset);
    }
    // What can be read of it is written, and what can't is named.
    flip(&value, 1_000);
    let written = look(&site, &["export"]).ended_with(78).saying(&[&value_name, "is damaged", "`store check`"]);
    let written = lines(&written);
    let damaged: Vec<_> = written.values().filter(|line| line["damage"].is_array()).collect();
    assert_eq!((written.len(), damaged.len()), (49, 1), "{damaged:?}");
    flip(&value, 1_000);
    fs::remove_file(&value).unwrap();
    let said = look(&site, &["check"]).ended_with(78);
    assert!(said.text().contains(&format!("FOUND  {value_name}: ")) && said.text().contains("is missing"), "{said}");
    // What says what the journal holds must be there: without it nothing is counted or written.
    let snapshot = fs::read_dir(store.join("snapshots")).unwrap().next().unwrap().unwrap().path();
    flip(&snapshot, 70);
    for command in ["stats", "export"] {
        let said =
            look(&site, &[command]).ended_with(78).saying(&["snapshots/", "is damaged at offset 64", "what to do"]);
        assert_eq!(said.text(), "");
    }
    let said = look(&site, &["check"]).ended_with(78);
    assert!(said.text().contains("FOUND  snapshots/") && said.text().contains("offset 64: "), "{said}");
}

#[test]
fn a_store_that_is_used_or_not_there_is_refused_with_what_to_do() {
    let mut site = Site::prepare(json!({}));
    for command in ["check", "stats", "export"] {
        site.administer(&["store", command]).ended_with(78).saying(&["there is no store", "--state-dir"]);
    }
    assert!(!site.path("manager").exists());
    site.start_manager();
    for command in [&["check"][..], &["stats", "--json"], &["export"]] {
        let ended = site.administer(&[&["store"], command].concat()).ended_with(1);
        assert_eq!(ended.saying(&["a manager runs", "stop it first"]).text(), "");
    }
    site.stop_manager();
    look(&site, &["check"]).ended_with(0);
    assert_eq!(look(&site, &["export"]).ended_with(0).text(), "");
}

#[test]
fn what_the_archive_holds_is_checked_counted_and_written_beside_the_journals_tasks() {
    let mut site = Site::start_with(json!({"retain": null}));
    let _worker = site.worker("one");
    site.log_in();
    let submit = ["submit", "--name", "here", "--max-attempts", "1", "--", "false"];
    let task = site.run(&submit).ended_with(0).text().trim().to_owned();
    site.run(&["wait", &task]).ended_with(1);
    site.stop_manager();
    let store = site.path("manager/store");
    let stats = look(&site, &["stats", "--json"]).ended_with(0).json();
    // One of the jobs is in both, as when the manager ends while it moves.
    let job: u64 = task.split('.').next().unwrap().parse().unwrap();
    fill_archive(&store, &stats, &[job, 50, 51]);
    let report = look(&site, &["check", "--json"]).ended_with(0).json();
    assert_eq!(report["archive"]["tasks"], 3, "{report}");
    let stats = look(&site, &["stats", "--json"]).ended_with(0).json();
    assert_eq!((&stats["archive"]["jobs"], &stats["archive"]["tasks"]["succeeded"]), (&json!(3), &json!(3)));
    assert_eq!((&stats["archive"]["watermark"], &stats["archive"]["behind"]), (&stats["records"]["last"], &json!(0)));
    let written = lines(&look(&site, &["export"]).ended_with(0));
    assert!(written.keys().eq([&task, "50.0", "51.0"]), "{:?}", written.keys());
    assert_eq!((&written[&task]["kept_in"], &written[&task]["job_name"]), (&json!("journal"), &json!("here")));
    let archived = &written["50.0"];
    assert_eq!((&archived["kept_in"], &archived["job_name"]), (&json!("archive"), &json!("old")));
    assert_eq!((&archived["labels"], &archived["finished"]), (&json!({"a": "b"}), &json!("1970-01-01T00:00:02Z")));
    assert_eq!(archived["template"]["kind"]["command"]["program"], "cat");
    assert_eq!((&archived["payload"], &archived["outcome"]["output"]), (&json!("in"), &json!("out")));
    let fields = |line: &Value| line.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&written[&task]), fields(archived));
    assert_eq!(lines(&look(&site, &["export", "--job", "51"]).ended_with(0)).len(), 1);
    assert_eq!(lines(&look(&site, &["export", "--since", "1d"]).ended_with(0)).len(), 1);
    let succeeded = lines(&look(&site, &["export", "--state", "succeeded"]).ended_with(0));
    assert!(succeeded.keys().eq(["50.0", "51.0"]), "{:?}", succeeded.keys());

    // An archive that can't be read keeps nobody from what the journal holds.
    fs::write(store.join(ARCHIVE_FILE), vec![b'x'; 20_000]).unwrap();
    let ended = look(&site, &["export"]).ended_with(78).saying(&["the archive can't be read", ARCHIVE_FILE]);
    assert_eq!(lines(&ended).len(), 1);
    look(&site, &["stats"]).ended_with(78).saying(&[ARCHIVE_FILE]);
}

/// Makes an archive of these jobs, of one task each.
fn fill_archive(store: &Path, stats: &Value, jobs: &[u64]) {
    let id = stats["store"].as_str().unwrap().parse().unwrap();
    let watermark = RecordNumber(stats["records"]["last"].as_u64().unwrap());
    let command = Command { program: "cat".to_owned(), ..Command::default() };
    let template = CoreTemplate {
        kind: Kind::Command,
        priority: 0,
        slots: 1,
        retry: RetryPolicy::default(),
        body: Template::of_command(command).to_bytes().unwrap(),
    };
    let outcome = Outcome { ending: Ending::Exited.into(), output: b"out".to_vec().into(), ..Outcome::default() };
    let task = |job: u64| ArchivedTask {
        number: TaskNumber(1_000 + job),
        id: TaskId { job: JobNumber(job), index: 0 },
        state: TaskState::Succeeded,
        template: TemplateNumber(90),
        attempts: 1,
        failures: 0,
        crashes: 0,
        delivered: false,
        submitted: Some(WallTime(1_000)),
        finished: WallTime(2_000),
        payload_bytes: 2,
        outcome_bytes: Some(3),
        payload: Some(StoredValue::Inline(b"in".to_vec().into())),
        outcome: Some(StoredValue::Inline(outcome.encode_to_vec().into())),
    };
    let job = |number: u64| ArchivedJob {
        number: JobNumber(number),
        owner: OwnerNumber(0),
        owner_name: "tester".to_owned(),
        name: "old".to_owned(),
        labels: Labels::from([("a".to_owned(), "b".to_owned())]),
        key: None,
        opened: WallTime(1_000),
        closed: true,
        ended: Some(WallTime(2_000)),
        digest: 0,
        tasks: 1,
        counts: FinalCounts { succeeded: 1, ..FinalCounts::default() },
    };
    let template =
        ArchivedTemplate { number: TemplateNumber(90), program: "cat".to_owned(), template: Arc::new(template) };
    let batch = Batch {
        watermark,
        jobs: jobs.iter().map(|number| job(*number)).collect(),
        templates: vec![template],
        tasks: jobs.iter().map(|number| task(*number)).collect(),
        ..Batch::default()
    };
    let path = store.join(ARCHIVE_FILE);
    Archive::open(&path, id, RecordNumber(0)).unwrap().append(&batch).unwrap();
}
