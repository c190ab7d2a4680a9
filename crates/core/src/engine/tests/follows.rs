//! Who follows what, and how much each is told at a time.

use std::time::Duration;

use super::environment::{CALLER, CLIENT, Environment, assigned, results, template};
use crate::{
    effect::{Effect, Refusal},
    engine::Wake,
    ids::{JobNumber, RecordNumber, SessionNumber, TaskId},
    input::{Follow, Input, Named, Target},
    limits::Limits,
    record::JobKey,
};

const OTHER: SessionNumber = SessionNumber(2_000);

fn of(key: u8, credit: u32) -> Follow {
    Follow {
        target: Target::Key(JobKey([key; 16])),
        skip: vec![],
        credit,
        only_end: false,
        only_index: None,
        only_present: false,
    }
}

fn follow(environment: &mut Environment, session: SessionNumber, request: u64, follow: Follow) -> Vec<Effect> {
    environment.input(Input::Follow { session, request, caller: CALLER, follow })
}

fn cancel(environment: &mut Environment, job: u64, index: u32) -> Vec<Effect> {
    let named = Named::Task(TaskId { job: JobNumber(job), index });
    environment.input(Input::Cancel { session: CLIENT, request: 1, caller: CALLER, named })
}

/// Who is told of which indexes.
fn told(effects: &[Effect]) -> Vec<(SessionNumber, u64, Vec<u32>)> {
    let of = |effect: &Effect| match effect {
        Effect::Results { session, request, results, .. } => {
            Some((*session, *request, results.iter().map(|result| result.index).collect()))
        }
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

fn ended(effects: &[Effect]) -> Vec<(u64, bool)> {
    let of = |effect: &Effect| match effect {
        Effect::FollowEnded { request, all, .. } => Some((*request, *all)),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

#[test]
fn everybody_who_follows_is_told_until_he_or_his_session_leaves() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 9, &template(0, 1, 1));
    environment.submit(2, 0, 9, &template(0, 1, 1));
    for (session, request, key) in [(CLIENT, 1, 1), (CLIENT, 2, 1), (OTHER, 1, 1), (OTHER, 2, 2)] {
        assert_eq!(follow(&mut environment, session, request, of(key, 100)), []);
    }
    let mut after = |input, index| {
        if let Some(input) = input {
            environment.input(input);
        }
        let told = told(&cancel(&mut environment, 1, index));
        assert!(told.iter().all(|(_, _, indexes)| *indexes == [index]), "{told:?}");
        told.iter().map(|(session, request, _)| (session.0, *request)).collect::<Vec<_>>()
    };
    let (client, other) = (CLIENT.0, OTHER.0);
    assert_eq!(after(None, 0), [(client, 1), (client, 2), (other, 1)]);
    assert_eq!(after(Some(Input::Unfollow { session: OTHER, request: 9 }), 1).len(), 3);
    assert_eq!(after(Some(Input::Unfollow { session: CLIENT, request: 1 }), 2), [(client, 2), (other, 1)]);
    assert_eq!(after(Some(Input::SessionClosed { session: OTHER }), 3), [(client, 2)]);
    assert_eq!(after(Some(Input::Unfollow { session: CLIENT, request: 2 }), 4), []);
    assert_eq!(told(&cancel(&mut environment, 2, 0)), []);
}

#[test]
fn a_session_follows_so_many_jobs_and_others_are_not_counted() {
    let mut environment = Environment::with(Limits { follows: 2, ..Limits::default() });
    environment.submit(1, 0, 1, &template(0, 1, 1));
    let mut refused = |session, request| {
        let effects = follow(&mut environment, session, request, of(1, 1));
        match effects.first() {
            None => false,
            Some(Effect::Refused { refusal: Refusal::Exhausted { limit: 2, .. }, .. }) => true,
            Some(other) => panic!("{other:?}"),
        }
    };
    assert!(!refused(CLIENT, 1) && !refused(CLIENT, u64::MAX) && refused(CLIENT, 3));
    assert!(!refused(OTHER, 1) && !refused(SessionNumber(CLIENT.0 - 1), 1));
    environment.input(Input::Unfollow { session: CLIENT, request: u64::MAX });
    assert_eq!(follow(&mut environment, CLIENT, 3, of(1, 1)), []);
}

#[test]
fn results_come_in_pieces_within_the_credit_each_once() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 2_500, &template(0, 1, 1));
    environment.close(1);
    let worker = environment.enrol(1);
    let given = assigned(&environment.connect(worker, 1, 2_500, &[]));
    let ends: Vec<_> = given.iter().map(|(_, lease, _)| (*lease, true)).collect();
    // Of the first half is told what is there, of the second as it comes.
    environment.report(1, &ends[..1_250]);
    let first = follow(&mut environment, CLIENT, 7, of(1, 1_200));
    let second = environment.report(1, &ends[1_250..]);
    let third = environment.input(Input::FollowCredit { session: CLIENT, request: 7, more: 1_299 });
    let fourth = environment.input(Input::FollowCredit { session: CLIENT, request: 7, more: 1 });
    let lengths = |effects: &[Effect]| told(effects).iter().map(|(_, _, some)| some.len()).collect::<Vec<_>>();
    assert_eq!((lengths(&first), lengths(&second)), (vec![1_024, 176], vec![]));
    assert_eq!((lengths(&third), lengths(&fourth)), (vec![1_024, 275], vec![1]));
    assert!(ended(&third).is_empty());
    assert_eq!(ended(&fourth), [(7, true)]);
    let all = [first, third, fourth].concat();
    let mut indexes: Vec<u32> = results(&all).iter().map(|result| result.index).collect();
    indexes.sort_unstable();
    assert!(indexes.into_iter().eq(0..2_500));
}

#[test]
fn one_turn_looks_at_so_much_of_a_long_job_and_asks_for_another() {
    let mut environment = Environment::new();
    let count = 16_384 + 10;
    environment.submit(1, 0, count, &template(0, 1, 1));
    for index in [16_383, 16_384, count - 1] {
        cancel(&mut environment, 1, index);
    }
    let mut turn = |input: Option<Input>| {
        let Environment { engine, log, now, .. } = &mut environment;
        if let Some(input) = input {
            engine.handle(*now, input, log);
        }
        engine.settle(*now, log);
        let effects: Vec<_> = std::iter::from_fn(|| engine.poll_effect(RecordNumber(u64::MAX))).collect();
        let more = engine.timeout() == Some((Duration::ZERO, Wake::MoreToDo));
        (results(&effects).iter().map(|result| result.index).collect::<Vec<_>>(), more)
    };
    let input = Input::Follow { session: CLIENT, request: 7, caller: CALLER, follow: of(1, 9) };
    assert_eq!(turn(Some(input)), (vec![16_383], true));
    assert_eq!(turn(None), (vec![16_384, count - 1], false));
    assert_eq!(turn(None), (vec![], false));
}

#[test]
fn a_follow_of_one_task_is_told_it_and_no_other() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 4, &template(0, 1, 1));
    let only = |index| Follow { only_index: Some(index), ..of(1, 5) };
    for index in [4, 9] {
        let effects = follow(&mut environment, CLIENT, 7, only(index));
        assert!(matches!(&effects[0], Effect::Refused { refusal: Refusal::NotFound(_), .. }), "{effects:?}");
    }
    assert_eq!(follow(&mut environment, CLIENT, 7, only(3)), []);
    assert_eq!(follow(&mut environment, OTHER, 7, only(1)), []);
    assert_eq!(told(&cancel(&mut environment, 1, 0)), []);
    assert_eq!(told(&cancel(&mut environment, 1, 2)), []);
    let effects = cancel(&mut environment, 1, 1);
    assert_eq!((told(&effects), ended(&effects)), (vec![(OTHER, 7, vec![1])], vec![(7, false)]));
    let effects = cancel(&mut environment, 1, 3);
    assert_eq!((told(&effects), ended(&effects)), (vec![(CLIENT, 7, vec![3])], vec![(7, false)]));
}

#[test]
fn a_follow_of_the_end_is_told_nothing_else() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 2, &template(0, 1, 1));
    follow(&mut environment, CLIENT, 7, Follow { only_end: true, ..of(1, 5) });
    assert_eq!(told(&cancel(&mut environment, 1, 0)), []);
    let effects = cancel(&mut environment, 1, 1);
    assert!(told(&effects).is_empty() && ended(&effects).is_empty(), "it may get more");
    let effects = environment.close(1);
    assert!(told(&effects).is_empty());
    assert_eq!(ended(&effects), [(7, false)]);
}

#[test]
fn what_a_follow_skips_is_not_told_when_it_ends_either() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 4, &template(0, 1, 1));
    follow(&mut environment, CLIENT, 7, Follow { skip: vec![(1, 2)], ..of(1, 9) });
    let indexes: Vec<_> = (0..4).flat_map(|index| told(&cancel(&mut environment, 1, index))).collect();
    assert_eq!(indexes, [(CLIENT, 7, vec![0]), (CLIENT, 7, vec![3])]);
    assert_eq!(ended(&environment.close(1)), [(7, true)]);
}

#[test]
fn who_follows_a_job_is_told_of_the_tasks_that_come_later() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 1, &template(0, 1, 1));
    follow(&mut environment, CLIENT, 7, of(1, 9));
    environment.submit(1, 1, 2, &template(0, 1, 1));
    assert_eq!(told(&cancel(&mut environment, 1, 2)), [(CLIENT, 7, vec![2])]);
    let named = Named::Job(JobNumber(1));
    let effects = environment.input(Input::Cancel { session: CLIENT, request: 1, caller: CALLER, named });
    assert_eq!((told(&effects), ended(&effects)), (vec![(CLIENT, 7, vec![0, 1])], vec![(7, true)]));
}

#[test]
fn who_cancels_a_job_without_open_tasks_ends_it_for_who_follows() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 1, &template(0, 1, 1));
    cancel(&mut environment, 1, 0);
    follow(&mut environment, CLIENT, 7, of(1, 9));
    let named = Named::Job(JobNumber(1));
    let effects = environment.input(Input::Cancel { session: CLIENT, request: 1, caller: CALLER, named });
    assert_eq!(ended(&effects), [(7, true)]);
}
