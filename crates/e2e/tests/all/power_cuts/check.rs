//! A manager on what a power cut has left: what was told before the cut must be true.

use std::collections::{HashMap, HashSet};

use task_messenger_client::{
    Client, Command, EncodedTemplate, Error, JobNumber, LoneOptions, TaskId, TaskResult, TaskState, TaskSummary,
    Template,
};
use tokio::time::timeout;

use super::{
    disk::{Tree, write_tree},
    history::{Fact, Owner, Submitted, Work},
    witness::{Heard, Witness},
};
use crate::harness::{DEADLINE, Site, json};

/// What was told before a cut.
#[derive(Default)]
pub(super) struct Told<'a> {
    tokens: Vec<(Owner, &'a str)>,
    workers: Vec<&'static str>,
    accepted: Vec<&'a Submitted>,
    results: HashMap<TaskId, &'a TaskResult>,
    cancelled: HashSet<TaskId>,
    leases: HashSet<u64>,
    taken: HashSet<TaskId>,
    purging: HashSet<TaskId>,
    purged: HashSet<TaskId>,
}

impl<'a> Told<'a> {
    /// What was told up to a time.
    pub(super) fn until(facts: &'a [(u64, Fact)], time: u64) -> Self {
        let mut told = Self::default();
        for (_, fact) in facts.iter().take_while(|(known, _)| *known <= time) {
            match fact {
                Fact::Enrolled(name) => told.workers.push(name),
                Fact::Token(owner, token) => told.tokens.push((*owner, token)),
                Fact::Accepted(submitted) => told.accepted.push(submitted),
                Fact::Result(task, result) => {
                    assert!(told.results.insert(*task, result).is_none(), "{task} ended twice");
                }
                Fact::Cancelled(task) => drop(told.cancelled.insert(*task)),
                Fact::Leased(lease) => assert!(told.leases.insert(*lease), "lease {lease} was given out twice"),
                Fact::Taken(task) => drop(told.taken.insert(*task)),
                Fact::Purging(tasks) => told.purging.extend(tasks),
                Fact::Purged(tasks) => told.purged.extend(tasks),
            }
        }
        told
    }
}

/// Starts a manager on such a state directory, and holds it against what was told.
pub(super) fn check(left: &Tree, told: &Told<'_>) {
    let mut site = Site::prepare(json!({
        "journal": {"segment": "2MiB"}, "lease": {"grace": "1s"}, "link": {"silence": "1s"},
    }));
    write_tree(left, site.root());
    site.start_manager();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(check_running(&site, told));
    site.stop_manager();
}

async fn check_running(site: &Site, told: &Told<'_>) {
    let mut clients = HashMap::new();
    for (owner, token) in &told.tokens {
        clients.insert(*owner, site.client_with(token, site.address()).await);
    }
    let new = site.client().await;
    let of = |submitted: &Submitted| clients.get(&submitted.owner).expect("a client submitted it");
    if let Some(client) = clients.get(&Owner::Keeper) {
        let there: Vec<String> = client.workers().await.unwrap().into_iter().map(|worker| worker.name).collect();
        assert!(told.workers.iter().all(|name| there.iter().any(|other| other == name)), "of {there:?}");
    }

    let mut jobs = HashMap::new();
    for submitted in &told.accepted {
        if told.purged.contains(&submitted.task) {
            let found = of(submitted).task(submitted.task).await;
            assert!(matches!(found, Err(Error::Refused { .. })), "{} was purged: {found:?}", submitted.task);
        } else if !told.purging.contains(&submitted.task) {
            let job = submitted.task.job;
            if let std::collections::hash_map::Entry::Vacant(unknown) = jobs.entry(job) {
                unknown.insert(tasks(of(submitted), job).await);
            }
            let task = jobs[&job].get(submitted.task.index as usize);
            let task = task.unwrap_or_else(|| panic!("{} was accepted and is not there", submitted.task));
            check_state(told, submitted, task);
        }
    }
    check_numbers(site, told, &new).await;
    check_ends(site, told, of).await;
}

async fn tasks(client: &Client, job: JobNumber) -> Vec<TaskSummary> {
    let mut pages = client.tasks(job, None, 0);
    let mut tasks = Vec::new();
    loop {
        match pages.next(1_000).await {
            Ok(page) if page.is_empty() => return tasks,
            Ok(page) => tasks.extend(page),
            Err(error) => panic!("job {job} was accepted, and: {error}"),
        }
    }
}

/// A task as it is found, before anything goes on.
fn check_state(told: &Told<'_>, submitted: &Submitted, found: &TaskSummary) {
    let task = submitted.task;
    if let Some(result) = told.results.get(&task) {
        let as_told = (found.state(), found.attempts) == (result.state, result.attempts);
        assert!(as_told, "{task} was told to be {:?}: {found:?}", result.state);
    }
    if told.cancelled.contains(&task) {
        let is_cancelled = found.state() == TaskState::Cancelled || found.cancelling;
        assert!(is_cancelled, "{task} was told to be cancelled: {found:?}");
    }
    if told.taken.contains(&task) {
        let is_over = matches!(found.state(), TaskState::Succeeded | TaskState::Cancelled);
        assert!(is_over, "of {task}, it was told that its outcome was taken: {found:?}");
    }
}

/// What is made now has other numbers than what was told.
async fn check_numbers(site: &Site, told: &Told<'_>, client: &Client) {
    let command = Command { program: "true".to_owned(), ..Command::default() };
    let template = Template { priority: 1_000, ..Template::of_command(command) };
    let template = EncodedTemplate::new(&template).unwrap();
    let task = client.submit_one(&template, b"", LoneOptions::default()).await.unwrap();
    let last = told.accepted.iter().map(|submitted| submitted.task.job).max();
    assert!(last.is_none_or(|last| last < task.job), "a new job is {}, and {last:?} was told", task.job);

    let witness = Witness::enrol(site).await;
    let mut leases = Vec::new();
    let mut is_taken = false;
    let working = witness.work(|heard| {
        match heard {
            Heard::Leased(lease) => leases.push(lease),
            Heard::Taken(tasks) => is_taken |= tasks.contains(&task),
        }
        is_taken
    });
    timeout(DEADLINE, working).await.expect("it gets a task").unwrap();
    let last = told.leases.iter().max();
    assert!(leases.iter().min() > last, "of {leases:?}, and {last:?} was told");
    let result = client.result(task).await.unwrap();
    assert_eq!((result.state, &result.outcome.output[..]), (TaskState::Succeeded, &b"seen"[..]));
}

/// Everything comes to its one end, which is as was told.
async fn check_ends<'a>(site: &Site, told: &Told<'_>, of: impl Fn(&Submitted) -> &'a Client) {
    let _worker = site.worker_with("new", json!({"slots": 4}));
    for submitted in &told.accepted {
        let (task, client) = (submitted.task, of(submitted));
        if let Some(key) = &submitted.key {
            let options =
                LoneOptions { idempotency_key: key.clone(), times: submitted.work.times(), ..LoneOptions::default() };
            let again = client.submit_one(&submitted.work.template(), &submitted.work.payload(), options).await;
            assert_eq!(again.unwrap(), task, "{key:?} was its key");
        }
        let is_cancelled = told.cancelled.contains(&task);
        let waits = matches!(submitted.work, Work::Delayed) && !is_cancelled;
        if waits || told.purging.contains(&task) {
            continue;
        }
        let result = timeout(DEADLINE, client.result(task)).await;
        let result = result.unwrap_or_else(|_| panic!("{task} comes to no end")).unwrap();
        if let Some(before) = told.results.get(&task) {
            assert!(result == **before, "{task} was told to have come to {before:.500?}, and is {result:.500?}");
        }
        if is_cancelled {
            assert_eq!(result.state, TaskState::Cancelled, "{task} was told to be cancelled");
        } else if result.state == TaskState::Cancelled {
            // Its client had not been told yet.
            assert!(matches!(submitted.work, Work::Wait), "nobody cancelled {task}");
        } else {
            assert_eq!(result.state, TaskState::Succeeded, "{task}: {:.500?}", result.outcome);
            let expected = submitted.work.expected();
            assert!(expected.is_none_or(|expected| expected == result.outcome.output), "{task} came to something else");
        }
    }
}
