//! Workers that were away come back: what they go on with, what they drop, and what they bring.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use task_messenger_client::{Client, EncodedTemplate, LoneOptions, Named, TaskId, TaskResult, TaskState};
use task_messenger_protocol::token::Token;

use crate::harness::{Held, Proxy, Signal, Site, Start, Worker, json, until, wait_until};

/// A manager that notices soon, a worker behind a relay, a client, and commands that are held up.
struct Scene {
    site: Site,
    proxy: Proxy,
    worker: Worker,
    client: Client,
    held: Held,
}

impl Scene {
    async fn set(grace: &str) -> Self {
        let site = Site::start_with(json!({"lease": {"grace": grace}, "link": {"silence": "2s"}}));
        let proxy = Proxy::start(site.address());
        let worker = site.joined_worker("far", json!({"managers": [proxy.address().to_string()]}));
        let client = site.client().await;
        let held = Held::new(&site.path("held"));
        Self { site, proxy, worker, client, held }
    }

    /// The same, with tasks that run at the worker.
    async fn with_running(grace: &str, names: &[&str]) -> (Self, Vec<TaskId>) {
        let mut scene = Self::set(grace).await;
        scene.worker.start();
        let mut tasks = Vec::new();
        for name in names {
            tasks.push(scene.submit(name).await);
        }
        scene.held.wait_for_starts(names.len());
        (scene, tasks)
    }

    async fn submit(&self, name: &str) -> TaskId {
        let template = EncodedTemplate::new(&self.held.template()).unwrap();
        self.client.submit_one(&template, name.as_bytes(), LoneOptions::default()).await.unwrap()
    }

    async fn state(&self, task: TaskId) -> TaskState {
        self.client.task(task).await.unwrap().summary.unwrap().state()
    }

    async fn becomes(&self, task: TaskId, state: TaskState) {
        until(&format!("task {task} is {state:?}"), || async { self.state(task).await == state }).await;
    }

    /// How a task ended: its state, attempts and failures, and where it ran.
    async fn end(&self, task: TaskId) -> (TaskResult, u32, String) {
        let result = self.client.result(task).await.unwrap();
        let failures = self.client.task(task).await.unwrap().summary.unwrap().failures;
        let home = String::from_utf8_lossy(&result.outcome.output).trim().to_owned();
        (result, failures, home)
    }

    async fn succeeds_in_attempt(&self, task: TaskId, attempt: u32) -> String {
        let (result, failures, home) = self.end(task).await;
        assert_eq!((result.state, result.attempts, failures), (TaskState::Succeeded, attempt, 0), "task {task}");
        home
    }

    fn started(&self, name: &str) -> Vec<Start> {
        self.held.starts().into_iter().filter(|start| start.name == name).collect()
    }
}

fn runs(start: &Start) -> bool {
    Path::new(&format!("/proc/{}", start.process)).exists()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_outcome_outlives_its_worker_that_died_without_a_link() {
    let (mut scene, tasks) = Scene::with_running("10min", &["a", "b"]).await;
    scene.proxy.cut();
    scene.held.let_one_go("a");
    scene.held.wait_for_ends(1);
    let outbox = scene.worker.state().join("outbox");
    wait_until("the outcome is in the file", || std::fs::metadata(&outbox).is_ok_and(|file| file.len() > 28));
    scene.worker.kill();
    scene.worker.start();
    assert_eq!(scene.state(tasks[0]).await, TaskState::Running);
    scene.proxy.mend();
    scene.succeeds_in_attempt(tasks[0], 1).await;
    // The other one died with the process.
    scene.held.wait_for_starts(3);
    scene.held.let_go();
    scene.succeeds_in_attempt(tasks[1], 2).await;
    assert_eq!((scene.started("a").len(), scene.started("b").len()), (1, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_that_was_frozen_drops_what_went_elsewhere_and_what_it_says_too_late_changes_nothing() {
    let (mut scene, tasks) = Scene::with_running("3s", &["a", "b"]).await;
    scene.worker.process().signal(Signal::STOP);
    // Tasks that ran when their worker was lost share none: each needs one for itself.
    let others = [scene.site.worker("second"), scene.site.worker("third")];
    scene.held.wait_for_starts(4);
    // Its processes are not frozen: this one ends in both places.
    scene.held.let_one_go("a");
    scene.held.wait_for_ends(2);
    let home = scene.succeeds_in_attempt(tasks[0], 2).await;
    assert!(others.iter().any(|worker| worker.owns(&home)), "{home}");
    let before = scene.proxy.connections();
    scene.worker.process().signal(Signal::CONT);
    let stays = &scene.started("b")[0];
    wait_until("it has dropped the other one", || !runs(stays));
    assert!(scene.proxy.connections() > before, "it went on in its old session");
    scene.held.let_one_go("b");
    let home = scene.succeeds_in_attempt(tasks[1], 2).await;
    assert!(others.iter().any(|worker| worker.owns(&home)), "{home}");
    // It goes on, and has delivered by then whatever it had to say.
    drop(others);
    scene.held.let_one_go("c");
    let next = scene.submit("c").await;
    let home = scene.succeeds_in_attempt(next, 1).await;
    assert!(scene.worker.owns(&home), "{home}");
    for task in &tasks {
        let home = scene.succeeds_in_attempt(*task, 2).await;
        assert!(!scene.worker.owns(&home), "{home}");
    }
    assert_eq!(scene.held.ends(), ["a", "a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn of_two_tasks_the_one_that_nobody_else_has_goes_on_also_when_the_manager_died_meanwhile() {
    let (mut scene, tasks) = Scene::with_running("3s", &["a", "b"]).await;
    scene.proxy.cut();
    let second = scene.site.worker_with("second", json!({"slots": 1}));
    scene.held.wait_for_starts(3);
    scene.site.kill_manager();
    scene.site.start_manager();
    scene.proxy.mend();
    let moved = scene.held.starts()[2].name.clone();
    let (moves, stays) = if moved == "a" { ("a", "b") } else { ("b", "a") };
    wait_until("the one is stopped", || !runs(&scene.started(moves)[0]));
    let stays = &scene.started(stays)[0];
    let name = |task: &TaskId| if *task == tasks[0] { "a" } else { "b" };
    let (moving, staying) = if moved == name(&tasks[0]) { (tasks[0], tasks[1]) } else { (tasks[1], tasks[0]) };
    scene.becomes(staying, TaskState::Running).await;
    assert!(runs(stays), "it was stopped");
    scene.held.let_go();
    let home = scene.succeeds_in_attempt(staying, 1).await;
    assert!(scene.worker.owns(&home), "{home}");
    let home = scene.succeeds_in_attempt(moving, 2).await;
    assert!(second.owns(&home), "{home}");
    assert_eq!((scene.held.starts().len(), scene.held.ends().len()), (3, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn tasks_run_on_through_a_cut_and_a_restart_of_the_manager_at_once() {
    let (mut scene, tasks) = Scene::with_running("10min", &["a", "b"]).await;
    scene.proxy.cut();
    scene.site.kill_manager();
    scene.held.let_one_go("a");
    scene.held.wait_for_ends(1);
    scene.site.start_manager();
    assert_eq!(scene.state(tasks[0]).await, TaskState::Running);
    scene.proxy.mend();
    scene.succeeds_in_attempt(tasks[0], 1).await;

    // Once more, in order this time, and with the link cut last.
    let next = scene.submit("c").await;
    scene.held.wait_for_starts(3);
    scene.site.stop_manager();
    scene.proxy.cut();
    scene.held.let_one_go("c");
    scene.held.wait_for_ends(2);
    scene.site.start_manager();
    scene.proxy.mend();
    scene.succeeds_in_attempt(next, 1).await;
    scene.held.let_go();
    scene.succeeds_in_attempt(tasks[1], 1).await;
    assert_eq!((scene.held.starts().len(), scene.held.ends().len()), (3, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_was_cancelled_while_its_worker_was_away_is_stopped_when_it_is_back() {
    let (scene, tasks) = Scene::with_running("10min", &["a", "b"]).await;
    scene.proxy.cut();
    let changed = scene.client.cancel(Named::Task(tasks[0])).await.unwrap();
    assert_eq!((changed.tasks, changed.running), (0, 1));
    let starts = scene.held.starts();
    assert!(starts.iter().all(runs));
    scene.proxy.mend();
    scene.becomes(tasks[0], TaskState::Cancelled).await;
    wait_until("its process is gone", || !runs(&scene.started("a")[0]));
    scene.held.let_go();
    scene.succeeds_in_attempt(tasks[1], 1).await;
    assert_eq!(scene.held.ends(), ["b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_that_was_removed_while_it_was_away_stops_its_tasks_and_exits_for_good() {
    let mut scene = Scene::set("10min").await;
    let token = scene.site.token("worker");
    let configuration = json!({"managers": [scene.proxy.address().to_string()]});
    scene.worker = scene.site.joined_worker_by(&token, "gone", configuration);
    scene.worker.start();
    let task = scene.submit("a").await;
    scene.held.wait_for_starts(1);
    scene.proxy.cut();
    let number = Token::parse(&token).unwrap().number.to_string();
    scene.site.administer(&["token", "revoke", &number, "--with-workers"]).ended_with(0);
    // Nobody waits for the end of a grace.
    let second = scene.site.worker("second");
    scene.held.wait_for_starts(2);
    scene.proxy.mend();
    assert_eq!(scene.worker.wait().code(), Some(78), "{}", scene.worker.log());
    assert!(!runs(&scene.held.starts()[0]));
    scene.held.let_go();
    let home = scene.succeeds_in_attempt(task, 2).await;
    assert!(second.owns(&home) && scene.held.ends().len() == 1, "{home}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn of_two_workers_with_one_identity_the_second_waits_until_the_first_is_gone() {
    let (mut scene, tasks) = Scene::with_running("10min", &["a"]).await;
    let before = scene.proxy.connections();
    let door = Proxy::start(scene.site.address());
    let mut copy = scene.site.copied_worker(&scene.worker, "copy", json!({"managers": [door.address().to_string()]}));
    copy.start();
    let told = || -> Vec<String> {
        copy.log().lines().filter(|line| line.contains("with this worker's identity")).map(str::to_owned).collect()
    };
    wait_until("it is refused", || !told().is_empty());
    let refused = Instant::now();
    wait_until("it tries again", || door.connections() > 1);
    assert!(refused.elapsed() > Duration::from_secs(5), "it tried again after {:?}", refused.elapsed());
    // The first one has noticed nothing.
    assert!(scene.started("a").iter().all(runs), "{}", copy.log());
    let second = scene.submit("b").await;
    scene.held.wait_for_starts(2);
    assert!(scene.worker.owns(&scene.started("b")[0].home));
    scene.held.let_one_go("b");
    scene.succeeds_in_attempt(second, 1).await;
    assert_eq!(scene.proxy.connections(), before);

    scene.worker.kill();
    scene.held.wait_for_starts(3);
    assert!(copy.owns(&scene.started("a")[1].home));
    scene.held.let_one_go("a");
    let home = scene.succeeds_in_attempt(tasks[0], 2).await;
    assert!(copy.owns(&home), "{home}");
    let told = told();
    assert!(told.len() == 1 && told[0].contains("WARN") && told[0].contains("join anew"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_outbox_that_cannot_be_written_is_said_once_and_the_outcome_comes_all_the_same() {
    let (scene, tasks) = Scene::with_running("10min", &["a", "b"]).await;
    let before = scene.proxy.connections();
    scene.proxy.stall();
    // A directory where the file should be.
    std::fs::create_dir(scene.worker.state().join("outbox")).unwrap();
    until("the worker tries again", || async { scene.proxy.connections() > before }).await;
    scene.held.let_go();
    scene.held.wait_for_ends(2);
    let said = |words: &str| scene.worker.log().lines().filter(|line| line.contains(words)).count();
    wait_until("it is said", || said("the outbox file can't be written") > 0);
    // Much happens meanwhile, and with each it is tried again.
    scene.proxy.cut();
    wait_until("the connection has failed", || said("no connection to the manager") > 0);
    std::fs::remove_dir(scene.worker.state().join("outbox")).unwrap();
    scene.proxy.mend();
    for task in &tasks {
        scene.succeeds_in_attempt(*task, 1).await;
    }
    wait_until("it is said that it works again", || said("the outbox file is as it should be again") > 0);
    assert_eq!((said("the outbox file can't be written"), said("the outbox file is as it should be again")), (1, 1));
}
