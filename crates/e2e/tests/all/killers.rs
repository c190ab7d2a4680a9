//! Tasks that kill their worker: each ends as a dead letter, and nobody beside it is charged.

use std::collections::BTreeMap;

use crate::harness::{Site, Worker, json, wait_until};

/// Kills the worker; what else it kills is in a file.
const KILLER: &str = r#"kill -9 $PPID $(cat "$1" 2>/dev/null)"#;

/// A manager, workers that are started again when they have ended, and a job of innocent tasks.
struct Scene {
    site: Site,
    workers: Vec<Worker>,
    /// Workers from this one on are not started again.
    kept_up: usize,
}

impl Scene {
    fn set(workers: usize, kept_up: usize) -> Self {
        let site = Site::start_with(json!({"lease": {"grace": "1s"}, "link": {"silence": "1s"}}));
        site.log_in();
        let workers = (0..workers).map(|number| site.worker_with(&format!("w{number}"), json!({"slots": 4}))).collect();
        Self { site, workers, kept_up }
    }

    fn keep_up(&mut self) {
        for worker in &mut self.workers[..self.kept_up] {
            if worker.process().has_ended() {
                worker.wait();
                worker.start();
            }
        }
        if self.site.manager().has_ended() {
            self.site.kill_manager();
            self.site.start_manager();
            self.note_manager();
        }
    }

    fn note_manager(&mut self) {
        let id = self.site.manager().id();
        std::fs::write(self.site.path("manager.pid"), id.to_string()).unwrap();
    }

    fn submit_killer(&self, also: &str) -> String {
        let also = self.site.path(also).display().to_string();
        let submit = ["submit", "--priority", "1", "--", "sh", "-c", KILLER, "killer", &also];
        self.site.run(&submit).ended_with(0).text().trim().to_owned()
    }

    fn shown(&self, task: &str) -> Option<serde_json::Value> {
        let shown = self.site.run(&["show", task, "--json"]);
        // There may be no manager just now.
        (shown.code() == 0).then(|| shown.json())
    }

    /// Runs 100 tasks beside killers, which kill what is in these files too; they must end as dead letters.
    fn run_beside(mut self, killers: &[&str]) {
        let input = (0..100).map(|number| format!("{number}\n")).collect::<Vec<_>>().concat();
        let mut map = self.site.invoke(&["map", "--", "sh", "-c", "sleep 0.3", "sleeper"], Some(input.as_bytes()));
        wait_until("the neighbours are queued", || {
            let counts = self.site.run(&["status", "--json"]).json();
            ["queued", "running", "succeeded"].iter().filter_map(|state| counts["tasks"][state].as_u64()).sum::<u64>()
                >= 100
        });
        let killers: Vec<String> = killers.iter().map(|also| self.submit_killer(also)).collect();
        wait_until("the neighbours are done", || {
            self.keep_up();
            map.has_ended()
        });
        map.wait().ended_with(0).saying(&["100 succeeded"]);
        for killer in &killers {
            wait_until("the killer has ended", || {
                self.keep_up();
                self.shown(killer).is_some_and(|shown| shown["state"] == "failed")
            });
            let shown = self.shown(killer).unwrap();
            assert_eq!((&shown["failures"], &shown["crashes"]), (&json!(3), &json!(2)), "{shown}");
        }
        wait_until("everything is up again", || {
            self.keep_up();
            self.site.run(&["status", "--json"]).code() == 0
        });
        let jobs = self.site.run(&["list", "--json"]).json();
        let neighbours = jobs.as_array().unwrap().iter().find(|job| job["tasks"] == 100).unwrap()["job"].to_string();
        let tasks = self.site.run(&["list", &neighbours, "--limit", "1000", "--json"]).json();
        let mut attempts = BTreeMap::new();
        for task in tasks.as_array().unwrap() {
            assert_eq!((&task["state"], &task["failures"]), (&json!("succeeded"), &json!(0)), "{task}");
            *attempts.entry(task["attempts"].as_u64().unwrap()).or_insert(0) += 1;
        }
        println!("neighbours by attempts: {attempts:?}");
        assert_eq!(attempts.values().sum::<i32>(), 100);
        // Nobody is left behind with a mark: what comes next runs as ever.
        self.site.run(&["submit", "--wait", "--", "true"]).ended_with(0);
    }
}

#[test]
fn a_killer_ends_as_a_dead_letter_and_none_of_its_neighbours_is_charged() {
    Scene::set(2, 2).run_beside(&["nothing else"]);
}

#[test]
fn two_killers_at_once_end_as_dead_letters_and_none_of_their_neighbours_is_charged() {
    Scene::set(2, 2).run_beside(&["nothing else", "nothing else"]);
}

#[test]
fn a_killer_that_takes_the_manager_with_it_ends_as_a_dead_letter_and_none_of_its_neighbours_is_charged() {
    let mut scene = Scene::set(2, 2);
    scene.note_manager();
    scene.run_beside(&["manager.pid"]);
}

#[test]
fn a_killer_on_machines_of_which_one_never_comes_back_ends_as_a_dead_letter_too() {
    Scene::set(2, 1).run_beside(&["nothing else"]);
}
