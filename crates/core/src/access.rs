//! Who is let in: owners, tokens and enrolled workers. Only hashes of secrets are kept.

use rustc_hash::FxHashMap;

use crate::{
    ids::{OwnerNumber, TokenNumber, WorkerNumber},
    record::{Caller, Role, SecretHash, WorkerMode},
    time::WallTime,
};

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it allows.
    pub role: Role,
    /// Whom it stands for.
    pub owner: OwnerNumber,
    /// SHA-256 of its secret.
    pub hash: SecretHash,
    /// What people call it.
    pub label: String,
    /// When it was created.
    pub created: WallTime,
    /// From when on it lets nobody in.
    pub expires: Option<WallTime>,
    /// When it was revoked.
    pub revoked: Option<WallTime>,
    /// How many workers enrolled with it.
    pub workers: u32,
}

/// An enrolled worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolledWorker {
    /// With which token.
    pub token: TokenNumber,
    /// SHA-256 of its secret.
    pub hash: SecretHash,
    /// What people call it.
    pub name: String,
    /// When.
    pub enrolled: WallTime,
    /// The process that connected last; 0 before the first.
    pub incarnation: u64,
    /// What it gets.
    pub mode: WorkerMode,
    /// When it was removed.
    pub removed: Option<WallTime>,
}

/// Owners, tokens and workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    owners: Vec<String>,
    tokens: Vec<Token>,
    workers: Vec<EnrolledWorker>,
    by_hash: FxHashMap<SecretHash, WorkerNumber>,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Denied {
    /// No such token, or not its secret. Which of the two is not told.
    #[error("the token is not one of this manager's")]
    Unknown,
    /// It was revoked.
    #[error("the token was revoked")]
    Revoked,
    /// It is too old.
    #[error("the token has expired")]
    Expired,
    /// No such worker, or not its secret.
    #[error("the worker is not enrolled with this manager")]
    UnknownWorker,
    /// It was enrolled.
    #[error("the worker was removed")]
    Removed,
}

impl Access {
    /// The token that `secret` proves, if it still lets anybody in.
    pub fn token(&self, number: TokenNumber, secret: SecretHash, now: WallTime) -> Result<&Token, Denied> {
        let token = self.tokens.get(number.0 as usize).filter(|token| token.hash == secret).ok_or(Denied::Unknown)?;
        if token.revoked.is_some() {
            return Err(Denied::Revoked);
        }
        if token.expires.is_some_and(|expires| expires <= now) {
            return Err(Denied::Expired);
        }
        Ok(token)
    }

    /// Checks an enrolled worker's secret.
    pub fn worker(&self, number: WorkerNumber, secret: SecretHash) -> Result<&EnrolledWorker, Denied> {
        let worker = self.workers.get(number.0 as usize).filter(|worker| worker.hash == secret);
        let worker = worker.ok_or(Denied::UnknownWorker)?;
        if worker.removed.is_some() { Err(Denied::Removed) } else { Ok(worker) }
    }

    /// A token by number.
    pub fn token_at(&self, number: TokenNumber) -> Option<&Token> {
        self.tokens.get(number.0 as usize)
    }

    /// A worker by number.
    pub fn worker_at(&self, number: WorkerNumber) -> Option<&EnrolledWorker> {
        self.workers.get(number.0 as usize)
    }

    /// The worker that enrolled with this secret.
    pub fn worker_with(&self, hash: SecretHash) -> Option<WorkerNumber> {
        self.by_hash.get(&hash).copied()
    }

    /// An owner's name.
    pub fn owner(&self, number: OwnerNumber) -> &str {
        self.owners.get(number.0 as usize).map_or("", String::as_str)
    }

    /// The owner with this name.
    pub fn owner_named(&self, name: &str) -> Option<OwnerNumber> {
        self.owners.iter().position(|owner| owner == name).map(|at| OwnerNumber(at as u32))
    }

    /// The names of all owners.
    pub fn owners(&self) -> impl Iterator<Item = (OwnerNumber, &str)> {
        self.owners.iter().enumerate().map(|(at, name)| (OwnerNumber(at as u32), name.as_str()))
    }

    /// All tokens.
    pub fn tokens(&self) -> impl Iterator<Item = (TokenNumber, &Token)> {
        self.tokens.iter().enumerate().map(|(at, token)| (TokenNumber(at as u32), token))
    }

    /// All workers.
    pub fn workers(&self) -> impl Iterator<Item = (WorkerNumber, &EnrolledWorker)> {
        self.workers.iter().enumerate().map(|(at, worker)| (WorkerNumber(at as u32), worker))
    }

    /// The number that the next owner gets.
    pub fn next_owner(&self) -> OwnerNumber {
        OwnerNumber(self.owners.len() as u32)
    }

    /// The number that the next token gets.
    pub fn next_token(&self) -> TokenNumber {
        TokenNumber(self.tokens.len() as u32)
    }

    /// The number that the next worker gets.
    pub fn next_worker(&self) -> WorkerNumber {
        WorkerNumber(self.workers.len() as u32)
    }

    pub(crate) fn add_owner(&mut self, name: &str) {
        self.owners.push(name.to_owned());
    }

    pub(crate) fn add_token(&mut self, token: Token) {
        self.tokens.push(token);
    }

    pub(crate) fn revoke(&mut self, number: TokenNumber, time: WallTime) {
        if let Some(token) = self.tokens.get_mut(number.0 as usize) {
            token.revoked.get_or_insert(time);
        }
    }

    pub(crate) fn worker_mut(&mut self, number: WorkerNumber) -> Option<&mut EnrolledWorker> {
        self.workers.get_mut(number.0 as usize)
    }

    pub(crate) fn add_worker(&mut self, worker: EnrolledWorker) {
        if let Some(token) = self.tokens.get_mut(worker.token.0 as usize) {
            token.workers += 1;
        }
        self.by_hash.insert(worker.hash, self.next_worker());
        self.workers.push(worker);
    }
}

impl Token {
    /// The one who calls with it.
    pub fn caller(&self) -> Caller {
        Caller { owner: self.owner, admin: self.role == Role::Admin }
    }
}
