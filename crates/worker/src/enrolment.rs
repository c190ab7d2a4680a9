//! Exchanging a join token for an identity.

use std::time::Duration;

use bytes::Bytes;
use task_messenger_protocol::{
    credential::{WorkerCredential, token_proof},
    link::{self, LinkError},
    messages::{Code, Enrol, from_manager::Message, hello::Credential},
    secret::{NoRandomness, Secret},
    token::Token,
};
use tokio::time::{sleep, timeout};

use crate::backoff::Backoff;

/// How long the manager may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// The program, as managers see it in their logs.
pub(crate) const SOFTWARE: &str = concat!("task-messenger-worker ", env!("CARGO_PKG_VERSION"));

/// Why a worker could not enrol.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolmentError {
    /// There is no link.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The manager said no.
    #[error("the manager refused: {text}")]
    Refused {
        /// Why.
        text: String,
        /// Whether it is only for now.
        for_now: bool,
    },
    /// The manager's answer is not one.
    #[error("the manager's answer can't be used: its store has {length} bytes instead of 16")]
    Answer {
        /// How many bytes.
        length: usize,
    },
    /// No secret could be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl EnrolmentError {
    /// Whether the manager may let the worker in later, when nobody changes anything here.
    pub(crate) fn retry_can_help(&self) -> bool {
        match self {
            Self::Link(error) => error.retry_can_help(),
            Self::Refused { for_now, .. } => *for_now,
            Self::Answer { .. } | Self::NoRandomness(_) => false,
        }
    }

    /// Whether the token itself lets nobody in.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Link(_)) && !self.retry_can_help()
    }
}

/// A worker that enrols. Its secret is made once: an answer that got lost is given again.
#[derive(Debug)]
pub(crate) struct Enrolment {
    token: Token,
    addresses: Vec<String>,
    name: String,
    secret: Secret,
}

impl Enrolment {
    /// With a token, at `managers` or, when there are none, where the token says.
    pub(crate) fn new(token: Token, managers: &[String], name: &str) -> Result<Self, EnrolmentError> {
        let addresses = if managers.is_empty() { token.addresses.clone() } else { managers.to_vec() };
        Ok(Self { token, addresses, name: name.to_owned(), secret: Secret::random()? })
    }

    /// The same worker, by a configuration that was loaded anew.
    pub(crate) fn with(&mut self, managers: &[String], name: &str) -> &mut Self {
        self.addresses = if managers.is_empty() { self.token.addresses.clone() } else { managers.to_vec() };
        name.clone_into(&mut self.name);
        self
    }

    /// Tries once.
    pub(crate) async fn attempt(&self) -> Result<WorkerCredential, EnrolmentError> {
        let proof = token_proof(self.token.number, &self.token.secret);
        let hello = link::hello(SOFTWARE, &[], Credential::Token(proof));
        let mut link = link::connect(&self.addresses, &self.token.trust, &hello).await?;
        let secret_hash = Bytes::copy_from_slice(&self.secret.hash().0);
        link.writer.push(Enrol { request: 1, name: self.name.clone(), secret_hash })?;
        let answer = async {
            link.writer.flush().await?;
            loop {
                match link.reader.next().await? {
                    Some(Message::Enrolled(enrolled)) => return Ok((enrolled.worker, enrolled.store)),
                    Some(Message::Refused(refused)) => {
                        let for_now = matches!(refused.code(), Code::ResourceExhaustedNow | Code::Unavailable);
                        return Err(EnrolmentError::Refused { text: refused.text, for_now });
                    }
                    Some(Message::Goodbye(goodbye)) => {
                        let reason = goodbye.reason();
                        return Err(LinkError::Goodbye { reason, text: goodbye.text }.into());
                    }
                    Some(_) => (),
                    None => return Err(LinkError::Closed.into()),
                }
            }
        };
        let (worker, store) = match timeout(ANSWER, answer).await {
            Ok(answer) => answer?,
            Err(_) => return Err(LinkError::TimedOut { what: "the manager's answer", limit: ANSWER }.into()),
        };
        let store = store.as_ref().try_into().map_err(|_| EnrolmentError::Answer { length: store.len() })?;
        // Said or found, these addresses have just led to the manager.
        let addresses = self.addresses.clone();
        Ok(WorkerCredential { addresses, trust: self.token.trust.clone(), store, worker, secret: self.secret.clone() })
    }

    /// Tries until the manager can be reached; `waiting` is told each new reason why it can't.
    pub(crate) async fn insist(&self, mut waiting: impl FnMut(&str)) -> Result<WorkerCredential, EnrolmentError> {
        let mut backoff = Backoff::default();
        let mut told = String::new();
        loop {
            match self.attempt().await {
                Err(error) if error.retry_can_help() => {
                    let text = error.to_string();
                    if text != told {
                        waiting(&text);
                        told = text;
                    }
                }
                other => return other,
            }
            sleep(backoff.next()).await;
        }
    }
}
