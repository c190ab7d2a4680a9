//! What the owner passes on once it may be told.

use bytes::Bytes;
use task_messenger_core::{
    effect::{Assigned, CloseReason, Effect, Refusal},
    ids::{SessionNumber, TokenNumber},
    query::Answer,
};
use task_messenger_protocol::messages::{self, Code, Reason};

use super::Owner;
use crate::{
    convert,
    session::{Identity, Outgoing},
};

impl Owner {
    /// Passes on what may be told: first what lets workers begin, then what clients wait for, last what nobody waits for.
    /// Each message that leaves wakes a process, which on a small machine delays the next one.
    pub(super) fn deliver(&mut self) {
        let (mut to_clients, mut acknowledgements) = (Vec::new(), Vec::new());
        while let Some(effect) = self.engine.poll_effect(self.front.told_through()) {
            match effect {
                Effect::Assign { .. }
                | Effect::Resumed { .. }
                | Effect::Cancel { .. }
                | Effect::TakeBack { .. }
                | Effect::Probe { .. }
                | Effect::Enrolled { .. }
                | Effect::Close { .. } => self.carry_out(effect),
                Effect::OutcomesTaken { .. } => acknowledgements.push(effect),
                _ => to_clients.push(effect),
            }
        }
        for effect in to_clients.into_iter().chain(acknowledgements) {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Accepted { session, request, job, next_index, digest, closed } => {
                let accepted = messages::Accepted { request, job: job.0, next_index, digest, closed };
                self.answer(session, request, accepted);
            }
            Effect::Refused { session, request, refusal } => {
                self.new_tokens.remove(&(session, request));
                if matches!(refusal, Refusal::Exhausted { .. }) {
                    self.watching.turned_away();
                }
                self.answer(session, request, convert::refused(request, &refusal));
            }
            Effect::Results { session, request, job, results } => {
                let pin = self.shrinking.pin();
                self.send(session, Outgoing::Results { request, job, results, pin });
            }
            Effect::FollowEnded { session, request, job, all } => {
                let acknowledge = all && self.forgets_fetched;
                let ended = messages::FollowEnded { request, job: Some(convert::job(job)), acknowledge };
                self.send(session, Outgoing::Message(ended.into()));
            }
            Effect::AskArchive { session, request, caller, question } => {
                self.ask_archive(session, request, caller, question);
            }
            Effect::Answer { session, request, answer: Answer::Status(status) } => {
                self.answer_status(session, request, &status);
            }
            Effect::Answer { session, request, answer } => {
                self.answer(session, request, convert::answer(request, answer));
            }
            Effect::Enrolled { session, request, worker } => {
                let store = self.about.store.to_vec().into();
                let enrolled = messages::Enrolled { request, worker: worker.0, store };
                self.send(session, Outgoing::Message(enrolled.into()));
            }
            Effect::Resumed { session, dropped } => {
                self.tell_connected(session, dropped.len());
                let dropped = dropped.into_iter().map(|lease| lease.0).collect();
                self.send(session, Outgoing::Message(messages::Resumed { dropped }.into()));
            }
            Effect::Assign { session, first_lease, tasks, decided } => {
                let after = self.started.elapsed().saturating_sub(decided);
                self.watching.dispatched(after, tasks.len());
                let templates = self.templates_of(&tasks);
                let pin = self.shrinking.pin();
                self.send(session, Outgoing::Assign { first_lease, tasks, templates, pin });
            }
            Effect::OutcomesTaken { session, number } => {
                self.send(session, Outgoing::Message(messages::OutcomesTaken { number }.into()));
            }
            Effect::TokenCreated { session, request, token } => self.token_created(session, request, token),
            Effect::TokenRevoked { session, request, token } => {
                self.answer(session, request, messages::TokenRevoked { request });
                self.end_sessions_of(token);
            }
            Effect::Changed { session, request, tasks, running } => self.changed(session, request, tasks, running),
            Effect::WorkerChanged { session, request, used } => {
                self.answer(session, request, messages::WorkerChanged { request, slots_used: used });
            }
            Effect::Cancel { session, leases } => {
                let leases = leases.into_iter().map(|lease| lease.0).collect();
                self.send(session, Outgoing::Message(messages::CancelLeases { leases }.into()));
            }
            Effect::TakeBack { session, leases } => {
                let leases = leases.into_iter().map(|lease| lease.0).collect();
                self.send(session, Outgoing::Message(messages::TakeBack { leases }.into()));
            }
            Effect::Probe { session } => {
                self.send(session, Outgoing::Message(messages::Ping { number: 0 }.into()));
            }
            Effect::Close { session, reason } => {
                if reason == CloseReason::Clone {
                    self.warn_of_clone(session);
                }
                let (reason, text) = convert::close_reason(reason);
                self.close(session, reason, text);
            }
        }
    }

    /// The encoded template of each run of tasks that share one.
    fn templates_of(&self, tasks: &[Assigned]) -> Vec<Bytes> {
        let templates = &self.engine.state().templates;
        let body = |run: &[Assigned]| templates.get(run[0].template).map(|template| template.body.clone());
        tasks.chunk_by(|a, b| a.template == b.template).map(|run| body(run).unwrap_or_default()).collect()
    }

    fn token_created(&mut self, session: SessionNumber, request: u64, token: TokenNumber) {
        let Some((role, secret)) = self.new_tokens.remove(&(session, request)) else { return };
        match self.tokens.text(role, token, secret) {
            Ok(text) => {
                let created = messages::TokenCreated { request, text, token: token.0 };
                self.answer(session, request, created);
            }
            Err(error) => self.refuse(session, request, Code::FailedPrecondition, error.to_string()),
        }
    }

    /// A revoked token lets nobody stay. (A worker that enrolled with it has an identity of its own.)
    fn end_sessions_of(&mut self, token: TokenNumber) {
        let ended: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, handle)| match handle.identity {
                Identity::Caller { token: own, .. } => own == Some(token),
                Identity::Joining { token: own } => own == token,
                Identity::Worker { .. } => false,
            })
            .map(|(session, _)| *session)
            .collect();
        for session in ended {
            self.close(session, Reason::Unauthenticated, "the token was revoked");
        }
    }
}
