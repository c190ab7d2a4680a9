//! Placing, outcomes, and everything that ends a lease.

use std::{collections::BTreeSet, time::Duration};

use super::environment::{CLIENT, Environment, assigned, template};
use crate::{
    effect::{CloseReason, Effect},
    ids::{LeaseNumber, SessionNumber},
    input::{Input, Resume},
    record::Claim,
    task::TaskState,
    template::{Kind, Template},
};

#[test]
fn priority_goes_first_then_first_come_and_what_fits_nobody_blocks_nobody() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 2, &template(0, 1, 1));
    environment.submit(2, 0, 1, &template(0, 8, 1));
    environment.submit(3, 0, 2, &template(5, 1, 1));
    environment.submit(4, 0, 1, &template(0, 1, 2));
    environment.submit(1, 2, 1, &template(0, 1, 1));
    let worker = environment.enrol(1);
    let order: Vec<String> =
        assigned(&environment.connect(worker, 1, 4, &[])).iter().map(|(_, _, task)| task.to_string()).collect();
    assert_eq!(order, ["3.0", "3.1", "1.0", "1.1"]);
    let rest: Vec<String> = assigned(&environment.input(Input::Window { session: SessionNumber(1), slots: 9 }))
        .iter()
        .map(|(_, _, task)| task.to_string())
        .collect();
    assert_eq!(rest, ["4.0", "1.2"]);
}

#[test]
fn free_slots_are_filled_evenly_before_anybody_gets_more() {
    let mut environment = Environment::new();
    let workers = [environment.enrol(1), environment.enrol(2)];
    for (worker, session) in workers.into_iter().zip(1..) {
        environment.connect(worker, session, 2, &[]);
        environment.input(Input::Window { session: SessionNumber(session), slots: 10 });
    }
    let given = assigned(&environment.submit(1, 0, 4, &template(0, 1, 1)));
    for session in [1, 2] {
        assert_eq!(given.iter().filter(|(to, _, _)| *to == session).count(), 2);
    }
    let given = assigned(&environment.submit(1, 4, 100, &template(0, 1, 1)));
    for session in [1, 2] {
        assert_eq!(given.iter().filter(|(to, _, _)| *to == session).count(), 8);
    }
}

#[test]
fn a_worker_gets_only_what_it_can_run() {
    let mut environment = Environment::new();
    let skill = |name: &str| {
        std::sync::Arc::new(Template {
            kind: Kind::Skill(name.to_owned()),
            body: bytes::Bytes::copy_from_slice(name.as_bytes()),
            ..(*template(0, 1, 1)).clone()
        })
    };
    environment.submit(1, 0, 1, &template(0, 1, 1));
    environment.submit(2, 0, 1, &skill("known"));
    environment.submit(3, 0, 1, &skill("unknown"));
    let worker = environment.enrol(1);
    let resume = Resume { slots: 9, window: 9, skills: BTreeSet::from(["known".to_owned()]), ..Resume::default() };
    let effects = environment.input(Input::Resume { session: SessionNumber(1), worker, resume });
    assert_eq!(assigned(&effects).iter().map(|(_, _, task)| task.to_string()).collect::<Vec<_>>(), ["2.0"]);
}

#[test]
fn a_failing_task_is_tried_again_after_its_backoff_and_ends_as_a_dead_letter() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 1, &template(0, 1, 3));
    let worker = environment.enrol(1);
    let mut given = assigned(&environment.connect(worker, 1, 1, &[]));
    for (failures, wait) in [(1, 1), (2, 2)] {
        let effects = environment.report(1, &[(given[0].1, false)]);
        assert!(assigned(&effects).is_empty());
        assert!(assigned(&environment.pass(Duration::from_millis(700 * wait))).is_empty(), "after failure {failures}");
        environment.input(Input::Heard { session: SessionNumber(1) });
        given = assigned(&environment.pass(Duration::from_millis(600 * wait)));
        assert_eq!(given.len(), 1, "after failure {failures}");
    }
    environment.report(1, &[(given[0].1, false)]);
    let counts = environment.engine.state().counts;
    assert_eq!((counts.get(TaskState::Failed), counts.open()), (1, 0));
}

#[test]
fn a_report_under_a_lease_that_was_replaced_is_dropped() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 1, &template(0, 1, 3));
    let workers = [environment.enrol(1), environment.enrol(2)];
    let first = assigned(&environment.connect(workers[0], 1, 1, &[]));
    environment.pass(Duration::from_secs(29));
    environment.connect(workers[1], 2, 1, &[]);
    let effects = environment.pass(Duration::from_secs(2));
    let silent = Effect::Close { session: SessionNumber(1), reason: CloseReason::Silent };
    assert!(effects.contains(&silent), "{effects:?}");
    let second = assigned(&effects);
    assert_eq!((second[0].0, second[0].2), (2, first[0].2));
    assert!(second[0].1 > first[0].1);

    let claims = [Claim { lease: first[0].1, task: first[0].2 }];
    let effects = environment.connect(workers[0], 3, 1, &claims);
    let dropped = vec![first[0].1];
    assert!(effects.contains(&Effect::Resumed { session: SessionNumber(3), dropped }), "{effects:?}");
    let records = environment.finished_records();
    let effects = environment.report(3, &[(first[0].1, true)]);
    assert!(matches!(effects[..], [Effect::OutcomesTaken { .. }]), "{effects:?}");
    assert_eq!(environment.finished_records(), records);
    environment.report(2, &[(second[0].1, true)]);
    assert_eq!(environment.engine.state().counts.get(TaskState::Succeeded), 1);
}

#[test]
fn a_lease_that_ended_by_silence_goes_on_if_its_task_was_not_handed_out_again() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 1, &template(0, 1, 3));
    let worker = environment.enrol(1);
    let given = assigned(&environment.connect(worker, 1, 1, &[]));
    environment.input(Input::SessionClosed { session: SessionNumber(1) });
    environment.pass(Duration::from_secs(31));
    assert_eq!(environment.engine.state().counts.get(TaskState::Queued), 1);
    let other = environment.enrol(2);
    let claims = [Claim { lease: given[0].1, task: given[0].2 }];
    let stolen = environment.connect(other, 2, 0, &claims);
    assert!(stolen.iter().any(|effect| matches!(effect, Effect::Resumed { dropped, .. } if dropped.len() == 1)));
    environment.input(Input::SessionClosed { session: SessionNumber(2) });

    let effects = environment.connect(worker, 3, 1, &claims);
    assert!(effects.contains(&Effect::Resumed { session: SessionNumber(3), dropped: vec![] }), "{effects:?}");
    assert!(assigned(&effects).is_empty());
    environment.report(3, &[(given[0].1, true)]);
    assert_eq!(environment.engine.state().counts.get(TaskState::Succeeded), 1);
}

#[test]
fn a_new_incarnation_ends_the_earlier_ones_leases_at_once() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 2, &template(0, 1, 1));
    let worker = environment.enrol(1);
    let first = assigned(&environment.connect(worker, 1, 2, &[]));
    let held = Claim { lease: first[1].1, task: first[1].2 };
    let effects = environment.connect(worker, 2, 2, &[held]);
    assert!(effects.contains(&Effect::Close { session: SessionNumber(1), reason: CloseReason::Replaced }));
    let again = assigned(&effects);
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].0, again[0].2), (2, first[0].2));
    let state = environment.engine.state();
    let failures: u32 = state.tasks.iter().map(|(_, task)| u32::from(task.failures)).sum();
    assert_eq!(failures, 0, "nobody is charged");
}

#[test]
fn what_is_given_back_goes_to_others_uncharged_and_other_peoples_leases_stay() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 2, &template(0, 1, 1));
    let workers = [environment.enrol(1), environment.enrol(2)];
    let first = assigned(&environment.connect(workers[0], 1, 1, &[]));
    let second = assigned(&environment.connect(workers[1], 2, 1, &[]));
    environment.input(Input::Window { session: SessionNumber(1), slots: 0 });
    let effects = environment.input(Input::GivenBack {
        session: SessionNumber(1),
        leases: vec![first[0].1, second[0].1, LeaseNumber(999), first[0].1],
    });
    assert!(assigned(&effects).is_empty(), "the second worker is full");
    let effects = environment.report(2, &[(second[0].1, true)]);
    let again = assigned(&effects);
    assert_eq!((again[0].0, again[0].2), (2, first[0].2));
}

#[test]
fn a_worker_that_speaks_without_having_resumed_is_closed() {
    let mut environment = Environment::new();
    let close = Effect::Close { session: CLIENT, reason: CloseReason::Protocol };
    assert_eq!(environment.input(Input::Window { session: CLIENT, slots: 5 }), [close]);
}

#[test]
fn a_task_that_was_queued_taken_up_and_queued_again_is_handed_out_once() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 3, &template(0, 1, 1));
    let worker = environment.enrol(1);
    let given = assigned(&environment.connect(worker, 1, 2, &[]));
    let (_, lease, task) = given[1];
    let grace = environment.limits.lease_grace;
    environment.pass(grace);
    environment.connect(worker, 2, 1, &[Claim { lease, task }]);
    environment.pass(grace);
    let other = environment.enrol(2);
    let order: Vec<String> =
        assigned(&environment.connect(other, 3, 4, &[])).iter().map(|(_, _, task)| task.to_string()).collect();
    assert_eq!(order, ["1.0", "1.1", "1.2"]);
}

#[test]
fn when_the_manager_itself_was_stopped_nobody_loses_a_lease() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 1, &template(0, 1, 1));
    let worker = environment.enrol(1);
    environment.connect(worker, 1, 1, &[]);
    let grace = environment.limits.lease_grace;
    environment.now.monotonic += grace * 2;
    environment.engine.forgive_silence(environment.now);
    assert!(environment.turn().is_empty());
    assert!(environment.pass(grace / 2).is_empty());
    let effects = environment.pass(grace / 2);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Close { reason: CloseReason::Silent, .. })));
}
