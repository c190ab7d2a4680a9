//! Tokens and enrolment.

use std::time::Duration;

use super::Engine;
use crate::{
    effect::{CloseReason, Effect, Refusal},
    ids::{OwnerNumber, SessionNumber, TokenNumber, WorkerNumber},
    limits::NAME,
    record::{Log, Record, ReleaseReason, Role, SecretHash, WorkerMode},
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
        with_workers: bool,
        log: &mut impl Log,
    ) -> Result<(), Refusal> {
        let Some(known) = self.state.access.token_at(token) else {
            return Err(Refusal::NotFound(format!("there is no token {token}; `token list` shows them")));
        };
        if known.revoked.is_none() {
            self.commit(log, &Record::TokenRevoked { token, time: now.wall });
        }
        if with_workers {
            let enrolled = self.state.access.workers().filter(|(_, worker)| worker.token == token);
            let workers: Vec<WorkerNumber> = enrolled.map(|(number, _)| number).collect();
            for worker in workers {
                self.throw_out(now, worker, log);
            }
        }
        self.tell(Effect::TokenRevoked { session, request, token });
        Ok(())
    }

    pub(super) fn remove_worker(
        &mut self,
        now: Now,
        session: SessionNumber,
        request: u64,
        worker: WorkerNumber,
        log: &mut impl Log,
    ) -> Result<(), Refusal> {
        self.known_worker(worker)?;
        self.throw_out(now, worker, log);
        self.tell(Effect::WorkerChanged { session, request, used: 0 });
        Ok(())
    }

    /// Lets a worker in no more: its session ends, and its leases go back at nobody's charge.
    fn throw_out(&mut self, now: Now, worker: WorkerNumber, log: &mut impl Log) {
        if self.state.access.worker_at(worker).is_none_or(|known| known.removed.is_some()) {
            return;
        }
        self.commit(log, &Record::WorkerRemoved { worker, time: now.wall });
        if let Some(newcomer) = self.newcomers.remove(&worker) {
            self.close(newcomer.session, CloseReason::Removed);
        }
        if let Some(session) = self.presences.get_mut(&worker).and_then(|presence| presence.session.take()) {
            self.sessions.remove(&session);
            self.close(session, CloseReason::Removed);
        }
        self.parted.remove(&worker);
        let leases = self.leases_of(worker);
        self.release(now, &leases, ReleaseReason::Removed, log);
        self.update_room(worker);
    }

    pub(super) fn set_worker(
        &mut self,
        session: SessionNumber,
        request: u64,
        worker: WorkerNumber,
        mode: WorkerMode,
        log: &mut impl Log,
    ) -> Result<(), Refusal> {
        let known = self.known_worker(worker)?;
        if known != mode {
            self.commit(log, &Record::WorkerSet { worker, mode });
            if let Some(presence) = self.presences.get_mut(&worker) {
                presence.mode = mode;
            }
            self.update_room(worker);
            if mode != WorkerMode::Active {
                self.ask_back_all(worker);
            }
        }
        let used = self.presences.get(&worker).map_or(0, |presence| presence.used);
        self.tell(Effect::WorkerChanged { session, request, used });
        Ok(())
    }

    /// What a worker that was not removed gets.
    fn known_worker(&self, worker: WorkerNumber) -> Result<WorkerMode, Refusal> {
        let known = self.state.access.worker_at(worker).filter(|known| known.removed.is_none());
        known.map(|known| known.mode).ok_or_else(|| {
            Refusal::NotFound(format!("there is no worker {worker}; `task-messenger workers` shows them"))
        })
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
            if self.state.access.worker(worker, hash).is_err() {
                return Err(Refusal::Denied("this worker was removed: join anew, as another worker".to_owned()));
            }
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
