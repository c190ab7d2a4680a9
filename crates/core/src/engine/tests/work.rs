//! Cancelling, and running again.

use std::time::Duration;

use super::environment::{CALLER, CLIENT, Environment, assigned, results, template};
use crate::{
    effect::{Effect, Refusal},
    ids::{JobNumber, OwnerNumber, TaskId},
    input::{Input, Named},
    limits::Limits,
    record::Caller,
    task::TaskState,
};

const JOB: Named = Named::Job(JobNumber(1));

fn one(index: u32) -> Named {
    Named::Task(TaskId { job: JobNumber(1), index })
}

fn cancel(environment: &mut Environment, named: Named) -> Vec<Effect> {
    environment.input(Input::Cancel { session: CLIENT, request: 2, caller: CALLER, named })
}

fn retry(environment: &mut Environment, named: Named) -> Vec<Effect> {
    environment.input(Input::Retry { session: CLIENT, request: 3, caller: CALLER, named })
}

fn changed(effects: &[Effect]) -> (u64, u64) {
    let of = |effect: &Effect| match effect {
        Effect::Changed { tasks, running, .. } => Some((*tasks, *running)),
        _ => None,
    };
    effects.iter().find_map(of).unwrap_or_else(|| panic!("{effects:?}"))
}

fn states(environment: &Environment) -> Vec<TaskState> {
    environment.engine.state().tasks.iter().map(|(_, task)| task.state()).collect()
}

#[test]
fn a_cancel_ends_what_waits_at_once_for_whatever_it_waits_and_closes_the_job() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 4, &template(0, 1, 3));
    let worker = environment.enrol(1);
    let given = assigned(&environment.connect(worker, 1, 2, &[]));
    environment.report(1, &[(given[0].1, false)]);
    let expected = [TaskState::Scheduled, TaskState::Running, TaskState::Running, TaskState::Queued];
    assert_eq!(states(&environment), expected);
    assert_eq!(changed(&cancel(&mut environment, JOB)), (2, 2));
    assert_eq!(changed(&cancel(&mut environment, JOB)), (0, 2), "a repetition says what still runs");
    environment.pass(Duration::from_secs(5));
    let expected = [TaskState::Cancelled, TaskState::Running, TaskState::Running, TaskState::Cancelled];
    assert_eq!(states(&environment), expected, "its backoff is forgotten");
    let refused = environment.submit(1, 4, 1, &template(0, 1, 3));
    assert!(matches!(&refused[0], Effect::Refused { refusal: Refusal::Precondition(_), .. }), "{refused:?}");
    environment.restart();
    assert_eq!(states(&environment), expected);
}

#[test]
fn only_what_has_ended_without_success_runs_again_and_only_if_there_is_room() {
    let mut environment = Environment::with(Limits { open_tasks: 3, ..Limits::default() });
    environment.submit(1, 0, 3, &template(0, 1, 1));
    let worker = environment.enrol(1);
    let given = assigned(&environment.connect(worker, 1, 3, &[]));
    environment.report(1, &[(given[0].1, true), (given[1].1, false)]);
    for index in [0, 2] {
        let refused = retry(&mut environment, one(index));
        assert!(matches!(&refused[0], Effect::Refused { refusal: Refusal::Precondition(_), .. }), "{refused:?}");
    }
    environment.submit(2, 0, 2, &template(0, 1, 1));
    let refused = retry(&mut environment, JOB);
    assert!(matches!(&refused[0], Effect::Refused { refusal: Refusal::Exhausted { .. }, .. }), "{refused:?}");
    environment.report(1, &[(given[2].1, true)]);
    let effects = retry(&mut environment, JOB);
    assert_eq!(changed(&effects), (1, 0));
    let again = assigned(&effects).into_iter().find(|(_, _, task)| task.job == JobNumber(1)).unwrap();
    assert!(again.1 > given[2].1, "leases go on");
    let (_, task) = environment.engine.state().tasks.iter().nth(1).unwrap();
    assert_eq!((task.attempts, task.failures), (2, 0), "attempts go on, failures begin anew");
    environment.report(1, &[(again.1, true)]);
    assert_eq!(states(&environment)[..3], [TaskState::Succeeded; 3]);
}

#[test]
fn nobody_cancels_or_runs_again_what_is_somebody_elses() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 1, &template(0, 1, 1));
    let caller = Caller { owner: OwnerNumber(5), admin: false };
    for named in [JOB, one(0)] {
        let inputs = [
            Input::Cancel { session: CLIENT, request: 1, caller, named },
            Input::Retry { session: CLIENT, request: 1, caller, named },
        ];
        for input in inputs {
            let refused = environment.input(input);
            assert!(matches!(&refused[0], Effect::Refused { refusal: Refusal::NotFound(_), .. }), "{refused:?}");
        }
    }
    assert_eq!(states(&environment), [TaskState::Queued]);
}

#[test]
fn who_follows_is_told_each_end_once_and_no_end_that_was_taken_back_before() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 2, &template(0, 1, 1));
    assert!(results(&environment.follow(1, 1, &[])).is_empty());
    assert_eq!(results(&cancel(&mut environment, one(0))).len(), 1);
    for _ in 0..5 {
        // There is no credit left.
        assert!(results(&cancel(&mut environment, one(1))).is_empty());
        retry(&mut environment, one(1));
    }
    cancel(&mut environment, one(1));
    let told = results(&environment.input(Input::FollowCredit { session: CLIENT, request: 7, more: 10 }));
    assert_eq!(told.iter().map(|result| result.index).collect::<Vec<_>>(), [1]);
    retry(&mut environment, one(0));
    let told = results(&cancel(&mut environment, one(0)));
    assert_eq!(told.iter().map(|result| result.index).collect::<Vec<_>>(), [0], "another end is told too");
}
