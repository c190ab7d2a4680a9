//! The parts of a snapshot keep their bytes, and what is no part is refused.

use bytes::Bytes;
use task_messenger_core::{
    archived::ArchivedJob,
    ids::{JobNumber, LeaseNumber, OwnerNumber, Place, TaskNumber, TemplateNumber, WorkerNumber},
    image::{Numbers, Part},
    job::Job,
    labels::Labels,
    record::{Idempotency, JobKey, Record, Reservation},
    state::{LargeValue, Silenced},
    task::{Counts, Task, TaskState},
    time::WallTime,
};

use super::super::{DecodeError, decode_part, encode_part};

fn task(index: u32, payload: u64, detail: u64, state: TaskState) -> Task {
    Task {
        payload: Place(payload),
        detail,
        job: 0,
        index,
        template: TemplateNumber(3),
        attempts: 2,
        payload_length: 128,
        failures: 1,
        state: Some(state),
        marks: 4,
    }
}

fn job(number: u64) -> Job {
    Job {
        number: JobNumber(number),
        owner: OwnerNumber(2),
        key: JobKey([0xaa; 16]),
        name: "j".into(),
        labels: Labels::from([("k".to_owned(), "v".to_owned())]),
        opened: WallTime(300),
        closed: true,
        next_index: 5,
        digest: 128,
        counts: Counts::from([1, 2, 3, 4, 5, 6, 7, 8]),
        ended: Some(WallTime(301)),
        last_template: Some(TemplateNumber(3)),
        runs: vec![(0, TaskNumber(9)), (4, TaskNumber(20))],
    }
}

/// A part of each kind with the bytes that it has for ever.
fn golden() -> Vec<(Part, Vec<u8>)> {
    let (time, later) = (WallTime(300), WallTime(301));
    let reservation =
        |from| Reservation { leases: LeaseNumber(from), tasks: TaskNumber(from + 1), jobs: JobNumber(from + 2) };
    let tasks = vec![
        (TaskNumber(9), task(0, 1_000, 7, TaskState::Running)),
        (TaskNumber(10), task(1, 1_010, 5, TaskState::Succeeded)),
        (TaskNumber(20), task(4, 990, 0, TaskState::Queued)),
    ];
    let archived = ArchivedJob { job: JobNumber(7), tasks: 3, digest: 128 };
    let runs = vec![(time, TaskNumber(9), 2), (later, TaskNumber(20), 1)];
    let run_bytes = |kind| vec![10, kind, 2, 0xac, 0x02, 9, 2, 0xad, 0x02, 20, 1];
    let job_head = [&[50, 129, 7, 2][..], &[0xaa; 16], &[1, b'j', 1, 1, b'k', 1, b'v', 0xac, 0x02, 1]].concat();
    let job_rest = [5, 0x80, 1, 1, 2, 3, 4, 5, 6, 7, 8, 1, 0xad, 0x02, 1, 3, 2, 0, 9, 4, 20];
    let open = Job { closed: false, ended: None, last_template: None, runs: vec![], labels: Labels::new(), ..job(1) };
    let open_bytes =
        [&[39, 129, 1, 2][..], &[0xaa; 16], b"\x01j\x00\xac\x02\x00\x05\x80\x01\x01\x02\x03\x04\x05\x06\x07\x08"];
    vec![
        (Part::Record(Record::JobClosed { job: JobNumber(7) }), vec![2, 6, 7]),
        (
            Part::Numbers(Numbers {
                next: reservation(1),
                next_template: TemplateNumber(300),
                reserved: reservation(128),
                weak: true,
                clock: time,
            }),
            vec![15, 128, 1, 2, 3, 0x80, 1, 0x81, 1, 0x82, 1, 0xac, 0x02, 1, 0xac, 0x02],
        ),
        (Part::Job(Box::new(job(7))), [job_head, job_rest.to_vec()].concat()),
        (Part::Job(Box::new(open)), [&open_bytes.concat()[..], &[0, 0, 0]].concat()),
        (
            Part::Tasks { job: JobNumber(7), tasks },
            [
                &[37, 130, 7, 3][..],
                &[18, 0, 0xd0, 0x0f, 14, 3, 2, 0x80, 1, 1, 4, 4],
                &[0, 0, 20, 3, 3, 2, 0x80, 1, 1, 5, 4],
                &[18, 4, 39, 9, 3, 2, 0x80, 1, 1, 3, 4],
            ]
            .concat(),
        ),
        (Part::Leases(vec![(LeaseNumber(1), TaskNumber(128), WorkerNumber(3))]), vec![6, 131, 1, 1, 0x80, 1, 3]),
        (
            Part::Silenced(vec![(
                LeaseNumber(1),
                Silenced { task: TaskNumber(2), worker: WorkerNumber(3), counted: true },
            )]),
            vec![6, 132, 1, 1, 2, 3, 1],
        ),
        (Part::BackingOff(vec![(TaskNumber(1), 128), (TaskNumber(5), 2)]), vec![7, 133, 2, 1, 0x80, 1, 5, 2]),
        (Part::Delayed(runs.clone()), run_bytes(134)),
        (Part::Deadlines(runs), run_bytes(135)),
        (
            Part::Keys(vec![(Idempotency { key: [1; 16], content: [2; 16] }, JobNumber(7), time)]),
            [&[37, 136, 1][..], &[1; 16], &[2; 16], &[7, 0xac, 0x02]].concat(),
        ),
        (Part::LargeValues(vec![(Place(1), LargeValue { file: 2, length: 128 })]), vec![6, 137, 1, 1, 2, 0x80, 1]),
        (Part::Over(vec![(time, JobNumber(7))]), vec![5, 138, 1, 0xac, 0x02, 7]),
        (
            Part::Archived(vec![(time, OwnerNumber(2), JobKey([5; 16]), archived)]),
            [&[25, 139, 1, 0xac, 0x02, 2][..], &[5; 16], &[7, 3, 0x80, 1]].concat(),
        ),
    ]
}

#[test]
fn every_kind_of_part_keeps_its_bytes() {
    // One behind the other, as in a snapshot.
    let (mut all, mut at) = (vec![0xff; 3], 3);
    for (part, bytes) in golden() {
        let mut encoded = Vec::new();
        encode_part(&part, &mut encoded);
        assert_eq!(encoded, bytes, "{part:?}");
        all.extend(bytes);
    }
    let all = Bytes::from(all);
    for (part, bytes) in golden() {
        assert_eq!(decode_part(&all, at).unwrap(), (part, at + bytes.len()));
        at += bytes.len();
    }
    assert_eq!(at, all.len());
}

#[test]
fn what_is_no_part_is_refused() {
    let refused = |bytes: &[u8]| decode_part(&Bytes::copy_from_slice(bytes), 0).unwrap_err();
    for (part, bytes) in golden() {
        for end in 0..bytes.len() {
            let error = refused(&bytes[..end]);
            assert!(matches!(error, DecodeError::Truncated { field: "length" | "body" }), "{part:?} to {end}: {error}");
        }
        // Short and long by a byte, with a length that says so. None of the lengths takes two bytes.
        let long = [&[bytes[0] + 1], &bytes[1..], &[0]].concat();
        let kind = bytes[1];
        assert_eq!(refused(&long), DecodeError::Surplus { kind, count: 1 }, "{part:?}");
        let short = [&[bytes[0] - 1], &bytes[1..bytes.len() - 1]].concat();
        assert!(matches!(refused(&short), DecodeError::Truncated { .. }), "{part:?}: {}", refused(&short));
    }
    assert_eq!(refused(&[1, 140]), DecodeError::UnknownKind { kind: 140 });
    assert_eq!(refused(&[6, 132, 1, 1, 2, 3, 2]), DecodeError::OutOfRange { field: "count", value: 2 });
    // As many items as bytes are left are believed at first, not one more: nothing is allocated for them.
    assert_eq!(refused(&[4, 138, 2, 0, 0]), DecodeError::Truncated { field: "time" });
    assert_eq!(refused(&[4, 138, 3, 0, 0]), DecodeError::Truncated { field: "job" });
    // A state that no task can be in, a number of failures and an index that are too large.
    let tasks = |index: &[u8], failures: &[u8], state: u8| {
        let body = [&[130, 7, 1, 18][..], index, &[0, 0, 3, 2, 1], failures, &[state, 4]].concat();
        [&[body.len() as u8], &body[..]].concat()
    };
    assert!(decode_part(&tasks(&[0], &[0xff, 0xff, 3], 8).into(), 0).is_ok());
    assert_eq!(refused(&tasks(&[0], &[1], 9)), DecodeError::OutOfRange { field: "state", value: 9 });
    assert_eq!(refused(&tasks(&[0], &[1], 0)), DecodeError::OutOfRange { field: "state", value: 0 });
    let failures = DecodeError::OutOfRange { field: "failures", value: 1 << 16 };
    assert_eq!(refused(&tasks(&[0], &[0x80, 0x80, 4], 5)), failures);
    let index = DecodeError::OutOfRange { field: "index", value: 1 << 32 };
    assert_eq!(refused(&tasks(&[0x80, 0x80, 0x80, 0x80, 0x20], &[1], 5)), index);
}
