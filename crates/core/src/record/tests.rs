//! What records say of themselves.

use bytes::Bytes;

use super::*;

fn worker_enrolled() -> Record {
    let (number, token, hash) = (WorkerNumber(0), TokenNumber(0), SecretHash([1; 32]));
    Record::WorkerEnrolled { number, token, hash, name: String::new(), time: WallTime(1) }
}

#[test]
fn identities_and_number_ranges_are_synced_before_anything_is_told_and_work_is_not() {
    let time = WallTime(1);
    let administrative = [
        Record::Started { time, weak: true },
        Record::Reserved(Reservation::default()),
        Record::OwnerAdded { number: OwnerNumber(0), name: String::new() },
        Record::TokenRevoked { token: TokenNumber(0), time },
        Record::WorkerRemoved { worker: WorkerNumber(0), time },
        worker_enrolled(),
    ];
    assert!(administrative.iter().all(Record::is_administrative));
    let work = [
        Record::JobClosed { job: JobNumber(1) },
        Record::Retried { tasks: vec![] },
        Record::Purged { jobs: vec![], time },
        Record::WorkerStarted { worker: WorkerNumber(0), incarnation: 1, time },
    ];
    assert!(!work.iter().any(Record::is_administrative));
}

#[test]
fn records_with_values_say_so() {
    let values = Values::trusted(Bytes::from_static(&[2, 9]), 1);
    let with = [
        Record::Submitted {
            job: JobNumber(1),
            first_task: TaskNumber(0),
            first_index: 0,
            template: TemplateNumber(0),
            not_before: None,
            deadline: None,
            payloads: values.clone(),
            time: WallTime(1),
        },
        Record::Finished { ends: vec![], details: values.clone(), time: WallTime(1) },
        Record::Moved { values_of: vec![], values: values.clone() },
    ];
    assert!(with.iter().all(|record| record.values() == Some(&values)));
    assert_eq!(worker_enrolled().values(), None);
}

#[test]
fn no_secrets_hash_is_printed() {
    assert_eq!(format!("{:?}", SecretHash([171; 32])), "SecretHash(..)");
}
