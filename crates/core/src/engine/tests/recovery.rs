//! What a manager knows after it started again.

use std::time::Duration;

use super::environment::{Environment, assigned, template};
use crate::{effect::Effect, ids::SessionNumber, record::Claim, task::TaskState};

#[test]
fn a_restarted_manager_knows_all_and_gives_every_lease_the_full_grace() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 4, &template(0, 1, 2));
    let worker = environment.enrol(1);
    let given = assigned(&environment.connect(worker, 1, 3, &[]));
    environment.report(1, &[(given[0].1, true), (given[1].1, false)]);
    let before: Vec<_> = environment.engine.state().tasks.iter().map(|(number, task)| (number, *task)).collect();
    environment.now.monotonic += Duration::from_secs(29);
    environment.restart();
    let after: Vec<_> = environment.engine.state().tasks.iter().map(|(number, task)| (number, *task)).collect();
    assert_eq!(before, after);
    environment.engine.check_invariants().unwrap();

    assert!(environment.pass(Duration::from_secs(29)).is_empty());
    let claims = [Claim { lease: given[2].1, task: given[2].2 }];
    let effects = environment.connect(worker, 1, 3, &claims);
    assert!(effects.contains(&Effect::Resumed { session: SessionNumber(1), dropped: vec![] }), "{effects:?}");
    let again: Vec<_> = assigned(&effects).iter().map(|(_, _, task)| task.index).collect();
    assert_eq!(again, [1, 3], "the failed one waited long enough, the running one goes on");
}

#[test]
fn numbers_are_never_used_again_after_a_power_cut_in_a_weak_durability() {
    let mut environment = Environment::new();
    environment.weak = true;
    environment.restart();
    let worker = environment.enrol(1);
    environment.submit(1, 0, 1, &template(0, 1, 1));
    let kept = environment.log.0.len();
    environment.submit(2, 0, 10, &template(0, 1, 1));
    let told = assigned(&environment.connect(worker, 1, 20, &[]));
    let (last_lease, last_job) = told.iter().map(|(_, lease, task)| (*lease, task.job)).max().unwrap();

    environment.weak = false;
    environment.restart_with(kept);
    let again = assigned(&environment.connect(worker, 2, 20, &[]));
    assert!(again[0].1 > last_lease);
    let accepted = environment.submit(3, 0, 1, &template(0, 1, 1));
    let Some(Effect::Accepted { job, .. }) = accepted.iter().find(|effect| matches!(effect, Effect::Accepted { .. }))
    else {
        panic!("{accepted:?}")
    };
    assert!(*job > last_job);
}

#[test]
fn in_strict_durability_job_numbers_go_on_without_a_gap() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 1, &template(0, 1, 1));
    environment.restart();
    environment.submit(2, 0, 1, &template(0, 1, 1));
    let numbers: Vec<_> = environment.engine.state().jobs.iter().map(|job| job.number.0).collect();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(environment.engine.state().counts.get(TaskState::Queued), 2);
}
