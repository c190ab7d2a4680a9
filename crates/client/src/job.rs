//! Submitting jobs.

use std::sync::Arc;

use task_messenger_protocol::{
    messages::{self, Accepted},
    values::ValuesBuilder,
};
use tokio::sync::Notify;

use crate::{
    Client, EncodedTemplate, Error, JobKey, JobNumber, JobOptions, LoneOptions, TaskId,
    state::{Digest, Handle, Job},
};

/// Tasks that are compared with the earlier ones at a time.
const COMPARED_TASKS: u32 = 1_024;
const COMPARED_BYTES: usize = 128 * 1024;

/// A job that is being submitted. Dropping it before [`JobWriter::finish`] has returned leaves the job open, with the tasks
/// that the manager has accepted; the same key continues it.
#[derive(Debug)]
pub struct JobWriter {
    submission: Submission,
    key: JobKey,
    /// Whether the job may be there already.
    may_exist: bool,
    earlier: Option<Earlier>,
    pushed: u32,
}

/// A job that is known to the link's task as long as this lives.
#[derive(Debug)]
struct Submission {
    handle: Handle,
    number: u64,
    wake: Arc<Notify>,
}

/// What was found of a job that was submitted in part before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The job.
    pub job: JobNumber,
    /// How many tasks it has already. The first ones that are pushed are compared with them.
    pub already: u32,
    /// Whether it gets no more.
    pub closed: bool,
}

/// A job that was submitted whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Its number.
    pub job: JobNumber,
    /// How many tasks it has.
    pub tasks: u32,
}

/// The tasks that were there before, and what of them has been compared.
#[derive(Debug)]
struct Earlier {
    opened: Opened,
    digest: u32,
    seen: Digest,
    batch: ValuesBuilder,
    template: Option<EncodedTemplate>,
}

impl Client {
    /// Begins or continues a job.
    pub fn job(&self, options: JobOptions) -> Result<JobWriter, Error> {
        let may_exist = options.key.is_some();
        let key = options.key.map_or_else(JobKey::random, Ok)?;
        let job = Job::new(
            key,
            messages::JobOptions { name: options.name, labels: options.labels, ..messages::JobOptions::default() },
            options.times,
            options.when_full,
        );
        let submission = Submission::new(self.handle(), job)?;
        Ok(JobWriter { submission, key, may_exist, earlier: None, pushed: 0 })
    }

    /// Submits a task that is a job of its own, and returns once it is durable.
    pub async fn submit_one(
        &self,
        template: &EncodedTemplate,
        payload: &[u8],
        options: LoneOptions,
    ) -> Result<TaskId, Error> {
        let job = Job::new(
            JobKey::random()?,
            messages::JobOptions {
                name: options.name,
                idempotency_key: options.idempotency_key,
                labels: options.labels,
            },
            options.times,
            options.when_full,
        );
        let submission = Submission::new(self.handle(), job)?;
        submission.handle.with(|state| state.push_lone(submission.number, template, payload))?;
        let accepted = submission.accepted_when(|accepted| accepted.closed).await?;
        Ok(TaskId { job: JobNumber(accepted.job), index: 0 })
    }
}

impl Submission {
    fn new(handle: &Handle, job: Job) -> Result<Self, Error> {
        let handle = handle.clone();
        let (number, wake) = handle.with(|state| state.add_job(job))?;
        Ok(Self { handle, number, wake })
    }

    async fn accepted_when(&self, enough: impl Fn(&Accepted) -> bool) -> Result<Accepted, Error> {
        loop {
            match self.handle.with(|state| state.accepted_of(self.number))? {
                Some(accepted) if enough(&accepted) => return Ok(accepted),
                _ => self.wake.notified().await,
            }
        }
    }
}

impl Drop for Submission {
    fn drop(&mut self) {
        self.handle.with(|state| state.remove_job(self.number));
    }
}

impl JobWriter {
    /// The job's key: the same key continues the job.
    pub fn key(&self) -> JobKey {
        self.key
    }

    /// Asks the manager what is there of the job, opening it if nothing is. `template` is that of the first task. For a job
    /// whose key was given, the first [`JobWriter::push`] does this by itself.
    pub async fn open(&mut self, template: &EncodedTemplate) -> Result<Opened, Error> {
        if let Some(earlier) = &self.earlier {
            return Ok(earlier.opened);
        }
        self.submission.handle.with(|state| state.probe(self.submission.number, template));
        let accepted = self.submission.accepted_when(|_| true).await?;
        let opened = Opened { job: JobNumber(accepted.job), already: accepted.next_index, closed: accepted.closed };
        self.earlier = Some(Earlier {
            opened,
            digest: accepted.digest,
            seen: Digest::default(),
            batch: ValuesBuilder::default(),
            template: None,
        });
        self.may_exist = false;
        Ok(opened)
    }

    /// Adds a task, and returns its index. Waits while too much waits for being accepted (65,536 tasks, or 8 MiB): that it
    /// returned does not mean that the task is durable.
    ///
    /// Of a job that was there already the first tasks are not submitted but compared; where they turn out to be others,
    /// the error is [`Error::InputDiffers`].
    ///
    /// Cancel-safe: a task that was not added was not added at all.
    pub async fn push(&mut self, template: &EncodedTemplate, payload: &[u8]) -> Result<u32, Error> {
        if self.may_exist {
            self.open(template).await?;
        }
        if let Some(earlier) = &mut self.earlier {
            let Opened { job, already, closed } = earlier.opened;
            if self.pushed < already {
                earlier.compare(template, payload, self.pushed + 1)?;
                self.pushed += 1;
                if self.pushed == already {
                    let (number, digest) = (self.submission.number, earlier.seen.clone());
                    self.submission.handle.with(|state| state.continue_job(number, already, digest));
                }
                return Ok(self.pushed - 1);
            }
            if closed {
                return Err(Error::JobClosed { job, tasks: already });
            }
        }
        loop {
            let pushed = self.submission.handle.with(|state| state.push(self.submission.number, template, payload))?;
            if let Some(index) = pushed {
                self.pushed = index + 1;
                return Ok(index);
            }
            self.submission.wake.notified().await;
        }
    }

    /// The job's number, as soon as its first tasks are accepted.
    pub async fn job_number(&mut self) -> Result<JobNumber, Error> {
        Ok(JobNumber(self.submission.accepted_when(|_| true).await?.job))
    }

    /// The job's number, if its first tasks are accepted.
    pub fn known_job_number(&mut self) -> Result<Option<JobNumber>, Error> {
        let accepted = self.submission.handle.with(|state| state.accepted_of(self.submission.number))?;
        Ok(accepted.map(|accepted| JobNumber(accepted.job)))
    }

    /// How many tasks are durable.
    pub fn accepted(&mut self) -> Result<u32, Error> {
        let accepted = self.submission.handle.with(|state| state.accepted_of(self.submission.number))?;
        Ok(accepted.map_or(0, |accepted| accepted.next_index))
    }

    /// Says that there are no more tasks, and returns once all are durable.
    pub async fn finish(self) -> Result<Submitted, Error> {
        let Self { submission, earlier, pushed, .. } = self;
        if pushed == 0 {
            return Err(Error::NoTasks);
        }
        if let Some(Earlier { opened, .. }) = earlier {
            if pushed < opened.already {
                return Err(Error::InputShorter { job: opened.job, found: opened.already, given: pushed });
            }
            if opened.closed {
                return Ok(Submitted { job: opened.job, tasks: pushed });
            }
        }
        submission.handle.with(|state| state.close_job(submission.number))?;
        let accepted = submission.accepted_when(|accepted| accepted.closed).await?;
        if accepted.next_index != pushed {
            let (job, found) = (JobNumber(accepted.job), accepted.next_index);
            return Err(Error::InputShorter { job, found, given: pushed });
        }
        Ok(Submitted { job: JobNumber(accepted.job), tasks: pushed })
    }
}

impl Earlier {
    /// Takes in one of the earlier tasks, of which there were `count` with it.
    fn compare(&mut self, template: &EncodedTemplate, payload: &[u8], count: u32) -> Result<(), Error> {
        if self.template.as_ref() != Some(template) {
            self.append();
            self.template = Some(template.clone());
        }
        self.batch.push(payload);
        let complete = count == self.opened.already;
        if complete || self.batch.count() >= COMPARED_TASKS || self.batch.encoded_len() >= COMPARED_BYTES {
            self.append();
        }
        if complete && self.seen.value != self.digest {
            return Err(Error::InputDiffers { job: self.opened.job, tasks: count });
        }
        Ok(())
    }

    fn append(&mut self) {
        if self.batch.count() > 0
            && let Some(template) = &self.template
        {
            let payloads = self.batch.take();
            self.seen.append(template, &payloads);
        }
    }
}
