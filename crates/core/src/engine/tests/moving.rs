//! Values that are written again.

use super::environment::{Environment, assigned, submission, values};
use crate::{
    ids::Place,
    image::NeededValue,
    record::{Record, ValueOf},
    values::{Value, ValuesBuilder},
};

fn needed(environment: &Environment) -> Vec<NeededValue> {
    environment.engine.image().values().collect()
}

fn read(environment: &Environment, place: Place) -> Value {
    let (record, _) = &environment.log.0[(place.0 >> 32) as usize - 1];
    crate::values::decode(record.values().unwrap().bytes(), place.0 as u32 as usize).unwrap().0
}

/// Writes values again; how many each record has.
fn moved(environment: &mut Environment, those: &[NeededValue]) -> Vec<u32> {
    let records = environment.log.0.len();
    let some = those.iter().map(|needed| (*needed, read(environment, needed.place))).collect();
    environment.engine.move_values(some, &mut environment.log);
    let of = |record: &Record| match record {
        Record::Moved { values_of, values } => {
            assert_eq!(values_of.len(), values.count() as usize);
            values.count()
        }
        other => panic!("{other:?}"),
    };
    environment.log.0[records..].iter().map(|(record, _)| of(record)).collect()
}

#[test]
fn only_what_still_lies_where_it_was_read_is_written_again() {
    let mut environment = Environment::new();
    environment.send(submission(1, 0, values(4)));
    let worker = environment.enrol(1);
    let given = assigned(&environment.connect(worker, 1, 2, &[]));
    let before = needed(&environment);
    assert_eq!(before.len(), 4);
    // One succeeds and one fails meanwhile: a payload is needed no more, and two outcomes are.
    environment.report(1, &[(given[0].1, true), (given[1].1, false)]);
    let ends = needed(&environment);
    let kinds: Vec<_> = ends.iter().map(|needed| (needed.task.0, needed.value_of)).collect();
    let (payload, outcome) = (ValueOf::Payload, ValueOf::Outcome);
    assert_eq!(kinds, [(0, outcome), (1, payload), (1, outcome), (2, payload), (3, payload)]);
    let contents = |environment: &Environment| -> Vec<Value> {
        needed(environment).iter().map(|needed| read(environment, needed.place)).collect()
    };
    let as_it_was = contents(&environment);
    assert_eq!(moved(&mut environment, &before), [3]);
    assert_eq!(contents(&environment), as_it_was);
    assert!(moved(&mut environment, &before).is_empty(), "they lie elsewhere now");
    let outcomes: Vec<_> = ends.iter().copied().filter(|needed| needed.value_of == outcome).collect();
    assert_eq!(moved(&mut environment, &outcomes), [2]);
    assert_eq!(contents(&environment), as_it_was);
    environment.restart();
    assert_eq!(contents(&environment), as_it_was);
    environment.engine.check_invariants().unwrap();
}

#[test]
fn moved_values_are_cut_into_records_of_bounded_size() {
    let mut environment = Environment::new();
    let mut payloads = ValuesBuilder::default();
    // Three bytes of header each.
    for length in [200_000, 512 * 1024 - 200_006, 100_000, 262_144, 262_144] {
        payloads.push(&vec![7; length]);
    }
    payloads.push_external(1, 1 << 30);
    payloads.push(b"small");
    environment.send(submission(1, 0, payloads.take()));
    let all = needed(&environment);
    assert_eq!(moved(&mut environment, &all[..2]), [2], "just 512 KiB");
    assert_eq!(moved(&mut environment, &all[2..5]), [2, 1]);
    assert_eq!(moved(&mut environment, &all[5..]), [2], "of a large one nothing but its header lies there");
    environment.send(submission(2, 0, values(16_385)));
    let all = needed(&environment);
    assert_eq!(moved(&mut environment, &all[all.len() - 16_384..]), [16_384]);
    let all = needed(&environment);
    assert_eq!(moved(&mut environment, &all[all.len() - 16_385..]), [16_384, 1]);
}
