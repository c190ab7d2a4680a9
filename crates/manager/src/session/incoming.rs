//! From the connection to the owner.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use task_messenger_core::{
    ids::{JobNumber, LeaseNumber, SessionNumber, TaskId, TokenNumber, WorkerNumber},
    input::{Follow, Input, Named, Resume, Submit, Target},
    limits::NAME,
    record::{Caller, Claim, Idempotency, JobKey, Role, SecretHash},
    values::Values,
};
use task_messenger_protocol::{
    link::Reader,
    messages::{self, FromPeer, from_peer::Message},
    secret::Secret,
};

use super::{Identity, NewToken, Peer, SessionError, Shared, pending::Pending, pulse::Pulse};
use crate::{convert, owner::Event, templates::SessionTemplates};

/// The most ranges that a follow may skip.
const MOST_SKIPS: usize = 100_000;

/// The most leases, and skills, that a worker may name when it comes back.
const MOST_CLAIMS: usize = 1_000_000;

pub(super) async fn read(
    reader: &mut Reader<FromPeer>,
    peer: &Peer,
    shared: &Shared,
    pulse: &Pulse,
    pending: &Pending,
) -> Result<(), SessionError> {
    let mut incoming = Incoming {
        peer,
        session: peer.admitted.session,
        shared,
        pending,
        pulse,
        templates: SessionTemplates::default(),
    };
    loop {
        pulse.reads();
        let Some(message) = reader.next().await? else { return Ok(()) };
        pulse.heard();
        if let Some(event) = incoming.take(message).await? {
            shared.events.send(event).await.map_err(|_| SessionError::Stopping)?;
        }
    }
}

/// Why a submit goes no further.
enum Rejected {
    Invalid(String),
    NoRoom(String),
}

struct Incoming<'a> {
    peer: &'a Peer,
    session: SessionNumber,
    shared: &'a Shared,
    pending: &'a Pending,
    pulse: &'a Pulse,
    templates: SessionTemplates,
}

fn broken(text: impl Into<String>) -> SessionError {
    SessionError::Protocol(text.into())
}

impl Incoming<'_> {
    /// What the owner is told of a message.
    async fn take(&mut self, message: Message) -> Result<Option<Event>, SessionError> {
        match (message, self.peer.admitted.identity) {
            (Message::Ping(ping), _) => {
                self.pulse.pinged(ping.number);
                Ok(Some(Event::Heard(self.session)))
            }
            (Message::Pong(_), _) => Ok(Some(Event::Heard(self.session))),
            (Message::Enrol(enrol), Identity::Joining { token }) => Ok(Some(self.enrol(enrol, token)?)),
            (message, Identity::Worker { worker }) => {
                let input = match message {
                    Message::Resume(resume) => {
                        Input::Resume { session: self.session, worker, resume: self.resume(resume)? }
                    }
                    Message::Window(window) => Input::Window { session: self.session, slots: window.slots },
                    Message::Started(started) => {
                        Input::Started { session: self.session, leases: leases(started.leases) }
                    }
                    Message::GivenBack(back) => Input::GivenBack { session: self.session, leases: leases(back.leases) },
                    Message::Outcomes(outcomes) => self.outcomes(outcomes).await?,
                    other => return Err(broken(format!("a worker sent {}", name_of(&other)))),
                };
                Ok(Some(Event::Input(input)))
            }
            (Message::Reload(reload), Identity::Caller { token, .. }) => {
                let (session, request) = (self.session, reload.request);
                self.pending.begin(request, 0).await;
                Ok(Some(if token.is_none() {
                    Event::Reload { session, request }
                } else {
                    let text = "only its own machine's administrator may have the manager reload".to_owned();
                    Event::Deny { session, request, text }
                }))
            }
            (message, Identity::Caller { caller, role, .. }) => self.take_from_caller(message, caller, role).await,
            (other, Identity::Joining { .. }) => {
                Err(broken(format!("{} came from a peer with a join token, which may only enrol", name_of(&other))))
            }
        }
    }

    async fn take_from_caller(
        &mut self,
        message: Message,
        caller: Caller,
        role: Role,
    ) -> Result<Option<Event>, SessionError> {
        let session = self.session;
        let event = match message {
            Message::DefineTemplate(define) => {
                self.templates.define(&define, self.shared.limits.template_bytes).map_err(broken)?;
                return Ok(None);
            }
            Message::Submit(submit) => {
                let request = submit.request;
                self.pending.begin(request, submit.payloads.len()).await;
                match self.submit(submit, caller).await? {
                    Ok(submit) => Event::Input(Input::Submit { session, request, caller, submit }),
                    Err(Rejected::Invalid(text)) => Event::Refuse { session, request, text },
                    Err(Rejected::NoRoom(text)) => Event::Exhausted { session, request, text },
                }
            }
            Message::Follow(follow) => {
                let request = follow.request;
                let follow = Self::follow(follow)?;
                Event::Input(Input::Follow { session, request, caller, follow })
            }
            Message::FollowCredit(credit) => {
                Event::Input(Input::FollowCredit { session, request: credit.request, more: credit.more })
            }
            Message::Unfollow(unfollow) => Event::Input(Input::Unfollow { session, request: unfollow.request }),
            Message::Query(query) => {
                let request = query.request;
                self.pending.begin(request, 0).await;
                match convert::query(query) {
                    Some(query) => Event::Input(Input::Query { session, request, caller, query }),
                    None => Event::Refuse { session, request, text: "the question is not known here".to_owned() },
                }
            }
            Message::CreateToken(create) if role == Role::Admin => {
                self.pending.begin(create.request, 0).await;
                let Some(role) = create.role().known() else {
                    return Err(broken("a token of no known role was asked for"));
                };
                let expires_in = create.expires_in_milliseconds;
                Event::NewToken(NewToken {
                    session,
                    request: create.request,
                    role,
                    label: create.label,
                    owner: create.owner,
                    expires_in: duration(expires_in),
                    secret: Secret::random().map_err(|error| SessionError::Store(Box::new(error)))?,
                })
            }
            Message::RevokeToken(revoke) if role == Role::Admin => {
                self.pending.begin(revoke.request, 0).await;
                let (token, with_workers) = (TokenNumber(revoke.token), revoke.with_workers);
                Event::Input(Input::RevokeToken { session, request: revoke.request, token, with_workers })
            }
            Message::SetWorker(set) if role == Role::Admin => {
                self.pending.begin(set.request, 0).await;
                let mode = convert::worker_mode(set.mode());
                Event::Input(Input::SetWorker { session, request: set.request, worker: WorkerNumber(set.worker), mode })
            }
            Message::RemoveWorker(remove) if role == Role::Admin => {
                self.pending.begin(remove.request, 0).await;
                let worker = WorkerNumber(remove.worker);
                Event::Input(Input::RemoveWorker { session, request: remove.request, worker })
            }
            Message::Cancel(messages::Cancel { request, job, index_plus_one }) => {
                self.pending.begin(request, 0).await;
                Event::Input(Input::Cancel { session, request, caller, named: named(job, index_plus_one) })
            }
            Message::Retry(messages::Retry { request, job, index_plus_one }) => {
                self.pending.begin(request, 0).await;
                Event::Input(Input::Retry { session, request, caller, named: named(job, index_plus_one) })
            }
            Message::Acknowledge(messages::Acknowledge { request, job }) => {
                self.pending.begin(request, 0).await;
                Event::Input(Input::Acknowledge { session, request, caller, job: JobNumber(job) })
            }
            Message::Purge(messages::Purge { request, older_than_milliseconds }) => {
                self.pending.begin(request, 0).await;
                let older_than = Duration::from_millis(older_than_milliseconds);
                Event::Input(Input::Purge { session, request, caller, older_than })
            }
            Message::CreateToken(messages::CreateToken { request, .. })
            | Message::RevokeToken(messages::RevokeToken { request, .. })
            | Message::SetWorker(messages::SetWorker { request, .. })
            | Message::RemoveWorker(messages::RemoveWorker { request, .. }) => {
                self.pending.begin(request, 0).await;
                Event::Deny { session, request, text: "only an administrator's token may do that".to_owned() }
            }
            other => return Err(broken(format!("a client sent {}", name_of(&other)))),
        };
        Ok(Some(event))
    }

    async fn submit(&self, submit: messages::Submit, caller: Caller) -> Result<Result<Submit, Rejected>, SessionError> {
        let key = job_key(&submit.job_key)?;
        let template = match self.templates.get(submit.template) {
            Ok(template) => template,
            Err(text) => return Ok(Err(Rejected::Invalid(text))),
        };
        let limit = self.shared.limits.payload_bytes;
        let payloads = match Values::check(submit.payloads, submit.count, limit) {
            Ok(payloads) => payloads,
            Err(error) => {
                let text = format!("payloads from index {}: {error}", submit.first_index);
                return Ok(Err(Rejected::Invalid(text)));
            }
        };
        let options = submit.options.unwrap_or_default();
        let idempotency = (!options.idempotency_key.is_empty()).then(|| Idempotency {
            key: short_hash(&[&caller.owner.0.to_le_bytes(), options.idempotency_key.as_bytes()]),
            content: short_hash(&[&(template.body.len() as u64).to_le_bytes(), &template.body, payloads.bytes()]),
        });
        let payloads = match self.shared.externalise_payloads(payloads).await? {
            Ok(payloads) => payloads,
            Err(text) => return Ok(Err(Rejected::NoRoom(text))),
        };
        Ok(Ok(Submit {
            key,
            name: options.name,
            idempotency,
            labels: options.labels,
            first_index: submit.first_index,
            template,
            payloads,
            last: submit.last,
            delay: duration(submit.delay_milliseconds),
            deadline: duration(submit.deadline_milliseconds),
        }))
    }

    fn follow(follow: messages::Follow) -> Result<Follow, SessionError> {
        let target = match follow.target {
            Some(messages::follow::Target::Job(job)) => Target::Number(JobNumber(job)),
            Some(messages::follow::Target::JobKey(key)) => Target::Key(job_key(&key)?),
            None => return Err(broken("a follow names no job")),
        };
        if follow.skip.len() > MOST_SKIPS {
            return Err(broken(format!("a follow skips more than {MOST_SKIPS} ranges")));
        }
        let skip: Vec<_> = follow.skip.iter().map(|range| (range.first, range.count)).collect();
        let ascending = skip.windows(2).all(|pair| match pair {
            [(first, count), (next, _)] => u64::from(*first) + u64::from(*count) <= u64::from(*next),
            _ => true,
        });
        if !ascending {
            return Err(broken("the ranges that a follow skips are not in ascending order"));
        }
        Ok(Follow {
            target,
            skip,
            credit: follow.credit,
            only_end: follow.only_end,
            only_index: follow.only_index_plus_one.checked_sub(1),
            only_present: follow.only_present,
        })
    }

    fn enrol(&self, enrol: messages::Enrol, token: TokenNumber) -> Result<Event, SessionError> {
        let hash = enrol.secret_hash.as_ref().try_into().map_err(|_| broken("a secret's hash has 32 bytes"))?;
        Ok(Event::Input(Input::Enrol {
            session: self.session,
            request: enrol.request,
            token,
            name: enrol.name,
            hash: SecretHash(hash),
        }))
    }

    fn resume(&self, resume: messages::Resume) -> Result<Resume, SessionError> {
        let count = resume.leases.len();
        let fits = resume.jobs.len() == count && resume.indexes.len() == count && count <= MOST_CLAIMS;
        if !fits {
            return Err(broken("the leases that a worker resumes are not described"));
        }
        let claims = resume
            .leases
            .iter()
            .zip(&resume.jobs)
            .zip(&resume.indexes)
            .map(|((lease, job), index)| Claim {
                lease: LeaseNumber(*lease),
                task: TaskId { job: JobNumber(*job), index: *index },
            })
            .collect();
        let Some(incarnation) = resume.incarnation.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)) else {
            return Err(broken("a worker that resumes says which process it is"));
        };
        let skills: BTreeSet<_> = resume.skills.into_iter().take(MOST_CLAIMS).collect();
        Ok(Resume {
            incarnation,
            slots: resume.slots,
            window: resume.window,
            commands: resume.accepts_commands,
            skills,
            claims,
            name: resume.name.chars().filter(|char| !char.is_control()).take(NAME).collect(),
            software: self.peer.software.clone(),
            address: self.peer.address.clone(),
        })
    }

    async fn outcomes(&self, outcomes: messages::Outcomes) -> Result<Input, SessionError> {
        let count = outcomes.leases.len();
        if outcomes.statuses.len() != count || outcomes.statuses.iter().any(|status| !matches!(status, 1 | 2)) {
            return Err(broken("outcomes have a status of 1 or 2 each"));
        }
        let limit = self.shared.limits.outcome_bytes;
        let details = Values::check(outcomes.outcomes, count as u32, limit)
            .map_err(|error| broken(format!("outcomes: {error}")))?;
        let details = self.shared.externalise_outcomes(details, self.session).await?;
        let ends = outcomes
            .leases
            .into_iter()
            .zip(outcomes.statuses)
            .map(|(lease, status)| (LeaseNumber(lease), status == 1))
            .collect();
        Ok(Input::Outcomes { session: self.session, number: outcomes.number, ends, details })
    }
}

/// A task or a whole job.
fn named(job: u64, index_plus_one: u32) -> Named {
    match index_plus_one.checked_sub(1) {
        Some(index) => Named::Task(TaskId { job: JobNumber(job), index }),
        None => Named::Job(JobNumber(job)),
    }
}

fn duration(milliseconds: u64) -> Option<Duration> {
    (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
}

fn leases(numbers: Vec<u64>) -> Vec<LeaseNumber> {
    numbers.into_iter().map(LeaseNumber).collect()
}

fn job_key(bytes: &Bytes) -> Result<JobKey, SessionError> {
    bytes.as_ref().try_into().map(JobKey).map_err(|_| broken("a job's key has 16 bytes"))
}

fn short_hash(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    let mut short = [0; 16];
    short.copy_from_slice(&hasher.finalize()[..16]);
    short
}

/// A message's kind, for an error.
fn name_of(message: &Message) -> String {
    let text = format!("{message:?}");
    text.split('(').next().unwrap_or_default().chars().take(32).collect()
}
