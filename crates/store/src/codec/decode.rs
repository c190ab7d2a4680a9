//! From bytes to records. Nothing here trusts what it reads.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use task_messenger_core::{
    ids::{JobNumber, LeaseNumber, OwnerNumber, TaskNumber, TemplateNumber, TokenNumber, WorkerNumber},
    labels::Labels,
    record::{
        Idempotency, JobKey, Loss, Record, ReleaseReason, Reservation, Role, SecretHash, ValueOf, Verdict, Work,
        WorkerMode,
    },
    template::{Kind, RetryPolicy, Template},
    time::WallTime,
    values::{Values, read_varint},
};

use super::kind;

/// A record found in some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The record.
    pub record: Record,
    /// Where its values begin; for a record without values, where it ends.
    pub values: usize,
    /// Where the next record begins.
    pub next: usize,
}

/// Why bytes are no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("the {field} of a record is cut off")]
    Truncated {
        /// Which part.
        field: &'static str,
    },
    /// A kind that this program doesn't know.
    #[error("a record is of the unknown kind {kind}")]
    UnknownKind {
        /// The kind.
        kind: u8,
    },
    /// A number outside of what the field can be.
    #[error("the {field} of a record cannot be {value}")]
    OutOfRange {
        /// Which field.
        field: &'static str,
        /// What was found.
        value: u64,
    },
    /// A text that isn't UTF-8.
    #[error("the {field} of a record is not UTF-8")]
    NotText {
        /// Which field.
        field: &'static str,
    },
    /// The values don't fill the rest of the record, or are of another number.
    #[error("a record announces {count} values, and its last {length} bytes are not so many")]
    Values {
        /// As announced.
        count: u32,
        /// The bytes that are left for them.
        length: usize,
    },
    /// More bytes than the record's fields need.
    #[error("a record of kind {kind} has {count} bytes too many")]
    Surplus {
        /// The kind.
        kind: u8,
        /// How many are left.
        count: usize,
    },
}

/// The record that starts at `offset`. Its values and bodies share the bytes.
pub fn decode(bytes: &Bytes, offset: usize) -> Result<Decoded, DecodeError> {
    let (length, used) = bytes.get(offset..).and_then(read_varint).ok_or(DecodeError::Truncated { field: "length" })?;
    let start = offset + used;
    let next = usize::try_from(length)
        .ok()
        .and_then(|length| start.checked_add(length))
        .filter(|end| *end <= bytes.len())
        .ok_or(DecodeError::Truncated { field: "body" })?;
    let mut body = Body::new(bytes, start, next);
    let kind = body.byte("kind")?;
    let mut values = None;
    let record = read_record(kind, &mut body, &mut values)?;
    match values {
        Some(values) => Ok(Decoded { record, values, next }),
        None if body.at == next => Ok(Decoded { record, values: next, next }),
        None => Err(DecodeError::Surplus { kind, count: next - body.at }),
    }
}

fn read_record(kind: u8, body: &mut Body<'_>, values: &mut Option<usize>) -> Result<Record, DecodeError> {
    Ok(match kind {
        kind::STARTED => Record::Started { time: body.time()?, weak: body.choice("weakness", [false, true])? },
        kind::RESERVED => Record::Reserved(Reservation {
            leases: LeaseNumber(body.varint("leases")?),
            tasks: TaskNumber(body.varint("tasks")?),
            jobs: JobNumber(body.varint("jobs")?),
        }),
        kind::TEMPLATE_ADDED => Record::TemplateAdded {
            number: TemplateNumber(body.small("template")?),
            template: Arc::new(Template {
                kind: if body.choice("kind of task", [false, true])? {
                    Kind::Skill(body.text("skill")?)
                } else {
                    Kind::Command
                },
                priority: body.priority()?,
                slots: body.small("slots")?,
                retry: RetryPolicy {
                    max_attempts: body.small("attempts")?,
                    backoff_first: body.duration()?,
                    backoff_longest: body.duration()?,
                },
                // A copy: templates are kept for long, and the bytes they come in are many.
                body: Bytes::copy_from_slice(&body.shared("template's body")?),
            }),
        },
        kind::JOB_OPENED => Record::JobOpened {
            job: JobNumber(body.varint("job")?),
            owner: OwnerNumber(body.small("owner")?),
            key: JobKey(body.array("job key")?),
            name: body.text("name")?,
            idempotency: if body.choice("idempotency", [false, true])? {
                Some(Idempotency { key: body.array("idempotency key")?, content: body.array("content hash")? })
            } else {
                None
            },
            time: body.time()?,
            labels: body.labels()?,
        },
        kind::SUBMITTED => Record::Submitted {
            job: JobNumber(body.varint("job")?),
            first_task: TaskNumber(body.varint("task")?),
            first_index: body.small("index")?,
            template: TemplateNumber(body.small("template")?),
            not_before: body.optional_time("not before")?,
            deadline: body.optional_time("deadline")?,
            time: body.time()?,
            payloads: body.values(values)?,
        },
        kind::JOB_CLOSED => Record::JobClosed { job: JobNumber(body.varint("job")?) },
        kind::DISPATCHED => Record::Dispatched {
            worker: WorkerNumber(body.small("worker")?),
            first_lease: LeaseNumber(body.varint("lease")?),
            time: body.time()?,
            tasks: body.numbers("task", TaskNumber)?,
        },
        kind::FINISHED => {
            let time = body.time()?;
            let count = body.count("end")?;
            let mut ends = Vec::with_capacity(count);
            let mut leases = Steps::default();
            for _ in 0..count {
                ends.push((LeaseNumber(leases.next(body, "lease")?), body.verdict()?));
            }
            Record::Finished { ends, details: body.values(values)?, time }
        }
        kind::RELEASED => Record::Released {
            reason: body
                .choice("reason", [ReleaseReason::GivenBack, ReleaseReason::NotHeld, ReleaseReason::Removed])?,
            time: body.time()?,
            leases: body.numbers("lease", LeaseNumber)?,
        },
        kind::READOPTED => {
            let worker = WorkerNumber(body.small("worker")?);
            let time = body.time()?;
            let count = body.count("lease")?;
            let mut leases = Vec::with_capacity(count);
            let (mut lease_steps, mut task_steps) = (Steps::default(), Steps::default());
            for _ in 0..count {
                let lease = LeaseNumber(lease_steps.next(body, "lease")?);
                leases.push((lease, TaskNumber(task_steps.next(body, "task")?)));
            }
            Record::Readopted { worker, leases, time }
        }
        kind::RETRIED => Record::Retried { tasks: body.numbers("task", TaskNumber)? },
        kind::OWNER_ADDED => {
            Record::OwnerAdded { number: OwnerNumber(body.small("owner")?), name: body.text("owner's name")? }
        }
        kind::TOKEN_CREATED => Record::TokenCreated {
            number: TokenNumber(body.small("token")?),
            role: body.choice("role", [Role::Worker, Role::Client, Role::Admin])?,
            owner: OwnerNumber(body.small("owner")?),
            hash: SecretHash(body.array("hash")?),
            label: body.text("label")?,
            expires: body.optional_time("expiry")?,
            time: body.time()?,
        },
        kind::TOKEN_REVOKED => Record::TokenRevoked { token: TokenNumber(body.small("token")?), time: body.time()? },
        kind::WORKER_ENROLLED => Record::WorkerEnrolled {
            number: WorkerNumber(body.small("worker")?),
            token: TokenNumber(body.small("token")?),
            hash: SecretHash(body.array("hash")?),
            name: body.text("worker's name")?,
            time: body.time()?,
        },
        kind::DUE => Record::Due { at: body.time()?, first_task: TaskNumber(body.varint("task")?) },
        kind::EXPIRED => Record::Expired { at: body.time()?, first_task: TaskNumber(body.varint("task")?) },
        kind::CANCELLED => Record::Cancelled { time: body.time()?, tasks: body.work()? },
        kind::REQUEUED => Record::Requeued { time: body.time()?, tasks: body.work()? },
        kind::WORKER_LOST => {
            let worker = WorkerNumber(body.small("worker")?);
            let silent = body.choice("silence", [false, true])?;
            let time = body.time()?;
            let count = body.count("end")?;
            let mut ends = Vec::with_capacity(count);
            let mut leases = Steps::default();
            for _ in 0..count {
                ends.push((LeaseNumber(leases.next(body, "lease")?), body.loss()?));
            }
            Record::WorkerLost { worker, silent, ends, time }
        }
        kind::WORKER_STARTED => Record::WorkerStarted {
            worker: WorkerNumber(body.small("worker")?),
            incarnation: body.varint("incarnation")?,
            time: body.time()?,
        },
        kind::WORKER_SET => Record::WorkerSet {
            worker: WorkerNumber(body.small("worker")?),
            mode: body.choice("mode", [WorkerMode::Active, WorkerMode::Paused, WorkerMode::Draining])?,
        },
        kind::WORKER_REMOVED => {
            Record::WorkerRemoved { worker: WorkerNumber(body.small("worker")?), time: body.time()? }
        }
        kind::PURGED => Record::Purged { time: body.time()?, jobs: body.numbers("job", JobNumber)? },
        kind::ARCHIVED => Record::Archived { time: body.time()?, jobs: body.numbers("job", JobNumber)? },
        kind::MOVED => {
            let count = body.count("value")?;
            let mut values_of = Vec::with_capacity(count);
            let mut tasks = Steps::default();
            for _ in 0..count {
                let task = TaskNumber(tasks.next(body, "task")?);
                values_of.push((task, body.choice("value", [ValueOf::Payload, ValueOf::Outcome])?));
            }
            Record::Moved { values_of, values: body.values(values)? }
        }
        kind => return Err(DecodeError::UnknownKind { kind }),
    })
}

/// Reads numbers that were written as differences to the expected ones.
#[derive(Default)]
pub(super) struct Steps {
    expected: u64,
}

impl Steps {
    pub(super) fn next(&mut self, body: &mut Body<'_>, field: &'static str) -> Result<u64, DecodeError> {
        let number = self.expected.wrapping_add_signed(body.signed(field)?);
        self.expected = number.wrapping_add(1);
        Ok(number)
    }
}

/// What is left of a record's body: `bytes[at..end]`.
pub(super) struct Body<'a> {
    bytes: &'a Bytes,
    at: usize,
    end: usize,
}

impl<'a> Body<'a> {
    /// The body at `bytes[at..end]`, which there must be.
    pub(super) fn new(bytes: &'a Bytes, at: usize, end: usize) -> Self {
        Self { bytes, at, end }
    }

    /// How many bytes were not read.
    pub(super) fn left(&self) -> usize {
        self.end - self.at
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..self.end).unwrap_or_default()
    }

    pub(super) fn byte(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        let byte = *self.rest().first().ok_or(DecodeError::Truncated { field })?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn varint(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        let (value, used) = read_varint(self.rest()).ok_or(DecodeError::Truncated { field })?;
        self.at += used;
        Ok(value)
    }

    pub(super) fn signed(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        let value = self.varint(field)?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    pub(super) fn small(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        let value = self.varint(field)?;
        u32::try_from(value).map_err(|_| DecodeError::OutOfRange { field, value })
    }

    fn priority(&mut self) -> Result<i32, DecodeError> {
        let value = self.signed("priority")?;
        i32::try_from(value).map_err(|_| DecodeError::OutOfRange { field: "priority", value: value.unsigned_abs() })
    }

    pub(super) fn choice<T: Copy, const N: usize>(
        &mut self,
        field: &'static str,
        choices: [T; N],
    ) -> Result<T, DecodeError> {
        let byte = self.byte(field)?;
        choices.get(usize::from(byte)).copied().ok_or(DecodeError::OutOfRange { field, value: byte.into() })
    }

    pub(super) fn time(&mut self) -> Result<WallTime, DecodeError> {
        Ok(WallTime(self.varint("time")?))
    }

    fn duration(&mut self) -> Result<Duration, DecodeError> {
        let seconds = self.varint("backoff")?;
        let nanoseconds = self.small("backoff")?;
        if nanoseconds >= 1_000_000_000 {
            return Err(DecodeError::OutOfRange { field: "backoff", value: nanoseconds.into() });
        }
        Ok(Duration::new(seconds, nanoseconds))
    }

    pub(super) fn shared(&mut self, field: &'static str) -> Result<Bytes, DecodeError> {
        let length = self.varint(field)?;
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= self.end - self.at)
            .ok_or(DecodeError::Truncated { field })?;
        let start = self.at;
        self.at += length;
        Ok(self.bytes.slice(start..self.at))
    }

    pub(super) fn text(&mut self, field: &'static str) -> Result<String, DecodeError> {
        let bytes = self.shared(field)?;
        std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| DecodeError::NotText { field })
    }

    pub(super) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let array = *self.rest().first_chunk().ok_or(DecodeError::Truncated { field })?;
        self.at += N;
        Ok(array)
    }

    /// How many elements follow. Each takes a byte at least, so that what is announced can't exceed what is there.
    pub(super) fn count(&mut self, field: &'static str) -> Result<usize, DecodeError> {
        let count = self.varint(field)?;
        if count > (self.end - self.at) as u64 {
            return Err(DecodeError::Truncated { field });
        }
        Ok(count as usize)
    }

    pub(super) fn labels(&mut self) -> Result<Labels, DecodeError> {
        let count = self.count("labels")?;
        (0..count).map(|_| Ok((self.text("label's key")?, self.text("label's value")?))).collect()
    }

    fn numbers<T>(&mut self, field: &'static str, number: impl Fn(u64) -> T) -> Result<Vec<T>, DecodeError> {
        let count = self.count(field)?;
        let mut numbers = Vec::with_capacity(count);
        let mut steps = Steps::default();
        for _ in 0..count {
            numbers.push(number(steps.next(self, field)?));
        }
        Ok(numbers)
    }

    fn verdict(&mut self) -> Result<Verdict, DecodeError> {
        match self.byte("verdict")? {
            0 => Ok(Verdict::Succeeded),
            1 => Ok(Verdict::Failed),
            2 => Ok(Verdict::Retry { backoff_milliseconds: self.varint("backoff")? }),
            3 => Ok(Verdict::Cancelled),
            other => Err(DecodeError::OutOfRange { field: "verdict", value: other.into() }),
        }
    }

    fn loss(&mut self) -> Result<Loss, DecodeError> {
        match self.byte("loss")? {
            0 => Ok(Loss::Unstarted),
            1 => Ok(Loss::Crashed),
            2 => Ok(Loss::Failed),
            3 => Ok(Loss::Retry { backoff_milliseconds: self.varint("backoff")? }),
            other => Err(DecodeError::OutOfRange { field: "loss", value: other.into() }),
        }
    }

    fn work(&mut self) -> Result<Work, DecodeError> {
        Ok(if self.choice("work", [false, true])? {
            Work::Job(JobNumber(self.varint("job")?))
        } else {
            Work::Tasks(self.numbers("task", TaskNumber)?)
        })
    }

    pub(super) fn optional_time(&mut self, field: &'static str) -> Result<Option<WallTime>, DecodeError> {
        Ok(if self.choice(field, [false, true])? { Some(self.time()?) } else { None })
    }

    /// Takes the rest of the body as values, and notes where they begin.
    fn values(&mut self, start: &mut Option<usize>) -> Result<Values, DecodeError> {
        let count = self.small("number of values")?;
        let values = self.bytes.slice(self.at..self.end);
        if count_values(&values) != Some(count) {
            return Err(DecodeError::Values { count, length: values.len() });
        }
        *start = Some(self.at);
        self.at = self.end;
        Ok(Values::trusted(values, count))
    }
}

/// How many values fill `rest` exactly; `None` if they don't.
fn count_values(mut rest: &[u8]) -> Option<u32> {
    let mut count = 0;
    while !rest.is_empty() {
        let (header, used) = read_varint(rest)?;
        rest = &rest[used..];
        let length = if header & 1 == 1 { read_varint(rest)?.1 } else { usize::try_from(header >> 1).ok()? };
        rest = rest.get(length..)?;
        count += 1;
    }
    Some(count)
}
