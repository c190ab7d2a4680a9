//! What the demo submits, and the answers as they come.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use task_messenger_client::{
    Client, Command, EncodedTemplate, JobNumber, JobOptions, JobWriter, Named, Results, Target, TaskResult, TaskState,
    Template, Times, Use,
};
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    files,
    skills::{self, Batch},
};

/// Batches of answers that may wait to be looked at.
const WAITING: usize = 64;

/// An answer to one task.
pub(super) struct Answer {
    pub(super) question: Question,
    pub(super) result: TaskResult,
    /// From the submit to the answer.
    pub(super) latency: Duration,
}

/// What was asked.
#[derive(Clone)]
pub(super) enum Question {
    /// The checksum of the file with this number.
    File(usize),
    /// A skill's input.
    Skill(Arc<Batch>),
}

impl Answer {
    pub(super) fn succeeded(&self) -> bool {
        self.result.state == TaskState::Succeeded
    }

    /// Changes one character of the output into another that would be as possible.
    pub(super) fn falsify(&mut self) {
        let mut output = self.result.outcome.output.to_vec();
        let digit = output.iter_mut().find(|byte| byte.is_ascii_digit());
        if let Some(digit) = digit {
            *digit = if *digit == b'0' { b'1' } else { b'0' };
        }
        self.result.outcome.output = output.into();
    }
}

/// All jobs of the demo.
pub(super) struct Work {
    answers: mpsc::Receiver<Result<Vec<Answer>>>,
    total: u64,
    reconsidered: Option<Reconsidered>,
    tasks: JoinSet<()>,
}

/// A job that is cancelled, and retried later.
struct Reconsidered {
    job: JobNumber,
    batch: Arc<Batch>,
    sender: mpsc::Sender<Result<Vec<Answer>>>,
}

impl Work {
    /// Submits everything; the submitting goes on while answers come in.
    pub(super) async fn submit(client: &Client, files: &[PathBuf], passes: usize) -> Result<Self> {
        let (sender, answers) = mpsc::channel(WAITING);
        let mut tasks = JoinSet::new();
        let mut total = 0;
        for batch in skills::batches() {
            let template = EncodedTemplate::new(&Template::of_skill(batch.skill))?;
            let payloads: Vec<Vec<u8>> = batch.inputs.iter().map(|input| input.to_string().into_bytes()).collect();
            total += payloads.len() as u64;
            let batch = Arc::new(batch);
            let name = batch.skill;
            let question = move |_| Question::Skill(batch.clone());
            start(client, name, &template, payloads, question, &sender, &mut tasks).await?;
        }
        let (program, arguments) = files::tool();
        let template = EncodedTemplate::new(&Template::of_command(Command {
            program: program.to_owned(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            environment: std::collections::BTreeMap::new(),
            payload: Use::Argument.into(),
        }))?;
        let paths: Vec<Vec<u8>> = files.iter().map(|file| file.to_string_lossy().into_owned().into_bytes()).collect();
        let payloads: Vec<Vec<u8>> = std::iter::repeat_n(paths, passes).flatten().collect();
        total += payloads.len() as u64;
        let count = files.len();
        let question = move |index| Question::File(index as usize % count);
        start(client, "checksums", &template, payloads, question, &sender, &mut tasks).await?;
        let reconsidered = Reconsidered::submit(client, sender).await?;
        total += reconsidered.batch.inputs.len() as u64;
        Ok(Self { answers, total, reconsidered: Some(reconsidered), tasks })
    }

    /// Cancels a job that was to run tomorrow; how many of its tasks had not ended.
    pub(super) async fn cancel_a_job(&self, client: &Client) -> Result<u64> {
        let Some(reconsidered) = &self.reconsidered else { return Ok(0) };
        let changed = client.cancel(Named::Job(reconsidered.job)).await?;
        Ok(changed.tasks + changed.running)
    }

    /// Has that job run at once after all; how many of its tasks were cancelled.
    pub(super) async fn retry_that_job(&mut self, client: &Client) -> Result<u64> {
        let Some(Reconsidered { job, batch, sender }) = self.reconsidered.take() else { return Ok(0) };
        let changed = client.retry(Named::Job(job)).await?;
        let results = client.follow(Target::Job(job))?;
        let submitted = batch.inputs.iter().map(|_| AtomicU64::new(0)).collect();
        let question = move |_| Question::Skill(batch.clone());
        self.tasks.spawn(receive(results, question, Instant::now(), submitted, sender));
        Ok(changed.tasks)
    }

    /// How many tasks there are.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Answers that came together; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Answer>>> {
        self.answers.recv().await.transpose()
    }
}

impl Reconsidered {
    async fn submit(client: &Client, sender: mpsc::Sender<Result<Vec<Answer>>>) -> Result<Self> {
        let batch = skills::reconsidered();
        let template = EncodedTemplate::new(&Template::of_skill(batch.skill))?;
        // For tomorrow, so that it still waits when it is cancelled.
        let times = Times { delay: Some(Duration::from_hours(24)), deadline: None };
        let mut writer = client.job(JobOptions { name: batch.name.to_owned(), times, ..JobOptions::default() })?;
        for input in &batch.inputs {
            writer.push(&template, input.to_string().as_bytes()).await?;
        }
        let job = writer.finish().await?.job;
        Ok(Self { job, batch: Arc::new(batch), sender })
    }
}

async fn start(
    client: &Client,
    name: &str,
    template: &EncodedTemplate,
    payloads: Vec<Vec<u8>>,
    question: impl Fn(u32) -> Question + Send + 'static,
    sender: &mpsc::Sender<Result<Vec<Answer>>>,
    tasks: &mut JoinSet<()>,
) -> Result<()> {
    let mut writer = client.job(JobOptions { name: name.to_owned(), ..JobOptions::default() })?;
    writer.open(template).await?;
    let results = client.follow(Target::Key(writer.key()))?;
    let clock = Instant::now();
    let submitted: Arc<[AtomicU64]> = payloads.iter().map(|_| AtomicU64::new(0)).collect();
    let template = template.clone();
    let pushing = {
        let submitted = submitted.clone();
        let errors = sender.clone();
        async move {
            if let Err(error) = push(writer, &template, &payloads, clock, &submitted).await {
                // Nobody listens only when the demo has ended.
                let _ = errors.send(Err(error)).await;
            }
        }
    };
    tasks.spawn(pushing);
    tasks.spawn(receive(results, question, clock, submitted, sender.clone()));
    Ok(())
}

async fn push(
    mut writer: JobWriter,
    template: &EncodedTemplate,
    payloads: &[Vec<u8>],
    clock: Instant,
    submitted: &[AtomicU64],
) -> Result<()> {
    for (payload, time) in payloads.iter().zip(submitted) {
        time.store(clock.elapsed().as_micros() as u64, Ordering::Relaxed);
        writer.push(template, payload).await?;
    }
    writer.finish().await?;
    Ok(())
}

async fn receive(
    mut results: Results,
    question: impl Fn(u32) -> Question,
    clock: Instant,
    submitted: Arc<[AtomicU64]>,
    sender: mpsc::Sender<Result<Vec<Answer>>>,
) {
    loop {
        let answers = match results.next_batch().await {
            Ok(Some(batch)) => {
                let now = clock.elapsed().as_micros() as u64;
                let answer = |result: TaskResult| {
                    let then = submitted.get(result.index as usize).map_or(now, |time| time.load(Ordering::Relaxed));
                    let latency = Duration::from_micros(now.saturating_sub(then));
                    Answer { question: question(result.index), result, latency }
                };
                Ok(batch.iter().map(answer).collect())
            }
            Ok(None) => return,
            Err(error) => Err(error.into()),
        };
        let failed = answers.is_err();
        if sender.send(answers).await.is_err() || failed {
            return;
        }
    }
}
