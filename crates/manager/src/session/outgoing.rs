//! From the owner to the connection.

use std::time::Instant;

use bytes::Bytes;
use task_messenger_core::{
    effect::{Assigned, TaskResult},
    ids::{JobNumber, LeaseNumber},
    values::ValuesBuilder,
};
use task_messenger_protocol::{
    link::Writer,
    messages::{Assign, FromManager, Ping, Pong, Results, Run},
    template::TemplateNumbers,
};
use tokio::{
    sync::mpsc,
    time::{Interval, MissedTickBehavior},
};

use super::{Outgoing, SessionError, Shared, pending::Pending, pulse::Pulse};

/// Messages taken at a time before they are sent.
const BATCH: usize = 64;
/// Bytes of values in one message: a larger batch is cut, so that the peer begins before all of it is there.
const MESSAGE_BYTES: u64 = 128 * 1024;
/// A peer that speaks but takes nothing for this many times the silence limit does not read. Less would cut slow links: the
/// system's own buffers may hold megabytes, and report room only when a good part of them is free.
const STALL: u32 = 4;
/// Bytes that are gathered before they are sent.
const GATHERED_BYTES: usize = 512 * 1024;

pub(super) async fn write(
    writer: &mut Writer<FromManager>,
    mut messages: mpsc::Receiver<Outgoing>,
    shared: &Shared,
    pulse: &Pulse,
    pending: &Pending,
) -> Result<(), SessionError> {
    let mut outgoing = Writing::new(writer, shared, pulse);
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            count = messages.recv_many(&mut batch, BATCH) => {
                if count == 0 {
                    return Err(SessionError::Stopping);
                }
            }
            result = outgoing.show_life() => result?,
        }
        for message in batch.drain(..) {
            if let Outgoing::Close { reason, text } = message {
                return Err(SessionError::Closed { reason, text });
            }
            if let Outgoing::Answer { request, .. } = &message {
                pending.end(*request);
            }
            outgoing.push(message).await?;
            outgoing.relieve().await?;
        }
        outgoing.flush().await?;
    }
}

struct Writing<'a> {
    writer: &'a mut Writer<FromManager>,
    shared: &'a Shared,
    pulse: &'a Pulse,
    ticks: Interval,
    pings: u64,
    templates: TemplateNumbers,
}

impl<'a> Writing<'a> {
    fn new(writer: &'a mut Writer<FromManager>, shared: &'a Shared, pulse: &'a Pulse) -> Self {
        let mut ticks = tokio::time::interval(shared.silence / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { writer, shared, pulse, ticks, pings: 0, templates: TemplateNumbers::default() }
    }

    /// Waits until the peer is to see that the manager lives, and says so; an error if the peer itself is silent.
    async fn show_life(&mut self) -> Result<(), SessionError> {
        tokio::select! {
            _ = self.ticks.tick() => {
                if self.pulse.silence() > self.shared.silence {
                    return Err(SessionError::Silent(self.shared.silence));
                }
                self.pings += 1;
                self.writer.push_urgent(Ping { number: self.pings })?;
            }
            number = self.pulse.next_ping() => self.writer.push_urgent(Pong { number })?,
        }
        Ok(())
    }

    async fn push(&mut self, message: Outgoing) -> Result<(), SessionError> {
        match message {
            Outgoing::Message(message) | Outgoing::Answer { message, .. } => self.writer.push(message)?,
            Outgoing::Page { message, _written } => {
                self.writer.push(message)?;
                self.flush().await?;
            }
            Outgoing::Assign { first_lease, tasks, templates, pin: _pin } => {
                self.assign(first_lease, &tasks, &templates).await?;
            }
            Outgoing::Results { request, job, results, pin: _pin } => self.results(request, job, &results).await?,
            Outgoing::Close { .. } => {}
        }
        Ok(())
    }

    /// Sends what has gathered, with signs of life between the parts of something large.
    async fn flush(&mut self) -> Result<(), SessionError> {
        let mut left = self.writer.buffered();
        let mut progress = Instant::now();
        loop {
            tokio::select! {
                result = self.writer.flush() => return Ok(result?),
                _ = self.ticks.tick() => {
                    // Signs of life don't count: they may fit into a buffer where nothing else does.
                    if self.writer.buffered() < left {
                        progress = Instant::now();
                        left = self.writer.buffered();
                    }
                    let silence = self.shared.silence;
                    if self.pulse.silence() > silence {
                        return Err(SessionError::Silent(silence));
                    }
                    if progress.elapsed() > silence * STALL {
                        return Err(SessionError::Stalled(silence * STALL));
                    }
                    self.pings += 1;
                    self.writer.push_urgent(Ping { number: self.pings })?;
                }
                number = self.pulse.next_ping() => self.writer.push_urgent(Pong { number })?,
            }
        }
    }

    async fn assign(
        &mut self,
        first_lease: LeaseNumber,
        tasks: &[Assigned],
        templates: &[Bytes],
    ) -> Result<(), SessionError> {
        let places: Vec<_> = tasks.iter().map(|task| task.payload).collect();
        let mut values = self.shared.look_up(&places).await?.into_iter();
        let mut gathered = Gathered { first_lease: first_lease.0, ..Gathered::default() };
        for (of_template, template) in tasks.chunk_by(|a, b| a.template == b.template).zip(templates) {
            let (number, definition) = self.templates.number(template);
            if let Some(definition) = definition {
                if definition.replaces {
                    self.push_gathered(&mut gathered)?;
                }
                self.writer.push(definition.message)?;
            }
            for (task, value) in of_template.iter().zip(&mut values) {
                let payload = self.shared.load(value).await?;
                gathered.bytes += payload.len() as u64;
                gathered.payloads.push(&payload);
                extend(&mut gathered.runs, task, number);
                if gathered.bytes >= MESSAGE_BYTES {
                    self.push_gathered(&mut gathered)?;
                    self.relieve().await?;
                }
            }
        }
        self.push_gathered(&mut gathered)?;
        self.relieve().await
    }

    /// Hands over what was gathered.
    fn push_gathered(&mut self, gathered: &mut Gathered) -> Result<(), SessionError> {
        let count = u64::from(gathered.payloads.count());
        if count == 0 {
            return Ok(());
        }
        let payloads = gathered.payloads.take().bytes().clone();
        let runs = std::mem::take(&mut gathered.runs);
        self.writer.push(Assign { first_lease: gathered.first_lease, runs, payloads })?;
        gathered.first_lease += count;
        gathered.bytes = 0;
        Ok(())
    }

    /// Sends what has gathered, if it is much.
    async fn relieve(&mut self) -> Result<(), SessionError> {
        if self.writer.buffered() > GATHERED_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn results(&mut self, request: u64, job: JobNumber, results: &[TaskResult]) -> Result<(), SessionError> {
        let places: Vec<_> = results.iter().filter_map(|result| result.outcome).collect();
        let mut values = self.shared.look_up(&places).await?.into_iter();
        let mut message = Results { request, job: job.0, ..Results::default() };
        let mut states = Vec::new();
        let mut outcomes = ValuesBuilder::default();
        let mut bytes = 0;
        for (at, result) in results.iter().enumerate() {
            let outcome = match result.outcome.and_then(|_| values.next()) {
                Some(value) => self.shared.load(value).await?,
                None => Bytes::new(),
            };
            bytes += outcome.len() as u64;
            message.indexes.push(result.index);
            message.attempts.push(result.attempts);
            states.push(result.state as u8);
            outcomes.push(&outcome);
            if bytes >= MESSAGE_BYTES || at + 1 == results.len() {
                message.states = std::mem::take(&mut states).into();
                message.outcomes = outcomes.take().bytes().clone();
                let full = std::mem::replace(&mut message, Results { request, job: job.0, ..Results::default() });
                self.writer.push(full)?;
                bytes = 0;
                self.relieve().await?;
            }
        }
        Ok(())
    }
}

/// Tasks on their way into one message.
#[derive(Default)]
struct Gathered {
    first_lease: u64,
    payloads: ValuesBuilder,
    runs: Vec<Run>,
    bytes: u64,
}

/// Adds a task to the last run if it continues it, otherwise as a new run.
fn extend(runs: &mut Vec<Run>, task: &Assigned, template: u32) {
    if let Some(run) = runs.last_mut()
        && run.template == template
        && run.job == task.task.job.0
        && run.first_index + run.count == task.task.index
        && run.attempt == task.attempt
    {
        run.count += 1;
        return;
    }
    runs.push(Run { template, job: task.task.job.0, first_index: task.task.index, count: 1, attempt: task.attempt });
}
