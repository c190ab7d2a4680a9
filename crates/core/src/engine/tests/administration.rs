//! Tokens, and who enrols with them.

use std::time::Duration;

use super::environment::{CALLER, CLIENT, Environment, assigned, template};
use crate::{
    effect::{CloseReason, Effect, Refusal},
    ids::{SessionNumber, TokenNumber, WorkerNumber},
    input::Input,
    limits::Limits,
    query::{Answer, Query, TokenSummary},
    record::{Caller, Record, Role, SecretHash},
    task::TaskState,
};

const HOUR: Duration = Duration::from_hours(1);

fn create(environment: &mut Environment, role: Role, owner: &str, expires_in: Option<Duration>) -> Effect {
    let secret = environment.engine.state().access.next_token().0 as u8;
    let (label, owner, hash) = (format!("for {owner}"), owner.to_owned(), SecretHash([secret; 32]));
    environment
        .input(Input::CreateToken { session: CLIENT, request: 3, role, label, owner, expires_in, hash })
        .remove(0)
}

fn enrol(environment: &mut Environment, token: u32, secret: u8) -> Result<u32, String> {
    let (name, hash) = (format!("worker {secret}"), SecretHash([secret; 32]));
    let input = Input::Enrol { session: CLIENT, request: 4, token: TokenNumber(token), name, hash };
    match environment.input(input).remove(0) {
        Effect::Enrolled { session: CLIENT, request: 4, worker } => Ok(worker.0),
        Effect::Refused { session: CLIENT, request: 4, refusal } => Err(refusal.to_string()),
        other => panic!("{other:?}"),
    }
}

fn revoke(environment: &mut Environment, token: u32, with_workers: bool) -> Vec<Effect> {
    environment.input(Input::RevokeToken { session: CLIENT, request: 5, token: TokenNumber(token), with_workers })
}

fn tokens(environment: &mut Environment) -> Vec<TokenSummary> {
    let caller = Caller { admin: true, ..CALLER };
    let input = Input::Query { session: CLIENT, request: 6, caller, query: Query::Tokens };
    match environment.input(input).remove(0) {
        Effect::Answer { answer: Answer::Tokens(tokens), .. } => tokens,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_a_join_token_enrols_and_only_until_it_expires_or_is_revoked() {
    let mut environment = Environment::new();
    create(&mut environment, Role::Worker, "", Some(HOUR));
    create(&mut environment, Role::Client, "", None);
    create(&mut environment, Role::Admin, "", None);
    create(&mut environment, Role::Worker, "", None);
    assert_eq!(enrol(&mut environment, 0, 10), Ok(0));
    assert_eq!(enrol(&mut environment, 3, 11), Ok(1));
    for token in [1, 2, 9] {
        assert!(enrol(&mut environment, token, 12).is_err(), "token {token}");
    }
    environment.pass(HOUR.checked_sub(Duration::from_millis(1)).unwrap());
    assert_eq!(enrol(&mut environment, 0, 13), Ok(2));
    environment.pass(Duration::from_millis(1));
    assert!(enrol(&mut environment, 0, 14).unwrap_err().contains("new join token"));
    revoke(&mut environment, 3, false);
    assert!(enrol(&mut environment, 3, 15).unwrap_err().contains("new join token"));
    // Who has enrolled is a worker still, and who repeats it is told so.
    assert_eq!((enrol(&mut environment, 0, 10), enrol(&mut environment, 3, 11)), (Ok(0), Ok(1)));
    environment.input(Input::RemoveWorker { session: CLIENT, request: 1, worker: WorkerNumber(1) });
    assert!(enrol(&mut environment, 3, 11).unwrap_err().contains("was removed"));
    let enrolled: Vec<u32> = tokens(&mut environment).iter().map(|token| token.workers).collect();
    assert_eq!(enrolled, [2, 0, 0, 1]);
}

#[test]
fn tokens_that_name_the_same_owner_share_it_and_a_nameless_one_gets_its_own() {
    let mut environment = Environment::new();
    let now = environment.now.wall;
    for owner in ["ann", "", "ann", "token-1", "token-x"] {
        let effect = create(&mut environment, Role::Client, owner, Some(HOUR));
        assert!(matches!(effect, Effect::TokenCreated { session: CLIENT, request: 3, .. }), "{owner}: {effect:?}");
    }
    for owner in ["token-9", "token-5"] {
        let refused = create(&mut environment, Role::Client, owner, None);
        assert!(matches!(refused, Effect::Refused { refusal: Refusal::Invalid(_), .. }), "{owner}: {refused:?}");
    }
    revoke(&mut environment, 2, false);
    let listed = tokens(&mut environment);
    let owners: Vec<&str> = listed.iter().map(|token| &token.owner[..]).collect();
    assert_eq!(owners, ["ann", "token-1", "ann", "token-1", "token-x"]);
    let third = TokenSummary {
        token: TokenNumber(2),
        role: Role::Client,
        label: "for ann".to_owned(),
        owner: "ann".to_owned(),
        created: now,
        expires: Some(now.plus(HOUR)),
        revoked: true,
        workers: 0,
    };
    assert_eq!((&listed[2], listed[0].revoked), (&third, false));
    let owners: Vec<_> = environment.engine.state().access.tokens().map(|(_, token)| token.owner.0).collect();
    assert_eq!(owners, [0, 1, 0, 1, 2], "each has its number once");
    let denied = environment.input(Input::Query { session: CLIENT, request: 6, caller: CALLER, query: Query::Tokens });
    assert!(matches!(denied[0], Effect::Refused { refusal: Refusal::Denied(_), .. }), "{denied:?}");
}

#[test]
fn names_are_short_and_printable() {
    let mut environment = Environment::new();
    let mut refused = |label: &str, owner: &str| {
        let (role, label, owner) = (Role::Worker, label.to_owned(), owner.to_owned());
        let hash = SecretHash([0; 32]);
        let input = Input::CreateToken { session: CLIENT, request: 1, role, label, owner, expires_in: None, hash };
        matches!(environment.input(input)[0], Effect::Refused { refusal: Refusal::Invalid(_), .. })
    };
    let (longest, longer) = ("n".repeat(256), "n".repeat(257));
    assert!(!refused(&longest, "") && !refused("", &longest));
    for bad in [&longer, "a\nb", "\u{1b}"] {
        assert!(refused(bad, "") && refused("", bad), "{bad:?}");
    }
    let mut enrols = |name: &str| {
        let (token, hash) = (TokenNumber(0), SecretHash([name.len() as u8; 32]));
        let input = Input::Enrol { session: CLIENT, request: 1, token, name: name.to_owned(), hash };
        matches!(environment.input(input)[0], Effect::Enrolled { .. })
    };
    assert!(enrols("") && enrols(&longest[1..]) && !enrols(&longer) && !enrols("\t"));
}

#[test]
fn tokens_and_workers_are_bounded() {
    let mut environment = Environment::with(Limits { tokens: 2, workers: 2, ..Limits::default() });
    let made: Vec<_> = (0..3).map(|_| create(&mut environment, Role::Worker, "", None)).collect();
    assert!(matches!(made[1], Effect::TokenCreated { token: TokenNumber(1), .. }), "{made:?}");
    assert!(
        matches!(&made[2], Effect::Refused { refusal: Refusal::Exhausted { limit: 2, retry_after, .. }, .. }
            if *retry_after > Duration::ZERO),
        "{made:?}"
    );
    assert_eq!((enrol(&mut environment, 0, 7), enrol(&mut environment, 1, 8)), (Ok(0), Ok(1)));
    assert!(enrol(&mut environment, 0, 9).unwrap_err().contains("limit of 2"));
    assert_eq!(enrol(&mut environment, 0, 7), Ok(0), "who is enrolled already needs no room");
}

#[test]
fn a_token_is_revoked_with_its_workers_or_without_them_and_others_stay() {
    let mut environment = Environment::new();
    create(&mut environment, Role::Worker, "", None);
    create(&mut environment, Role::Worker, "", None);
    for (token, secret) in [(0, 10), (1, 11), (0, 12)] {
        enrol(&mut environment, token, secret).unwrap();
    }
    environment.submit(1, 0, 3, &template(0, 1, 3));
    for worker in 0..3 {
        let given = environment.connect_as(WorkerNumber(worker), 1, u64::from(worker) + 1, 1, &[]);
        assert_eq!(assigned(&given).len(), 1);
    }
    // Another process waits to be told whether it is a clone.
    environment.connect_as(WorkerNumber(2), 2, 4, 1, &[]);
    let revoked = Effect::TokenRevoked { session: CLIENT, request: 5, token: TokenNumber(0) };
    assert_eq!(revoke(&mut environment, 0, false), std::slice::from_ref(&revoked), "no worker is touched");
    let time = environment.now.wall;
    environment.pass(Duration::from_secs(1));
    let effects = revoke(&mut environment, 0, true);
    let closed = |session| Effect::Close { session: SessionNumber(session), reason: CloseReason::Removed };
    assert_eq!(effects, [closed(1), closed(4), closed(3), revoked]);
    let counts = environment.engine.state().counts;
    assert_eq!((counts.get(TaskState::Running), counts.get(TaskState::Queued)), (1, 2));
    assert!(environment.engine.state().tasks.iter().all(|(_, task)| task.failures == 0 && task.crashes() == 0));
    let revocations = environment.log.0.iter().filter(|(record, _)| matches!(record, Record::TokenRevoked { .. }));
    assert_eq!(revocations.count(), 1, "it is revoked once");
    assert_eq!(environment.engine.state().access.token_at(TokenNumber(0)).unwrap().revoked, Some(time));
    // Again, with nobody left, and one that there is not.
    assert_eq!(revoke(&mut environment, 0, true).len(), 1);
    let unknown = revoke(&mut environment, 7, true);
    assert!(matches!(unknown[0], Effect::Refused { refusal: Refusal::NotFound(_), .. }), "{unknown:?}");
}

#[test]
fn a_worker_that_is_not_there_is_neither_set_nor_removed() {
    let mut environment = Environment::new();
    let worker = environment.enrol(1);
    let mut remove = |worker| environment.input(Input::RemoveWorker { session: CLIENT, request: 1, worker }).remove(0);
    let gone = |effect| matches!(effect, Effect::Refused { refusal: Refusal::NotFound(_), .. });
    assert!(gone(remove(WorkerNumber(5))));
    assert_eq!(remove(worker), Effect::WorkerChanged { session: CLIENT, request: 1, used: 0 });
    assert!(gone(remove(worker)), "once");
}
