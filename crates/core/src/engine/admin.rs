//! Tokens and enrolment.

use std::time::Duration;

use super::Engine;
use crate::{
    effect::{Effect, Refusal},
    ids::{OwnerNumber, SessionNumber, TokenNumber},
    limits::NAME,
    record::{Log, Record, Role, SecretHash},
    time::Now,
};

impl Engine {
    #[expect(clippy::too_many_arguments, reason = "the fields of one input")]
    pub(super) fn create_token(
        &mut self,
        now: Now,
        session: SessionNumber,
        request: u64,
        role: Role,
        label: String,
        owner: String,
        expires_in: Option<Duration>,
        hash: SecretHash,
        log: &mut impl Log,
    ) -> Result<(), Refusal> {
        check_name("label", &label)?;
        check_name("owner", &owner)?;
        let number = self.state.access.next_token();
        if number.0 >= self.limits.tokens {
            return Err(exhausted("tokens", self.limits.tokens));
        }
        // `token-N` is the owner that token N gets by itself: naming it joins that one, and can't anticipate it.
        let reserved = owner.strip_prefix("token-").is_some_and(|number| number.parse::<u32>().is_ok());
        if reserved && self.state.access.owner_named(&owner).is_none() {
            return Err(Refusal::Invalid(format!(
                "there is no owner {owner} yet, and a name like this comes with its token"
            )));
        }
        let owner = if owner.is_empty() { format!("token-{number}") } else { owner };
        let owner = self.intern_owner(&owner, log);
        let expires = expires_in.map(|after| now.wall.plus(after));
        self.commit(log, &Record::TokenCreated { number, role, owner, hash, label, expires, time: now.wall });
        self.tell(Effect::TokenCreated { session, request, token: number });
        Ok(())
    }

    pub(super) fn revoke_token(
        &mut self,
        now: Now,
        session: SessionNumber,
        request: u64,
        token: TokenNumber,
        log: &mut impl Log,
    ) -> Result<(), Refusal> {
        let Some(known) = self.state.access.token_at(token) else {
            return Err(Refusal::NotFound(format!("there is no token {token}; `token list` shows them")));
        };
        if known.revoked.is_none() {
            self.commit(log, &Record::TokenRevoked { token, time: now.wall });
        }
        self.tell(Effect::TokenRevoked { session, request, token });
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one input")]
    pub(super) fn enrol(
        &mut self,
        now: Now,
        session: SessionNumber,
        request: u64,
        token: TokenNumber,
        name: String,
        hash: SecretHash,
        log: &mut impl Log,
    ) -> Result<(), Refusal> {
        if let Some(worker) = self.state.access.worker_with(hash) {
            self.tell(Effect::Enrolled { session, request, worker });
            return Ok(());
        }
        check_name("worker's name", &name)?;
        let allowed = self.state.access.token_at(token).is_some_and(|token| {
            let expired = token.expires.is_some_and(|expires| expires <= now.wall);
            token.role == Role::Worker && token.revoked.is_none() && !expired
        });
        if !allowed {
            return Err(Refusal::Denied("the token enrols no worker (any more): ask for a new join token".to_owned()));
        }
        let number = self.state.access.next_worker();
        if number.0 >= self.limits.workers {
            return Err(exhausted("enrolled workers", self.limits.workers));
        }
        self.commit(log, &Record::WorkerEnrolled { number, token, hash, name, time: now.wall });
        self.tell(Effect::Enrolled { session, request, worker: number });
        Ok(())
    }

    fn intern_owner(&mut self, name: &str, log: &mut impl Log) -> OwnerNumber {
        if let Some(owner) = self.state.access.owner_named(name) {
            return owner;
        }
        let number = self.state.access.next_owner();
        self.commit(log, &Record::OwnerAdded { number, name: name.to_owned() });
        number
    }
}

pub(super) fn check_name(what: &str, name: &str) -> Result<(), Refusal> {
    if name.len() > NAME || name.chars().any(char::is_control) {
        return Err(Refusal::Invalid(format!("a {what} has at most {NAME} bytes and no control characters")));
    }
    Ok(())
}

fn exhausted(what: &'static str, limit: u32) -> Refusal {
    Refusal::Exhausted { what, limit: u64::from(limit), retry_after: Duration::from_mins(1) }
}
