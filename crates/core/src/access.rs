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

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(byte: u8) -> SecretHash {
        SecretHash([byte; 32])
    }

    /// Two owners; a token that expires, and an admin's; two workers of the first.
    fn access() -> Access {
        let mut access = Access::default();
        access.add_owner("ann");
        access.add_owner("bob");
        for (role, owner, secret, expires) in [(Role::Client, 0, 1, Some(WallTime(100))), (Role::Admin, 1, 2, None)] {
            let (owner, hash, created) = (OwnerNumber(owner), hash(secret), WallTime(5));
            let label = format!("token {secret}");
            access.add_token(Token { role, owner, hash, label, created, expires, revoked: None, workers: 0 });
        }
        for secret in [7, 8] {
            access.add_worker(EnrolledWorker {
                token: TokenNumber(0),
                hash: hash(secret),
                name: format!("worker {secret}"),
                enrolled: WallTime(9),
                incarnation: 0,
                mode: WorkerMode::Active,
                removed: None,
            });
        }
        access
    }

    #[test]
    fn a_token_lets_in_who_has_its_secret_until_it_expires_or_is_revoked() {
        let mut access = access();
        let enter = |access: &Access, number, secret, now| {
            access.token(TokenNumber(number), hash(secret), WallTime(now)).map(|token| token.label.clone())
        };
        assert_eq!(enter(&access, 0, 1, 99).unwrap(), "token 1");
        assert_eq!(enter(&access, 0, 1, 100), Err(Denied::Expired));
        assert_eq!(enter(&access, 0, 2, 99), Err(Denied::Unknown));
        assert_eq!(enter(&access, 2, 1, 99), Err(Denied::Unknown));
        assert_eq!(enter(&access, 1, 2, u64::MAX).unwrap(), "token 2");
        access.revoke(TokenNumber(0), WallTime(50));
        access.revoke(TokenNumber(0), WallTime(60));
        access.revoke(TokenNumber(9), WallTime(60));
        assert_eq!(enter(&access, 0, 1, 40), Err(Denied::Revoked));
        assert_eq!(access.token_at(TokenNumber(0)).unwrap().revoked, Some(WallTime(50)), "the first time counts");
        assert!(enter(&access, 1, 2, 99).is_ok());
    }

    #[test]
    fn a_worker_is_known_by_number_and_secret_until_it_is_removed() {
        let mut access = access();
        let enter = |access: &Access, number, secret| {
            access.worker(WorkerNumber(number), hash(secret)).map(|worker| worker.name.clone())
        };
        assert_eq!(enter(&access, 0, 7).unwrap(), "worker 7");
        assert_eq!(enter(&access, 1, 8).unwrap(), "worker 8");
        assert_eq!(enter(&access, 1, 7), Err(Denied::UnknownWorker));
        assert_eq!(enter(&access, 2, 8), Err(Denied::UnknownWorker));
        access.worker_mut(WorkerNumber(1)).unwrap().removed = Some(WallTime(10));
        assert_eq!(enter(&access, 1, 8), Err(Denied::Removed));
        assert!(enter(&access, 0, 7).is_ok());
    }

    #[test]
    fn everything_is_numbered_in_order_and_found_by_name_and_secret() {
        let access = access();
        assert_eq!(access.owner_named("bob"), Some(OwnerNumber(1)));
        assert_eq!((access.owner_named("eve"), access.owner_named("ann")), (None, Some(OwnerNumber(0))));
        assert_eq!((access.owner(OwnerNumber(1)), access.owner(OwnerNumber(2))), ("bob", ""));
        assert_eq!(access.worker_with(hash(8)), Some(WorkerNumber(1)));
        assert_eq!(access.worker_with(hash(1)), None, "that is a token's");
        let tokens: Vec<_> = access.tokens().map(|(number, token)| (number.0, token.workers)).collect();
        assert_eq!(tokens, [(0, 2), (1, 0)], "both workers enrolled with the first");
        let workers: Vec<_> = access.workers().map(|(number, worker)| (number.0, &worker.name[..])).collect();
        assert_eq!(workers, [(0, "worker 7"), (1, "worker 8")]);
        assert_eq!(access.owners().map(|(number, name)| (number.0, name)).last(), Some((1, "bob")));
        assert_eq!((access.next_owner().0, access.next_token().0, access.next_worker().0), (2, 2, 2));
        let callers = access.tokens().map(|(_, token)| token.caller()).collect::<Vec<_>>();
        assert_eq!(
            callers,
            [Caller { owner: OwnerNumber(0), admin: false }, Caller { owner: OwnerNumber(1), admin: true }]
        );
    }
}
