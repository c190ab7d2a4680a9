//! Jobs that go to the archive, and questions that only it can answer.

use std::time::Duration;

use super::environment::{CALLER, CLIENT, Environment, assigned, submission, template, values};
use crate::{
    effect::{ArchiveQuestion, Effect, Refusal},
    engine::Departure,
    ids::{JobNumber, OwnerNumber, SessionNumber, TaskId},
    input::{Follow, Input, Named, Submit, Target},
    limits::Limits,
    query::{JobFilter, Query},
    record::{Caller, JobKey, Record},
    time::WallTime,
    values::ValuesBuilder,
};

const ALL: u64 = u64::MAX;

/// A manager with an archive, and a worker that is there all the while.
fn with_lag(lag: u64) -> Environment {
    let lease_grace = Duration::from_hours(100);
    let mut environment = Environment::with(Limits { archive_lag: Some(lag), lease_grace, ..Limits::default() });
    let worker = environment.enrol(1);
    environment.connect(worker, 1, 100, &[]);
    environment
}

/// Runs a job to its end, a second after the one before.
fn run(environment: &mut Environment, key: u8, count: u32, succeeds: bool) {
    environment.pass(Duration::from_secs(1));
    let given = assigned(&environment.submit(key, 0, count, &template(0, 1, 1)));
    environment.close(key);
    let ends: Vec<_> = given.iter().map(|(_, lease, _)| (*lease, succeeds)).collect();
    environment.report(1, &ends);
}

fn departing(environment: &mut Environment, most: u64) -> Vec<Departure> {
    environment.engine.departing(environment.now.wall, most)
}

fn numbers(departures: &[Departure]) -> Vec<u64> {
    departures.iter().map(|departure| departure.job.0).collect()
}

fn archived(environment: &mut Environment, departures: Vec<Departure>) -> Vec<u64> {
    let purged = environment.engine.archived(environment.now, departures, &mut environment.log);
    environment.turn();
    purged.iter().map(|job| job.0).collect()
}

fn kept(environment: &Environment) -> Vec<u64> {
    environment.engine.state().jobs.iter().map(|job| job.number.0).collect()
}

fn purge(environment: &mut Environment) {
    let older_than = Duration::ZERO;
    environment.input(Input::Purge { session: CLIENT, request: 9, caller: CALLER, older_than });
}

fn follow(target: Target) -> Follow {
    Follow { target, skip: vec![], credit: 0, only_end: false, only_index: None, only_present: false }
}

#[test]
fn jobs_whose_tasks_all_succeeded_go_in_order_and_no_others() {
    let mut environment = with_lag(100);
    run(&mut environment, 1, 3, true);
    let first_over = environment.now.wall;
    run(&mut environment, 2, 2, false);
    environment.submit(3, 0, 1, &template(0, 9, 1));
    run(&mut environment, 4, 4, true);
    assert_eq!(environment.engine.archive_lag(), 7);
    assert!(environment.engine.departing(WallTime(first_over.0 - 1), ALL).is_empty());
    let first = environment.engine.departing(first_over, ALL);
    assert_eq!(first, [Departure { job: JobNumber(1), over: first_over, tasks: 3 }]);
    let second = departing(&mut environment, ALL);
    assert_eq!(numbers(&second), [4]);
    assert!(departing(&mut environment, ALL).is_empty(), "each is named once");
    assert_eq!((environment.engine.archive_lag(), kept(&environment)), (7, vec![1, 2, 3, 4]), "until they are there");
    assert!(archived(&mut environment, [first, second].concat()).is_empty());
    assert_eq!((environment.engine.archive_lag(), kept(&environment)), (0, vec![2, 3]));
    let gone = environment.log.0.iter().filter_map(|(record, _)| match record {
        Record::Archived { jobs, .. } => Some(jobs.clone()),
        _ => None,
    });
    assert_eq!(gone.collect::<Vec<_>>(), [[JobNumber(1), JobNumber(4)]]);
    assert!(archived(&mut environment, vec![]).is_empty());
    environment.restart();
    assert_eq!(kept(&environment), [2, 3]);
}

#[test]
fn no_more_go_at_a_time_than_are_asked_for_and_jobs_without_tasks_count_too() {
    let mut environment = with_lag(100);
    for key in 1..=5 {
        run(&mut environment, key, 2, true);
    }
    for key in 6..=8 {
        environment.close(key);
    }
    let mut next = |most| numbers(&departing(&mut environment, most));
    assert_eq!((next(0), next(1), next(3), next(4)), (vec![], vec![1], vec![2, 3], vec![4, 5]));
    assert_eq!((next(1), next(2)), (vec![6], vec![7, 8]));
}

#[test]
fn what_somebody_follows_stays_until_he_has_done() {
    let mut environment = with_lag(100);
    run(&mut environment, 1, 3, true);
    run(&mut environment, 2, 1, true);
    environment.follow(1, 0, &[]);
    let unfollow = || Input::Unfollow { session: CLIENT, request: 7 };
    let two = departing(&mut environment, ALL);
    assert_eq!(numbers(&two), [2]);
    environment.input(unfollow());
    let one = departing(&mut environment, ALL);
    assert_eq!(numbers(&one), [1]);
    // Somebody follows it while it is on its way.
    environment.follow(1, 0, &[]);
    assert!(archived(&mut environment, [one, two].concat()).is_empty());
    assert_eq!((kept(&environment), environment.engine.archive_lag()), (vec![1], 3));
    assert!(departing(&mut environment, ALL).is_empty());
    environment.input(unfollow());
    let one = departing(&mut environment, ALL);
    assert_eq!(numbers(&one), [1]);
    archived(&mut environment, one);
    assert_eq!((kept(&environment), environment.engine.archive_lag()), (vec![], 0));
}

#[test]
fn what_was_purged_on_its_way_is_to_be_purged_there_too() {
    let mut environment = with_lag(100);
    run(&mut environment, 1, 3, true);
    run(&mut environment, 2, 1, true);
    let departed = departing(&mut environment, 1);
    assert_eq!(numbers(&departed), [1]);
    purge(&mut environment);
    assert_eq!(environment.engine.archive_lag(), 4);
    assert!(departing(&mut environment, ALL).is_empty(), "the second is gone before it was named");
    assert_eq!(environment.engine.archive_lag(), 3);
    assert_eq!(archived(&mut environment, departed), [1]);
    assert_eq!(environment.engine.archive_lag(), 0);
    assert!(!environment.log.0.iter().any(|(record, _)| matches!(record, Record::Archived { .. })));
}

#[test]
fn a_job_that_was_over_twice_within_a_millisecond_goes_once() {
    let mut environment = with_lag(100);
    run(&mut environment, 1, 1, false);
    let named = Named::Job(JobNumber(1));
    let given = assigned(&environment.input(Input::Retry { session: CLIENT, request: 1, caller: CALLER, named }));
    environment.report(1, &[(given[0].1, true)]);
    environment.restart();
    environment.turn();
    let departed = departing(&mut environment, ALL);
    assert_eq!((numbers(&departed), environment.engine.archive_lag()), (vec![1, 1], 2));
    assert!(archived(&mut environment, departed).is_empty());
    assert_eq!((kept(&environment), environment.engine.archive_lag()), (vec![], 0));
}

#[test]
fn when_the_archive_lags_too_far_behind_nothing_new_is_taken() {
    let mut environment = with_lag(4);
    let one = template(0, 1, 1);
    let lags = |effects: &[Effect]| {
        matches!(&effects[0], Effect::Refused { refusal: Refusal::Exhausted { limit: 4, what, .. }, .. }
            if what.contains("archive"))
    };
    run(&mut environment, 1, 4, true);
    assert!(!lags(&environment.submit(2, 0, 1, &one)));
    run(&mut environment, 3, 1, true);
    assert!(lags(&environment.submit(2, 1, 1, &one)));
    assert!(!lags(&environment.submit(2, 0, 1, &one)), "it has that already");
    let departed = departing(&mut environment, 1);
    archived(&mut environment, departed);
    assert!(!lags(&environment.submit(2, 1, 1, &one)));
}

#[test]
fn who_submits_to_an_archived_job_is_told_that_it_has_that_or_gets_no_more() {
    let mut environment = with_lag(100);
    run(&mut environment, 1, 3, true);
    let again = |first_index, count| Submit { last: true, ..submission(1, first_index, values(count)) };
    let before = environment.send(again(0, 3)).remove(0);
    assert!(matches!(before, Effect::Accepted { next_index: 3, closed: true, .. }), "{before:?}");
    let departed = departing(&mut environment, ALL);
    archived(&mut environment, departed);
    for (first_index, count) in [(0, 3), (0, 1), (2, 1), (3, 0)] {
        assert_eq!(environment.send(again(first_index, count)), std::slice::from_ref(&before));
    }
    for (first_index, count) in [(0, 4), (3, 1), (u32::MAX, 1)] {
        let effects = environment.send(again(first_index, count));
        assert!(matches!(effects[0], Effect::Refused { refusal: Refusal::Precondition(_), .. }), "{effects:?}");
    }
    let mut large = ValuesBuilder::default();
    large.push_external(5, 300_000);
    environment.send(submission(1, 2, large.take()));
    assert_eq!(environment.engine.take_unused_files(), [5]);
    // It is nobody else's job.
    let caller = Caller { owner: OwnerNumber(4), admin: false };
    let submit = submission(1, 0, values(1));
    let effects = environment.input(Input::Submit { session: CLIENT, request: 1, caller, submit });
    assert!(matches!(effects[0], Effect::Accepted { job: JobNumber(2), .. }), "{effects:?}");
}

/// A job that is in the archive, one that is here, and none with a higher number.
fn with_past() -> Environment {
    let mut environment = with_lag(100);
    run(&mut environment, 1, 1, true);
    let departed = departing(&mut environment, ALL);
    archived(&mut environment, departed);
    environment.submit(2, 0, 1, &template(0, 9, 1));
    environment
}

fn asked(effects: &[Effect]) -> Option<&ArchiveQuestion> {
    match effects {
        [Effect::AskArchive { session: SessionNumber(3), request: 8, caller: CALLER, question }] => Some(question),
        [Effect::AskArchive { .. }] => panic!("{effects:?}"),
        _ => None,
    }
}

#[test]
fn what_is_asked_about_a_past_job_is_passed_on_and_about_another_it_is_not() {
    let (session, request, caller) = (SessionNumber(3), 8, CALLER);
    let mut environment = with_past();
    for number in [1, 2, 3] {
        let job = JobNumber(number);
        let task = TaskId { job, index: 0 };
        let tasks = Query::Tasks { job, state: None, from_index: 0, limit: 9 };
        let inputs: [(Input, ArchiveQuestion); 6] = [
            (
                Input::Follow { session, request, caller, follow: follow(Target::Number(job)) },
                ArchiveQuestion::Follow(Box::new(follow(Target::Number(job)))),
            ),
            (Input::Query { session, request, caller, query: tasks.clone() }, ArchiveQuestion::Query(tasks)),
            (
                Input::Query { session, request, caller, query: Query::Task(task) },
                ArchiveQuestion::Query(Query::Task(task)),
            ),
            (
                Input::Cancel { session, request, caller, named: Named::Job(job) },
                ArchiveQuestion::Cancel(Named::Job(job)),
            ),
            (
                Input::Cancel { session, request, caller, named: Named::Task(task) },
                ArchiveQuestion::Cancel(Named::Task(task)),
            ),
            (
                Input::Retry { session, request, caller, named: Named::Task(task) },
                ArchiveQuestion::Retry(Named::Task(task)),
            ),
        ];
        for (input, question) in inputs {
            let effects = environment.input(input.clone());
            assert_eq!(asked(&effects), (number == 1).then_some(&question), "{input:?}: {effects:?}");
        }
    }
    let mut by_key = |key: u8| {
        let follow = follow(Target::Key(JobKey([key; 16])));
        let effects = environment.input(Input::Follow { session, request: 8, caller, follow });
        match asked(&effects) {
            Some(ArchiveQuestion::Follow(follow)) => Some(follow.target),
            _ => None,
        }
    };
    assert_eq!(by_key(1), Some(Target::Number(JobNumber(1))), "the number is known here");
    assert_eq!(by_key(2), None);
    assert_eq!(by_key(7), Some(Target::Key(JobKey([7; 16]))));
}

#[test]
fn lists_and_the_status_are_completed_by_the_archive() {
    let (session, request, caller) = (SessionNumber(3), 8, CALLER);
    let mut environment = with_past();
    let query = Query::Jobs { before: Some(JobNumber(9)), limit: 5, filter: JobFilter::default() };
    let effects = environment.input(Input::Query { session, request, caller, query });
    let Some(ArchiveQuestion::Jobs { before, limit: 5, jobs, next_before: None, .. }) = asked(&effects) else {
        panic!("{effects:?}")
    };
    assert_eq!((jobs.len(), *before), (1, Some(JobNumber(9))));
    let effects = environment.input(Input::Query { session, request, caller, query: Query::Status });
    assert!(matches!(asked(&effects), Some(ArchiveQuestion::Status(status)) if status.jobs == 1), "{effects:?}");
    let effects = environment.input(Input::Query { session, request, caller, query: Query::Workers });
    assert!(matches!(effects[0], Effect::Answer { .. }), "{effects:?}");

    // Without an archive everything is answered here.
    let mut environment = Environment::new();
    for query in [Query::Status, Query::Jobs { before: None, limit: 5, filter: JobFilter::default() }] {
        let effects = environment.input(Input::Query { session, request, caller, query });
        assert!(matches!(effects[0], Effect::Answer { .. }), "{effects:?}");
    }
    environment.close(1);
    purge(&mut environment);
    let effects = environment.input(Input::Cancel { session, request, caller, named: Named::Job(JobNumber(1)) });
    assert!(matches!(effects[0], Effect::Refused { refusal: Refusal::NotFound(_), .. }), "{effects:?}");
    assert_eq!(environment.engine.archive_lag(), 0);
}

#[test]
fn it_is_known_whose_results_somebody_has_all() {
    let mut environment = with_lag(100);
    for key in 1..=3 {
        run(&mut environment, key, 2, key != 3);
    }
    let fetched = |environment: &Environment| {
        (1..=3).filter(|job| environment.engine.is_fetched(JobNumber(*job))).collect::<Vec<_>>()
    };
    environment.follow(2, 1, &[]);
    assert!(fetched(&environment).is_empty(), "one result is missing");
    environment.input(Input::FollowCredit { session: CLIENT, request: 7, more: 1 });
    environment.follow(3, 10, &[]);
    let only = Follow { only_index: Some(0), credit: 5, ..follow(Target::Key(JobKey([1; 16]))) };
    environment.input(Input::Follow { session: CLIENT, request: 7, caller: CALLER, follow: only });
    assert_eq!(fetched(&environment), [2, 3]);
    let named = Named::Job(JobNumber(3));
    environment.input(Input::Retry { session: CLIENT, request: 1, caller: CALLER, named });
    assert_eq!(fetched(&environment), [2], "the other runs again");
    let departed = departing(&mut environment, ALL);
    archived(&mut environment, departed);
    assert!(fetched(&environment).is_empty());
}

#[test]
fn what_was_over_before_a_start_goes_after_it_whether_records_or_a_snapshot_say_so() {
    let mut environment = with_lag(ALL);
    run(&mut environment, 1, 3, true);
    run(&mut environment, 2, 1, false);
    run(&mut environment, 3, 2, true);
    for snapshot in [false, true] {
        if snapshot {
            environment.restart_from_snapshot();
        } else {
            environment.restart();
        }
        environment.pass(Duration::from_secs(1));
        assert_eq!(environment.engine.archive_lag(), 5, "snapshot: {snapshot}");
        assert_eq!(numbers(&departing(&mut environment, ALL)), [1, 3], "snapshot: {snapshot}");
    }
}

#[test]
fn where_results_are_forgotten_once_they_are_fetched_nothing_waits_for_the_archive() {
    let limits = Limits { archive_lag: Some(10), forget_fetched: true, finished_tasks: 20, ..Limits::default() };
    let mut environment = Environment::with(Limits { lease_grace: Duration::from_hours(100), ..limits });
    let worker = environment.enrol(1);
    environment.connect(worker, 1, 100, &[]);
    for key in 1..=10 {
        run(&mut environment, key, 5, true);
        environment.follow(key, 10, &[]);
        let job = JobNumber(key.into());
        environment.input(Input::Acknowledge { session: CLIENT, request: 8, caller: CALLER, job });
        assert_eq!((environment.engine.archive_lag(), kept(&environment)), (0, vec![]), "job {key}");
    }
    assert_eq!(departing(&mut environment, ALL), []);
}
