//! Delays and deadlines, by a wall clock that is set now and then.

use std::time::Duration;

use super::environment::{CALLER, CLIENT, Environment, assigned, results, template, values};
use crate::{
    effect::Effect,
    ids::{JobNumber, LeaseNumber, SessionNumber},
    input::{Input, Named, Submit},
    labels::Labels,
    record::{Claim, JobKey},
    task::TaskState,
};

const HOUR: Duration = Duration::from_hours(1);

fn submit(environment: &mut Environment, count: u32, delay: Option<Duration>, deadline: Option<Duration>) {
    let submit = Submit {
        key: JobKey([1; 16]),
        name: String::new(),
        idempotency: None,
        labels: Labels::new(),
        first_index: 0,
        template: template(0, 1, 3),
        payloads: values(count),
        last: true,
        delay,
        deadline,
    };
    environment.input(Input::Submit { session: CLIENT, request: 1, caller: CALLER, submit });
}

fn states(environment: &Environment) -> Vec<TaskState> {
    environment.engine.state().tasks.iter().map(|(_, task)| task.state()).collect()
}

fn set_clock(environment: &mut Environment, hours: i64) {
    let milliseconds = environment.now.wall.0.saturating_add_signed(hours * 3_600_000);
    environment.now.wall = crate::time::WallTime(milliseconds);
}

#[test]
fn delayed_tasks_go_when_the_wall_clock_says_so_wherever_it_is_set_meanwhile() {
    for (jump, wait) in [(0, HOUR), (-1, 2 * HOUR), (1, Duration::ZERO)] {
        let mut environment = Environment::new();
        set_clock(&mut environment, 10);
        submit(&mut environment, 3, Some(HOUR), None);
        assert_eq!(states(&environment), [TaskState::Scheduled; 3]);
        environment.restart();
        assert_eq!(states(&environment), [TaskState::Scheduled; 3], "also after a restart");
        set_clock(&mut environment, jump);
        if !wait.is_zero() {
            environment.pass(wait.checked_sub(Duration::from_millis(1)).unwrap());
            assert_eq!(states(&environment), [TaskState::Scheduled; 3], "with a jump of {jump} hours");
        }
        // A clock that was set is looked at within ten seconds.
        environment.pass(Duration::from_secs(10));
        assert_eq!(states(&environment), [TaskState::Queued; 3], "with a jump of {jump} hours");
    }
}

#[test]
fn what_was_not_started_by_its_deadline_expires_and_what_was_goes_on() {
    let mut environment = Environment::new();
    submit(&mut environment, 5, None, Some(HOUR));
    environment.follow(1, 100, &[]);
    let worker = environment.enrol(1);
    let given = assigned(&environment.connect_as(worker, 1, 1, 4, &[]));
    let lease = |index: usize| given[index].1;
    // One fails and is to be tried again, one is with a worker that died, one runs, one waits at its worker, one waits here.
    environment.report(1, &[(lease(0), false)]);
    environment.input(Input::Started { session: SessionNumber(1), leases: vec![lease(1), lease(2)] });
    environment.input(Input::SessionClosed { session: SessionNumber(1) });
    let claims = [2, 3].map(|index| Claim { lease: lease(index), task: given[index].2 });
    let again = assigned(&environment.connect_as(worker, 2, 2, 4, &claims));
    environment.input(Input::Window { session: SessionNumber(2), slots: 0 });
    let back: Vec<LeaseNumber> = again.iter().map(|(_, lease, _)| *lease).collect();
    environment.input(Input::GivenBack { session: SessionNumber(2), leases: back });
    let mut effects = environment.pass(Duration::from_secs(3_599));
    // Nobody heard the worker for so long, but it is there.
    effects.extend(environment.connect_as(worker, 2, 3, 0, &claims));
    assert!(!states(&environment).contains(&TaskState::Expired));
    effects.extend(environment.pass(Duration::from_secs(1)));
    let expected = [TaskState::Queued, TaskState::Queued, TaskState::Running, TaskState::Running, TaskState::Expired];
    assert_eq!(states(&environment), expected);
    environment.restart();
    environment.follow(1, 100, &[]);
    environment.connect_as(worker, 2, 4, 0, &claims);
    let effects = environment.input(Input::GivenBack { session: SessionNumber(4), leases: vec![lease(3)] });
    assert_eq!(states(&environment)[3], TaskState::Expired, "it comes back unstarted");
    assert_eq!(
        results(&effects).iter().map(|result| (result.index, result.state)).collect::<Vec<_>>(),
        [(3, TaskState::Expired)]
    );
    environment.report(4, &[(lease(2), true)]);
    assert_eq!(states(&environment)[2], TaskState::Succeeded);
}

#[test]
fn when_a_deadline_passes_nobody_is_told_again_of_what_ended_before() {
    let mut environment = Environment::new();
    submit(&mut environment, 2, None, Some(Duration::from_secs(20)));
    environment.follow(1, 100, &[]);
    let worker = environment.enrol(1);
    let given = assigned(&environment.connect(worker, 1, 1, &[]));
    environment.input(Input::Window { session: SessionNumber(1), slots: 0 });
    assert_eq!(results(&environment.report(1, &[(given[0].1, true)])).len(), 1);
    let told = results(&environment.pass(Duration::from_secs(20)));
    assert_eq!(told.iter().map(|result| result.index).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_retry_of_what_expired_runs_without_a_deadline() {
    let mut environment = Environment::new();
    submit(&mut environment, 2, Some(HOUR), Some(HOUR / 2));
    environment.pass(HOUR / 2);
    assert_eq!(states(&environment), [TaskState::Expired; 2], "they expire while they are delayed");
    let named = Named::Job(JobNumber(1));
    let effects = environment.input(Input::Retry { session: CLIENT, request: 2, caller: CALLER, named });
    assert_eq!(effects, [Effect::Changed { session: CLIENT, request: 2, tasks: 2, running: 0 }]);
    environment.pass(HOUR);
    assert_eq!(states(&environment), [TaskState::Queued; 2]);
    let state = environment.engine.state();
    assert!(state.delayed.is_empty() && state.deadlines.is_empty(), "nothing is left of the times");
}

#[test]
fn what_waits_at_a_worker_behind_its_deadline_is_asked_back_at_once_and_holds_no_other_up() {
    let mut environment = Environment::new();
    environment.submit(9, 0, 2, &template(0, 1, 3));
    submit(&mut environment, 4, None, Some(Duration::from_secs(1)));
    let worker = environment.enrol(1);
    let mut given = assigned(&environment.connect_as(worker, 1, 1, 1, &[]));
    given.extend(assigned(&environment.input(Input::Window { session: SessionNumber(1), slots: 6 })));
    assert_eq!(given.len(), 6);
    environment.input(Input::Started { session: SessionNumber(1), leases: vec![given[0].1] });
    environment.pass(Duration::from_secs(11));
    environment.input(Input::Heard { session: SessionNumber(1) });
    let other = environment.enrol(2);
    let mut effects = environment.connect_as(other, 7, 2, 1, &[]);
    effects.extend(environment.pass(Duration::from_millis(100)));
    let asked = effects.into_iter().find_map(|effect| match effect {
        Effect::TakeBack { leases, .. } => Some(leases),
        _ => None,
    });
    let mut unstarted: Vec<_> = given.iter().skip(1).map(|(_, lease, _)| *lease).collect();
    unstarted.sort_unstable();
    assert_eq!(asked, Some(unstarted), "all that ends then, and one for the free slot");
}
