//! What people do to work that is there, and to the workers that do it.

mod cancel;
mod crashes;
mod listings;
mod many;
mod retry;
mod times;
mod workers;

use serde_json::Value;

use crate::harness::{Ended, Held, Signal, Site, wait_until};

/// Logs the command line in as an administrator.
fn log_in_as_administrator(site: &Site) {
    let token = site.token("admin");
    site.run_with(&["login", "-"], Some(token.as_bytes())).ended_with(0);
}

/// Submits a program, and returns its task's name.
fn submit(site: &Site, options: &[&str], words: &[&str]) -> String {
    let submitted = site.run(&[&["submit"], options, &["--"], words].concat()).ended_with(0);
    submitted.text().trim().to_owned()
}

/// The same for one that is held.
fn submit_held(site: &Site, held: &Held, name: &str) -> String {
    let arguments = held.arguments(name);
    let words: Vec<&str> = std::iter::once("sh").chain(arguments.iter().map(String::as_str)).collect();
    submit(site, &[], &words)
}

/// Submits a job of held programs, which leave the input's order to the manager, and returns its number.
fn submit_many_held(site: &Site, held: &Held, names: &[&str]) -> String {
    let arguments = held.arguments("{}");
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let lines = names.iter().map(|name| format!("{name}\n")).collect::<Vec<_>>().concat();
    let before = jobs(site);
    let mut map = site.invoke(&[&["map", "--", "sh"], &words[..]].concat(), Some(lines.as_bytes()));
    let mut job = String::new();
    wait_until("the job is submitted", || {
        assert!(!map.has_ended(), "{}", map.errors_so_far());
        let new = jobs(site).into_iter().find(|job| !before.contains(job));
        job = new.unwrap_or_default().to_string();
        new.is_some() && show(site, &job)["closed"] == true
    });
    // The job goes on without it.
    map.signal(Signal::INT);
    map.wait().ended_with(130);
    job
}

/// The numbers of all jobs, newest first.
fn jobs(site: &Site) -> Vec<u64> {
    let jobs = site.run(&["list", "--json"]).ended_with(0).json();
    jobs.as_array().unwrap().iter().map(|job| job["job"].as_u64().unwrap()).collect()
}

/// What `show` says of a job or task.
fn show(site: &Site, id: &str) -> Value {
    site.run(&["show", id, "--json"]).ended_with(0).json()
}

fn state(site: &Site, task: &str) -> String {
    show(site, task)["state"].as_str().unwrap().to_owned()
}

fn job_of(task: &str) -> &str {
    task.split('.').next().unwrap()
}

/// The lines of what a command printed.
fn lines(ended: &Ended) -> Vec<&str> {
    ended.text().lines().collect()
}
