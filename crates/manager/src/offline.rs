//! Administration on the manager's own machine: through its local socket while it runs, otherwise by its own hands.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use task_messenger_core::{
    effect::Effect,
    ids::{OwnerNumber, SessionNumber, TokenNumber},
    input::Input,
    query::{Answer, Query},
    record::{Caller, Role},
};
use task_messenger_daemon::local::{LocalError, connect_local};
use task_messenger_protocol::{
    link::{Connected, greet, hello},
    messages::{
        self, CreateToken, LocalProof, RevokeToken, TokenSummary, TokensQuestion, from_manager, hello::Credential,
        query::Question,
    },
    secret::Secret,
};
use task_messenger_store::journal::Durability;

use crate::{
    config::Config,
    convert, owner,
    run::SOFTWARE,
    state::{self, State},
};

/// What an administrator wants.
#[derive(Clone, Debug)]
pub enum Request {
    /// A new token.
    Create {
        /// What it allows.
        role: Role,
        /// What people call it.
        label: String,
        /// Whom it stands for; empty: an owner of its own.
        owner: String,
        /// For how long it lets anybody in.
        expires_in: Option<Duration>,
    },
    /// All tokens.
    List,
    /// Loading the configuration anew: only of a manager that runs.
    Reload,
    /// Revoking a token.
    Revoke {
        /// Its number.
        token: u32,
        /// Whether the workers that enrolled with it are removed too.
        with_workers: bool,
    },
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Response {
    /// The token as text, and its number.
    Created {
        /// To be pasted; shown once.
        text: String,
        /// Its number.
        token: u32,
    },
    /// All tokens.
    Tokens(Vec<TokenSummary>),
    /// The configuration was loaded anew.
    Reloaded {
        /// The keys that have a new value now.
        changed: Vec<String>,
        /// The keys that get theirs at the next start.
        restart: Vec<String>,
    },
    /// It is revoked.
    Revoked,
}

/// Asks the running manager, or opens its state if none runs.
pub fn administer(config: &Config, request: &Request) -> Result<Response> {
    let directory = config.state_directory()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(connect_local(&directory, "manager")) {
        Ok(stream) => runtime.block_on(async {
            let hello = hello(SOFTWARE, &[], Credential::Local(LocalProof {}));
            ask(greet(stream, &hello).await?, request).await
        }),
        Err(LocalError::NotRunning { .. }) if !matches!(request, Request::Reload) => alone(config, request),
        Err(error) => Err(error.into()),
    }
}

async fn ask(mut manager: Connected, request: &Request) -> Result<Response> {
    match request.clone() {
        Request::Create { role, label, owner, expires_in } => manager.writer.push(CreateToken {
            request: 1,
            role: messages::Role::from(role).into(),
            label,
            expires_in_milliseconds: expires_in.map_or(0, |after| after.as_millis() as u64),
            owner,
        })?,
        Request::List => {
            let question = Some(Question::Tokens(TokensQuestion {}));
            manager.writer.push(messages::Query { request: 1, question })?;
        }
        Request::Reload => manager.writer.push(messages::Reload { request: 1 })?,
        Request::Revoke { token, with_workers } => {
            manager.writer.push(RevokeToken { request: 1, token, with_workers })?;
        }
    }
    manager.writer.flush().await?;
    while let Some(message) = manager.reader.next().await? {
        match message {
            from_manager::Message::TokenCreated(created) => {
                return Ok(Response::Created { text: created.text, token: created.token });
            }
            from_manager::Message::TokenRevoked(_) => return Ok(Response::Revoked),
            from_manager::Message::Reloaded(messages::Reloaded { changed, restart, .. }) => {
                return Ok(Response::Reloaded { changed, restart });
            }
            from_manager::Message::Answer(messages::Answer {
                answer: Some(messages::answer::Answer::Tokens(tokens)),
                ..
            }) => return Ok(Response::Tokens(tokens.tokens)),
            from_manager::Message::Refused(refused) => bail!(refused.text),
            from_manager::Message::Goodbye(goodbye) => bail!(goodbye.text),
            _ => {}
        }
    }
    Err(anyhow!("the manager closed its local socket before it answered"))
}

/// No manager runs: this process is the manager for a moment.
fn alone(config: &Config, request: &Request) -> Result<Response> {
    let state = State::open(config)?;
    let listening = state::read_listening(&state.directory).unwrap_or_default();
    let tokens = state::token_maker(config, &state.trust, &listening);
    let (mut engine, mut store, _, _, _lock) = state.into_parts();
    let now = owner::now(Instant::now());
    let weak = store.front.durability() != Durability::Strict;
    engine.start(now, weak, &mut store.front);

    let session = SessionNumber(0);
    let secret = Secret::random()?;
    let input = match request.clone() {
        Request::Create { role, label, owner, expires_in } => {
            Input::CreateToken { session, request: 1, role, label, owner, expires_in, hash: secret.hash() }
        }
        Request::List => {
            let caller = Caller { owner: OwnerNumber(u32::MAX), admin: true };
            Input::Query { session, request: 1, caller, query: Query::Tokens }
        }
        Request::Revoke { token, with_workers } => {
            Input::RevokeToken { session, request: 1, token: TokenNumber(token), with_workers }
        }
        Request::Reload => bail!("only a manager that runs can load its configuration anew"),
    };
    engine.handle(now, input, &mut store.front);
    let blocks = store.front.take_blocks();
    let progress = store.writer.write(blocks, true).context("the journal could not be written")?;
    store.front.progress(progress);
    let effect = engine.poll_effect(store.front.told_through());
    store.writer.close().context("the journal could not be closed")?;
    match (effect, request) {
        (Some(Effect::TokenCreated { token, .. }), Request::Create { role, .. }) => {
            Ok(Response::Created { text: tokens.text(*role, token, secret)?, token: token.0 })
        }
        (Some(Effect::TokenRevoked { .. }), _) => Ok(Response::Revoked),
        (Some(Effect::Answer { answer: Answer::Tokens(tokens), .. }), _) => {
            Ok(Response::Tokens(tokens.into_iter().map(convert::token).collect()))
        }
        (Some(Effect::Refused { refusal, .. }), _) => Err(refusal.into()),
        (other, _) => Err(anyhow!("the scheduler answered with {other:?}")),
    }
}
