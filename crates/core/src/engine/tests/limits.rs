//! What is refused when there is too much, and not before; and how much one record has.

use std::{sync::Arc, time::Duration};

use super::environment::{Environment, assigned, submission, template, values};
use crate::{
    effect::{Effect, Refusal},
    input::Submit,
    limits::Limits,
    record::{Idempotency, Record},
    template::Template,
    values::{Values, ValuesBuilder},
};

/// What a request was refused for, and the limit.
fn refused(effects: &[Effect]) -> Option<(&'static str, u64)> {
    match &effects[0] {
        Effect::Refused { refusal: Refusal::Exhausted { what, limit, retry_after }, .. } => {
            assert!(*retry_after > Duration::ZERO);
            Some((what, *limit))
        }
        Effect::Accepted { .. } => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_queue_takes_so_many_tasks_and_so_many_bytes_and_no_more() {
    let one = template(0, 1, 1);
    let mut environment = Environment::with(Limits { open_tasks: 5, ..Limits::default() });
    assert_eq!(refused(&environment.submit(1, 0, 3, &one)), None);
    assert_eq!(refused(&environment.submit(1, 3, 3, &one)), Some(("tasks in the queue (`limits.queue_tasks`)", 5)));
    assert_eq!(refused(&environment.submit(1, 3, 2, &one)), None);
    // A full queue still takes what adds nothing to it.
    assert_eq!(refused(&environment.submit(1, 0, 5, &one)), None);
    assert_eq!(refused(&environment.close(1)), None);

    // Of 4 bytes each.
    let mut environment = Environment::with(Limits { open_bytes: 20, ..Limits::default() });
    assert_eq!(refused(&environment.submit(1, 0, 3, &one)), None);
    assert_eq!(
        refused(&environment.submit(1, 3, 3, &one)),
        Some(("bytes of payloads in the queue (`limits.queue`)", 20))
    );
    assert_eq!(refused(&environment.submit(1, 3, 2, &one)), None);
    assert_eq!(environment.engine.state().open_bytes, 20);
    assert_eq!(
        refused(&environment.submit(2, 0, 1, &one)),
        Some(("bytes of payloads in the queue (`limits.queue`)", 20))
    );
    let mut empty = ValuesBuilder::default();
    empty.push(b"");
    assert_eq!(refused(&environment.send(submission(3, 0, empty.take()))), None);
}

#[test]
fn idempotency_keys_have_a_limit_of_their_own() {
    let mut environment = Environment::with(Limits { idempotency_keys: 2, ..Limits::default() });
    let with = |key: u8| Submit {
        idempotency: Some(Idempotency { key: [key; 16], content: [key; 16] }),
        last: true,
        ..submission(key, 0, values(1))
    };
    assert_eq!((refused(&environment.send(with(1))), refused(&environment.send(with(2)))), (None, None));
    assert!(refused(&environment.send(with(3))).is_some_and(|(_, limit)| limit == 2));
    assert_eq!(refused(&environment.send(with(2))), None, "one that is known needs no room");
    assert_eq!(refused(&environment.send(submission(4, 0, values(1)))), None, "nor does a job without one");
    environment.now.wall = environment.now.wall.plus(Duration::from_hours(24));
    assert_eq!(refused(&environment.send(with(3))), None, "the others are too old now");
}

#[test]
fn a_key_is_for_a_whole_job() {
    let mut environment = Environment::new();
    let idempotency = Some(Idempotency { key: [9; 16], content: [9; 16] });
    for (first_index, last) in [(0, false), (1, true), (1, false)] {
        let submit = Submit { idempotency, last, ..submission(1, first_index, values(1)) };
        let effects = environment.send(submit);
        assert!(matches!(effects[0], Effect::Refused { refusal: Refusal::Invalid(_), .. }), "{effects:?}");
    }
}

#[test]
fn templates_are_kept_once_by_content() {
    let mut environment = Environment::new();
    for turn in 0..3 {
        for (key, priority) in [(1, 5), (2, 6)] {
            assert_eq!(refused(&environment.submit(key, turn, 1, &template(priority, 1, 1))), None);
        }
    }
    let added = environment.log.0.iter().filter(|(record, _)| matches!(record, Record::TemplateAdded { .. }));
    assert_eq!(added.count(), 2);
    assert_eq!(refused(&environment.close(1)), None, "without tasks it needs no template");
}

#[test]
fn a_closed_job_takes_repetitions_and_nothing_new() {
    let mut environment = Environment::new();
    let one = template(0, 1, 1);
    environment.submit(1, 0, 3, &one);
    environment.close(1);
    let records = environment.log.0.len();
    for (first_index, count) in [(0, 3), (1, 2), (3, 0), (0, 1)] {
        let effects = environment.submit(1, first_index, count, &one);
        assert!(matches!(effects[0], Effect::Accepted { next_index: 3, closed: true, .. }), "{effects:?}");
    }
    environment.close(1);
    for (first_index, count) in [(0, 4), (3, 1)] {
        let effects = environment.submit(1, first_index, count, &one);
        assert!(matches!(effects[0], Effect::Refused { refusal: Refusal::Precondition(_), .. }), "{effects:?}");
    }
    assert_eq!(environment.log.0.len(), records, "nothing of that is written down");
}

#[test]
fn bad_names_of_jobs_are_refused_before_anything_is_written_down() {
    let mut environment = Environment::new();
    let records = environment.log.0.len();
    for name in ["n".repeat(257), "a\nb".to_owned()] {
        let effects = environment.send(Submit { name, ..submission(1, 0, values(1)) });
        assert!(matches!(effects[0], Effect::Refused { refusal: Refusal::Invalid(_), .. }), "{effects:?}");
    }
    assert_eq!(environment.log.0.len(), records);
    let effects = environment.send(Submit { name: "n".repeat(256), ..submission(1, 0, values(1)) });
    assert!(matches!(effects[0], Effect::Accepted { .. }), "{effects:?}");
}

/// How many tasks each record of a submit has.
fn records(payloads: Values) -> Vec<u32> {
    let mut environment = Environment::new();
    let count = payloads.count();
    environment.send(submission(1, 0, payloads));
    assert_eq!(environment.engine.state().counts.open(), u64::from(count));
    let of = |record: &Record| match record {
        Record::Submitted { payloads, .. } => Some(payloads.count()),
        _ => None,
    };
    environment.log.0.iter().filter_map(|(record, _)| of(record)).collect()
}

#[test]
fn a_record_has_at_most_512_kib_of_values_and_16384_tasks() {
    let of_length = |lengths: &[usize]| {
        let mut payloads = ValuesBuilder::default();
        for length in lengths {
            payloads.push(&vec![1; *length]);
        }
        payloads.take()
    };
    // Each header takes 3 bytes.
    let whole = of_length(&[200_000, 512 * 1024 - 200_006]);
    assert_eq!((whole.bytes().len(), records(whole)), (512 * 1024, vec![2]));
    assert_eq!(records(of_length(&[200_000, 512 * 1024 - 200_005])), [1, 1]);
    assert_eq!(records(of_length(&[200_000, 200_000, 124_277, 0, 200_000])), [4, 1], "as many as there is room for");
    assert_eq!(records(values(16_384)), [16_384]);
    assert_eq!(records(values(16_385)), [16_384, 1]);
    // Of a large one nothing but its header lies in the record.
    let mut large = ValuesBuilder::default();
    (0..16_385).for_each(|file| large.push_external(file, 300_000));
    assert_eq!(records(large.take()), [16_384, 1]);
}

#[test]
fn a_jobs_digest_goes_over_each_change_of_template_and_all_payloads() {
    let mut environment = Environment::new();
    let (one, other): (Arc<Template>, Arc<Template>) = (template(0, 1, 1), template(3, 1, 1));
    let mut expected = 0;
    let mut next_index = 0;
    let steps = [(&one, 2, true), (&one, 1, false), (&other, 1, true), (&one, 0, false), (&one, 3, true)];
    for (template, count, changes) in steps {
        let effects = environment.submit(1, next_index, count, template);
        if changes {
            expected = crc32c::crc32c_append(expected, &template.body);
        }
        expected = crc32c::crc32c_append(expected, values(count).bytes());
        next_index += count;
        assert!(matches!(effects[0], Effect::Accepted { digest, .. } if digest == expected), "{effects:?}");
    }
    // Under an idempotency key the digest is that of what comes, when its job is gone.
    let idempotency = Some(Idempotency { key: [9; 16], content: [9; 16] });
    let submit = || Submit { idempotency, last: true, ..submission(2, 0, values(2)) };
    let worker = environment.enrol(1);
    environment.connect(worker, 1, 100, &[]);
    let given = assigned(&environment.send(submit()));
    let ends: Vec<_> = given.iter().map(|(_, lease, _)| (*lease, true)).collect();
    environment.report(1, &ends);
    let digest_of = |effects: &[Effect]| match effects[0] {
        Effect::Accepted { digest, next_index: 2, .. } => digest,
        _ => panic!("{effects:?}"),
    };
    let here = digest_of(&environment.send(submit()));
    let older_than = Duration::ZERO;
    let (session, caller) = (super::environment::CLIENT, super::environment::CALLER);
    environment.input(crate::input::Input::Purge { session, request: 1, caller, older_than });
    assert_eq!(digest_of(&environment.send(submit())), here);
}
