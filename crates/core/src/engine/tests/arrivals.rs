//! Workers that connect, and who they are.

use super::environment::{Environment, assigned, template};
use crate::{
    effect::{CloseReason, Effect},
    ids::{LeaseNumber, SessionNumber, TaskId, WorkerNumber},
    input::{Input, Resume},
    limits::Limits,
    record::{Claim, Record, ReleaseReason},
    task::TaskState,
};

fn closed(session: u64, reason: CloseReason) -> Effect {
    Effect::Close { session: SessionNumber(session), reason }
}

fn resumed(session: u64) -> Effect {
    Effect::Resumed { session: SessionNumber(session), dropped: vec![] }
}

const PROBE: Effect = Effect::Probe { session: SessionNumber(1) };

fn leave(environment: &mut Environment, session: u64) -> Vec<Effect> {
    environment.input(Input::SessionClosed { session: SessionNumber(session) })
}

#[test]
fn a_session_resumes_once() {
    let mut environment = Environment::new();
    let workers = [environment.enrol(1), environment.enrol(2)];
    environment.connect_as(workers[0], 1, 1, 1, &[]);
    assert_eq!(environment.connect_as(workers[1], 1, 1, 1, &[]), [closed(1, CloseReason::Protocol)]);
    // Nor does one that waits for whether it is a clone.
    assert_eq!(environment.connect_as(workers[0], 2, 2, 1, &[]), [PROBE]);
    assert_eq!(environment.connect_as(workers[1], 1, 2, 1, &[]), [closed(2, CloseReason::Protocol)]);
    let unknown = environment.connect_as(WorkerNumber(7), 1, 3, 1, &[]);
    assert_eq!(unknown, [closed(3, CloseReason::Removed)]);
}

#[test]
fn who_waits_for_whether_it_is_a_clone_is_let_in_as_soon_as_the_other_leaves() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 1, &template(0, 1, 3));
    let worker = environment.enrol(1);
    environment.connect_as(worker, 1, 1, 1, &[]);
    assert_eq!(environment.connect_as(worker, 2, 2, 1, &[]), [PROBE]);
    assert_eq!(environment.connect_as(worker, 3, 3, 1, &[]), [closed(2, CloseReason::Clone), PROBE]);
    let effects = leave(&mut environment, 1);
    assert_eq!((&effects[0], assigned(&effects).len()), (&resumed(3), 1));
    assert!(environment.pass(environment.limits.probe).is_empty());
}

#[test]
fn who_left_before_it_was_known_is_not_let_in_and_who_speaks_before_that_is_closed() {
    let mut environment = Environment::new();
    let worker = environment.enrol(1);
    environment.connect_as(worker, 1, 1, 1, &[]);
    environment.connect_as(worker, 2, 2, 1, &[]);
    leave(&mut environment, 2);
    assert!(environment.pass(environment.limits.probe).is_empty());
    environment.connect_as(worker, 2, 3, 1, &[]);
    let effects = environment.input(Input::Window { session: SessionNumber(3), slots: 1 });
    assert_eq!(effects, [closed(3, CloseReason::Protocol)]);
    assert!(environment.pass(environment.limits.probe).is_empty());
    // One that is heard is no proof for another worker.
    let other = environment.enrol(2);
    environment.connect_as(other, 1, 4, 1, &[]);
    assert_eq!(environment.connect_as(worker, 2, 5, 1, &[]), [PROBE]);
    assert!(environment.input(Input::Heard { session: SessionNumber(4) }).is_empty());
    let almost = environment.limits.probe.checked_sub(std::time::Duration::from_millis(1)).unwrap();
    assert!(environment.pass(almost).is_empty());
    let effects = environment.pass(std::time::Duration::from_millis(1));
    assert_eq!(effects, [closed(1, CloseReason::Silent), resumed(5)]);
}

#[test]
fn of_what_a_worker_claims_it_keeps_its_own_and_of_the_rest_it_is_told() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 4, &template(0, 1, 3));
    let workers = [environment.enrol(1), environment.enrol(2)];
    let mine = assigned(&environment.connect_as(workers[0], 1, 1, 3, &[]));
    let his = assigned(&environment.connect_as(workers[1], 1, 2, 1, &[]));
    let claim = |given: &(u64, LeaseNumber, TaskId)| Claim { lease: given.1, task: given.2 };
    let unknown = Claim { lease: LeaseNumber(99), task: mine[0].2 };
    let claims = [claim(&mine[0]), claim(&his[0]), unknown, claim(&mine[0]), claim(&mine[1])];
    environment.input(Input::Window { session: SessionNumber(2), slots: 1 });
    let effects = environment.connect_as(workers[0], 1, 3, 2, &claims);
    let dropped = vec![his[0].1, LeaseNumber(99)];
    assert!(effects.contains(&Effect::Resumed { session: SessionNumber(3), dropped }), "{effects:?}");
    let released = environment.log.0.iter().rev().find_map(|(record, _)| match record {
        Record::Released { leases, reason, .. } => Some((leases.clone(), *reason)),
        _ => None,
    });
    assert_eq!(released, Some((vec![mine[2].1], ReleaseReason::NotHeld)), "it never arrived");
    let counts = environment.engine.state().counts;
    assert_eq!((counts.get(TaskState::Running), counts.get(TaskState::Queued)), (3, 1));
    // Silence ends them all; each is taken up again once, however often it is claimed.
    let claims = [claim(&mine[1]), claim(&mine[0]), claim(&mine[1])];
    leave(&mut environment, 2);
    environment.pass(environment.limits.lease_grace);
    assert_eq!(environment.engine.state().counts.get(TaskState::Running), 0);
    let effects = environment.connect_as(workers[0], 1, 4, 2, &claims);
    assert!(effects.contains(&resumed(4)), "{effects:?}");
    assert_eq!(environment.engine.state().counts.get(TaskState::Running), 2);
    assert!(environment.engine.state().silenced.len() == 1, "the other worker's");
}

#[test]
fn a_worker_holds_no_more_than_the_limit_whatever_it_asks_for() {
    let mut environment = Environment::with(Limits { window: 3, ..Limits::default() });
    environment.submit(1, 0, 9, &template(0, 1, 3));
    let workers = [environment.enrol(1), environment.enrol(2)];
    let resume = Resume { slots: 0, window: 100, commands: true, ..Resume::default() };
    let input = Input::Resume { session: SessionNumber(1), worker: workers[0], resume };
    assert_eq!(assigned(&environment.input(input)).len(), 3, "it has one slot at least");
    environment.connect_as(workers[1], 1, 2, 1, &[]);
    let more = environment.input(Input::Window { session: SessionNumber(2), slots: 100 });
    assert_eq!(assigned(&more).len(), 2);
}

#[test]
fn nobody_starts_or_ends_what_another_holds() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 1, &template(0, 1, 3));
    let workers = [environment.enrol(1), environment.enrol(2)];
    let given = assigned(&environment.connect_as(workers[0], 1, 1, 1, &[]));
    environment.connect_as(workers[1], 1, 2, 1, &[]);
    environment.input(Input::Started { session: SessionNumber(2), leases: vec![given[0].1, LeaseNumber(99)] });
    let taken = environment.report(2, &[(given[0].1, true)]);
    assert_eq!(taken, [Effect::OutcomesTaken { session: SessionNumber(2), number: 1 }]);
    environment.input(Input::Window { session: SessionNumber(2), slots: 0 });
    leave(&mut environment, 1);
    environment.connect_as(workers[0], 2, 3, 0, &[]);
    let (_, task) = environment.engine.state().tasks.iter().next().unwrap();
    assert_eq!((task.state(), task.crashes()), (TaskState::Queued, 0), "it had not started");
}
