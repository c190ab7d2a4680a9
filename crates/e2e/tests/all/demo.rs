//! The demo, and the local fleet.

use std::{collections::BTreeMap, path::Path};

use crate::harness::{Ended, Signal, Site, json, wait_until};

fn demo(options: &[&str]) -> (Site, Ended) {
    let site = Site::prepare(json!({}));
    let files = site.path("files");
    for directory in ["", "below", "below/that one"] {
        let directory = files.join(directory);
        std::fs::create_dir_all(&directory).unwrap();
        for number in 0..20_u8 {
            std::fs::write(directory.join(format!("file {number}")), vec![number; 1_000 * usize::from(number)])
                .unwrap();
        }
    }
    let mut command = site.program(&[&["demo", "--workers", "2", "--dir", files.to_str().unwrap()], options].concat());
    command.env("TMPDIR", site.path("runs"));
    let output = site.invoke_command(command, None).wait();
    (site, output)
}

/// The table's rows.
fn rows(output: &Ended) -> BTreeMap<String, String> {
    let text = output.text();
    let row = |line: &str| {
        let line = line.trim_matches(['│', ' ']);
        let at = line.rfind("  ")?;
        Some((line[..at].trim().to_owned(), line[at..].trim().to_owned()))
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn the_demo_survives_its_kills_and_everything_is_right() {
    let (site, output) = demo(&[]);
    let output = output.ended_with(0).saying(&["killed worker-", "starting both again"]);
    let rows = rows(&output);
    let number = |name: &str| -> u64 {
        let (_, value) =
            rows.iter().find(|(row, _)| row.starts_with(name)).unwrap_or_else(|| panic!("{name}: {output}"));
        value.split(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{name} is {value}: {output}"))
    };
    let tasks = number("tasks");
    assert!(tasks > 1_000, "{output}");
    assert_eq!((number("answered"), number("right"), number("wrong")), (tasks, tasks, 0), "{output}");
    assert!(number("held by worker-") >= 1 && number("run again") >= 1, "{output}");
    // Nothing is left behind: neither files nor processes.
    let left: Vec<_> = std::fs::read_dir(site.path("runs")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("demo")), "{left:?}");
    assert_eq!(processes_below(&site.path("runs")), Vec::<u32>::new());
}

#[test]
fn a_demo_with_a_falsified_answer_fails_and_says_which() {
    let (site, output) = demo(&["--falsify"]);
    assert_ne!(output.code(), 0, "{output}");
    assert_eq!(rows(&output).get("wrong").map(String::as_str), Some("1"), "{output}");
    assert!(output.text().contains("wrong: "), "{output}");
    output.saying(&["not all there and right"]);
    assert_eq!(processes_below(&site.path("runs")), Vec::<u32>::new());
}

#[test]
fn a_local_fleet_works_at_once_and_stops_as_a_whole() {
    let site = Site::prepare(json!({}));
    let directory = site.path("local");
    let mut fleet = site.invoke(&["local", "--workers", "2", "--state-dir", directory.to_str().unwrap()], None);
    wait_until("the fleet is up", || {
        assert!(!fleet.has_ended(), "it ended: {}", fleet.errors_so_far());
        String::from_utf8_lossy(&fleet.output_so_far()).contains("Ctrl-C stops them")
    });
    // The client is logged in already.
    let output = site.run(&["submit", "--wait", "--", "echo", "hello"]).ended_with(0);
    assert_eq!(output.text(), "hello\n");
    let workers = site.run(&["workers", "--json"]).ended_with(0).json();
    assert_eq!(workers.as_array().unwrap().iter().filter(|worker| worker["connected"] == true).count(), 2);
    let processes = processes_below(&directory);
    assert_eq!(processes.len(), 4, "a manager, two workers and what started them");
    fleet.signal(Signal::TERM);
    fleet.wait().ended_with(0);
    assert_eq!(processes_below(&directory), Vec::<u32>::new());

    // It goes on where it was.
    let fleet = site.invoke(&["local", "--workers", "2", "--state-dir", directory.to_str().unwrap()], None);
    wait_until("the fleet is up", || String::from_utf8_lossy(&fleet.output_so_far()).contains("Ctrl-C stops them"));
    assert_eq!(site.run(&["list", "--json"]).ended_with(0).json().as_array().unwrap().len(), 1);
    fleet.signal(Signal::INT);
    fleet.wait().ended_with(0);
    assert_eq!(processes_below(&directory), Vec::<u32>::new());
}

/// Processes that name something below a directory in their arguments.
fn processes_below(directory: &Path) -> Vec<u32> {
    let directory = directory.to_str().unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let entry = entry.unwrap();
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has just ended has none.
        let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&arguments).contains(directory) {
            found.push(process);
        }
    }
    found
}
