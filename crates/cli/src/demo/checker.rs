//! Comparing each answer with a computation of the demo's own, on a thread of its own.

use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::JoinHandle,
};

use anyhow::{Context, Result, anyhow};
use task_messenger_client::Ending;

use super::{
    files::{self, Version},
    work::{Answer, Question},
};

/// Answers that may wait to be checked.
const WAITING: usize = 4_096;
/// Wrong answers that are described.
const DESCRIBED: usize = 5;

/// What the checker found.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    pub(super) right: u64,
    /// Answers about files that changed meanwhile: nothing can be said of them.
    pub(super) changed: u64,
    pub(super) wrong: u64,
    /// The first wrong ones.
    pub(super) examples: Vec<String>,
}

/// The checker's thread.
pub(super) struct Checker {
    answers: SyncSender<Answer>,
    thread: JoinHandle<Findings>,
}

impl Checker {
    pub(super) fn start(files: Vec<PathBuf>) -> Result<Self> {
        let (answers, inbox) = sync_channel(WAITING);
        let before: Vec<Version> = files.iter().map(|file| Version::of(file)).collect();
        let thread = std::thread::Builder::new().name("checker".to_owned()).spawn(move || {
            let own = vec![None; files.len()];
            Checking { files, before, own, findings: Findings::default() }.run(&inbox)
        })?;
        Ok(Self { answers, thread })
    }

    pub(super) fn check(&self, answer: Answer) -> Result<()> {
        self.answers.send(answer).context("the checker has ended")
    }

    pub(super) fn finish(self) -> Result<Findings> {
        drop(self.answers);
        self.thread.join().map_err(|_| anyhow!("the checker panicked"))
    }
}

struct Checking {
    files: Vec<PathBuf>,
    /// The files as they were before anything was submitted.
    before: Vec<Version>,
    /// The demo's own checksums, as they are computed.
    own: Vec<Option<String>>,
    findings: Findings,
}

impl Checking {
    fn run(mut self, answers: &Receiver<Answer>) -> Findings {
        for answer in answers {
            match &answer.question {
                Question::File(number) => self.check_file(*number, &answer),
                Question::Skill(batch) => {
                    let index = answer.result.index;
                    if answer.succeeded() && batch.is_right(index, &answer.result.outcome.output) {
                        self.findings.right += 1;
                    } else {
                        self.wrong(&format!("{} of {}", batch.skill, batch.inputs[index as usize]), &answer);
                    }
                }
            }
        }
        self.findings
    }

    fn check_file(&mut self, number: usize, answer: &Answer) {
        let path = &self.files[number];
        if self.own[number].is_none() {
            self.own[number] = files::checksum(path).ok();
        }
        let found = if answer.succeeded() { files::parse(&answer.result.outcome.output) } else { None };
        if found.is_some() && found == self.own[number] {
            self.findings.right += 1;
        } else if Version::of(path) != self.before[number] {
            self.findings.changed += 1;
        } else {
            self.wrong(&path.display().to_string(), answer);
        }
    }

    fn wrong(&mut self, what: &str, answer: &Answer) {
        self.findings.wrong += 1;
        if self.findings.examples.len() >= DESCRIBED {
            return;
        }
        let outcome = &answer.result.outcome;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().chars().take(200).collect::<String>();
        let ending = Ending::try_from(outcome.ending).unwrap_or_default();
        self.findings.examples.push(format!(
            "{what}: {:?} after {} attempts, {ending:?} {} {} {:?} {:?}",
            answer.result.state,
            answer.result.attempts,
            outcome.code,
            outcome.text,
            text(&outcome.output),
            text(&outcome.errors),
        ));
    }
}
