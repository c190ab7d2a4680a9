//! Records keep their bytes and come back, and what is no record is refused.

mod parts;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
};
use task_messenger_core::{
    ids::{JobNumber, LeaseNumber, OwnerNumber, TaskNumber, TemplateNumber, TokenNumber, WorkerNumber},
    labels::Labels,
    record::{
        Idempotency, JobKey, Loss, Record, ReleaseReason, Reservation, Role, SecretHash, ValueOf, Verdict, Work,
        WorkerMode,
    },
    template::{Kind, RetryPolicy, Template},
    time::WallTime,
    values::{Values, ValuesBuilder},
};

use super::{DecodeError, decode, encode, encode_head, varint_length};

fn encoded(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(record, &mut bytes);
    bytes
}

fn values(inline: &[&[u8]], external: &[(u64, u64)]) -> Values {
    let mut builder = ValuesBuilder::default();
    for value in inline {
        builder.push(value);
    }
    for (file, length) in external {
        builder.push_external(*file, *length);
    }
    builder.take()
}

/// A record of each kind with the bytes that it has for ever.
fn golden() -> Vec<(Record, Vec<u8>)> {
    let time = WallTime(300);
    let token_created = [&[43, 13, 3, 1, 4][..], &[0xee; 32], &[1, b'l', 1, 0xac, 0x02, 0xac, 0x02]].concat();
    let worker_enrolled = [&[39, 15, 2, 3][..], &[0xdd; 32], &[1, b'w', 0xac, 0x02]].concat();
    let hashes = [[0xbb; 16], [0xcc; 16]].concat();
    let label = [1, 3, b'k', b'e', b'y', 1, b'v'];
    let job_opened = [&[64, 4, 7, 1][..], &[0xaa; 16], &[2, b'j', b'1', 1], &hashes, &[0xac, 0x02], &label].concat();
    vec![
        (Record::Started { time, weak: true }, vec![4, 1, 0xac, 0x02, 1]),
        (
            Record::Reserved(Reservation { leases: LeaseNumber(1), tasks: TaskNumber(128), jobs: JobNumber(u64::MAX) }),
            vec![14, 2, 1, 0x80, 0x01, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
        ),
        (
            Record::TemplateAdded {
                number: TemplateNumber(5),
                template: Arc::new(Template {
                    kind: Kind::Skill("sort".to_owned()),
                    priority: -3,
                    slots: 2,
                    retry: RetryPolicy {
                        max_attempts: 3,
                        backoff_first: Duration::from_millis(1500),
                        backoff_longest: Duration::from_mins(5),
                    },
                    body: Bytes::from_static(b"body"),
                }),
            },
            b"\x19\x03\x05\x01\x04sort\x05\x02\x03\x01\x80\xca\xb5\xee\x01\xac\x02\x00\x04body".to_vec(),
        ),
        (
            Record::JobOpened {
                job: JobNumber(7),
                owner: OwnerNumber(1),
                key: JobKey([0xaa; 16]),
                name: "j1".to_owned(),
                idempotency: Some(Idempotency { key: [0xbb; 16], content: [0xcc; 16] }),
                labels: Labels::from([("key".to_owned(), "v".to_owned())]),
                time,
            },
            job_opened,
        ),
        (
            Record::Submitted {
                job: JobNumber(7),
                first_task: TaskNumber(1000),
                first_index: 9,
                template: TemplateNumber(5),
                not_before: None,
                deadline: Some(WallTime(301)),
                payloads: values(&[b"one", b""], &[(4, 1 << 20)]),
                time,
            },
            b"\x17\x05\x07\xe8\x07\x09\x05\x00\x01\xad\x02\xac\x02\x03\x06one\x00\x81\x80\x80\x01\x04".to_vec(),
        ),
        (Record::JobClosed { job: JobNumber(7) }, vec![2, 6, 7]),
        (
            Record::Dispatched {
                worker: WorkerNumber(2),
                first_lease: LeaseNumber(40),
                tasks: [1000, 1001, 1002, 999].map(TaskNumber).to_vec(),
                time,
            },
            vec![11, 7, 2, 40, 0xac, 0x02, 4, 0xd0, 0x0f, 0, 0, 7],
        ),
        (
            Record::Finished {
                ends: vec![
                    (LeaseNumber(40), Verdict::Succeeded),
                    (LeaseNumber(41), Verdict::Failed),
                    (LeaseNumber(43), Verdict::Retry { backoff_milliseconds: 1000 }),
                ],
                details: values(&[b"ok", b"", b"x"], &[]),
                time,
            },
            b"\x13\x08\xac\x02\x03\x50\x00\x00\x01\x02\x02\xe8\x07\x03\x04ok\x00\x02x".to_vec(),
        ),
        (
            Record::Released { leases: vec![LeaseNumber(3)], reason: ReleaseReason::Removed, time },
            vec![6, 9, 2, 0xac, 0x02, 1, 6],
        ),
        (
            Record::Readopted {
                worker: WorkerNumber(2),
                leases: vec![(LeaseNumber(3), TaskNumber(5)), (LeaseNumber(4), TaskNumber(6))],
                time,
            },
            vec![9, 10, 2, 0xac, 0x02, 2, 6, 10, 0, 0],
        ),
        (Record::Retried { tasks: vec![TaskNumber(1), TaskNumber(2)] }, vec![4, 11, 2, 2, 0]),
        (Record::OwnerAdded { number: OwnerNumber(4), name: "ö".to_owned() }, vec![5, 12, 4, 2, 0xc3, 0xb6]),
        (
            Record::TokenCreated {
                number: TokenNumber(3),
                role: Role::Client,
                owner: OwnerNumber(4),
                hash: SecretHash([0xee; 32]),
                label: "l".to_owned(),
                expires: Some(time),
                time,
            },
            token_created,
        ),
        (Record::TokenRevoked { token: TokenNumber(3), time }, vec![4, 14, 3, 0xac, 0x02]),
        (
            Record::WorkerEnrolled {
                number: WorkerNumber(2),
                token: TokenNumber(3),
                hash: SecretHash([0xdd; 32]),
                name: "w".to_owned(),
                time,
            },
            worker_enrolled,
        ),
        (Record::Due { at: time, first_task: TaskNumber(5) }, vec![4, 16, 0xac, 0x02, 5]),
        (Record::Expired { at: time, first_task: TaskNumber(5) }, vec![4, 17, 0xac, 0x02, 5]),
        (
            Record::Cancelled { tasks: Work::Tasks(vec![TaskNumber(1), TaskNumber(2)]), time },
            vec![7, 18, 0xac, 0x02, 0, 2, 2, 0],
        ),
        (Record::Requeued { tasks: Work::Job(JobNumber(7)), time }, vec![5, 19, 0xac, 0x02, 1, 7]),
        (
            Record::WorkerLost {
                worker: WorkerNumber(2),
                silent: true,
                ends: vec![
                    (LeaseNumber(3), Loss::Unstarted),
                    (LeaseNumber(4), Loss::Crashed),
                    (LeaseNumber(5), Loss::Failed),
                    (LeaseNumber(6), Loss::Retry { backoff_milliseconds: 1000 }),
                ],
                time,
            },
            vec![16, 20, 2, 1, 0xac, 0x02, 4, 6, 0, 0, 1, 0, 2, 0, 3, 0xe8, 0x07],
        ),
        (
            Record::WorkerStarted { worker: WorkerNumber(2), incarnation: 128, time },
            vec![6, 21, 2, 0x80, 0x01, 0xac, 0x02],
        ),
        (Record::WorkerSet { worker: WorkerNumber(2), mode: WorkerMode::Draining }, vec![3, 22, 2, 2]),
        (Record::WorkerRemoved { worker: WorkerNumber(2), time }, vec![4, 23, 2, 0xac, 0x02]),
        (
            Record::Purged { jobs: vec![JobNumber(3), JobNumber(4), JobNumber(6)], time },
            vec![7, 24, 0xac, 0x02, 3, 6, 0, 2],
        ),
        (Record::Archived { jobs: vec![JobNumber(3), JobNumber(2)], time }, vec![6, 25, 0xac, 0x02, 2, 6, 3]),
        (
            Record::Moved {
                values_of: vec![(TaskNumber(5), ValueOf::Payload), (TaskNumber(6), ValueOf::Outcome)],
                values: values(&[b"one", b"x"], &[]),
            },
            b"\x0d\x1a\x02\x0a\x00\x00\x01\x02\x06one\x02x".to_vec(),
        ),
    ]
}

#[test]
fn every_kind_of_record_keeps_its_bytes() {
    for (kind, (record, bytes)) in (1..).zip(golden()) {
        assert_eq!(encoded(&record), bytes, "{record:?}");
        let shared = Bytes::from(bytes);
        let decoded = decode(&shared, 0).unwrap();
        assert_eq!(decoded.record, record);
        assert_eq!(decoded.next, shared.len());
        assert_eq!(shared[1], kind);
    }
}

#[test]
fn the_values_begin_where_it_is_said() {
    for (record, bytes) in golden() {
        let mut head = Vec::new();
        encode_head(&record, &mut head);
        let decoded = decode(&bytes.clone().into(), 0).unwrap();
        let values = record.values().map_or(0, |values| values.bytes().len());
        assert_eq!(decoded.values, bytes.len() - values);
        assert_eq!(decoded.values, varint_length((head.len() + values) as u64) + head.len());
    }
}

#[test]
fn what_is_no_record_is_refused() {
    let refused = |bytes: &[u8]| decode(&Bytes::copy_from_slice(bytes), 0).unwrap_err();
    assert_eq!(refused(&[]), DecodeError::Truncated { field: "length" });
    assert_eq!(refused(&[3, 6, 7]), DecodeError::Truncated { field: "body" });
    assert_eq!(refused(&[0]), DecodeError::Truncated { field: "kind" });
    assert_eq!(refused(&[1, 99]), DecodeError::UnknownKind { kind: 99 });
    assert_eq!(refused(&[3, 6, 7, 0]), DecodeError::Surplus { kind: 6, count: 1 });
    assert_eq!(refused(&[3, 1, 0, 2]), DecodeError::OutOfRange { field: "weakness", value: 2 });
    assert_eq!(refused(&[4, 12, 4, 1, 0xff]), DecodeError::NotText { field: "owner's name" });
    assert_eq!(
        refused(&[7, 12, 0x80, 0x80, 0x80, 0x80, 0x10, 0]),
        DecodeError::OutOfRange { field: "owner", value: 1 << 32 }
    );
    // More tasks than bytes, so that nothing is allocated for them.
    assert_eq!(refused(&[6, 11, 255, 255, 255, 255, 1]), DecodeError::Truncated { field: "task" });
    // Two values announced, one there.
    assert_eq!(refused(&[10, 5, 1, 1, 0, 1, 0, 0, 0, 2, 0]), DecodeError::Values { count: 2, length: 1 });
    assert_eq!(refused(&[10, 5, 1, 1, 0, 1, 0, 0, 0, 1, 2]), DecodeError::Values { count: 1, length: 1 });
}

#[test]
fn consecutive_tasks_take_a_byte_each_and_their_outcomes_two() {
    let time = WallTime(1_800_000_000_000);
    let dispatched = Record::Dispatched {
        worker: WorkerNumber(3),
        first_lease: LeaseNumber(1 << 30),
        tasks: (1 << 30..(1 << 30) + 1000).map(TaskNumber).collect(),
        time,
    };
    assert!(encoded(&dispatched).len() < 1000 + 25);
    let ends = (1 << 30..(1 << 30) + 1000).map(|lease| (LeaseNumber(lease), Verdict::Succeeded)).collect();
    let finished = Record::Finished { ends, details: values(&[&[0; 10][..]; 1000], &[]), time };
    assert!(encoded(&finished).len() < 1000 * (2 + 11) + 25);
}

fn numbers() -> impl Strategy<Value = Vec<u64>> {
    prop_oneof![
        vec(any::<u64>(), 0..20),
        (any::<u32>(), 0..50_u64).prop_map(|(from, count)| { (u64::from(from)..u64::from(from) + count).collect() })
    ]
}

fn any_values() -> impl Strategy<Value = Values> {
    vec(prop_oneof![vec(any::<u8>(), 0..200).prop_map(Ok), (any::<u64>(), 0..u64::MAX >> 1).prop_map(Err)], 0..20)
        .prop_map(|parts| {
            let mut builder = ValuesBuilder::default();
            for part in parts {
                match part {
                    Ok(bytes) => builder.push(&bytes),
                    Err((file, length)) => builder.push_external(file, length),
                }
            }
            builder.take()
        })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Succeeded),
        Just(Verdict::Failed),
        any::<u64>().prop_map(|backoff_milliseconds| Verdict::Retry { backoff_milliseconds }),
        Just(Verdict::Cancelled),
    ]
}

fn loss() -> impl Strategy<Value = Loss> {
    prop_oneof![
        Just(Loss::Unstarted),
        Just(Loss::Crashed),
        Just(Loss::Failed),
        any::<u64>().prop_map(|backoff_milliseconds| Loss::Retry { backoff_milliseconds }),
    ]
}

fn work() -> impl Strategy<Value = Work> {
    prop_oneof![
        any::<u64>().prop_map(|job| Work::Job(JobNumber(job))),
        numbers().prop_map(|tasks| Work::Tasks(tasks.into_iter().map(TaskNumber).collect())),
    ]
}

fn duration() -> impl Strategy<Value = Duration> {
    (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(seconds, nanoseconds)| Duration::new(seconds, nanoseconds))
}

fn template() -> impl Strategy<Value = Template> {
    let retry = (any::<u32>(), duration(), duration());
    (option::of(".{0,8}"), any::<i32>(), any::<u32>(), retry, vec(any::<u8>(), 0..50)).prop_map(
        |(skill, priority, slots, (max_attempts, backoff_first, backoff_longest), body)| Template {
            kind: skill.map_or(Kind::Command, Kind::Skill),
            priority,
            slots,
            retry: RetryPolicy { max_attempts, backoff_first, backoff_longest },
            body: body.into(),
        },
    )
}

fn labels() -> impl Strategy<Value = Labels> {
    btree_map(".{0,4}", ".{0,8}", 0..4)
}

/// Any record that carries lists or values; the others have no shape to speak of.
fn any_record() -> impl Strategy<Value = Record> {
    let time = any::<u64>().prop_map(WallTime);
    prop_oneof![
        (any::<u32>(), template())
            .prop_map(|(number, template)| (TemplateNumber(number), Arc::new(template)))
            .prop_map(|(number, template)| Record::TemplateAdded { number, template }),
        (any::<(u64, u64, u32, u32)>(), any::<[Option<u64>; 2]>(), any_values(), time.clone()).prop_map(
            |((job, task, first_index, template), times, payloads, time)| Record::Submitted {
                job: JobNumber(job),
                first_task: TaskNumber(task),
                first_index,
                template: TemplateNumber(template),
                not_before: times[0].map(WallTime),
                deadline: times[1].map(WallTime),
                payloads,
                time,
            }
        ),
        (any::<(u32, bool)>(), vec((any::<u64>().prop_map(LeaseNumber), loss()), 0..20), time.clone()).prop_map(
            |((worker, silent), ends, time)| Record::WorkerLost { worker: WorkerNumber(worker), silent, ends, time }
        ),
        (work(), time.clone()).prop_map(|(tasks, time)| Record::Cancelled { tasks, time }),
        (work(), time.clone()).prop_map(|(tasks, time)| Record::Requeued { tasks, time }),
        (numbers(), time.clone())
            .prop_map(|(jobs, time)| Record::Purged { jobs: jobs.into_iter().map(JobNumber).collect(), time }),
        (vec((any::<u64>(), any::<bool>()), 0..5), any_values()).prop_map(|(tasks, values)| {
            let of = |outcome| if outcome { ValueOf::Outcome } else { ValueOf::Payload };
            let values_of = tasks.into_iter().map(|(task, outcome)| (TaskNumber(task), of(outcome))).collect();
            Record::Moved { values_of, values }
        }),
        (any::<(u32, u64)>(), numbers(), time.clone()).prop_map(|((worker, lease), tasks, time)| Record::Dispatched {
            worker: WorkerNumber(worker),
            first_lease: LeaseNumber(lease),
            tasks: tasks.into_iter().map(TaskNumber).collect(),
            time,
        }),
        (vec((any::<u64>().prop_map(LeaseNumber), verdict()), 0..20), any_values(), time.clone())
            .prop_map(|(ends, details, time)| Record::Finished { ends, details, time }),
        (numbers(), time.clone()).prop_map(|(leases, time)| Record::Released {
            leases: leases.into_iter().map(LeaseNumber).collect(),
            reason: ReleaseReason::NotHeld,
            time,
        }),
        (any::<u32>(), numbers(), time.clone()).prop_map(|(worker, numbers, time)| Record::Readopted {
            worker: WorkerNumber(worker),
            leases: numbers
                .iter()
                .zip(numbers.iter().rev())
                .map(|(lease, task)| (LeaseNumber(*lease), TaskNumber(*task)))
                .collect(),
            time,
        }),
        (any::<(u64, u32, [u8; 16])>(), ".{0,8}", any::<Option<([u8; 16], [u8; 16])>>(), labels(), time).prop_map(
            |((job, owner, key), name, idempotency, labels, time)| Record::JobOpened {
                job: JobNumber(job),
                owner: OwnerNumber(owner),
                key: JobKey(key),
                name,
                idempotency: idempotency.map(|(key, content)| Idempotency { key, content }),
                labels,
                time,
            }
        ),
    ]
}

proptest! {
    #[test]
    fn what_was_encoded_comes_back(records in vec(any_record(), 1..5)) {
        let mut bytes = vec![0xff; 3];
        for record in &records {
            encode(record, &mut bytes);
        }
        let bytes = Bytes::from(bytes);
        let mut at = 3;
        for record in &records {
            let decoded = decode(&bytes, at).unwrap();
            prop_assert_eq!(&decoded.record, record);
            at = decoded.next;
        }
        prop_assert_eq!(at, bytes.len());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..300), kind in 0..30_u8, offset in 0..310_usize) {
        let _ = decode(&Bytes::from(bytes.clone()), offset);
        let mut body = vec![kind];
        body.extend(bytes);
        let mut record = Vec::new();
        task_messenger_core::values::write_varint(&mut record, body.len() as u64);
        record.extend(body);
        let _ = decode(&record.into(), 0);
    }

    #[test]
    fn no_change_makes_it_panic(record in any_record(), at in any::<prop::sample::Index>(), change in 1..=255_u8) {
        let mut bytes = encoded(&record);
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        if let Ok(decoded) = decode(&bytes.into(), 0) {
            // What is accepted is a record: it can be encoded and comes back.
            prop_assert_eq!(decode(&encoded(&decoded.record).into(), 0).unwrap().record, decoded.record);
        }
    }
}
