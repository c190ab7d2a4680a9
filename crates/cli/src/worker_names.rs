//! Workers as they are named on the command line: by number, or by a name that only one has.

use anyhow::Result;
use task_messenger_client::WorkerSummary;

use crate::{failure::Advised, format};

/// The most workers that an error lists.
const LISTED: usize = 10;

/// The workers that are meant, each once, in the order of the names. A number goes before a name that looks like one.
pub fn find(workers: &[WorkerSummary], names: &[String]) -> Result<Vec<WorkerSummary>> {
    let mut found: Vec<WorkerSummary> = Vec::new();
    for name in names {
        let worker = find_one(workers, name)?;
        if found.iter().all(|known| known.worker != worker.worker) {
            found.push(worker.clone());
        }
    }
    Ok(found)
}

fn find_one<'a>(workers: &'a [WorkerSummary], name: &str) -> Result<&'a WorkerSummary> {
    let number = name.parse::<u32>().ok();
    if let Some(worker) = workers.iter().find(|worker| Some(worker.worker) == number) {
        return Ok(worker);
    }
    let named: Vec<&WorkerSummary> = workers.iter().filter(|worker| worker.name == name).collect();
    match named[..] {
        [worker] => Ok(worker),
        [] => {
            let message = format!("there is no worker {name:?}");
            let advice = match list(&alike(workers, name)) {
                text if text.is_empty() => {
                    "no worker has joined yet: `task-messenger workers` says how one does".to_owned()
                }
                text => format!("name one of these: {text}"),
            };
            Err(Advised::new(message, advice).into())
        }
        _ => {
            let message = format!("{} workers are called {name:?}", named.len());
            Err(Advised::new(message, format!("give the number of the one that is meant: {}", list(&named))).into())
        }
    }
}

/// Those whose names have to do with what was typed; all, if none have.
fn alike<'a>(workers: &'a [WorkerSummary], name: &str) -> Vec<&'a WorkerSummary> {
    let typed = name.to_lowercase();
    let contains = |worker: &&WorkerSummary| {
        let known = worker.name.to_lowercase();
        known.contains(&typed) || typed.contains(&known) && !known.is_empty()
    };
    let alike: Vec<_> = workers.iter().filter(contains).collect();
    if alike.is_empty() { workers.iter().collect() } else { alike }
}

fn list(workers: &[&WorkerSummary]) -> String {
    let mut listed: Vec<String> =
        workers.iter().take(LISTED).map(|worker| format!("{} ({})", worker.worker, about(worker))).collect();
    if workers.len() > LISTED {
        listed.push(format!("and {} more", workers.len() - LISTED));
    }
    listed.join(", ")
}

fn about(worker: &WorkerSummary) -> String {
    let place = if worker.connected { &worker.address } else { "away" };
    format!("{}, {place}", format::one_line(&worker.name, 80))
}

/// A worker's name and number, for messages.
pub fn title(worker: &WorkerSummary) -> String {
    format!("worker {} ({})", worker.worker, format::one_line(&worker.name, 80))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(number: u32, name: &str) -> WorkerSummary {
        WorkerSummary { worker: number, name: name.to_owned(), ..WorkerSummary::default() }
    }

    #[test]
    fn workers_are_found_by_number_or_unique_name_and_candidates_are_listed() {
        let workers =
            [worker(0, "rack-7"), worker(1, "rack-8"), worker(2, "rack-8"), worker(3, "0"), worker(4, "attic")];
        let numbers = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            find(&workers, &names).map(|found| found.iter().map(|worker| worker.worker).collect::<Vec<_>>())
        };
        assert_eq!(numbers(&["attic", "2", "4", "rack-7"]).unwrap(), [4, 2, 0]);
        assert_eq!(numbers(&["0"]).unwrap(), [0]);
        let advice = |name: &str| crate::failure::advice(&numbers(&[name]).unwrap_err()).unwrap();
        assert_eq!(advice("rack-8"), "give the number of the one that is meant: 1 (rack-8, away), 2 (rack-8, away)");
        assert_eq!(advice("rack"), "name one of these: 0 (rack-7, away), 1 (rack-8, away), 2 (rack-8, away)");
        assert!(advice("nowhere").contains("4 (attic, away)"));
        assert_eq!(advice("9").matches("away").count(), 5);
        assert!(find(&[], &["x".to_owned()]).is_err());
    }
}
