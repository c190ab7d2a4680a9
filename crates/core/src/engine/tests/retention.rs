//! Jobs that are over leave.

use std::time::Duration;

use super::environment::{CALLER, CLIENT, Environment, assigned, template};
use crate::{
    effect::{Effect, Refusal},
    ids::{JobNumber, OwnerNumber},
    input::{Follow, Input, Named, Target},
    limits::Limits,
    record::{Caller, Idempotency, JobKey},
};

const HOUR: Duration = Duration::from_hours(1);
const BIT_LESS: Duration = Duration::from_millis(3_599_999);
const BIT_LESS_THAN_HALF: Duration = Duration::from_millis(1_799_999);

fn with(retain: Option<Duration>, finished_tasks: u64) -> Environment {
    // The worker may be silent all the while.
    let limits = Limits { retain, finished_tasks, lease_grace: 100 * HOUR, ..Limits::default() };
    let mut environment = Environment::with(limits);
    let worker = environment.enrol(1);
    environment.connect(worker, 1, 100, &[]);
    environment
}

/// Submits a job, closes it, and runs it to its end.
fn run(environment: &mut Environment, key: u8, count: u32) {
    let given = assigned(&environment.submit(key, 0, count, &template(0, 1, 1)));
    environment.close(key);
    let ends: Vec<_> = given.iter().map(|(_, lease, _)| (*lease, true)).collect();
    environment.report(1, &ends);
}

fn kept(environment: &Environment) -> (Vec<u64>, u64) {
    let state = environment.engine.state();
    (state.jobs.iter().map(|job| job.number.0).collect(), state.counts.total())
}

#[test]
fn jobs_that_are_over_for_long_enough_are_forgotten_and_others_are_not() {
    let mut environment = with(Some(HOUR), u64::MAX);
    run(&mut environment, 1, 5);
    environment.submit(2, 0, 3, &template(0, 1, 1));
    environment.pass(HOUR / 2);
    run(&mut environment, 3, 4);
    environment.pass(BIT_LESS_THAN_HALF);
    assert_eq!(kept(&environment), (vec![1, 2, 3], 12));
    environment.pass(Duration::from_millis(1));
    assert_eq!(kept(&environment), (vec![2, 3], 7));
    environment.restart();
    assert_eq!(kept(&environment), (vec![2, 3], 7));
    environment.pass(HOUR);
    assert_eq!(kept(&environment), (vec![2], 3), "a job that is not over stays");
}

#[test]
fn a_job_that_runs_again_is_not_forgotten_before_it_has_been_over_for_long_enough() {
    let mut environment = with(Some(HOUR), u64::MAX);
    environment.input(Input::SessionClosed { session: crate::ids::SessionNumber(1) });
    environment.submit(1, 0, 2, &template(0, 1, 1));
    let named = Named::Job(JobNumber(1));
    environment.input(Input::Cancel { session: CLIENT, request: 1, caller: CALLER, named });
    environment.pass(HOUR / 2);
    environment.input(Input::Retry { session: CLIENT, request: 1, caller: CALLER, named });
    environment.pass(HOUR);
    assert_eq!(kept(&environment), (vec![1], 2));
    environment.input(Input::Cancel { session: CLIENT, request: 1, caller: CALLER, named });
    environment.pass(BIT_LESS);
    assert_eq!(kept(&environment), (vec![1], 2));
    environment.pass(Duration::from_millis(1));
    assert_eq!(kept(&environment), (vec![], 0));
}

#[test]
fn of_more_finished_tasks_than_may_be_kept_the_oldest_fetched_go_and_without_those_nothing_new_is_taken() {
    let mut environment = with(None, 10);
    for key in 1..=4 {
        run(&mut environment, key, 3);
        environment.pass(Duration::from_secs(1));
    }
    assert_eq!(kept(&environment), (vec![1, 2, 3, 4], 12), "nobody has them");
    let refused = environment.submit(5, 0, 1, &template(0, 1, 1));
    assert!(matches!(refused[0], Effect::Refused { refusal: Refusal::Exhausted { limit: 10, .. }, .. }), "{refused:?}");
    environment.follow(3, 10, &[]);
    assert_eq!(kept(&environment), (vec![1, 2, 4], 9));
    // There is room for one more; what was fetched before is not needed for that, and goes next, the oldest first.
    environment.follow(4, 10, &[]);
    environment.follow(2, 10, &[]);
    run(&mut environment, 5, 1);
    assert_eq!(kept(&environment), (vec![1, 2, 4, 5], 10));
    run(&mut environment, 6, 3);
    assert_eq!(kept(&environment), (vec![1, 4, 5, 6], 10));
    environment.restart();
    assert_eq!(kept(&environment), (vec![1, 4, 5, 6], 10));
}

#[test]
fn what_runs_again_is_not_taken_for_fetched_and_a_job_has_no_more_tasks_than_may_be_kept() {
    let mut environment = with(None, 2);
    let named = Named::Job(JobNumber(1));
    let given = assigned(&environment.submit(1, 0, 2, &template(0, 1, 1)));
    environment.close(1);
    environment.report(1, &[(given[0].1, false), (given[1].1, false)]);
    environment.follow(1, 10, &[]);
    environment.input(Input::Retry { session: CLIENT, request: 1, caller: CALLER, named });
    environment.input(Input::Cancel { session: CLIENT, request: 1, caller: CALLER, named });
    environment.submit(2, 0, 1, &template(0, 1, 1));
    environment.input(Input::Cancel { session: CLIENT, request: 1, caller: CALLER, named: Named::Job(JobNumber(2)) });
    environment.input(Input::SessionClosed { session: crate::ids::SessionNumber(1) });
    assert_eq!(kept(&environment).0, [1, 2]);
    for count in [3, u32::MAX / 1_000_000] {
        let refused = environment.submit(3, 0, count, &template(0, 1, 1));
        assert!(matches!(refused[0], Effect::Refused { refusal: Refusal::Invalid(_), .. }), "{refused:?}");
    }
}

#[test]
fn purging_is_for_ones_own_jobs_and_an_administrators_for_all() {
    let mut environment = with(None, u64::MAX);
    run(&mut environment, 1, 5);
    environment.pass(HOUR);
    run(&mut environment, 2, 5);
    let mut purge = |caller, older_than| {
        let effects = environment.input(Input::Purge { session: CLIENT, request: 9, caller, older_than });
        let [Effect::Changed { request: 9, tasks, .. }] = effects[..] else { panic!("{effects:?}") };
        tasks
    };
    assert_eq!(purge(Caller { owner: OwnerNumber(7), admin: false }, Duration::ZERO), 0);
    assert_eq!(purge(CALLER, HOUR), 5);
    assert_eq!(purge(CALLER, HOUR), 0);
    assert_eq!(purge(Caller { owner: OwnerNumber(7), admin: true }, Duration::ZERO), 5);
    assert_eq!(kept(&environment), (vec![], 0));
}

#[test]
fn an_idempotency_key_outlives_its_job_and_who_follows_it_is_told() {
    let mut environment = with(None, u64::MAX);
    let submit = |key: u8| crate::input::Submit {
        key: JobKey([key; 16]),
        idempotency: Some(Idempotency { key: [9; 16], content: [9; 16] }),
        ..environment_submit()
    };
    let first = submit(1);
    let given =
        assigned(&environment.input(Input::Submit { session: CLIENT, request: 1, caller: CALLER, submit: first }));
    // Without credit it is told nothing, and so follows on.
    environment.follow(1, 0, &[]);
    environment.report(1, &[(given[0].1, true)]);
    let effects =
        environment.input(Input::Purge { session: CLIENT, request: 9, caller: CALLER, older_than: Duration::ZERO });
    assert!(matches!(&effects[0], Effect::Refused { request: 7, refusal: Refusal::NotFound(_), .. }), "{effects:?}");
    let again = environment.input(Input::Submit { session: CLIENT, request: 2, caller: CALLER, submit: submit(2) });
    assert!(
        matches!(again[0], Effect::Accepted { job: JobNumber(1), next_index: 1, closed: true, .. }) && again.len() == 1,
        "{again:?}"
    );
}

#[test]
fn nothing_is_kept_of_jobs_that_were_purged_or_run_again_however_many_there_are() {
    let mut environment = with(None, 10);
    for key in 1..=1_400_u32 {
        let mut name = [0; 16];
        name[..4].copy_from_slice(&key.to_le_bytes());
        let deadline = Some(1_000 * HOUR);
        let submit = crate::input::Submit { key: JobKey(name), deadline, ..environment_submit() };
        let given = assigned(&environment.input(Input::Submit { session: CLIENT, request: 1, caller: CALLER, submit }));
        environment.report(1, &[(given[0].1, true)]);
        let follow = Follow {
            target: Target::Key(JobKey(name)),
            skip: Vec::new(),
            credit: 1,
            only_end: false,
            only_index: None,
            only_present: false,
        };
        environment.input(Input::Follow { session: CLIENT, request: 7, caller: CALLER, follow });
    }
    let deadlines = environment.engine.state().deadlines.len();
    assert!(deadlines < 1_100, "{deadlines} deadlines are kept of 10 jobs");

    environment.input(Input::Window { session: crate::ids::SessionNumber(1), slots: 0 });
    environment.input(Input::Submit { session: CLIENT, request: 1, caller: CALLER, submit: environment_submit() });
    let job = environment.engine.state().jobs.iter().next_back().unwrap().number;
    let named = Named::Job(job);
    for _ in 0..1_400 {
        environment.input(Input::Cancel { session: CLIENT, request: 1, caller: CALLER, named });
        environment.now.wall = environment.now.wall.plus(Duration::from_millis(1));
        environment.input(Input::Retry { session: CLIENT, request: 1, caller: CALLER, named });
    }
    let over = environment.engine.state().over.len();
    assert!(over < 1_100, "{over} ends are kept of 10 jobs");
}

/// One task that is a job of its own.
fn environment_submit() -> crate::input::Submit {
    crate::input::Submit {
        key: JobKey([0; 16]),
        name: String::new(),
        idempotency: None,
        labels: crate::labels::Labels::new(),
        first_index: 0,
        template: template(0, 1, 1),
        payloads: super::environment::values(1),
        last: true,
        delay: None,
        deadline: None,
    }
}
