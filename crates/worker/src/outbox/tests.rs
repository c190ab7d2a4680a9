use std::fs;

use task_messenger_protocol::values::{Value, Values, ValuesBuilder};

use super::*;

const STORE: [u8; 16] = [5; 16];

fn block(leases: std::ops::Range<u64>) -> Block {
    let mut outcomes = ValuesBuilder::default();
    for lease in leases.clone() {
        outcomes.push(&lease.to_le_bytes());
    }
    Block {
        tasks: leases.clone().map(|lease| TaskName { job: lease * 2, index: lease as u32 }).collect(),
        statuses: leases.clone().map(|lease| 1 + (lease % 2) as u8).collect(),
        outcomes: outcomes.take().bytes().clone(),
        leases: leases.collect(),
    }
}

/// The leases of a message, after checking that each has its own status and outcome.
fn leases(message: &Outcomes) -> Vec<u64> {
    let values = Values::check(message.outcomes.clone(), message.leases.len() as u32, 8).unwrap();
    for ((lease, status), (_, value)) in message.leases.iter().zip(&message.statuses).zip(values.iter()) {
        assert_eq!(*status, 1 + (lease % 2) as u8);
        assert_eq!(value, Value::Inline(Bytes::copy_from_slice(&lease.to_le_bytes())));
    }
    message.leases.clone()
}

fn held(outbox: &Outbox) -> Vec<u64> {
    outbox.leases().inspect(|(lease, task)| assert_eq!(task.job, lease * 2)).map(|(lease, _)| lease).collect()
}

#[test]
fn outcomes_are_sent_again_in_every_session_until_they_are_taken() {
    let directory = tempfile::tempdir().unwrap();
    let mut outbox = Outbox::open(&directory.path().join("outbox"), STORE, 1).unwrap();
    outbox.push(block(1..4));
    outbox.push(block(4..5));
    let message = outbox.next_message(1 << 20).unwrap();
    assert_eq!((message.number, leases(&message)), (1, vec![1, 2, 3, 4]));
    assert_eq!(outbox.next_message(1 << 20), None);
    outbox.push(block(5..7));
    let message = outbox.next_message(1 << 20).unwrap();
    assert_eq!((message.number, leases(&message)), (2, vec![5, 6]));
    outbox.taken(1).unwrap();
    assert_eq!(held(&outbox), [5, 6]);

    outbox.begin_session(u64::MAX);
    outbox.forget(&[5].into_iter().collect()).unwrap();
    let message = outbox.next_message(1 << 20).unwrap();
    assert_eq!((message.number, leases(&message)), (1, vec![6]));
    outbox.taken(1).unwrap();
    assert!(outbox.is_empty() && outbox.bytes() == 0);
}

#[test]
fn messages_keep_to_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let mut outbox = Outbox::open(&directory.path().join("outbox"), STORE, 1).unwrap();
    outbox.push(block(1..100));
    outbox.push(block(100..102));
    let before = outbox.bytes();
    let messages: Vec<_> = std::iter::from_fn(|| outbox.next_message(1_000)).collect();
    assert!(messages.len() >= 4);
    assert!(messages.iter().all(|message| prost::Message::encoded_len(message) <= 1_000));
    assert_eq!(messages.iter().flat_map(leases).collect::<Vec<_>>(), (1..102).collect::<Vec<_>>());
    assert_eq!(outbox.bytes(), before);
    outbox.begin_session(u64::MAX);
    assert_eq!(leases(&outbox.next_message(1).unwrap()), [1], "one that is longer by itself goes alone");
}

#[test]
fn what_was_saved_comes_back_even_behind_a_torn_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outbox");
    let mut outbox = Outbox::open(&path, STORE, 1).unwrap();
    outbox.push(block(1..3));
    outbox.save().unwrap();
    let whole = fs::read(&path).unwrap();
    outbox.push(block(3..9));
    outbox.save().unwrap();
    outbox.save().unwrap();
    let both = fs::read(&path).unwrap();
    assert_eq!(held(&Outbox::open(&path, STORE, 1).unwrap()), (1..9).collect::<Vec<_>>());

    for cut in whole.len()..both.len() {
        fs::write(&path, &both[..cut]).unwrap();
        assert_eq!(held(&Outbox::open(&path, STORE, 1).unwrap()), [1, 2], "cut at {cut}");
    }
    let mut damaged = both.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&path, damaged).unwrap();
    let mut outbox = Outbox::open(&path, STORE, 1).unwrap();
    assert_eq!(held(&outbox), [1, 2]);
    outbox.push(block(9..10));
    outbox.save().unwrap();
    assert_eq!(held(&Outbox::open(&path, STORE, 1).unwrap()), [1, 2, 9], "the torn end was written over");

    outbox.begin_session(u64::MAX);
    outbox.next_message(1 << 20).unwrap();
    outbox.taken(1).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 0, "what was taken is gone");
}

#[test]
fn another_stores_outcomes_are_not_sent() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outbox");
    let mut outbox = Outbox::open(&path, STORE, 1).unwrap();
    outbox.push(block(1..3));
    outbox.save().unwrap();
    assert!(Outbox::open(&path, STORE, 2).unwrap().is_empty());
    assert!(Outbox::open(&path, STORE, 1).unwrap().is_empty(), "the file was emptied");
}

#[test]
fn an_outcome_that_is_too_long_for_the_manager_loses_the_front_of_its_outputs() {
    let directory = tempfile::tempdir().unwrap();
    let mut outbox = Outbox::open(&directory.path().join("outbox"), STORE, 1).unwrap();
    let outcome = |output: usize, errors: usize| task_messenger_protocol::messages::Outcome {
        code: 7,
        text: "why".to_owned(),
        output: (0..output).map(|at| at as u8).collect::<Vec<_>>().into(),
        errors: vec![9; errors].into(),
        output_dropped: 5,
        ..Default::default()
    };
    let mut outcomes = ValuesBuilder::default();
    for (output, errors) in [(10, 10), (5_000, 0), (5_000, 100), (5_000, 6_000)] {
        outcomes.push(&prost::Message::encode_to_vec(&outcome(output, errors)));
    }
    let outcomes = outcomes.take().bytes().clone();
    let tasks = vec![TaskName { job: 1, index: 0 }; 4];
    outbox.push(Block { leases: vec![1, 2, 3, 4], tasks, statuses: vec![1; 4], outcomes });
    outbox.begin_session(1_000);
    let message = outbox.next_message(1 << 20).unwrap();
    let values = Values::check(message.outcomes, 4, 1_000).unwrap();
    for ((_, value), (output, errors)) in values.iter().zip([(10, 10), (5_000, 0), (5_000, 100), (5_000, 6_000)]) {
        let Value::Inline(bytes) = value else { panic!("{value:?}") };
        let found: task_messenger_protocol::messages::Outcome = prost::Message::decode(bytes).unwrap();
        let whole = outcome(output, errors);
        assert_eq!((found.code, &found.text), (7, &whole.text));
        assert!(whole.output.ends_with(&found.output) && whole.errors.ends_with(&found.errors));
        assert_eq!(found.output.len() as u64 + found.output_dropped, output as u64 + 5);
        assert_eq!(found.errors.len() as u64 + found.errors_dropped, errors as u64);
        assert!(found.output.len() + found.errors.len() >= 800.min(output + errors), "no more is lost than has to be");
    }
}

#[test]
fn what_a_newer_version_wrote_is_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outbox");
    let mut outbox = Outbox::open(&path, STORE, 1).unwrap();
    outbox.push(block(1..2));
    outbox.save().unwrap();
    drop(outbox);
    let mut newer = fs::read(&path).unwrap();
    assert_eq!(&newer[..8], b"TMOUTBX1");
    newer[7] = b'2';
    fs::write(&path, &newer).unwrap();
    let error = Outbox::open(&path, STORE, 1).unwrap_err();
    assert!(error.get_ref().unwrap().is::<super::NewerOutbox>(), "{error}");
    assert!(super::check_format(&path).unwrap_err().get_ref().unwrap().is::<super::NewerOutbox>());
    assert_eq!(fs::read(&path).unwrap(), newer);
}
