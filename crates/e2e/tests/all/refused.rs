//! Stores that must be refused, and are left as they are: exit code 78, and words about what is wrong where.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use task_messenger_client::{Command, EncodedTemplate, JobNumber, LoneOptions, Target, TaskState, Template, Use};

use crate::harness::{Site, json, wait_until};

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Something that is done to a store.
type Damage<'a> = Box<dyn Fn() + 'a>;

/// All files below a directory. (The reserve holds nothing.)
fn files(directory: &Path) -> Files {
    let mut files = Files::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() && entry.file_name() != "reserve" {
                files.insert(entry.path(), fs::read(entry.path()).unwrap());
            }
        }
    }
    files
}

fn restore(directory: &Path, before: &Files) {
    for path in files(directory).keys().filter(|path| !before.contains_key(*path)) {
        fs::remove_file(path).unwrap();
    }
    for (path, content) in before {
        fs::write(path, content).unwrap();
    }
}

fn segment(number: u32) -> String {
    format!("journal/{number:012}.segment")
}

fn flip(path: &Path, offset: usize) {
    let mut content = fs::read(path).unwrap();
    content[offset] ^= 4;
    fs::write(path, content).unwrap();
}

fn cut(path: &Path, length: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// Counts the bytes of its payload.
fn counting() -> EncodedTemplate {
    let mut command = Command { program: "wc".to_owned(), arguments: vec!["-c".to_owned()], ..Command::default() };
    command.payload = Use::Stdin.into();
    EncodedTemplate::new(&Template::of_command(command)).unwrap()
}

fn small_segments() -> serde_json::Value {
    json!({"journal": {"segment": "2MiB", "memory": "0B"}, "disk": {"reserve": "16MiB"}})
}

/// A killed manager whose store has some segments, snapshots, blocks behind them, and one large value, `values/1`.
async fn filled() -> Site {
    let mut site = Site::start_with(small_segments());
    let client = site.client().await;
    let template = counting();
    client.submit_one(&template, &vec![b'x'; 400_000], LoneOptions::default()).await.unwrap();
    for _ in 0..40 {
        client.submit_one(&template, &vec![b'y'; 200_000], LoneOptions::default()).await.unwrap();
    }
    for _ in 0..3 {
        client.submit_one(&template, b"z", LoneOptions::default()).await.unwrap();
    }
    // The next one is made ahead.
    let fifth = site.path("manager/store").join(segment(5));
    wait_until("there are five segments", || fifth.exists());
    // A snapshot may just have been taken of all there was.
    let store = site.path("manager/store");
    wait_until("there is a snapshot", || {
        fs::read_dir(store.join("snapshots")).is_ok_and(|mut all| all.next().is_some())
    });
    for attempt in 1.. {
        if has_blocks_behind_snapshot(&store) {
            break;
        }
        assert!(attempt < 1_000, "every task is in a snapshot at once");
        client.submit_one(&template, b"z", LoneOptions::default()).await.unwrap();
    }
    site.kill_manager();
    site
}

/// The newest snapshot, and where the journal goes on behind it: segment and offset.
fn snapshot(store: &Path) -> (String, u32, usize) {
    let files = fs::read_dir(store.join("snapshots")).unwrap().map(|entry| entry.unwrap().file_name());
    let newest = files.map(|name| format!("snapshots/{}", name.to_str().unwrap())).max().unwrap();
    let header = fs::read(store.join(&newest)).unwrap();
    let number = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap());
    (newest, number(40).try_into().unwrap(), number(48).try_into().unwrap())
}

fn has_blocks_behind_snapshot(store: &Path) -> bool {
    let (_, number, offset) = snapshot(store);
    let journal = fs::read(store.join(segment(number))).unwrap();
    journal.get(offset..offset + 4).is_some_and(|start| start != [0; 4])
}

/// Starts a manager that can't, and sees that it says these words and changes nothing.
#[track_caller]
fn refused(site: &Site, words: &[&str]) {
    let (state, config) = (site.path("manager"), site.path("config-manager.json"));
    let before = files(&state);
    let said = [words, &[state.to_str().unwrap(), "nothing in it was changed", "what to do: "]].concat();
    site.run(&["manager", "run", "--config", config.to_str().unwrap()]).ended_with(78).saying(&said);
    // Administration without a running manager opens the store too.
    site.administer(&["token", "list"]).ended_with(78).saying(words);
    assert!(files(&state) == before, "something was changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_damaged_foreign_newer_or_incomplete_store_is_refused_with_78_and_nothing_is_changed() {
    let (mut site, other) = (filled().await, filled().await);
    let state = site.path("manager");
    let store = state.join("store");
    let last = (1..1_000).take_while(|number| store.join(segment(*number)).exists()).last().unwrap();
    assert!(last > 4, "{last} segments");
    // What an interrupted allocation and an interrupted value leave behind, to be removed by a start that succeeds.
    fs::write(store.join("journal/making.new"), "rest").unwrap();
    fs::write(store.join("values/7.new"), "rest").unwrap();

    let remove = |name: &str| fs::remove_file(store.join(name)).unwrap();
    let foreign = |theirs: &str, ours: &str| {
        fs::copy(other.path("manager/store").join(theirs), store.join(ours)).unwrap();
    };
    let segments: Vec<String> = (0..=last).map(segment).collect();
    let ((newest, begin, offset), (theirs, ..)) = (snapshot(&store), snapshot(&other.path("manager/store")));
    let damaged = format!("is damaged at offset {offset}");
    let identity = fs::read_to_string(store.join("store.json")).unwrap();
    let cases: Vec<(Damage<'_>, Vec<&str>)> = vec![
        (
            Box::new(|| flip(&store.join(segment(begin)), offset + 70)),
            vec![&segments[begin as usize], &damaged, "is expected there", "checksum is wrong", "had been synced"],
        ),
        (Box::new(|| flip(&store.join(&newest), 100)), vec![&newest, "is damaged at offset 64", "checksum is wrong"]),
        (Box::new(|| cut(&store.join(&newest), 100)), vec![&newest, "is damaged at offset 64", "the file ends"]),
        (Box::new(|| flip(&store.join(&newest), 5)), vec![&newest, "is of format", "up to 1", "newer program"]),
        (Box::new(|| foreign(&theirs, &newest)), vec![&newest, "belongs to the store", "mixed"]),
        (Box::new(|| remove(&segment(3))), vec![&segments[3], "is missing", &segments[last as usize]]),
        (Box::new(|| remove(&segment(last))), vec![&segments[last as usize], "is missing", "extent.json"]),
        (
            Box::new(|| (2..=last).for_each(|number| remove(&segment(number)))),
            vec![&segments[2], "is missing", &segments[last as usize]],
        ),
        (
            Box::new(|| cut(&store.join(segment(2)), 40_960)),
            vec![&segments[2], "has 40960 bytes", "2097152 are expected"],
        ),
        (
            Box::new(|| foreign(&segment(2), &segment(2))),
            vec![&segments[2], "offset 0", "a store whose id begins with", "mixed"],
        ),
        (
            Box::new(|| foreign(&segment(2), &segment(last))),
            vec![&segments[last as usize], "a store whose id begins with", "mixed"],
        ),
        (
            Box::new(|| {
                fs::write(store.join("store.json"), identity.replace("\"format\": 1", "\"format\": 9")).unwrap();
            }),
            vec!["store.json", "format is 9", "up to 1", "newer program"],
        ),
        (Box::new(|| remove("store.json")), vec!["store.json is missing", "journal/"]),
        (Box::new(|| remove("extent.json")), vec!["extent.json is missing"]),
        (Box::new(|| foreign("extent.json", "extent.json")), vec!["extent.json", "belongs to the store", "mixed"]),
        (Box::new(|| remove("values/1")), vec!["values/1 is missing", "400000 bytes"]),
        (Box::new(|| cut(&store.join("values/1"), 400_000)), vec!["values/1 has 400000 bytes", "400004 are expected"]),
    ];
    let whole = files(&state);
    for (damage, words) in cases {
        damage();
        refused(&site, &words);
        restore(&state, &whole);
    }
    site.start_manager();
    let counts = site.client().await.status().await.unwrap().tasks.unwrap();
    assert!(counts.queued >= 44, "{}", counts.queued);
    assert!(!store.join("journal/making.new").exists() && !store.join("values/7.new").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_large_value_that_turns_out_damaged_ends_the_manager_with_1_and_its_next_start_with_78() {
    let mut site = filled().await;
    let value = site.path("manager/store/values/1");
    flip(&value, 1_000);
    site.start_manager();
    let mut worker = site.worker("one");
    let status = site.manager().wait();
    assert_eq!(status.code(), Some(1), "{status}");
    site.wait_for_log(&["error:", "the store failed", "values/1", "is damaged", "checksum"]);
    site.kill_manager();
    worker.kill();
    refused(&site, &["values/1", "is damaged", "offset 400000", "checksum"]);
    flip(&value, 1_000);
    all_is_well(site).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_block_that_goes_bad_while_the_manager_runs_ends_it_with_1_and_its_next_start_with_78() {
    let mut site = filled().await;
    site.start_manager();
    let journal = site.path("manager/store").join(segment(3));
    flip(&journal, 1_500_000);
    let mut worker = site.worker("one");
    let status = site.manager().wait();
    assert_eq!(status.code(), Some(1), "{status}");
    site.wait_for_log(&["error:", "the store failed", &segment(3)]);
    site.kill_manager();
    worker.kill();
    refused(&site, &[&segment(3), "is damaged", "a value that is needed"]);
    flip(&journal, 1_500_000);
    all_is_well(site).await;
}

/// Starts the manager, whose store is whole again, and sees every task end well, once.
async fn all_is_well(mut site: Site) {
    site.start_manager();
    let _worker = site.worker("two");
    let client = site.client().await;
    for job in 1..=44 {
        let mut results = client.follow(Target::Job(JobNumber(job))).unwrap();
        let result = results.next().await.unwrap().unwrap();
        let length = match job {
            1 => "400000",
            2..=41 => "200000",
            _ => "1",
        };
        assert_eq!(
            (result.state, String::from_utf8_lossy(&result.outcome.output).trim()),
            (TaskState::Succeeded, length)
        );
    }
}
