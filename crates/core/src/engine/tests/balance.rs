//! What waits at one worker while another has a slot free, and who is kept free for what is to run alone.

use std::time::Duration;

use super::environment::{CALLER, CLIENT, Environment, assigned, template};
use crate::{
    effect::{CloseReason, Effect},
    ids::{JobNumber, LeaseNumber, SessionNumber, TaskId, WorkerNumber},
    input::{Input, Named, Resume},
    record::{Claim, WorkerMode},
    task::{Care, TaskState},
};

const A_WHILE: Duration = Duration::from_millis(100);

fn asked_back(effects: &[Effect]) -> Vec<(u64, LeaseNumber)> {
    let of = |effect: &Effect| match effect {
        Effect::TakeBack { session, leases } => leases.iter().map(|lease| (session.0, *lease)).collect(),
        _ => Vec::new(),
    };
    effects.iter().flat_map(of).collect()
}

fn window(environment: &mut Environment, session: u64, slots: u32) -> Vec<Effect> {
    environment.input(Input::Window { session: SessionNumber(session), slots })
}

fn claims(given: &[(u64, LeaseNumber, TaskId)]) -> Vec<Claim> {
    given.iter().map(|(_, lease, task)| Claim { lease: *lease, task: *task }).collect()
}

/// A worker with two slots holds four tasks and has said that it starts the first two.
fn full() -> (Environment, WorkerNumber, Vec<(u64, LeaseNumber, TaskId)>) {
    let mut environment = Environment::new();
    environment.submit(1, 0, 4, &template(0, 1, 3));
    let worker = environment.enrol(1);
    let mut given = assigned(&environment.connect_as(worker, 1, 1, 2, &[]));
    given.extend(assigned(&window(&mut environment, 1, 4)));
    assert_eq!(given.len(), 4);
    let leases = vec![given[0].1, given[1].1];
    environment.input(Input::Started { session: SessionNumber(1), leases });
    (environment, worker, given)
}

#[test]
fn what_waits_at_a_worker_is_asked_back_for_one_with_a_free_slot_and_goes_there_once_it_is_back() {
    let (mut environment, _, given) = full();
    let other = environment.enrol(2);
    assert!(assigned(&environment.connect_as(other, 7, 2, 1, &[])).is_empty());
    let mut effects = environment.pass(A_WHILE);
    effects.extend(environment.pass(A_WHILE));
    assert_eq!(asked_back(&effects), [(1, given[3].1)], "the last, and no more than there is room for");
    assert!(assigned(&effects).is_empty());
    assert!(asked_back(&environment.pass(A_WHILE)).is_empty(), "it is asked for once");
    let effects = environment.input(Input::GivenBack { session: SessionNumber(1), leases: vec![given[3].1] });
    assert_eq!(assigned(&effects).iter().map(|(to, _, task)| (*to, *task)).collect::<Vec<_>>(), [(2, given[3].2)]);
}

#[test]
fn what_was_asked_back_in_vain_is_asked_back_again_by_another_session_or_another_manager() {
    let (mut environment, worker, given) = full();
    let other = environment.enrol(2);
    environment.connect_as(other, 7, 2, 2, &[]);
    environment.pass(A_WHILE);
    assert_eq!(asked_back(&environment.pass(A_WHILE)).len(), 2);
    for restarts in [false, true] {
        let session = if restarts { 4 } else { 3 };
        if restarts {
            environment.restart();
            environment.connect_as(other, 7, 9, 2, &[]);
        }
        environment.connect_as(worker, 1, session, 2, &claims(&given));
        environment.input(Input::Started { session: SessionNumber(session), leases: vec![given[0].1, given[1].1] });
        let mut effects = environment.pass(A_WHILE);
        effects.extend(environment.pass(A_WHILE));
        let mut asked = asked_back(&effects);
        asked.sort_unstable();
        assert_eq!(asked, [(session, given[2].1), (session, given[3].1)], "after a restart: {restarts}");
    }
}

#[test]
fn what_came_to_a_worker_only_just_now_is_not_asked_back_yet() {
    let (mut environment, _, given) = full();
    environment.pass(A_WHILE);
    // Its newest lease is the first that was not there when it was looked at last.
    environment.submit(1, 4, 1, &template(0, 1, 3));
    let newest = assigned(&window(&mut environment, 1, 5));
    assert_eq!(newest.len(), 1);
    let other = environment.enrol(2);
    environment.connect_as(other, 7, 2, 1, &[]);
    assert_eq!(asked_back(&environment.pass(A_WHILE)), [(1, given[3].1)]);
}

#[test]
fn what_is_on_its_way_back_has_its_place_and_only_what_is_left_is_filled() {
    let (mut environment, _, given) = full();
    let others = [environment.enrol(2), environment.enrol(3)];
    environment.connect_as(others[0], 7, 2, 1, &[]);
    environment.pass(A_WHILE);
    assert_eq!(asked_back(&environment.pass(A_WHILE)), [(1, given[3].1)]);
    environment.connect_as(others[1], 7, 3, 1, &[]);
    assert_eq!(asked_back(&environment.pass(A_WHILE)), [(1, given[2].1)]);
    assert!(asked_back(&environment.pass(A_WHILE)).is_empty());
    // One of them was started all the same: its place is free again.
    environment.input(Input::Started { session: SessionNumber(1), leases: vec![given[3].1] });
    assert!(asked_back(&environment.pass(A_WHILE)).is_empty(), "nothing else waits");
}

#[test]
fn what_takes_more_slots_than_are_free_is_not_asked_back() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 3, &template(0, 2, 3));
    let worker = environment.enrol(1);
    let mut given = assigned(&environment.connect_as(worker, 1, 1, 2, &[]));
    given.extend(assigned(&window(&mut environment, 1, 6)));
    assert_eq!(given.len(), 3);
    let others = [environment.enrol(2), environment.enrol(3)];
    environment.connect_as(others[0], 7, 2, 1, &[]);
    environment.pass(A_WHILE);
    assert!(asked_back(&environment.pass(A_WHILE)).is_empty());
    environment.connect_as(others[1], 7, 3, 3, &[]);
    assert_eq!(asked_back(&environment.pass(A_WHILE)), [(1, given[2].1)], "there is room for one of them");
}

#[test]
fn of_what_shares_no_worker_only_one_is_asked_back_for_a_worker() {
    let mut environment = Environment::new();
    let workers: Vec<WorkerNumber> = (1..=4).map(|secret| environment.enrol(secret)).collect();
    with_crashes(&mut environment, workers[0], 2, 1);
    environment.submit(2, 0, 2, &template(5, 1, 3));
    for session in [1, 2] {
        let given = assigned(&environment.connect_as(workers[session as usize], 1, session, 1, &[]));
        environment.input(Input::Started { session: SessionNumber(session), leases: vec![given[0].1] });
    }
    let waiting = [1, 2].map(|session| assigned(&window(&mut environment, session, 2)).remove(0).1);
    environment.connect_as(workers[3], 1, 3, 2, &[]);
    environment.pass(A_WHILE);
    let asked = asked_back(&environment.pass(A_WHILE));
    assert_eq!(asked, [(2, waiting[1])]);
    environment.input(Input::GivenBack { session: SessionNumber(2), leases: vec![waiting[1]] });
    assert!(asked_back(&environment.pass(A_WHILE)).is_empty(), "now it has one");
}

#[test]
fn nobody_is_looked_at_who_holds_no_more_than_it_has_slots_or_is_not_there() {
    let (mut environment, _, given) = full();
    let other = environment.enrol(2);
    environment.pass(A_WHILE);
    environment.input(Input::SessionClosed { session: SessionNumber(1) });
    environment.connect_as(other, 7, 2, 2, &[]);
    assert!(environment.pass(A_WHILE).is_empty(), "nobody can be asked");
    assert_eq!(environment.engine.balance.timeout(), None);
    environment.input(Input::SessionClosed { session: SessionNumber(2) });

    let (mut environment, _, _) = full();
    environment.pass(A_WHILE);
    assert_eq!(environment.engine.balance.timeout(), Some(environment.now.monotonic + A_WHILE));
    // It has done with what it started: what is left has a slot each.
    window(&mut environment, 1, 0);
    environment.report(1, &[(given[0].1, true), (given[1].1, true)]);
    environment.pass(A_WHILE);
    assert_eq!(environment.engine.balance.timeout(), None);
}

#[test]
fn a_drained_worker_is_asked_for_what_it_has_not_started_in_every_session() {
    let (mut environment, worker, given) = full();
    let waiting = [given[2].1, given[3].1];
    let mode = WorkerMode::Draining;
    let effects = environment.input(Input::SetWorker { session: CLIENT, request: 1, worker, mode });
    assert_eq!(asked_back(&effects), waiting.map(|lease| (1, lease)));
    let effects = environment.connect_as(worker, 1, 2, 2, &claims(&given));
    assert_eq!(asked_back(&effects), waiting.map(|lease| (2, lease)), "nothing is known to be started any more");
}

/// A job of tasks with which so many workers died.
fn with_crashes(environment: &mut Environment, worker: WorkerNumber, count: u32, crashes: u64) {
    environment.submit(1, 0, count, &template(0, 1, 3));
    for incarnation in 100..100 + crashes {
        let given = assigned(&environment.connect_as(worker, incarnation, incarnation, 9, &[]));
        let leases = given.iter().map(|(_, lease, _)| *lease).collect();
        environment.input(Input::Started { session: SessionNumber(incarnation), leases });
        environment.input(Input::SessionClosed { session: SessionNumber(incarnation) });
    }
    environment.connect_as(worker, 7, 99, 0, &[]);
}

#[test]
fn nothing_is_asked_back_for_a_worker_that_could_not_have_it_beside_what_it_has() {
    let mut environment = Environment::new();
    let workers = [environment.enrol(1), environment.enrol(2)];
    with_crashes(&mut environment, workers[0], 2, 1);
    let cares: Vec<Care> = environment.engine.state().tasks.iter().map(|(_, task)| task.care()).collect();
    assert_eq!(cares, [Care::Apart; 2]);
    // One of them waits behind another task; the other is with a worker that has a slot free beside it.
    environment.submit(2, 0, 1, &template(5, 1, 3));
    let given = assigned(&environment.connect_as(workers[1], 8, 2, 1, &[]));
    environment.input(Input::Started { session: SessionNumber(2), leases: vec![given[0].1] });
    let waiting = assigned(&window(&mut environment, 2, 2));
    let beside = assigned(&environment.connect_as(workers[0], 7, 3, 2, &[]));
    assert_eq!((waiting.len(), beside.len()), (1, 1));
    environment.pass(A_WHILE);
    assert!(asked_back(&environment.pass(A_WHILE)).is_empty());
    environment.report(3, &[(beside[0].1, true)]);
    assert_eq!(asked_back(&environment.pass(A_WHILE)), [(2, waiting[0].1)]);
}

#[test]
fn a_worker_is_kept_free_for_what_is_to_run_alone_only_as_long_as_that_can_come() {
    let mut environment = Environment::new();
    let worker = environment.enrol(1);
    with_crashes(&mut environment, worker, 1, 2);
    assert_eq!(environment.engine.state().tasks.iter().next().unwrap().1.care(), Care::Alone);
    let other = environment.enrol(2);
    environment.submit(2, 0, 6, &template(1, 1, 3));
    // Its window is too small for what waits for a large worker, so it is not emptied for that.
    let given = assigned(&environment.connect_as(other, 7, 1, 2, &[]));
    assert_eq!(given.len(), 2);
    let left = |environment: &Environment| environment.engine.state().counts.get(TaskState::Queued);
    for (at, lease) in given.iter().enumerate() {
        environment.report(1, &[(lease.1, true)]);
        assert_eq!(left(&environment), 4 - at as u64, "each slot is filled at once: a higher priority goes first");
    }
    // Now the lone one is next.
    environment.input(Input::Cancel { session: CLIENT, request: 1, caller: CALLER, named: Named::Job(JobNumber(2)) });
    let held: Vec<_> = environment.engine.state().leases.keys().map(|lease| (*lease, true)).collect();
    assert_eq!(held.len(), 2);
    environment.submit(3, 0, 4, &template(0, 1, 3));
    assert!(assigned(&environment.report(1, &held[..1])).is_empty(), "it is emptied");
    // It is cancelled: the slot that was kept free is filled at once.
    let named = Named::Job(JobNumber(1));
    let effects = environment.input(Input::Cancel { session: CLIENT, request: 1, caller: CALLER, named });
    assert_eq!(assigned(&effects).len(), 1);
}

#[test]
fn a_process_that_connects_anew_has_shown_that_it_is_alive() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 1, &template(0, 1, 3));
    let worker = environment.enrol(1);
    let given = assigned(&environment.connect_as(worker, 1, 1, 1, &[]));
    assert_eq!(environment.connect_as(worker, 2, 2, 1, &[]), [Effect::Probe { session: SessionNumber(1) }]);
    let effects = environment.connect_as(worker, 1, 3, 1, &claims(&given));
    assert!(effects.contains(&Effect::Close { session: SessionNumber(1), reason: CloseReason::Replaced }));
    assert!(effects.contains(&Effect::Close { session: SessionNumber(2), reason: CloseReason::Clone }));
    let effects = environment.pass(environment.limits.probe);
    assert!(effects.is_empty(), "nobody is waited for: {effects:?}");
    environment.report(3, &[(given[0].1, true)]);
    assert_eq!(environment.engine.state().counts.get(TaskState::Succeeded), 1);
}

#[test]
fn a_worker_whose_window_is_too_small_is_not_emptied_for_what_is_to_run_alone() {
    let mut environment = Environment::new();
    let worker = environment.enrol(1);
    environment.submit(1, 0, 1, &template(0, 3, 3));
    for incarnation in [100, 101] {
        let given = assigned(&environment.connect_as(worker, incarnation, incarnation, 4, &[]));
        let leases = given.iter().map(|(_, lease, _)| *lease).collect();
        environment.input(Input::Started { session: SessionNumber(incarnation), leases });
        environment.input(Input::SessionClosed { session: SessionNumber(incarnation) });
    }
    let resume = Resume { incarnation: 102, slots: 4, window: 2, commands: true, ..Resume::default() };
    environment.input(Input::Resume { session: SessionNumber(1), worker, resume });
    assert_eq!(environment.engine.state().tasks.iter().next().unwrap().1.care(), Care::Alone);
    let given = assigned(&environment.submit(2, 0, 4, &template(0, 1, 3)));
    assert_eq!(given.len(), 2);
    assert_eq!(assigned(&environment.report(1, &[(given[0].1, true)])).len(), 1, "each slot is filled at once");
}
