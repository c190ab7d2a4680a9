//! What leaves the manager: effects that passed the gate, with the bytes that lie in the journal.

use bytes::Bytes;
use task_messenger_core::{
    digest::INLINE_LIMIT,
    effect::{CloseReason, Effect, Refusal},
    ids::Place,
    input::Input,
    values::{self, Value, Values, ValuesBuilder},
};
use task_messenger_store::blobs::BlobError;

use crate::{
    manager::{Manager, Process},
    network::{Down, HandedOut, ToldResult},
    stage::{Checked, Stage, Violation},
};

impl Process {
    /// Puts large values into files of their own.
    pub(super) fn externalize(&self, input: Input) -> Result<Input, BlobError> {
        Ok(match input {
            Input::Submit { session, request, caller, mut submit } => {
                submit.payloads = self.externalize_values(submit.payloads)?;
                Input::Submit { session, request, caller, submit }
            }
            Input::Outcomes { session, number, ends, details } => {
                let details = self.externalize_values(details)?;
                Input::Outcomes { session, number, ends, details }
            }
            other => other,
        })
    }

    fn externalize_values(&self, values: Values) -> Result<Values, BlobError> {
        if values.layout().all(|(_, length)| length <= INLINE_LIMIT) {
            return Ok(values);
        }
        let mut builder = ValuesBuilder::default();
        for (_, value) in values.iter() {
            match &value {
                Value::Inline(bytes) if value.len() > INLINE_LIMIT => {
                    builder.push_external(self.store.blobs.write(bytes)?, value.len());
                }
                _ => builder.push_value(&value),
            }
        }
        Ok(builder.take())
    }
}

impl Manager {
    /// Lets go what may be told.
    pub(super) fn tell(&mut self, stage: &mut Stage) -> Checked {
        loop {
            let durable = self.told_through();
            let Some(effect) = self.process.as_mut().and_then(|process| process.engine.poll_effect(durable)) else {
                return Ok(());
            };
            stage.trace.say(stage.now, || format!("told: {effect:?}"));
            self.tell_one(stage, effect)?;
        }
    }

    pub(super) fn tell_one(&mut self, stage: &mut Stage, effect: Effect) -> Checked {
        if let Effect::AskArchive { session, request, caller, question } = effect {
            return self.answer_from_archive(stage, session, request, caller, question);
        }
        let reference = &self.reference;
        let session = match &effect {
            Effect::Accepted { session, job, next_index, digest, closed, .. } => {
                stage.model.told_accepted(reference, *job, *next_index, *digest, *closed)?;
                *session
            }
            Effect::Refused { session, refusal, .. } => {
                stage.totals.refused += 1;
                if let Refusal::OtherContent { job } = refusal {
                    stage.totals.other_content += 1;
                    stage.model.told_other_content(reference, *job)?;
                }
                *session
            }
            Effect::Results { session, request, job, results } => {
                let mut told = Vec::new();
                for result in results {
                    let outcome = match result.outcome {
                        Some(place) => Some(self.value(stage, place)?),
                        None => None,
                    };
                    let (index, state, attempts) = (result.index, result.state, result.attempts);
                    let result = ToldResult { index, state, attempts, outcome };
                    stage.model.told_result(reference, *job, &result)?;
                    told.push(result);
                }
                stage.totals.results += told.len() as u64;
                stage.send_down(*session, Down::Results { request: *request, job: *job, results: told });
                return Ok(());
            }
            Effect::Assign { session, first_lease, tasks, .. } => {
                let mut handed = Vec::new();
                for (lease, assigned) in (first_lease.0..).zip(tasks) {
                    let payload = self.value(stage, assigned.payload)?;
                    let process = self.process.as_ref();
                    let template = process.and_then(|process| process.engine.state().templates.get(assigned.template));
                    let template = template.map(|template| template.body.clone()).unwrap_or_default();
                    let (task, attempt) = (assigned.task, assigned.attempt);
                    handed.push(HandedOut {
                        lease: task_messenger_core::ids::LeaseNumber(lease),
                        task,
                        attempt,
                        template,
                        payload,
                    });
                }
                let worker = self.process.as_ref().and_then(|process| process.sessions.workers.get(session)).copied();
                stage.model.told_assigned(reference, worker, &handed)?;
                stage.send_down(*session, Down::Assign(handed));
                return Ok(());
            }
            Effect::OutcomesTaken { session, number } => {
                let reports = self.process.as_mut().and_then(|process| process.reports.remove(&(*session, *number)));
                stage.model.told_taken(reference, &reports.unwrap_or_default());
                *session
            }
            Effect::Resumed { session, dropped } => {
                stage.totals.dropped += dropped.len() as u64;
                *session
            }
            Effect::Answer { session, answer, .. } => {
                stage.totals.answers += 1;
                stage.model.told_answer(reference, answer)?;
                *session
            }
            Effect::Enrolled { session, request, worker } => {
                let enrolling =
                    self.process.as_mut().and_then(|process| process.enrolling.remove(&(*session, *request)));
                stage.model.told_enrolled(enrolling.unwrap_or_default(), *worker)?;
                *session
            }
            Effect::TokenCreated { token, .. } => {
                stage.model.told_token(*token);
                if token.0 == 0 || token.0 as usize > stage.scenario.clients {
                    stage.model.join = Some(*token);
                }
                return Ok(());
            }
            Effect::FollowEnded { session, .. }
            | Effect::AskArchive { session, .. }
            | Effect::Cancel { session, .. }
            | Effect::TakeBack { session, .. }
            | Effect::Probe { session } => *session,
            Effect::Changed { session, request, .. }
            | Effect::WorkerChanged { session, request, .. }
            | Effect::TokenRevoked { session, request, .. } => {
                let change = self.process.as_mut().and_then(|process| process.changing.remove(&(*session, *request)));
                if let Some(change) = change {
                    stage.model.told_changed(&change);
                }
                *session
            }
            Effect::Close { session, reason } => {
                stage.totals.clones += u64::from(*reason == CloseReason::Clone);
                if let Some(process) = &mut self.process {
                    process.sessions.told(*session, *reason)?;
                }
                stage.send_down(*session, Down::Plain(effect.clone()));
                stage.end_session(*session);
                return Ok(());
            }
        };
        stage.send_down(session, Down::Plain(effect));
        Ok(())
    }

    /// The value at a place, as the journal has it.
    pub(super) fn value(&self, stage: &mut Stage, place: Place) -> Checked<Bytes> {
        let Some(process) = &self.process else { return Ok(Bytes::new()) };
        if process.store.reader.cached(place).is_none() {
            stage.totals.read_back += 1;
        }
        let mut found = Vec::new();
        let read = process.store.reader.read_many(&[place], &mut found);
        // Told before it is in the journal: whether that is a lie, the next crash says.
        let value = found.pop().or_else(|| self.unwritten(place));
        match value {
            Some(Value::Inline(bytes)) => Ok(bytes),
            Some(Value::External { file, .. }) => {
                process.store.blobs.read(file).map_err(|error| Violation(format!("{place} cannot be read: {error:?}")))
            }
            None => Err(Violation(format!("nothing can be read at {place}: {read:?}"))),
        }
    }

    /// The value at a place that no block is written for yet.
    fn unwritten(&self, place: Place) -> Option<Value> {
        let durable = self.told_through().0 as usize;
        self.reference.records.get(durable..)?.iter().find_map(|(record, start)| {
            let values = record.values()?;
            let offset = place.0.checked_sub(start.0)? as usize;
            values::decode(values.bytes(), offset).map(|(value, _)| value)
        })
    }
}
