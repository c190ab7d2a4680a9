//! Workers that die, come as others, or come twice.

use std::time::Duration;

use super::environment::{CALLER, CLIENT, Environment, assigned, results, template};
use crate::{
    effect::{CloseReason, Effect},
    ids::{JobNumber, LeaseNumber, SessionNumber, TaskId},
    input::{Input, Named},
    record::WorkerMode,
    task::{Care, TaskState},
};

fn started(environment: &mut Environment, session: u64, leases: &[LeaseNumber]) {
    environment.input(Input::Started { session: SessionNumber(session), leases: leases.to_vec() });
}

fn die(environment: &mut Environment, session: u64) {
    environment.input(Input::SessionClosed { session: SessionNumber(session) });
}

fn task(environment: &Environment, index: u32) -> crate::task::Task {
    let state = environment.engine.state();
    let job = state.jobs.at(state.jobs.position(JobNumber(1)).unwrap()).unwrap();
    *state.tasks.get(job.task(index).unwrap()).unwrap()
}

#[test]
fn a_killer_is_found_by_running_alone_and_its_neighbours_are_never_charged() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 6, &template(0, 1, 2));
    environment.follow(1, 100, &[]);
    let worker = environment.enrol(1);
    let killer = TaskId { job: JobNumber(1), index: 0 };
    let mut told = Vec::new();
    for incarnation in 1..=20 {
        let mut given = assigned(&environment.connect_as(worker, incarnation, incarnation, 4, &[]));
        loop {
            if given.is_empty() {
                break;
            }
            let leases: Vec<_> = given.iter().map(|(_, lease, _)| *lease).collect();
            started(&mut environment, incarnation, &leases);
            let kills = given.iter().any(|(_, _, task)| *task == killer);
            if kills {
                break;
            }
            let ends: Vec<_> = leases.iter().map(|lease| (*lease, true)).collect();
            let effects = environment.report(incarnation, &ends);
            told.extend(results(&effects));
            given = assigned(&effects);
            if given.is_empty() {
                given = assigned(&environment.pass(Duration::from_secs(20)));
            }
        }
        die(&mut environment, incarnation);
    }
    let ended: Vec<TaskState> = (0..6).map(|index| task(&environment, index).state()).collect();
    assert_eq!(ended[0], TaskState::Failed);
    assert!(ended[1..].iter().all(|state| *state == TaskState::Succeeded), "{ended:?}");
    assert_eq!(
        (task(&environment, 0).failures, task(&environment, 0).attempts),
        (2, 4),
        "two crashes, two deaths alone"
    );
    assert!((1..6).all(|index| task(&environment, index).failures == 0));
}

#[test]
fn what_had_not_started_counts_no_crash_and_what_runs_elsewhere_is_not_touched() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 4, &template(0, 1, 3));
    let workers = [environment.enrol(1), environment.enrol(2)];
    let given = assigned(&environment.connect_as(workers[0], 1, 1, 2, &[]));
    started(&mut environment, 1, &[given[0].1]);
    let other = assigned(&environment.connect_as(workers[1], 7, 2, 2, &[]));
    started(&mut environment, 2, &[other[0].1]);
    die(&mut environment, 1);
    environment.connect_as(workers[0], 2, 3, 2, &[]);
    let cares: Vec<Care> = (0..4).map(|index| task(&environment, index).care()).collect();
    assert_eq!(cares, [Care::Apart, Care::None, Care::None, Care::None]);
    // The same process again, without one that it never got: nobody died.
    die(&mut environment, 2);
    environment.connect_as(workers[1], 7, 4, 2, &[]);
    assert_eq!(task(&environment, 2).care(), Care::None);
}

#[test]
fn a_worker_that_was_only_silent_takes_its_tasks_up_again_and_the_crash_is_taken_back() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 1, &template(0, 1, 3));
    let worker = environment.enrol(1);
    let given = assigned(&environment.connect_as(worker, 1, 1, 1, &[]));
    started(&mut environment, 1, &[given[0].1]);
    environment.pass(environment.limits.lease_grace);
    assert_eq!((task(&environment, 0).state(), task(&environment, 0).care()), (TaskState::Queued, Care::Apart));
    let claim = crate::record::Claim { lease: given[0].1, task: given[0].2 };
    environment.connect_as(worker, 1, 2, 1, &[claim]);
    assert_eq!((task(&environment, 0).state(), task(&environment, 0).care()), (TaskState::Running, Care::None));
}

#[test]
fn a_clone_is_turned_away_while_the_first_answers_and_let_in_when_it_does_not() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 1, &template(0, 1, 3));
    let worker = environment.enrol(1);
    let given = assigned(&environment.connect_as(worker, 1, 1, 1, &[]));
    let effects = environment.connect_as(worker, 2, 2, 1, &[]);
    assert_eq!(effects, [Effect::Probe { session: SessionNumber(1) }]);
    let effects = environment.input(Input::Heard { session: SessionNumber(1) });
    assert_eq!(effects, [Effect::Close { session: SessionNumber(2), reason: CloseReason::Clone }]);
    assert_eq!(task(&environment, 0).lease(), Some(given[0].1));

    environment.connect_as(worker, 2, 3, 1, &[]);
    let effects = environment.pass(environment.limits.probe);
    assert_eq!(effects[0], Effect::Close { session: SessionNumber(1), reason: CloseReason::Silent });
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Resumed { session: SessionNumber(3), .. })));
    assert_eq!(assigned(&effects).len(), 1, "what the first held died with it");
}

#[test]
fn a_paused_worker_gets_nothing_and_a_removed_one_is_thrown_out() {
    let mut environment = Environment::new();
    let worker = environment.enrol(1);
    environment.connect_as(worker, 1, 1, 2, &[]);
    let set = |mode| Input::SetWorker { session: CLIENT, request: 1, worker, mode };
    environment.input(set(WorkerMode::Paused));
    assert!(assigned(&environment.submit(1, 0, 2, &template(0, 1, 3))).is_empty());
    environment.restart();
    assert!(assigned(&environment.connect_as(worker, 1, 2, 2, &[])).is_empty(), "also after a restart");
    let given = assigned(&environment.input(set(WorkerMode::Active)));
    assert_eq!(given.len(), 2);
    started(&mut environment, 2, &[given[0].1]);
    let effects = environment.input(set(WorkerMode::Draining));
    assert!(
        matches!(&effects[0], Effect::TakeBack { leases, .. } if *leases == [given[1].1]),
        "what has not started is asked back: {effects:?}"
    );
    let effects = environment.input(Input::RemoveWorker { session: CLIENT, request: 1, worker });
    assert!(effects.contains(&Effect::Close { session: SessionNumber(2), reason: CloseReason::Removed }));
    let both = [task(&environment, 0), task(&environment, 1)];
    assert!(both.iter().all(|task| task.state() == TaskState::Queued && task.failures == 0 && task.crashes() == 0));
    let effects = environment.connect_as(worker, 1, 3, 2, &[]);
    assert_eq!(effects, [Effect::Close { session: SessionNumber(3), reason: CloseReason::Removed }]);
}

#[test]
fn a_cancelled_task_ends_cancelled_whatever_its_attempt_comes_to() {
    for ending in 0..4 {
        let mut environment = Environment::new();
        environment.submit(1, 0, 2, &template(0, 1, 3));
        environment.follow(1, 100, &[]);
        let worker = environment.enrol(1);
        let given = assigned(&environment.connect_as(worker, 1, 1, 1, &[]));
        started(&mut environment, 1, &[given[0].1]);
        let named = Named::Job(JobNumber(1));
        let effects = environment.input(Input::Cancel { session: CLIENT, request: 5, caller: CALLER, named });
        assert!(effects.contains(&Effect::Cancel { session: SessionNumber(1), leases: vec![given[0].1] }));
        assert!(effects.contains(&Effect::Changed { session: CLIENT, request: 5, tasks: 1, running: 1 }));
        assert_eq!(task(&environment, 1).state(), TaskState::Cancelled);
        assert!(task(&environment, 0).is_cancelling());
        environment.restart();
        environment.follow(1, 100, &[]);
        let claim = crate::record::Claim { lease: given[0].1, task: given[0].2 };
        let effects = environment.connect_as(worker, 1, 2, 1, &[claim]);
        assert!(
            effects.contains(&Effect::Cancel { session: SessionNumber(2), leases: vec![given[0].1] }),
            "told again"
        );
        let effects = match ending {
            0 => environment.report(2, &[(given[0].1, true)]),
            1 => environment.report(2, &[(given[0].1, false)]),
            2 => environment.input(Input::GivenBack { session: SessionNumber(2), leases: vec![given[0].1] }),
            _ => environment.pass(environment.limits.lease_grace),
        };
        assert_eq!(task(&environment, 0).state(), TaskState::Cancelled, "ending {ending}");
        assert!(results(&effects).iter().any(|result| result.index == 0), "who follows is told");
        environment.input(Input::Retry { session: CLIENT, request: 6, caller: CALLER, named });
        let anew = task(&environment, 0);
        assert!(!anew.state().is_final() && !anew.is_cancelling());
        assert_eq!((anew.failures, anew.crashes()), (0, 0));
    }
}

#[test]
fn a_task_that_is_charged_for_a_death_waits_for_its_backoff() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 1, &template(0, 1, 5));
    let worker = environment.enrol(1);
    // Two crashes, then a death alone.
    for incarnation in 1..=3 {
        let given = assigned(&environment.connect_as(worker, incarnation, incarnation, 1, &[]));
        started(&mut environment, incarnation, &[given[0].1]);
        die(&mut environment, incarnation);
    }
    assert_eq!(assigned(&environment.connect_as(worker, 4, 4, 1, &[])), []);
    assert_eq!((task(&environment, 0).state(), task(&environment, 0).failures), (TaskState::Scheduled, 1));
    assert_eq!(
        assigned(&environment.pass(Duration::from_millis(700))),
        [],
        "the shortest wait is three quarters of 1 s"
    );
    assert_eq!(assigned(&environment.pass(Duration::from_millis(600))).len(), 1);
}
