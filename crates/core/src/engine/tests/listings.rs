//! What lists and follows leave out.

use std::time::Duration;

use super::environment::{CALLER, CLIENT, Environment, assigned, results, template, values};
use crate::{
    effect::{Effect, Refusal},
    ids::{JobNumber, TaskId},
    input::{Follow, Input, Named, Submit, Target},
    labels::Labels,
    query::{Answer, JobFilter, Query},
    record::JobKey,
    task::TaskState,
};

fn jobs(environment: &mut Environment, before: Option<u64>, limit: u32, filter: &JobFilter) -> (Vec<u64>, Option<u64>) {
    let query = Query::Jobs { before: before.map(JobNumber), limit, filter: filter.clone() };
    let effects = environment.input(Input::Query { session: CLIENT, request: 1, caller: CALLER, query });
    let [Effect::Answer { answer: Answer::Jobs { jobs, next_before }, .. }] = &effects[..] else {
        panic!("{effects:?}")
    };
    (jobs.iter().map(|job| job.job.0).collect(), next_before.map(|job| job.0))
}

#[test]
fn jobs_are_listed_by_the_states_of_their_tasks_and_by_age_page_by_page() {
    let mut environment = Environment::new();
    let one = template(0, 1, 1);
    let mut opened = Vec::new();
    for key in 1..=6 {
        environment.pass(Duration::from_secs(1));
        opened.push(environment.now.wall);
        environment.submit(key, 0, 2, &one);
    }
    // Of every second job a task is cancelled, the other waits.
    for job in [2, 4, 6] {
        let named = Named::Task(TaskId { job: JobNumber(job), index: 1 });
        environment.input(Input::Cancel { session: CLIENT, request: 1, caller: CALLER, named });
    }
    let all = JobFilter::default();
    let cancelled = JobFilter { state: Some(TaskState::Cancelled), ..all.clone() };
    let late = JobFilter { since: Some(opened[3]), ..all.clone() };
    assert_eq!(jobs(&mut environment, None, 10, &all), (vec![6, 5, 4, 3, 2, 1], None));
    assert_eq!(jobs(&mut environment, None, 10, &cancelled), (vec![6, 4, 2], None));
    assert_eq!(jobs(&mut environment, None, 10, &late), (vec![6, 5, 4], None));
    assert_eq!(jobs(&mut environment, None, 10, &JobFilter { since: Some(opened[3]), ..cancelled.clone() }).0, [6, 4]);
    assert_eq!(jobs(&mut environment, None, 10, &JobFilter { state: Some(TaskState::Queued), ..all }).0.len(), 6);

    let (first, next) = jobs(&mut environment, None, 2, &cancelled);
    let (second, end) = jobs(&mut environment, next, 2, &cancelled);
    assert_eq!((first, second, end), (vec![6, 4], vec![2], None));
    assert_eq!(jobs(&mut environment, None, 3, &cancelled), (vec![6, 4, 2], None));
}

#[test]
fn jobs_are_found_by_all_of_their_labels_also_after_a_restart_and_bad_labels_are_refused() {
    let mut environment = Environment::new();
    let labels = |pairs: &[(&str, &str)]| -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let mut open = |key, labels| {
        let submit = Submit {
            key: JobKey([key; 16]),
            name: String::new(),
            idempotency: None,
            labels,
            first_index: 0,
            template: template(0, 1, 1),
            payloads: values(1),
            last: true,
            delay: None,
            deadline: None,
        };
        environment.input(Input::Submit { session: CLIENT, request: 1, caller: CALLER, submit }).remove(0)
    };
    open(1, labels(&[("host", "a"), ("run", "nightly")]));
    open(2, labels(&[("host", "b"), ("run", "nightly")]));
    open(3, Labels::new());
    let refused = open(4, labels(&[("", "nothing")]));
    assert!(matches!(refused, Effect::Refused { refusal: Refusal::Invalid(_), .. }), "{refused:?}");
    environment.restart();
    let mut found =
        |pairs| jobs(&mut environment, None, 10, &JobFilter { labels: labels(pairs), ..JobFilter::default() }).0;
    assert_eq!(found(&[("run", "nightly")]), [2, 1]);
    assert_eq!(found(&[("run", "nightly"), ("host", "a")]), [1]);
    assert!(found(&[("run", "night")]).is_empty() && found(&[("other", "")]).is_empty());
    assert_eq!(found(&[]), [3, 2, 1]);
}

#[test]
fn a_follow_of_what_is_there_ends_without_the_rest() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 6, &template(0, 1, 1));
    let worker = environment.enrol(1);
    let given = assigned(&environment.connect(worker, 1, 6, &[]));
    environment.report(1, &[(given[1].1, true), (given[4].1, false)]);
    let follow = |only_index, credit| Follow {
        target: Target::Key(JobKey([1; 16])),
        skip: vec![],
        credit,
        only_end: false,
        only_index,
        only_present: true,
    };
    let mut told = |only_index, credit| {
        let follow = follow(only_index, credit);
        let effects = environment.input(Input::Follow { session: CLIENT, request: 7, caller: CALLER, follow });
        let ended = effects.iter().any(|effect| matches!(effect, Effect::FollowEnded { request: 7, .. }));
        (results(&effects).iter().map(|result| result.index).collect::<Vec<_>>(), ended)
    };
    assert_eq!(told(None, 10), (vec![1, 4], true));
    assert_eq!(told(Some(4), 10), (vec![4], true));
    assert_eq!(told(Some(0), 10), (vec![], true));
    // Not before all of it was told.
    assert_eq!(told(None, 1), (vec![1], false));
    let effects = environment.input(Input::FollowCredit { session: CLIENT, request: 7, more: 10 });
    assert_eq!(results(&effects).len(), 1);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::FollowEnded { request: 7, .. })), "{effects:?}");
}

#[test]
fn a_cancel_that_is_repeated_says_again_what_still_runs() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 3, &template(0, 1, 1));
    let worker = environment.enrol(1);
    environment.connect(worker, 1, 2, &[]);
    let mut cancel = || {
        let named = Named::Job(JobNumber(1));
        let effects = environment.input(Input::Cancel { session: CLIENT, request: 1, caller: CALLER, named });
        let asked = effects.iter().any(|effect| matches!(effect, Effect::Cancel { .. }));
        let changed = effects.iter().find_map(|effect| match effect {
            Effect::Changed { tasks, running, .. } => Some((*tasks, *running)),
            _ => None,
        });
        (changed, asked)
    };
    assert_eq!(cancel(), (Some((1, 2)), true));
    assert_eq!(cancel(), (Some((0, 2)), false));
}
