//! What is over is forgotten, and stays forgotten.

use std::fs;

use crate::harness::{Site, json, wait_until};

/// The files of a directory of the manager's store.
fn files(site: &Site, directory: &str) -> usize {
    fs::read_dir(site.path("manager/store").join(directory)).map_or(0, Iterator::count)
}

#[test]
fn a_job_that_is_over_is_forgotten_after_its_time_and_one_that_is_not_stays() {
    let mut site = Site::start_with(json!({"retain": "2s"}));
    let _worker = site.worker("one");
    site.log_in();
    let waiting = site.run(&["submit", "--delay", "1h", "--", "true"]).ended_with(0).text().trim().to_owned();
    let submit = ["submit", "--idempotency-key", "once", "--", "echo", "well"];
    let over = site.run(&submit).ended_with(0).text().trim().to_owned();
    site.run(&["wait", &over]).ended_with(0);
    assert_eq!(site.run(&["result", &over]).ended_with(0).text(), "well\n");
    wait_until("it is forgotten", || site.run(&["show", &over]).code() != 0);
    site.run(&["result", &over]).saying(&["there is no job"]);
    let tasks = |site: &Site| site.run(&["status", "--json"]).json()["tasks"].clone();
    assert_eq!((&tasks(&site)["succeeded"], &tasks(&site)["scheduled"]), (&json!(0), &json!(1)));

    site.kill_manager();
    site.start_manager();
    assert_ne!(site.run(&["show", &over]).code(), 0);
    assert_eq!(site.run(&["show", &waiting, "--json"]).ended_with(0).json()["state"], "scheduled");
    // The key still stands for what was done.
    assert_eq!(site.run(&submit).ended_with(0).text().trim(), over);
    assert_eq!(tasks(&site)["queued"], 0);
}

#[test]
fn purging_forgets_what_is_over_and_nothing_else() {
    let site = Site::start_with(json!({"retain": null}));
    let _worker = site.worker("one");
    site.log_in();
    let waiting = site.run(&["submit", "--delay", "1h", "--", "true"]).ended_with(0).text().trim().to_owned();
    let input = (0..1_000).map(|number| format!("{number}\n")).collect::<Vec<_>>().concat();
    site.run_with(&["map", "--", "true"], Some(input.as_bytes())).ended_with(0);
    assert_eq!(site.run(&["purge", "--older-than", "1h", "--json"]).ended_with(0).json()["tasks"], 0);
    assert_eq!(site.run(&["purge", "--older-than", "0s"]).ended_with(0).text(), "1000 tasks forgotten\n");
    let jobs = site.run(&["list", "--json"]).ended_with(0).json();
    assert_eq!(jobs.as_array().map(Vec::len), Some(1), "{jobs}");
    site.run(&["show", &waiting]).ended_with(0);
    site.run(&["purge"]).ended_with(64);
}

#[test]
fn what_is_purged_on_its_way_to_the_archive_stays_forgotten() {
    let mut site = Site::start_with(json!({"retain": null}));
    let _worker = site.worker("one");
    site.log_in();
    // Another program holds the archive's lock: what goes there has left, and doesn't arrive.
    let archive = rusqlite::Connection::open(site.path("manager/store/archive.sqlite")).unwrap();
    archive.execute_batch("BEGIN IMMEDIATE").unwrap();
    let job = site.run(&["submit", "--", "true"]).ended_with(0).text().trim().to_owned();
    site.run(&["wait", &job]).ended_with(0);
    site.wait_for_log(&["the archive can't be written"]);

    let mut purge = site.invoke(&["purge", "--older-than", "0s"], None);
    wait_until("the manager has forgotten it", || site.run(&["show", &job]).code() != 0);
    // Time enough for an answer that waits for nothing.
    for _ in 0..10 {
        site.run(&["list"]).ended_with(0);
    }
    assert!(!purge.has_ended(), "it will be in the archive, and then be removed");
    archive.execute_batch("ROLLBACK").unwrap();
    assert_eq!(purge.wait().ended_with(0).text(), "1 task forgotten\n");
    site.kill_manager();
    site.start_manager();
    assert_eq!(site.run(&["list", "--json"]).ended_with(0).json(), json!([]));
}

#[test]
fn what_is_forgotten_leaves_the_disk_while_the_manager_runs_and_a_start_reads_what_came_last() {
    let config = json!({"retain": null, "journal": {"segment": "2MiB"}, "disk": {"reserve": "16MiB"}});
    let mut site = Site::start_with(config);
    let _worker = site.worker("one");
    site.log_in();
    // Outcomes of 300 kB lie in files of their own, those of 200 kB in the journal.
    for (count, length) in [(5, "300000"), (60, "200000")] {
        let input = (0..count).map(|number| format!("{number}\n")).collect::<Vec<_>>().concat();
        let line = format!("head -c {length} /dev/zero");
        site.run_with(&["map", "--", "sh", "-c", &line], Some(input.as_bytes())).ended_with(0);
    }
    assert_eq!(files(&site, "values"), 5);
    assert!(files(&site, "journal") > 4, "{} segments", files(&site, "journal"));
    assert_eq!(site.run(&["purge", "--older-than", "0s"]).ended_with(0).text(), "65 tasks forgotten\n");
    wait_until("nothing but the end of the journal is left", || {
        files(&site, "journal") <= 3 && files(&site, "values") == 0
    });
    let again = site.run(&["submit", "--delay", "1h", "--", "true"]).ended_with(0).text().trim().to_owned();
    site.stop_manager();
    site.start_manager();
    site.wait_for_log(&["the store is open", "records=0", "open_tasks=1"]);
    assert_eq!(site.run(&["show", &again, "--json"]).ended_with(0).json()["state"], "scheduled");
}

#[test]
fn with_retain_none_a_job_goes_when_its_client_has_all_of_it_and_stays_until_then() {
    let mut site = Site::start_with(json!({"retain": "none"}));
    let _worker = site.worker("one");
    site.log_in();
    let kept = site.run(&["submit", "--", "echo", "kept"]).ended_with(0).text().trim().to_owned();
    site.run(&["wait", &kept]).ended_with(0);
    let input = (0..200).map(|number| format!("{number}\n")).collect::<Vec<_>>().concat();
    let told = site.run_with(&["map", "--keep-order", "--", "echo", "{}"], Some(input.as_bytes())).ended_with(0);
    assert_eq!(told.text(), input);
    let succeeded = |site: &Site| site.run(&["status", "--json"]).json()["tasks"]["succeeded"].clone();
    assert_eq!(succeeded(&site), 1);
    site.kill_manager();
    site.start_manager();
    assert_eq!(succeeded(&site), 1);
    assert_eq!(site.run(&["result", &kept]).ended_with(0).text(), "kept\n");
    assert_eq!(site.run(&["list", "--json"]).ended_with(0).json(), json!([]));
    site.run(&["result", &kept]).saying(&["there is no job"]);
    assert_eq!(succeeded(&site), 0);
}
