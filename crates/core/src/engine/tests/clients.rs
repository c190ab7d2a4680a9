//! Submitting and following.

use std::time::Duration;

use super::environment::{CALLER, CLIENT, Environment, assigned, results, template, values};
use crate::{
    effect::{Effect, Refusal},
    ids::{JobNumber, LeaseNumber, OwnerNumber, RecordNumber, SessionNumber},
    input::{Follow, Input, Named, Submit, Target},
    labels::Labels,
    limits::Limits,
    record::{Caller, Idempotency, JobKey},
    task::TaskState,
    values::ValuesBuilder,
};

#[test]
fn a_repeated_submit_adds_only_what_is_missing() {
    let mut environment = Environment::new();
    let one = template(0, 1, 3);
    let first = environment.submit(1, 0, 5, &one);
    let Effect::Accepted { job, next_index: 5, .. } = first[0] else { panic!("{first:?}") };
    let again = environment.submit(1, 2, 6, &one);
    assert!(matches!(again[0], Effect::Accepted { job: same, next_index: 8, .. } if same == job));
    let gap = environment.submit(1, 9, 1, &one);
    assert!(matches!(&gap[0], Effect::Refused { refusal: Refusal::Precondition(_), .. }), "{gap:?}");
    assert_eq!(environment.engine.state().counts.get(TaskState::Queued), 8);
}

#[test]
fn an_idempotency_key_returns_the_first_job_or_says_that_the_content_differs() {
    let mut environment = Environment::new();
    let mut submit = |key: u8, content: u8| {
        let submit = Submit {
            key: JobKey([key; 16]),
            name: String::new(),
            labels: Labels::new(),
            idempotency: Some(Idempotency { key: [9; 16], content: [content; 16] }),
            first_index: 0,
            template: template(0, 1, 1),
            payloads: values(1),
            last: true,
            delay: None,
            deadline: None,
        };
        environment.input(Input::Submit { session: CLIENT, request: 1, caller: CALLER, submit }).remove(0)
    };
    let first = submit(1, 1);
    assert!(matches!(first, Effect::Accepted { job: JobNumber(1), next_index: 1, closed: true, .. }), "{first:?}");
    assert_eq!(submit(2, 1), first);
    assert!(matches!(submit(3, 2), Effect::Refused { refusal: Refusal::OtherContent { job: JobNumber(1) }, .. }));
    assert_eq!(environment.engine.state().jobs.len(), 1);
}

#[test]
fn a_full_queue_refuses_with_a_hint_and_takes_more_when_there_is_room() {
    let mut environment = Environment::with(Limits { open_tasks: 10, ..Limits::default() });
    let one = template(0, 1, 3);
    environment.submit(1, 0, 10, &one);
    let refused = environment.submit(2, 0, 1, &one);
    let Effect::Refused { refusal: Refusal::Exhausted { limit: 10, retry_after, .. }, .. } = &refused[0] else {
        panic!("{refused:?}")
    };
    assert!(*retry_after > Duration::ZERO);
    let worker = environment.enrol(1);
    let given = assigned(&environment.connect(worker, 1, 1, &[]));
    environment.report(1, &[(given[0].1, true)]);
    assert!(matches!(environment.submit(2, 0, 1, &one)[0], Effect::Accepted { .. }));
}

#[test]
fn a_follow_tells_each_result_once_within_its_credit_and_then_the_end() {
    let mut environment = Environment::new();
    let one = template(0, 1, 1);
    environment.submit(1, 0, 6, &one);
    let worker = environment.enrol(1);
    let given = assigned(&environment.connect(worker, 1, 6, &[]));
    let lease = |index: usize| given[index].1;
    environment.report(1, &[(lease(0), true), (lease(3), false)]);

    assert_eq!(
        results(&environment.follow(1, 1, &[(3, 1)])).iter().map(|result| result.index).collect::<Vec<_>>(),
        [0]
    );
    assert_eq!(results(&environment.report(1, &[(lease(2), true), (lease(1), true)])), []);
    let more = results(&environment.input(Input::FollowCredit { session: CLIENT, request: 7, more: 10 }));
    let mut indexes: Vec<_> = more.iter().map(|result| result.index).collect();
    indexes.sort_unstable();
    assert_eq!(indexes, [1, 2]);
    let last = results(&environment.report(1, &[(lease(4), true), (lease(5), true)]));
    assert_eq!(last.len(), 2);
    let end = environment.input(Input::Submit {
        session: CLIENT,
        request: 2,
        caller: CALLER,
        submit: Submit {
            key: JobKey([1; 16]),
            name: String::new(),
            idempotency: None,
            labels: Labels::new(),
            first_index: 6,
            template: one,
            payloads: values(0),
            last: true,
            delay: None,
            deadline: None,
        },
    });
    assert!(end.iter().any(|effect| matches!(effect, Effect::FollowEnded { request: 7, .. })), "{end:?}");
}

#[test]
fn nobody_sees_another_owners_job() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 1, &template(0, 1, 1));
    let follow =
        |target| Follow { target, skip: vec![], credit: 1, only_end: false, only_index: None, only_present: false };
    let mut try_as = |caller, target| {
        let effects = environment.input(Input::Follow { session: CLIENT, request: 3, caller, follow: follow(target) });
        matches!(effects.first(), Some(Effect::Refused { refusal: Refusal::NotFound(_), .. }))
    };
    let other = Caller { owner: OwnerNumber(5), admin: false };
    assert!(try_as(other, Target::Number(JobNumber(1))));
    assert!(try_as(other, Target::Key(JobKey([1; 16]))));
    assert!(!try_as(Caller { admin: true, ..other }, Target::Number(JobNumber(1))));
    assert!(!try_as(CALLER, Target::Number(JobNumber(1))));
}

#[test]
fn nothing_is_told_before_its_record_is_durable() {
    let mut environment = Environment::new();
    let durable = RecordNumber(environment.log.0.len() as u64);
    let submit = Submit {
        key: JobKey([1; 16]),
        name: String::new(),
        idempotency: None,
        labels: Labels::new(),
        first_index: 0,
        template: template(0, 1, 1),
        payloads: values(1),
        last: true,
        delay: None,
        deadline: None,
    };
    let input = Input::Submit { session: SessionNumber(1), request: 1, caller: CALLER, submit };
    environment.engine.handle(environment.now, input, &mut environment.log);
    assert_eq!(environment.engine.poll_effect(durable), None);
    let all = RecordNumber(environment.log.0.len() as u64);
    assert_eq!(environment.engine.poll_effect(RecordNumber(all.0 - 1)), None);
    assert!(environment.engine.poll_effect(all).is_some());
}

#[test]
fn large_batches_are_cut_into_records_of_bounded_size() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 40_000, &template(0, 1, 1));
    let worker = environment.enrol(1);
    let given = assigned(&environment.connect(worker, 1, 40_000, &[]));
    assert_eq!(given.len(), 40_000);
    let ends: Vec<_> = given.iter().map(|(_, lease, _)| (*lease, true)).collect();
    environment.report(1, &ends);
    assert_eq!(environment.engine.state().counts.get(TaskState::Succeeded), 40_000);
    assert!(environment.finished_records() >= 3);
    assert_eq!(given[39_999].1, LeaseNumber(given[0].1.0 + 39_999));
}

#[test]
fn large_values_that_are_not_kept_are_named_once_to_be_removed() {
    let mut environment = Environment::with(Limits { open_tasks: 3, ..Limits::default() });
    let one = template(0, 1, 1);
    let mut submit = |first_index: u32, files: &[u64]| {
        let mut payloads = ValuesBuilder::default();
        for file in files {
            payloads.push(b"small");
            payloads.push_external(*file, 300_000);
        }
        let submit = Submit {
            key: JobKey([1; 16]),
            name: String::new(),
            idempotency: None,
            labels: Labels::new(),
            first_index,
            template: one.clone(),
            payloads: payloads.take(),
            last: false,
            delay: None,
            deadline: None,
        };
        environment.input(Input::Submit { session: CLIENT, request: 1, caller: CALLER, submit });
        environment.engine.take_unused_files()
    };
    assert!(submit(0, &[1]).is_empty(), "it is kept");
    assert_eq!(submit(0, &[2]), [2], "a repetition");
    assert_eq!(submit(0, &[3, 4]), [3, 4], "more than the queue takes");
    assert_eq!(submit(9, &[5]), [5], "a gap");

    let worker = environment.enrol(1);
    let given = assigned(&environment.connect(worker, 1, 2, &[]));
    let mut report = |file: u64| {
        let mut details = ValuesBuilder::default();
        details.push_external(file, 300_000);
        let (session, ends) = (SessionNumber(1), vec![(given[0].1, true)]);
        environment.input(Input::Outcomes { session, number: 1, ends, details: details.take() });
        environment.engine.take_unused_files()
    };
    assert!(report(6).is_empty(), "it is kept");
    assert_eq!(report(7), [7], "a repetition");
}

#[test]
fn cancelling_closes_a_job_and_writes_nothing_where_nothing_changes() {
    let mut environment = Environment::new();
    let named = Named::Job(JobNumber(1));
    environment.submit(1, 0, 0, &template(0, 1, 1));
    for written in [1, 0] {
        let records = environment.log.0.len();
        environment.input(Input::Cancel { session: CLIENT, request: 1, caller: CALLER, named });
        assert_eq!(environment.log.0.len() - records, written);
    }
    let refused = environment.submit(1, 0, 1, &template(0, 1, 1));
    assert!(matches!(refused[0], Effect::Refused { .. }), "{refused:?}");
}
