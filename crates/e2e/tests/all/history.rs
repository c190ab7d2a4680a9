//! What is over goes to the archive, and is answered from there as before.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::harness::{Site, json, wait_until};

fn site() -> Site {
    Site::start_with(json!({
        "log": {"level": "info,task_messenger_manager=debug"},
        "journal": {"segment": "2MiB"},
        "disk": {"reserve": "16MiB"},
    }))
}

fn wait_until_archived(site: &Site, jobs: usize) {
    let moved = |line: &str| -> Option<usize> {
        line.contains("jobs are in the archive now").then(|| line.split("jobs=").nth(1)?.trim().parse().ok())?
    };
    wait_until("the jobs are in the archive", || site.manager_log().lines().filter_map(moved).sum::<usize>() >= jobs);
}

/// Everything that can be asked about jobs, with what is answered.
fn answers(site: &Site, jobs: &[&str]) -> Vec<Value> {
    let mut answers = vec![site.run(&["status", "--json"]).ended_with(0).json()["tasks"].clone()];
    for arguments in [vec!["list", "--json"], vec!["list", "--state", "succeeded", "--json"]] {
        answers.push(site.run(&arguments).ended_with(0).json());
    }
    for job in jobs {
        answers.push(site.run(&["list", "--job", job, "--json"]).ended_with(0).json());
        answers.push(site.run(&["show", &format!("{job}.0"), "--json"]).ended_with(0).json());
        let results = site.run(&["results", job, "--json"]).ended_with(0);
        let lines: BTreeSet<String> = results.text().lines().map(str::to_owned).collect();
        answers.push(lines.into_iter().collect());
        answers.push(site.run(&["result", &format!("{job}.0")]).ended_with(0).text().into());
    }
    answers
}

#[test]
fn jobs_that_succeeded_go_to_the_archive_and_every_answer_stays_as_it_was() {
    let mut site = site();
    let _worker = site.worker("one");
    site.log_in();
    let input = (0..1_500).map(|number| format!("{number}\n")).collect::<Vec<_>>().concat();
    site.run_with(&["map", "--name", "many", "--label", "kind=map", "--", "echo", "{}"], Some(input.as_bytes()))
        .ended_with(0);
    let submit = ["submit", "--idempotency-key", "once", "--", "sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x"];
    let large = site.run(&submit).ended_with(0).text().trim().to_owned();
    site.run(&["wait", &large]).ended_with(0);
    let failing = site.run(&["submit", "--max-attempts", "1", "--", "false"]).ended_with(0).text().trim().to_owned();
    assert_ne!(site.run(&["wait", &failing]).code(), 0);
    let jobs = ["1", "2"];
    let before = answers(&site, &jobs);
    wait_until_archived(&site, 2);
    let after = answers(&site, &jobs);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
    assert_eq!(site.run(&["list", "--label", "kind=map", "--json"]).ended_with(0).json()[0]["name"], "many");

    // What was done is not done again, and what succeeded is neither ended nor begun anew.
    assert_eq!(site.run(&submit).ended_with(0).text().trim(), large);
    assert_eq!(site.run(&["cancel", "1", "--json"]).ended_with(0).json()[0]["cancelled"], 0);
    assert_eq!(site.run(&["retry", "1", "--json"]).ended_with(0).json()[0]["queued"], 0);
    site.run(&["retry", "1.7"]).saying(&["1.7", "succeeded"]);
    site.run(&["show", "1.1500"]).saying(&["there is no task 1.1500", "1500 tasks"]);
    site.run(&["show", "77.0"]).saying(&["there is no job 77"]);
    // A dead letter stays where it can be run again.
    site.run(&["retry", &failing]).ended_with(0);

    site.kill_manager();
    site.start_manager();
    site.wait_for_log(&["the store is open", "archived=1501"]);
    assert_ne!(site.run(&["wait", &failing]).code(), 0);
    assert_eq!(answers(&site, &jobs), before);

    let purge = ["purge", "--older-than", "0s"];
    assert_eq!(site.run(&purge).ended_with(0).text(), "1502 tasks forgotten\n");
    wait_until("the large value is removed", || {
        fs::read_dir(site.path("manager/store/values")).map_or(0, Iterator::count) == 0
    });
    assert_eq!(site.run(&["list", "--json"]).ended_with(0).json(), json!([]));
    assert_eq!(site.run(&["status", "--json"]).ended_with(0).json()["tasks"]["succeeded"], 0);
    site.run(&["results", "1"]).saying(&["there is no job 1"]);
}

#[test]
fn without_the_archive_history_is_missing_and_nothing_else() {
    let mut site = site();
    let _worker = site.worker("one");
    site.log_in();
    let waiting = site.run(&["submit", "--delay", "1h", "--", "true"]).ended_with(0).text().trim().to_owned();
    let over = site.run(&["submit", "--", "echo", "well"]).ended_with(0).text().trim().to_owned();
    site.run(&["wait", &over]).ended_with(0);
    wait_until_archived(&site, 1);
    site.stop_manager();
    for file in fs::read_dir(site.path("manager/store")).unwrap() {
        let file = file.unwrap();
        if file.file_name().to_str().unwrap().starts_with("archive.sqlite") {
            fs::remove_file(file.path()).unwrap();
        }
    }
    site.start_manager();
    site.run(&["show", &over]).saying(&["there is no job"]);
    assert_eq!(site.run(&["show", &waiting, "--json"]).ended_with(0).json()["state"], "scheduled");
    let again = site.run(&["submit", "--", "echo", "well"]).ended_with(0).text().trim().to_owned();
    site.run(&["wait", &again]).ended_with(0);
    wait_until_archived(&site, 2);
    assert_eq!(site.run(&["result", &again]).ended_with(0).text(), "well\n");

    // One that is something else is refused, and left alone.
    site.stop_manager();
    let archive = site.path("manager/store/archive.sqlite");
    fs::write(&archive, vec![7; 100_000]).unwrap();
    let config = site.path("config-manager.json");
    let run = ["manager", "run", "--config", config.to_str().unwrap()];
    site.run(&run).ended_with(78).saying(&["archive.sqlite", "move the file away", "history"]);
    assert_eq!(fs::read(&archive).unwrap(), vec![7; 100_000]);
}
