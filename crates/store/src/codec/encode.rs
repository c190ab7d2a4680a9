//! From records to bytes.

use std::time::Duration;

use task_messenger_core::{
    labels::Labels,
    record::{Idempotency, Loss, Record, ReleaseReason, Role, ValueOf, Verdict, Work, WorkerMode},
    template::Kind,
    time::WallTime,
    values::{Values, write_varint},
};

use super::kind;

/// Appends a whole record, length and body.
pub fn encode(record: &Record, out: &mut Vec<u8>) {
    let mut head = Vec::new();
    encode_head(record, &mut head);
    let values = record.values().map_or(&[][..], |values| values.bytes());
    write_varint(out, (head.len() + values.len()) as u64);
    out.extend_from_slice(&head);
    out.extend_from_slice(values);
}

/// Appends a record's body up to its values.
pub(crate) fn encode_head(record: &Record, out: &mut Vec<u8>) {
    match record {
        Record::Started { time, weak } => {
            out.push(kind::STARTED);
            put_time(out, *time);
            out.push(u8::from(*weak));
        }
        Record::Reserved(reservation) => {
            out.push(kind::RESERVED);
            write_varint(out, reservation.leases.0);
            write_varint(out, reservation.tasks.0);
            write_varint(out, reservation.jobs.0);
        }
        Record::TemplateAdded { number, template } => {
            out.push(kind::TEMPLATE_ADDED);
            write_varint(out, number.0.into());
            match &template.kind {
                Kind::Command => out.push(0),
                Kind::Skill(name) => {
                    out.push(1);
                    put_bytes(out, name.as_bytes());
                }
            }
            put_signed(out, template.priority.into());
            write_varint(out, template.slots.into());
            write_varint(out, template.retry.max_attempts.into());
            put_duration(out, template.retry.backoff_first);
            put_duration(out, template.retry.backoff_longest);
            put_bytes(out, &template.body);
        }
        Record::JobOpened { job, owner, key, name, idempotency, labels, time } => {
            out.push(kind::JOB_OPENED);
            write_varint(out, job.0);
            write_varint(out, owner.0.into());
            out.extend_from_slice(&key.0);
            put_bytes(out, name.as_bytes());
            put_option(out, idempotency.as_ref(), |out, Idempotency { key, content }| {
                out.extend_from_slice(key);
                out.extend_from_slice(content);
            });
            put_time(out, *time);
            put_labels(out, labels);
        }
        Record::Submitted { job, first_task, first_index, template, not_before, deadline, payloads, time } => {
            out.push(kind::SUBMITTED);
            write_varint(out, job.0);
            write_varint(out, first_task.0);
            write_varint(out, (*first_index).into());
            write_varint(out, template.0.into());
            put_option(out, not_before.as_ref(), |out, time| put_time(out, *time));
            put_option(out, deadline.as_ref(), |out, time| put_time(out, *time));
            put_time(out, *time);
            put_count(out, payloads);
        }
        Record::JobClosed { job } => {
            out.push(kind::JOB_CLOSED);
            write_varint(out, job.0);
        }
        Record::Dispatched { worker, first_lease, tasks, time } => {
            out.push(kind::DISPATCHED);
            write_varint(out, worker.0.into());
            write_varint(out, first_lease.0);
            put_time(out, *time);
            put_numbers(out, tasks.iter().map(|task| task.0));
        }
        Record::Finished { ends, details, time } => {
            out.push(kind::FINISHED);
            put_time(out, *time);
            write_varint(out, ends.len() as u64);
            let mut leases = Steps::default();
            for (lease, verdict) in ends {
                leases.put(out, lease.0);
                put_verdict(out, *verdict);
            }
            put_count(out, details);
        }
        Record::Released { leases, reason, time } => {
            out.push(kind::RELEASED);
            out.push(match reason {
                ReleaseReason::GivenBack => 0,
                ReleaseReason::NotHeld => 1,
                ReleaseReason::Removed => 2,
            });
            put_time(out, *time);
            put_numbers(out, leases.iter().map(|lease| lease.0));
        }
        Record::Readopted { worker, leases, time } => {
            out.push(kind::READOPTED);
            write_varint(out, worker.0.into());
            put_time(out, *time);
            write_varint(out, leases.len() as u64);
            let (mut lease_steps, mut task_steps) = (Steps::default(), Steps::default());
            for (lease, task) in leases {
                lease_steps.put(out, lease.0);
                task_steps.put(out, task.0);
            }
        }
        Record::Retried { tasks } => {
            out.push(kind::RETRIED);
            put_numbers(out, tasks.iter().map(|task| task.0));
        }
        Record::Due { at, first_task } => {
            out.push(kind::DUE);
            put_time(out, *at);
            write_varint(out, first_task.0);
        }
        Record::Expired { at, first_task } => {
            out.push(kind::EXPIRED);
            put_time(out, *at);
            write_varint(out, first_task.0);
        }
        Record::Cancelled { tasks, time } => {
            out.push(kind::CANCELLED);
            put_time(out, *time);
            put_work(out, tasks);
        }
        Record::Requeued { tasks, time } => {
            out.push(kind::REQUEUED);
            put_time(out, *time);
            put_work(out, tasks);
        }
        Record::Purged { jobs, time } => {
            out.push(kind::PURGED);
            put_time(out, *time);
            put_numbers(out, jobs.iter().map(|job| job.0));
        }
        Record::Archived { jobs, time } => {
            out.push(kind::ARCHIVED);
            put_time(out, *time);
            put_numbers(out, jobs.iter().map(|job| job.0));
        }
        Record::Moved { values_of, values } => {
            out.push(kind::MOVED);
            write_varint(out, values_of.len() as u64);
            let mut tasks = Steps::default();
            for (task, value_of) in values_of {
                tasks.put(out, task.0);
                out.push(match value_of {
                    ValueOf::Payload => 0,
                    ValueOf::Outcome => 1,
                });
            }
            put_count(out, values);
        }
        Record::WorkerLost { .. }
        | Record::WorkerStarted { .. }
        | Record::WorkerSet { .. }
        | Record::WorkerRemoved { .. }
        | Record::WorkerEnrolled { .. } => encode_of_worker(record, out),
        Record::OwnerAdded { number, name } => {
            out.push(kind::OWNER_ADDED);
            write_varint(out, number.0.into());
            put_bytes(out, name.as_bytes());
        }
        Record::TokenCreated { number, role, owner, hash, label, expires, time } => {
            out.push(kind::TOKEN_CREATED);
            write_varint(out, number.0.into());
            out.push(match role {
                Role::Worker => 0,
                Role::Client => 1,
                Role::Admin => 2,
            });
            write_varint(out, owner.0.into());
            out.extend_from_slice(&hash.0);
            put_bytes(out, label.as_bytes());
            put_option(out, expires.as_ref(), |out, expires| put_time(out, *expires));
            put_time(out, *time);
        }
        Record::TokenRevoked { token, time } => {
            out.push(kind::TOKEN_REVOKED);
            write_varint(out, token.0.into());
            put_time(out, *time);
        }
    }
}

/// The records about one worker.
fn encode_of_worker(record: &Record, out: &mut Vec<u8>) {
    match record {
        Record::WorkerEnrolled { number, token, hash, name, time } => {
            out.push(kind::WORKER_ENROLLED);
            write_varint(out, number.0.into());
            write_varint(out, token.0.into());
            out.extend_from_slice(&hash.0);
            put_bytes(out, name.as_bytes());
            put_time(out, *time);
        }
        Record::WorkerLost { worker, silent, ends, time } => {
            out.push(kind::WORKER_LOST);
            write_varint(out, worker.0.into());
            out.push(u8::from(*silent));
            put_time(out, *time);
            write_varint(out, ends.len() as u64);
            let mut leases = Steps::default();
            for (lease, loss) in ends {
                leases.put(out, lease.0);
                put_loss(out, *loss);
            }
        }
        Record::WorkerStarted { worker, incarnation, time } => {
            out.push(kind::WORKER_STARTED);
            write_varint(out, worker.0.into());
            write_varint(out, *incarnation);
            put_time(out, *time);
        }
        Record::WorkerSet { worker, mode } => {
            out.push(kind::WORKER_SET);
            write_varint(out, worker.0.into());
            out.push(match mode {
                WorkerMode::Active => 0,
                WorkerMode::Paused => 1,
                WorkerMode::Draining => 2,
            });
        }
        Record::WorkerRemoved { worker, time } => {
            out.push(kind::WORKER_REMOVED);
            write_varint(out, worker.0.into());
            put_time(out, *time);
        }
        _ => debug_assert!(false, "not about one worker"),
    }
}

/// How many bytes a varint takes.
pub(crate) fn varint_length(value: u64) -> usize {
    (64 - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Writes numbers as differences to the expected ones.
#[derive(Default)]
pub(super) struct Steps {
    expected: u64,
}

impl Steps {
    pub(super) fn put(&mut self, out: &mut Vec<u8>, number: u64) {
        put_signed(out, number.wrapping_sub(self.expected).cast_signed());
        self.expected = number.wrapping_add(1);
    }
}

fn put_numbers(out: &mut Vec<u8>, numbers: impl ExactSizeIterator<Item = u64>) {
    write_varint(out, numbers.len() as u64);
    out.reserve(numbers.len());
    let mut steps = Steps::default();
    for number in numbers {
        steps.put(out, number);
    }
}

pub(super) fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    write_varint(out, labels.len() as u64);
    for (key, value) in labels {
        put_bytes(out, key.as_bytes());
        put_bytes(out, value.as_bytes());
    }
}

pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    write_varint(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn put_time(out: &mut Vec<u8>, time: WallTime) {
    write_varint(out, time.0);
}

fn put_duration(out: &mut Vec<u8>, duration: Duration) {
    write_varint(out, duration.as_secs());
    write_varint(out, duration.subsec_nanos().into());
}

pub(super) fn put_option<T>(out: &mut Vec<u8>, value: Option<&T>, put: impl FnOnce(&mut Vec<u8>, &T)) {
    match value {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            put(out, value);
        }
    }
}

fn put_verdict(out: &mut Vec<u8>, verdict: Verdict) {
    match verdict {
        Verdict::Succeeded => out.push(0),
        Verdict::Failed => out.push(1),
        Verdict::Retry { backoff_milliseconds } => {
            out.push(2);
            write_varint(out, backoff_milliseconds);
        }
        Verdict::Cancelled => out.push(3),
    }
}

fn put_loss(out: &mut Vec<u8>, loss: Loss) {
    match loss {
        Loss::Unstarted => out.push(0),
        Loss::Crashed => out.push(1),
        Loss::Failed => out.push(2),
        Loss::Retry { backoff_milliseconds } => {
            out.push(3);
            write_varint(out, backoff_milliseconds);
        }
    }
}

fn put_work(out: &mut Vec<u8>, work: &Work) {
    match work {
        Work::Tasks(tasks) => {
            out.push(0);
            put_numbers(out, tasks.iter().map(|task| task.0));
        }
        Work::Job(job) => {
            out.push(1);
            write_varint(out, job.0);
        }
    }
}

fn put_count(out: &mut Vec<u8>, values: &Values) {
    write_varint(out, values.count().into());
}
