//! The link between a worker and its manager is cut, or nothing passes any more, while a task runs.

use task_messenger_client::{Client, EncodedTemplate, LoneOptions, TaskId, TaskState};

use crate::harness::{Held, Proxy, Site, Worker, json, until};

/// A manager that notices soon, a worker behind a relay that runs one command, and a client.
struct Scene {
    site: Site,
    proxy: Proxy,
    worker: Worker,
    client: Client,
    held: Held,
    task: TaskId,
}

impl Scene {
    async fn set(grace: &str) -> Self {
        let site = Site::start_with(json!({"lease": {"grace": grace}, "link": {"silence": "2s"}}));
        let proxy = Proxy::start(site.address());
        let worker = site.worker_with("far", json!({"managers": [proxy.address().to_string()]}));
        let client = site.client().await;
        let held = Held::new(&site.path("held"));
        let template = EncodedTemplate::new(&held.template()).unwrap();
        let task = client.submit_one(&template, b"a", LoneOptions::default()).await.unwrap();
        held.wait_for_starts(1);
        assert!(proxy.connections() > 0, "the worker did not come through the relay");
        Self { site, proxy, worker, client, held, task }
    }

    async fn state(&self) -> TaskState {
        self.client.task(self.task).await.unwrap().summary.unwrap().state()
    }

    /// The task ended well, in its first attempt.
    async fn ended_once(&self) {
        let result = self.client.result(self.task).await.unwrap();
        assert_eq!((result.state, result.attempts), (TaskState::Succeeded, 1));
        assert_eq!((self.held.starts().len(), self.held.ends().len()), (1, 1));
    }

    async fn connected(&self, connected: bool) {
        until(&format!("the worker is connected: {connected}"), || async {
            self.client.workers().await.unwrap().iter().any(|worker| worker.connected == connected)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_task_runs_on_through_a_cut_that_is_shorter_than_the_grace() {
    let scene = Scene::set("10min").await;
    scene.proxy.cut();
    scene.connected(false).await;
    // It ends while the link is down.
    scene.held.let_go();
    scene.held.wait_for_ends(1);
    assert_eq!(scene.state().await, TaskState::Running);
    scene.proxy.mend();
    scene.ended_once().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_task_runs_on_when_nothing_passes_any_more_and_nobody_is_told() {
    let scene = Scene::set("10min").await;
    run_on_through(&scene, Proxy::stall).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_task_runs_on_when_only_one_direction_passes() {
    let scene = Scene::set("10min").await;
    run_on_through(&scene, Proxy::stall_one_way).await;
}

async fn run_on_through(scene: &Scene, stall: impl FnOnce(&Proxy)) {
    let before = scene.proxy.connections();
    stall(&scene.proxy);
    scene.connected(false).await;
    until("the worker tries again", || async { scene.proxy.connections() > before }).await;
    scene.held.let_go();
    scene.held.wait_for_ends(1);
    scene.proxy.mend();
    scene.ended_once().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_outcome_counts_after_the_grace_as_long_as_nobody_else_has_the_task() {
    let scene = Scene::set("3s").await;
    scene.proxy.cut();
    until("the grace is over", || async { scene.state().await == TaskState::Queued }).await;
    scene.held.let_go();
    scene.held.wait_for_ends(1);
    scene.proxy.mend();
    scene.ended_once().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_task_that_went_elsewhere_after_the_grace_ends_once_and_the_late_report_is_dropped() {
    let scene = Scene::set("3s").await;
    scene.proxy.cut();
    let second = scene.site.worker("second");
    scene.held.wait_for_starts(2);
    // Both run it now, and the one that nobody waits for ends first.
    let starts = scene.held.starts();
    assert!(scene.worker.owns(&starts[0].home) && second.owns(&starts[1].home));
    scene.held.let_go();
    scene.held.wait_for_ends(2);
    let result = scene.client.result(scene.task).await.unwrap();
    assert_eq!((result.state, result.attempts), (TaskState::Succeeded, 2));
    assert!(second.owns(String::from_utf8_lossy(&result.outcome.output).trim()), "{:?}", result.outcome);
    let before = scene.proxy.connections();
    scene.proxy.mend();
    until("the worker is back", || async { scene.proxy.connections() > before }).await;
    // Its outbox is delivered before it runs anything else: after a task of its own, its late report has come.
    drop(second);
    let template = EncodedTemplate::new(&scene.held.template()).unwrap();
    let next = scene.client.submit_one(&template, b"b", LoneOptions::default()).await.unwrap();
    assert_eq!(scene.client.result(next).await.unwrap().state, TaskState::Succeeded);
    let again = scene.client.result(scene.task).await.unwrap();
    assert_eq!(again, result);
    let counts = scene.client.job_summary(scene.task.job).await.unwrap().unwrap().counts.unwrap();
    assert_eq!((counts.succeeded, counts.failed, counts.running, counts.queued), (1, 0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_that_comes_back_too_late_stops_the_task_that_another_has() {
    let scene = Scene::set("3s").await;
    scene.proxy.cut();
    let second = scene.site.worker("second");
    scene.held.wait_for_starts(2);
    scene.proxy.mend();
    let process = scene.held.starts()[0].process;
    until("the first attempt is stopped", || async { !std::path::Path::new(&format!("/proc/{process}")).exists() })
        .await;
    scene.held.let_go();
    let result = scene.client.result(scene.task).await.unwrap();
    assert_eq!((result.state, result.attempts), (TaskState::Succeeded, 2));
    assert!(second.owns(String::from_utf8_lossy(&result.outcome.output).trim()));
    assert_eq!(scene.held.ends().len(), 1);
}
