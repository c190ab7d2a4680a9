//! What goes on while the recording is made: clients that submit, cancel and purge, and note what they are told.

use std::{iter::zip, time::Duration};

use bytes::Bytes;
use serde_json::json;
use task_messenger_client::{
    Client, Command, EncodedTemplate, JobOptions, LoneOptions, Named, Target, TaskId, TaskState, Template, Times,
};

use super::history::{Fact, History, Owner, Submitted, Work};
use crate::harness::until;

/// Tasks of each job.
const JOB_TASKS: u32 = 40;

/// Characters of an ordinary task of a job: enough tasks of this size go over several segments of the journal.
const TEXT_LENGTH: usize = 8_000;

/// Characters of one that is a file of its own.
const LARGE_TEXT_LENGTH: usize = 300_000;

/// How long a program runs that is cancelled while it does.
const WAIT: &str = "2";

impl Work {
    /// A text that no other task has.
    fn reversal(name: &str, length: usize) -> Self {
        Self::Reversal(format!("{name} {}", "abcdefghijklmnop".repeat(length / 16)))
    }

    pub(super) fn template(&self) -> EncodedTemplate {
        let template = match self {
            Self::Reversal(_) => Template::of_skill("string-reversal"),
            Self::Wait | Self::Delayed => Template::of_command(Command {
                program: "sleep".to_owned(),
                arguments: vec![WAIT.to_owned()],
                ..Command::default()
            }),
        };
        EncodedTemplate::new(&template).unwrap()
    }

    pub(super) fn payload(&self) -> Vec<u8> {
        match self {
            Self::Reversal(text) => json!({"text": text}).to_string().into_bytes(),
            Self::Wait | Self::Delayed => Vec::new(),
        }
    }

    /// What its output must be, if that is known.
    pub(super) fn expected(&self) -> Option<Bytes> {
        match self {
            Self::Reversal(text) => Some(Self::Reversal(text.chars().rev().collect()).payload().into()),
            Self::Wait | Self::Delayed => None,
        }
    }

    pub(super) fn times(&self) -> Times {
        let delay = matches!(self, Self::Delayed).then_some(Duration::from_hours(1));
        Times { delay, ..Times::default() }
    }
}

/// Submits a lone task.
async fn submit(client: &Client, history: &History, owner: Owner, work: Work, key: Option<String>) -> TaskId {
    let options =
        LoneOptions { idempotency_key: key.clone().unwrap_or_default(), times: work.times(), ..LoneOptions::default() };
    let task = client.submit_one(&work.template(), &work.payload(), options).await.unwrap();
    history.note(Fact::Accepted(Submitted { owner, task, work, key }));
    task
}

async fn result(client: &Client, history: &History, task: TaskId) {
    let result = client.result(task).await.unwrap();
    history.note(Fact::Result(task, result));
}

/// Tasks one by one under keys; the result of every second one is awaited.
pub(super) async fn lone_tasks(client: &Client, history: &History, count: usize) {
    for number in 0..count {
        let key = format!("key {number}");
        let task = submit(client, history, Owner::Keeper, Work::reversal(&key, 100), Some(key.clone())).await;
        if number % 2 == 0 {
            result(client, history, task).await;
        }
    }
}

/// Jobs, each of which is followed to its end; every second one has a large task.
pub(super) async fn jobs(client: &Client, history: &History, count: usize) {
    for number in 0..count {
        let work: Vec<Work> = (0..JOB_TASKS)
            .map(|index| {
                let large = index == 7 && number % 2 == 0;
                Work::reversal(&format!("{number}.{index}"), if large { LARGE_TEXT_LENGTH } else { TEXT_LENGTH })
            })
            .collect();
        let mut job = client.job(JobOptions::default()).unwrap();
        for work in &work {
            job.push(&work.template(), &work.payload()).await.unwrap();
        }
        let job = job.finish().await.unwrap().job;
        for (index, work) in zip(0.., work) {
            let (owner, task) = (Owner::Keeper, TaskId { job, index });
            history.note(Fact::Accepted(Submitted { owner, task, work, key: None }));
        }
        let mut results = client.follow(Target::Job(job)).unwrap();
        while let Some(result) = results.next().await.unwrap() {
            history.note(Fact::Result(TaskId { job, index: result.index }, result));
        }
    }
}

/// Tasks of which two of three are cancelled, before they run or while they do.
pub(super) async fn cancels(client: &Client, history: &History, count: usize) {
    for number in 0..count {
        let work = if number % 3 == 0 { Work::Wait } else { Work::Delayed };
        let runs = matches!(work, Work::Wait);
        let task = submit(client, history, Owner::Keeper, work, None).await;
        if runs {
            until("it runs, or is over", || async {
                !matches!(client.task(task).await.unwrap().summary.unwrap().state(), TaskState::Queued)
            })
            .await;
        }
        if number % 3 < 2 && client.cancel(Named::Task(task)).await.unwrap().tasks == 1 {
            history.note(Fact::Cancelled(task));
            result(client, history, task).await;
        }
    }
}

/// Tasks that are purged once they are over.
pub(super) async fn purges(client: &Client, history: &History, count: usize) {
    for number in 0..count {
        let mut tasks = Vec::new();
        for name in ["a", "b", "c"] {
            let work = Work::reversal(&format!("{number}{name}"), 100);
            let task = submit(client, history, Owner::Purger, work, None).await;
            result(client, history, task).await;
            tasks.push(task);
        }
        history.note(Fact::Purging(tasks.clone()));
        client.purge(Duration::ZERO).await.unwrap();
        history.note(Fact::Purged(tasks));
    }
}
