//! When the manager wants to be called again, and for what.

use std::time::Duration;

use super::environment::{CALLER, CLIENT, Environment, assigned, submission, template, values};
use crate::{
    effect::Effect,
    engine::Wake,
    ids::{JobNumber, SessionNumber},
    input::{Input, Submit},
    limits::Limits,
};

/// In how much time it wakes, and why.
fn wakes(environment: &Environment) -> Option<(Duration, Wake)> {
    environment.engine.timeout().map(|(at, wake)| (at.saturating_sub(environment.now.monotonic), wake))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn it_wakes_for_what_comes_first_and_for_nothing_when_there_is_nothing() {
    let retain = Some(Duration::from_hours(1));
    let mut environment = Environment::with(Limits { retain, ..Limits::default() });
    assert_eq!(wakes(&environment), None);
    // A clock may be set, so it is looked at every now and then.
    environment.send(Submit { delay: Some(seconds(3_600)), ..submission(1, 0, values(1)) });
    assert_eq!(wakes(&environment), Some((seconds(10), Wake::Clock)));
    environment.pass(seconds(3_597));
    assert_eq!(wakes(&environment), Some((seconds(3), Wake::Clock)));
    environment.pass(seconds(3));
    assert_eq!(wakes(&environment), None, "it is queued");
    environment.send(Submit { deadline: Some(seconds(7)), ..submission(1, 1, values(1)) });
    assert_eq!(wakes(&environment), Some((seconds(7), Wake::Clock)));
    environment.pass(seconds(7));
    assert_eq!(wakes(&environment), None, "it expired");

    let worker = environment.enrol(1);
    let given = assigned(&environment.connect_as(worker, 1, 1, 1, &[]));
    assert_eq!(wakes(&environment), Some((seconds(30), Wake::Silence)));
    environment.pass(seconds(12));
    environment.input(Input::Heard { session: SessionNumber(1) });
    assert_eq!(wakes(&environment), Some((seconds(18), Wake::Silence)), "it looks whether the worker was heard");
    environment.pass(seconds(18));
    assert_eq!(wakes(&environment), Some((seconds(12), Wake::Silence)));
    environment.connect_as(worker, 2, 2, 1, &[]);
    assert_eq!(wakes(&environment), Some((seconds(5), Wake::Probe)));
    environment.input(Input::SessionClosed { session: SessionNumber(2) });
    assert_eq!(wakes(&environment), Some((seconds(12), Wake::Silence)));
    environment.submit(2, 0, 2, &template(0, 1, 2));
    environment.input(Input::Window { session: SessionNumber(1), slots: 2 });
    assert_eq!(wakes(&environment), Some((Duration::from_millis(100), Wake::Balance)));
    environment.report(1, &[(given[0].1, true)]);
    environment.pass(Duration::from_millis(100));
    assert_eq!(wakes(&environment), Some((Duration::from_millis(100), Wake::Balance)), "it holds two still");
    environment.input(Input::Window { session: SessionNumber(1), slots: 0 });
    let held: Vec<_> = environment.engine.state().leases.keys().copied().collect();
    environment.report(1, &[(held[0], false), (held[1], true)]);
    environment.pass(Duration::from_millis(100));
    let Some((wait, Wake::Backoff)) = wakes(&environment) else { panic!("{:?}", wakes(&environment)) };
    assert!((600..1_200).contains(&wait.as_millis()), "{wait:?}");
    environment.pass(wait);
    environment.close(1);
    environment.input(Input::SessionClosed { session: SessionNumber(1) });
    environment.pass(seconds(30));
    // Only the end of the first job is left to wait for.
    assert_eq!(wakes(&environment), Some((seconds(60), Wake::Retention)));
    let (over, _) = environment.engine.state().over[0];
    environment.pass(Duration::from_millis(over.plus(seconds(3_600 - 3)).0 - environment.now.wall.0));
    assert_eq!(wakes(&environment), Some((seconds(3), Wake::Retention)));
    environment.pass(seconds(3));
    assert_eq!(wakes(&environment), None);
}

#[test]
fn a_backoff_begins_again_with_the_manager() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 1, &template(0, 1, 2));
    let worker = environment.enrol(1);
    let given = assigned(&environment.connect(worker, 1, 1, &[]));
    environment.report(1, &[(given[0].1, false)]);
    let wait = environment.engine.state().backing_off.values().copied().next().map(Duration::from_millis).unwrap();
    environment.pass(wait / 2);
    environment.restart();
    assert_eq!(wakes(&environment), Some((wait, Wake::Backoff)));
    environment.connect(worker, 2, 1, &[]);
    assert!(assigned(&environment.pass(wait.checked_sub(Duration::from_millis(1)).unwrap())).is_empty());
    assert_eq!(assigned(&environment.pass(Duration::from_millis(1))).len(), 1);
}

#[test]
fn effects_are_counted_until_they_are_told() {
    let mut environment = Environment::new();
    let submit = submission(1, 0, values(1));
    let input = Input::Submit { session: CLIENT, request: 1, caller: CALLER, submit };
    assert_eq!(environment.engine.waiting_effects(), 0);
    for count in 1..=3 {
        environment.engine.handle(environment.now, input.clone(), &mut environment.log);
        assert_eq!(environment.engine.waiting_effects(), count);
    }
    assert_eq!(environment.turn().len(), 3);
    assert_eq!(environment.engine.waiting_effects(), 0);
}

#[test]
fn a_job_is_forgotten_once_somebody_has_its_results_where_that_is_wanted() {
    for forget_fetched in [true, false] {
        let mut environment = Environment::with(Limits { forget_fetched, ..Limits::default() });
        environment.submit(1, 0, 3, &template(0, 1, 1));
        let worker = environment.enrol(1);
        let given = assigned(&environment.connect(worker, 1, 3, &[]));
        let acknowledge = |environment: &mut Environment, caller| {
            let (session, request, job) = (CLIENT, 4, JobNumber(1));
            environment.input(Input::Acknowledge { session, request, caller, job }).remove(0)
        };
        let changed = |tasks| Effect::Changed { session: CLIENT, request: 4, tasks, running: 0 };
        let ends: Vec<_> = given.iter().map(|(_, lease, _)| (*lease, true)).collect();
        environment.report(1, &ends);
        assert_eq!(acknowledge(&mut environment, CALLER), changed(0), "it may get more");
        environment.close(1);
        let other = crate::record::Caller { owner: crate::ids::OwnerNumber(7), admin: false };
        assert!(matches!(acknowledge(&mut environment, other), Effect::Refused { .. }));
        assert_eq!(acknowledge(&mut environment, CALLER), changed(if forget_fetched { 3 } else { 0 }));
        assert_eq!(environment.engine.state().jobs.is_empty(), forget_fetched);
    }
}
