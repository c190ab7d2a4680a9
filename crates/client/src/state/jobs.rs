//! Jobs that are being submitted.
//!
//! Tasks gather in an open batch. It is closed when it is full, or when the link's task takes it because little of the job
//! is under way: so a single task leaves at once, and many leave together. Batches stay here until the manager has
//! accepted them.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use task_messenger_protocol::{
    digest,
    link::{FromPeerWriter, LinkError},
    messages::{self, Accepted, Code, Refused, Submit},
    template::TemplateNumbers,
    values::{Values, ValuesBuilder},
};
use tokio::sync::Notify;

use super::{Item, LINK_BYTES, State};
use crate::{EncodedTemplate, Error, JobKey, JobNumber, Times, WhenFull};

/// A batch with this many tasks, or bytes, is full.
const BATCH_TASKS: u32 = 2_048;
const BATCH_BYTES: usize = 128 * 1024;

/// No more is taken while this many tasks, or bytes, of a job wait for being accepted.
const WAITING_TASKS: u32 = 65_536;
const WAITING_BYTES: usize = 8 * 1024 * 1024;

/// The open batch leaves while fewer batches than this are under way: one that the manager makes durable, and one that
/// waits for its next turn.
const UNDER_WAY: usize = 2;

/// What a job's digest is computed with, as the manager does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digest {
    pub(crate) value: u32,
    template: Option<EncodedTemplate>,
}

impl Digest {
    pub(crate) fn append(&mut self, template: &EncodedTemplate, payloads: &Values) {
        if self.template.as_ref() != Some(template) {
            self.value = crc32c::crc32c_append(self.value, template.bytes());
            self.template = Some(template.clone());
        }
        self.value = digest::append(self.value, payloads);
    }
}

#[derive(Debug)]
struct Batch {
    first: u32,
    payloads: Values,
    template: EncodedTemplate,
    last: bool,
    /// Of the job through this batch, unless it is the first part of one that was cut.
    digest: Option<u32>,
}

impl Batch {
    fn end(&self) -> u32 {
        self.first + self.payloads.count()
    }
}

/// A question for what is there of a job.
#[derive(Debug)]
struct Probe {
    template: EncodedTemplate,
    sent: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Job {
    key: JobKey,
    options: messages::JobOptions,
    times: Times,
    when_full: WhenFull,
    probe: Option<Probe>,
    open: ValuesBuilder,
    template: Option<EncodedTemplate>,
    next_index: u32,
    digest: Digest,
    batches: VecDeque<Batch>,
    /// How many of the batches, from the front, were sent over this link.
    sent: usize,
    waiting_tasks: u32,
    waiting_bytes: usize,
    accepted: Option<Accepted>,
    error: Option<Error>,
    paused: bool,
    /// The manager had no room: one batch at a time until it has room for a full one.
    cautious: bool,
    /// Larger batches are cut: what had no room as a whole may have it in parts. Doubles when something is accepted.
    most: u32,
    pub(super) listed: bool,
    pub(super) wake: Arc<Notify>,
}

impl Job {
    pub(crate) fn new(key: JobKey, options: messages::JobOptions, times: Times, when_full: WhenFull) -> Self {
        Self {
            key,
            options,
            times,
            when_full,
            probe: None,
            open: ValuesBuilder::default(),
            template: None,
            next_index: 0,
            digest: Digest::default(),
            batches: VecDeque::new(),
            sent: 0,
            waiting_tasks: 0,
            waiting_bytes: 0,
            accepted: None,
            error: None,
            paused: false,
            cautious: false,
            most: BATCH_TASKS,
            listed: false,
            wake: Arc::default(),
        }
    }

    pub(super) fn unsend(&mut self) {
        self.sent = 0;
        self.paused = false;
        if let Some(probe) = &mut self.probe {
            probe.sent = false;
        }
    }

    fn add(&mut self, template: &EncodedTemplate, payload: &[u8]) {
        let full = self.open.encoded_len() + payload.len() > BATCH_BYTES;
        if self.open.count() > 0 && (full || self.template.as_ref() != Some(template)) {
            self.close_batch(false);
        }
        if self.template.as_ref() != Some(template) {
            self.template = Some(template.clone());
        }
        self.open.push(payload);
        self.next_index += 1;
        self.waiting_tasks += 1;
        self.waiting_bytes += payload.len();
        if self.open.count() >= BATCH_TASKS || self.open.encoded_len() >= BATCH_BYTES {
            self.close_batch(false);
        }
    }

    fn close_batch(&mut self, last: bool) {
        let Some(template) = self.template.clone() else { return };
        let payloads = self.open.take();
        if payloads.count() > 0 {
            self.digest.append(&template, &payloads);
        }
        let first = self.next_index - payloads.count();
        self.batches.push_back(Batch { first, payloads, template, last, digest: Some(self.digest.value) });
    }

    /// Cuts the next batch to be sent if it is too large.
    fn cut_next(&mut self) {
        let Some(batch) = self.batches.get_mut(self.sent).filter(|batch| batch.payloads.count() > self.most) else {
            return;
        };
        let rest = batch.payloads.skip(self.most);
        let bytes = batch.payloads.bytes();
        let payloads = Values::trusted(bytes.slice(..bytes.len() - rest.bytes().len()), self.most);
        let part = Batch { first: batch.first, payloads, template: batch.template.clone(), last: false, digest: None };
        batch.first = part.end();
        batch.payloads = rest;
        self.batches.insert(self.sent, part);
    }

    fn close(&mut self) {
        let unsent = self.batches.len() > self.sent;
        match self.batches.back_mut() {
            Some(batch) if self.open.count() == 0 && unsent => batch.last = true,
            _ => self.close_batch(true),
        }
    }

    fn has_something_to_send(&self) -> bool {
        let limit = if self.cautious { 1 } else { usize::MAX };
        !self.paused
            && self.error.is_none()
            && match &self.probe {
                Some(probe) => !probe.sent,
                None if self.sent < self.batches.len() => self.sent < limit,
                None => self.open.count() > 0 && self.batches.len() < UNDER_WAY.min(limit),
            }
    }

    fn accept(&mut self, accepted: &Accepted) {
        self.most = self.most.saturating_mul(2).min(BATCH_TASKS);
        self.cautious = self.most < BATCH_TASKS;
        self.probe = None;
        let closed = accepted.closed;
        while let Some(batch) = self.batches.front()
            && batch.end() <= accepted.next_index
            && (!batch.last || closed)
        {
            // Where the manager's digest is of the same tasks it must be the same.
            let differs =
                batch.end() == accepted.next_index && batch.digest.is_some_and(|digest| digest != accepted.digest);
            if differs {
                self.error = Some(Error::InputDiffers { job: JobNumber(accepted.job), tasks: batch.end() });
                break;
            }
            if batch.last && batch.end() < accepted.next_index {
                let (job, found) = (JobNumber(accepted.job), accepted.next_index);
                self.error = Some(Error::InputShorter { job, found, given: batch.end() });
                break;
            }
            self.waiting_tasks -= batch.payloads.count();
            self.waiting_bytes -= payload_bytes(&batch.payloads);
            self.batches.pop_front();
            self.sent = self.sent.saturating_sub(1);
        }
        let newer = self.accepted.as_ref().is_none_or(|known| known.next_index <= accepted.next_index);
        if newer {
            self.accepted = Some(*accepted);
        }
    }
}

fn payload_bytes(payloads: &Values) -> usize {
    payloads.layout().map(|(_, length)| length as usize).sum()
}

impl State {
    /// Adds a job: its number here, and what tells its owner that something changed.
    pub(crate) fn add_job(&mut self, job: Job) -> Result<(u64, Arc<Notify>), Error> {
        self.check()?;
        let number = self.number();
        let wake = Arc::clone(&job.wake);
        self.jobs.insert(number, job);
        Ok((number, wake))
    }

    /// Forgets a job; what was not sent of it never will be.
    pub(crate) fn remove_job(&mut self, number: u64) {
        self.jobs.remove(&number);
    }

    /// Asks what is there of a job.
    pub(crate) fn probe(&mut self, number: u64, template: &EncodedTemplate) {
        if let Some(job) = self.jobs.get_mut(&number) {
            job.probe = Some(Probe { template: template.clone(), sent: false });
            self.list(Item::Job(number));
        }
    }

    /// The last that the manager said of a job; an error that ended it.
    pub(crate) fn accepted_of(&mut self, number: u64) -> Result<Option<Accepted>, Error> {
        let job = self.job(number)?;
        Ok(job.accepted)
    }

    /// Goes on behind the tasks that are there already.
    pub(crate) fn continue_job(&mut self, number: u64, next_index: u32, digest: Digest) {
        if let Some(job) = self.jobs.get_mut(&number) {
            job.next_index = next_index;
            job.template.clone_from(&digest.template);
            job.digest = digest;
        }
    }

    /// Adds a task; `None`: there is no room now.
    pub(crate) fn push(
        &mut self,
        number: u64,
        template: &EncodedTemplate,
        payload: &[u8],
    ) -> Result<Option<u32>, Error> {
        let limit = self.payload_limit();
        let job = self.job(number)?;
        let index = job.next_index;
        if payload.len() as u64 > limit {
            return Err(Error::PayloadTooLong { index, length: payload.len() as u64, limit });
        }
        if index == u32::MAX {
            return Err(Error::TooManyTasks);
        }
        let room = job.waiting_tasks < WAITING_TASKS && job.waiting_bytes + payload.len() <= WAITING_BYTES;
        if !room && job.waiting_tasks > 0 {
            return Ok(None);
        }
        job.add(template, payload);
        self.list_job(number);
        Ok(Some(index))
    }

    /// Says that a job gets no more tasks. It must have got one, or have been continued.
    pub(crate) fn close_job(&mut self, number: u64) -> Result<(), Error> {
        let job = self.job(number)?;
        job.close();
        self.list_job(number);
        Ok(())
    }

    /// Adds a task that is a job of its own, in one message.
    pub(crate) fn push_lone(&mut self, number: u64, template: &EncodedTemplate, payload: &[u8]) -> Result<(), Error> {
        self.push(number, template, payload)?;
        self.close_job(number)
    }

    fn job(&mut self, number: u64) -> Result<&mut Job, Error> {
        self.check()?;
        let job = self.jobs.get_mut(&number).ok_or(Error::Nonsense { what: "the job is not known here" })?;
        match &job.error {
            Some(error) => Err(error.clone()),
            None => Ok(job),
        }
    }

    fn list_job(&mut self, number: u64) {
        if self.jobs.get(&number).is_some_and(|job| !job.listed && job.has_something_to_send()) {
            self.list(Item::Job(number));
        }
    }

    pub(super) fn send_job(&mut self, number: u64, out: &mut FromPeerWriter) {
        if let Some(job) = self.jobs.get_mut(&number) {
            job.listed = false;
        }
        while self.jobs.get(&number).is_some_and(Job::has_something_to_send) {
            if out.buffered() >= LINK_BYTES {
                self.list(Item::Job(number));
                return;
            }
            if let Err(error) = self.send_batch(number, out)
                && let Some(job) = self.jobs.get_mut(&number)
            {
                job.error = Some(error.into());
                job.wake.notify_one();
            }
        }
    }

    fn send_batch(&mut self, number: u64, out: &mut FromPeerWriter) -> Result<(), LinkError> {
        let request = self.request(Item::Job(number));
        let Some(job) = self.jobs.get_mut(&number) else { return Ok(()) };
        // The manager looks at the options only when it opens the job.
        let options = job.accepted.is_none().then(|| job.options.clone());
        let mut submit = Submit { request, job_key: Bytes::copy_from_slice(&job.key.0), options, ..Submit::default() };
        if let Some(probe) = &mut job.probe {
            probe.sent = true;
            submit.template = define(&mut self.templates, &probe.template, out)?;
            return out.push(submit);
        }
        if job.sent == job.batches.len() {
            job.close_batch(false);
        }
        job.cut_next();
        if let Some(batch) = job.batches.get(job.sent) {
            job.sent += 1;
            submit.first_index = batch.first;
            submit.count = batch.payloads.count();
            submit.payloads = batch.payloads.bytes().clone();
            submit.last = batch.last;
            submit.delay_milliseconds = milliseconds(job.times.delay);
            submit.deadline_milliseconds = milliseconds(job.times.deadline);
            submit.template = define(&mut self.templates, &batch.template, out)?;
            out.push(submit)?;
        }
        Ok(())
    }

    pub(super) fn accepted(&mut self, accepted: &Accepted) {
        let Some(item @ Item::Job(number)) = self.requests.remove(&accepted.request) else { return };
        if let Some(job) = self.jobs.get_mut(&number) {
            job.accept(accepted);
            job.wake.notify_one();
            if job.has_something_to_send() {
                self.list(item);
            }
        }
    }

    /// Whether the job is to be sent again later.
    pub(super) fn job_refused(&mut self, number: u64, refused: Refused, later: bool) -> bool {
        let Some(job) = self.jobs.get_mut(&number) else { return false };
        let full = refused.code() == Code::ResourceExhaustedNow;
        if later && !(full && job.when_full == WhenFull::Fail) {
            job.unsend();
            job.paused = true;
            job.cautious = true;
            if full && let Some(batch) = job.batches.front() {
                job.most = (batch.payloads.count() / 4).max(1);
            }
            return true;
        }
        // What was sent behind it may be refused for want of it: the first reason is the one to tell.
        job.error.get_or_insert_with(|| Error::from_refused(refused));
        job.wake.notify_one();
        false
    }

    pub(super) fn resume_job(&mut self, number: u64) {
        if let Some(job) = self.jobs.get_mut(&number) {
            job.paused = false;
        }
    }
}

/// A time as it is sent: 0 is none, and the shortest is a millisecond.
fn milliseconds(time: Option<Duration>) -> u64 {
    time.map_or(0, |time| (time.as_millis() as u64).max(1))
}

/// The template's number, for which the manager is told the template first if it doesn't know it.
fn define(
    templates: &mut TemplateNumbers,
    template: &EncodedTemplate,
    out: &mut FromPeerWriter,
) -> Result<u32, LinkError> {
    let (number, definition) = templates.number(template.bytes());
    if let Some(definition) = definition {
        out.push(definition.message)?;
    }
    Ok(number)
}
