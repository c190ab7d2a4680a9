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
fn a_few_tasks_are_shared_by_all_and_workers_take_turns() {
    let mut environment = Environment::new();
    let workers = [environment.enrol(1), environment.enrol(2), environment.enrol(3)];
    for (worker, session) in workers.into_iter().zip(1..) {
        environment.connect(worker, session, 4, &[]);
    }
    let mut given = assigned(&environment.submit(1, 0, 3, &template(0, 1, 1)));
    given.sort_unstable();
    assert_eq!(given.iter().map(|(session, _, _)| *session).collect::<Vec<_>>(), [1, 2, 3]);
    let mut served = Vec::new();
    for index in 3..9 {
        let given = assigned(&environment.submit(1, index, 1, &template(0, 1, 1)));
        served.push(given[0].0);
        environment.report(given[0].0, &[(given[0].1, true)]);
    }
    let first = served[0];
    let turns: Vec<u64> = (0..6).map(|turn| (first - 1 + turn) % 3 + 1).collect();
    assert_eq!(served, turns);
}

#[test]
fn a_report_counts_each_lease_once_in_whatever_order_it_comes() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 4, &template(0, 1, 1));
    environment.follow(1, 10, &[]);
    let worker = environment.enrol(1);
    let given = assigned(&environment.connect(worker, 1, 4, &[]));
    let lease = |index: usize| given[index].1;
    let records = environment.finished_records();
    let ends = [(lease(2), true), (lease(0), false), (lease(2), false), (LeaseNumber(99), true), (lease(1), true)];
    let effects = environment.report(1, &ends);
    assert_eq!(environment.finished_records(), records + 1);
    let mut told: Vec<_> = super::environment::results(&effects);
    told.sort_unstable_by_key(|result| result.index);
    let states: Vec<_> = told.iter().map(|result| (result.index, result.state)).collect();
    assert_eq!(states, [(0, TaskState::Failed), (1, TaskState::Succeeded), (2, TaskState::Succeeded)]);
    // Each has the detail that came with it: its place in the report.
    let detail = |index: usize| {
        let place = told[index].outcome.unwrap();
        let (record, _) = &environment.log.0[(place.0 >> 32) as usize - 1];
        crate::values::decode(record.values().unwrap().bytes(), place.0 as u32 as usize).unwrap().0
    };
    for (index, at) in [(0, 1_u32), (1, 4), (2, 0)] {
        let bytes = bytes::Bytes::copy_from_slice(&at.to_le_bytes());
        assert_eq!(detail(index), crate::values::Value::Inline(bytes));
    }
    let told = super::environment::results(&environment.report(1, &[(lease(3), false), (lease(3), true)]));
    assert_eq!(told.iter().map(|result| result.state).collect::<Vec<_>>(), [TaskState::Failed], "the first counts");
}

#[test]
fn outcomes_are_cut_into_records_of_bounded_size_in_order_or_not() {
    let finished = |environment: &Environment| -> Vec<u32> {
        let of = |record: &crate::record::Record| match record {
            crate::record::Record::Finished { ends, details, .. } => {
                assert_eq!(ends.len(), details.count() as usize);
                Some(details.count())
            }
            _ => None,
        };
        environment.log.0.iter().filter_map(|(record, _)| of(record)).collect()
    };
    // Three bytes of header each.
    let half = 256 * 1024 - 3;
    for (lengths, reversed, expected) in [
        (vec![half, half], false, vec![2]),
        (vec![half, half], true, vec![2]),
        (vec![half, half - 1, 0], false, vec![3]),
        (vec![half, half, 0], false, vec![2, 1]),
        (vec![half, half, 0], true, vec![2, 1]),
        (vec![0; 16_384], false, vec![16_384]),
        (vec![0; 16_384], true, vec![16_384]),
        (vec![0; 16_385], false, vec![16_384, 1]),
        (vec![0; 16_385], true, vec![16_384, 1]),
    ] {
        let mut environment = Environment::new();
        let count = lengths.len() as u32;
        environment.submit(1, 0, count, &template(0, 1, 1));
        let worker = environment.enrol(1);
        let mut given = assigned(&environment.connect(worker, 1, count, &[]));
        if reversed {
            given.reverse();
        }
        let mut details = crate::values::ValuesBuilder::default();
        for length in &lengths {
            details.push(&vec![1; *length]);
        }
        let ends = given.iter().map(|(_, lease, _)| (*lease, true)).collect();
        let (session, number) = (SessionNumber(1), 1);
        environment.input(Input::Outcomes { session, number, ends, details: details.take() });
        assert_eq!(finished(&environment), expected, "{count} reversed: {reversed}");
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
