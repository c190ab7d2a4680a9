//! A worker without a program that notes its leases, and says at once that everything has succeeded.

use std::collections::VecDeque;

use bytes::Bytes;
use prost::Message as _;
use task_messenger_client::{JobNumber, Outcome, TaskId};
use task_messenger_protocol::{
    credential::token_proof,
    link::{LinkError, connect, hello},
    messages::{Enrol, Outcomes, Pong, Resume, WorkerProof, from_manager::Message, hello::Credential, outcome::Ending},
    secret::Secret,
    token::Token,
    values::ValuesBuilder,
};

use crate::harness::Site;

/// What it hears.
#[derive(Debug)]
pub(super) enum Heard {
    /// It holds a task under this lease.
    Leased(u64),
    /// What it said of these tasks was taken.
    Taken(Vec<TaskId>),
}

/// A worker's identity.
pub(super) struct Witness {
    token: Token,
    addresses: [String; 1],
    worker: u32,
    secret: Secret,
    store: Bytes,
}

impl Witness {
    pub(super) async fn enrol(site: &Site) -> Self {
        let token = Token::parse(&site.token("worker")).unwrap();
        let addresses = [site.address().to_string()];
        let secret = Secret::random().unwrap();
        let greeting = hello("witness 1.0", &[], Credential::Token(token_proof(token.number, &token.secret)));
        let mut link = connect(&addresses, &token.trust, &greeting).await.unwrap();
        let secret_hash = secret.hash().0.to_vec().into();
        link.writer.push(Enrol { request: 1, name: "witness".to_owned(), secret_hash }).unwrap();
        link.writer.flush().await.unwrap();
        loop {
            match link.reader.next().await.unwrap() {
                Some(Message::Enrolled(enrolled)) => {
                    return Self { token, addresses, worker: enrolled.worker, secret, store: enrolled.store };
                }
                Some(_) => {}
                None => panic!("it is not enrolled"),
            }
        }
    }

    /// Works until there is no link any more, or `hear` says that it is enough.
    pub(super) async fn work(&self, mut hear: impl FnMut(Heard) -> bool) -> Result<(), LinkError> {
        let proof = WorkerProof { worker: self.worker, secret: self.secret.expose().to_vec().into() };
        let greeting = hello("witness 1.0", &self.store, Credential::Worker(proof));
        let mut link = connect(&self.addresses, &self.token.trust, &greeting).await?;
        let incarnation = vec![7; 16].into();
        link.writer.push(Resume { incarnation, slots: 2, window: 2, accepts_commands: true, ..Resume::default() })?;
        link.writer.flush().await?;
        // What it has said and nobody has taken, by the numbers of the messages; they come back in order.
        let mut said = VecDeque::new();
        let mut messages = 0;
        while let Some(message) = link.reader.next().await? {
            match message {
                Message::Assign(assign) => {
                    let runs = assign.runs.iter();
                    let tasks: Vec<TaskId> = runs
                        .flat_map(|run| {
                            let job = JobNumber(run.job);
                            (run.first_index..run.first_index + run.count).map(move |index| TaskId { job, index })
                        })
                        .collect();
                    let leases: Vec<u64> = (assign.first_lease..).take(tasks.len()).collect();
                    for lease in &leases {
                        if hear(Heard::Leased(*lease)) {
                            return Ok(());
                        }
                    }
                    messages += 1;
                    link.writer.push(succeeded(messages, leases))?;
                    said.push_back((messages, tasks));
                }
                Message::OutcomesTaken(taken) => {
                    while let Some((_, tasks)) = said.pop_front_if(|(number, _)| *number <= taken.number) {
                        if hear(Heard::Taken(tasks)) {
                            return Ok(());
                        }
                    }
                }
                Message::Ping(ping) => link.writer.push(Pong { number: ping.number })?,
                // Everything was reported when it came: there is nothing to give back or to stop.
                _ => {}
            }
            link.writer.flush().await?;
        }
        Ok(())
    }
}

fn succeeded(number: u64, leases: Vec<u64>) -> Outcomes {
    let outcome = Outcome { ending: Ending::Exited.into(), output: "seen".into(), ..Outcome::default() };
    let mut outcomes = ValuesBuilder::default();
    for _ in &leases {
        outcomes.push(&outcome.encode_to_vec());
    }
    let statuses = vec![1; leases.len()].into();
    Outcomes { number, leases, statuses, outcomes: outcomes.take().bytes().clone() }
}
