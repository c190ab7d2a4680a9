//! The parts of a snapshot, to bytes and back.

use bytes::Bytes;
use task_messenger_core::{
    archived::ArchivedJob,
    ids::{JobNumber, LeaseNumber, OwnerNumber, Place, TaskNumber, TemplateNumber, WorkerNumber},
    image::{Numbers, Part},
    job::Job,
    record::{Idempotency, JobKey, Reservation},
    state::{LargeValue, Silenced},
    task::{Counts, Task, TaskState},
    time::WallTime,
    values::{read_varint, write_varint},
};

use super::{
    DecodeError,
    decode::{self, Body, Steps as Read},
    encode::{self, Steps as Write, put_bytes, put_labels, put_option, put_signed, put_time},
    kind,
};

/// Appends a whole part, length and body.
pub fn encode_part(part: &Part, out: &mut Vec<u8>) {
    let mut body = Vec::new();
    match part {
        Part::Record(record) => return encode::encode(record, out),
        Part::Numbers(numbers) => put_numbers_part(&mut body, numbers),
        Part::Job(job) => put_job(&mut body, job),
        Part::Tasks { job, tasks } => put_tasks(&mut body, *job, tasks),
        Part::Leases(leases) => put_items(&mut body, kind::LEASES, leases, |out, (lease, task, worker)| {
            write_varint(out, lease.0);
            write_varint(out, task.0);
            write_varint(out, worker.0.into());
        }),
        Part::Silenced(leases) => put_items(&mut body, kind::SILENCED, leases, |out, (lease, silenced)| {
            write_varint(out, lease.0);
            write_varint(out, silenced.task.0);
            write_varint(out, silenced.worker.0.into());
            out.push(u8::from(silenced.counted));
        }),
        Part::BackingOff(tasks) => put_items(&mut body, kind::BACKING_OFF, tasks, |out, (task, wait)| {
            write_varint(out, task.0);
            write_varint(out, *wait);
        }),
        Part::Delayed(runs) => put_items(&mut body, kind::DELAYED, runs, put_run),
        Part::Deadlines(runs) => put_items(&mut body, kind::DEADLINES, runs, put_run),
        Part::Keys(keys) => put_items(&mut body, kind::KEYS, keys, |out, (idempotency, job, opened)| {
            out.extend_from_slice(&idempotency.key);
            out.extend_from_slice(&idempotency.content);
            write_varint(out, job.0);
            put_time(out, *opened);
        }),
        Part::LargeValues(values) => put_items(&mut body, kind::LARGE_VALUES, values, |out, (place, value)| {
            write_varint(out, place.0);
            write_varint(out, value.file);
            write_varint(out, value.length);
        }),
        Part::Archived(jobs) => put_items(&mut body, kind::ARCHIVED_JOBS, jobs, |out, (time, owner, key, job)| {
            put_time(out, *time);
            write_varint(out, owner.0.into());
            out.extend_from_slice(&key.0);
            write_varint(out, job.job.0);
            write_varint(out, job.tasks.into());
            write_varint(out, job.digest.into());
        }),
        Part::Over(jobs) => put_items(&mut body, kind::OVER, jobs, |out, (time, job)| {
            put_time(out, *time);
            write_varint(out, job.0);
        }),
    }
    put_bytes(out, &body);
}

fn put_items<T>(out: &mut Vec<u8>, kind: u8, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    out.push(kind);
    write_varint(out, items.len() as u64);
    for item in items {
        put(out, item);
    }
}

fn put_run(out: &mut Vec<u8>, (at, task, count): &(WallTime, TaskNumber, u32)) {
    put_time(out, *at);
    write_varint(out, task.0);
    write_varint(out, (*count).into());
}

fn put_numbers_part(out: &mut Vec<u8>, Numbers { next, next_template, reserved, weak, clock }: &Numbers) {
    out.push(kind::NUMBERS);
    for Reservation { leases, tasks, jobs } in [next, reserved] {
        write_varint(out, leases.0);
        write_varint(out, tasks.0);
        write_varint(out, jobs.0);
    }
    write_varint(out, next_template.0.into());
    out.push(u8::from(*weak));
    put_time(out, *clock);
}

fn put_job(out: &mut Vec<u8>, job: &Job) {
    out.push(kind::JOB);
    write_varint(out, job.number.0);
    write_varint(out, job.owner.0.into());
    out.extend_from_slice(&job.key.0);
    put_bytes(out, job.name.as_bytes());
    put_labels(out, &job.labels);
    put_time(out, job.opened);
    out.push(u8::from(job.closed));
    write_varint(out, job.next_index.into());
    write_varint(out, job.digest.into());
    for count in job.counts.as_array() {
        write_varint(out, count);
    }
    put_option(out, job.ended.as_ref(), |out, time| put_time(out, *time));
    put_option(out, job.last_template.as_ref(), |out, template| write_varint(out, template.0.into()));
    write_varint(out, job.runs.len() as u64);
    for (index, task) in &job.runs {
        write_varint(out, (*index).into());
        write_varint(out, task.0);
    }
}

fn put_tasks(out: &mut Vec<u8>, job: JobNumber, tasks: &[(TaskNumber, Task)]) {
    out.push(kind::TASKS);
    write_varint(out, job.0);
    write_varint(out, tasks.len() as u64);
    let mut numbers = Write::default();
    let mut indexes = Write::default();
    let (mut payload, mut detail) = (0, 0);
    for (number, task) in tasks {
        numbers.put(out, number.0);
        indexes.put(out, task.index.into());
        put_signed(out, task.payload.0.wrapping_sub(payload).cast_signed());
        put_signed(out, task.detail.wrapping_sub(detail).cast_signed());
        (payload, detail) = (task.payload.0, task.detail);
        write_varint(out, task.template.0.into());
        write_varint(out, task.attempts.into());
        write_varint(out, task.payload_length.into());
        write_varint(out, task.failures.into());
        out.push(task.state() as u8);
        out.push(task.marks);
    }
}

/// The part that starts at `offset`, and where the next one begins.
pub fn decode_part(bytes: &Bytes, offset: usize) -> Result<(Part, usize), DecodeError> {
    let (length, used) = bytes.get(offset..).and_then(read_varint).ok_or(DecodeError::Truncated { field: "length" })?;
    let start = offset + used;
    let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length));
    let end = end.filter(|end| *end <= bytes.len()).ok_or(DecodeError::Truncated { field: "body" })?;
    let mut body = Body::new(bytes, start, end);
    let kind = body.byte("kind")?;
    let part = match kind {
        kind::NUMBERS => {
            let (next, reserved) = (reservation(&mut body)?, reservation(&mut body)?);
            let next_template = TemplateNumber(body.small("template")?);
            let weak = body.choice("weakness", [false, true])?;
            Part::Numbers(Numbers { next, next_template, reserved, weak, clock: body.time()? })
        }
        kind::JOB => Part::Job(Box::new(job(&mut body)?)),
        kind::TASKS => tasks(&mut body)?,
        kind::LEASES => Part::Leases(items(&mut body, "lease", |body| {
            let (lease, task) = (LeaseNumber(body.varint("lease")?), TaskNumber(body.varint("task")?));
            Ok((lease, task, WorkerNumber(body.small("worker")?)))
        })?),
        kind::SILENCED => Part::Silenced(items(&mut body, "lease", |body| {
            let (lease, task) = (LeaseNumber(body.varint("lease")?), TaskNumber(body.varint("task")?));
            let worker = WorkerNumber(body.small("worker")?);
            Ok((lease, Silenced { task, worker, counted: body.choice("count", [false, true])? }))
        })?),
        kind::BACKING_OFF => Part::BackingOff(items(&mut body, "task", |body| {
            Ok((TaskNumber(body.varint("task")?), body.varint("backoff")?))
        })?),
        kind::DELAYED => Part::Delayed(items(&mut body, "time", run)?),
        kind::DEADLINES => Part::Deadlines(items(&mut body, "time", run)?),
        kind::KEYS => Part::Keys(items(&mut body, "key", |body| {
            let idempotency = Idempotency { key: body.array("idempotency key")?, content: body.array("content hash")? };
            Ok((idempotency, JobNumber(body.varint("job")?), body.time()?))
        })?),
        kind::LARGE_VALUES => Part::LargeValues(items(&mut body, "value", |body| {
            let place = Place(body.varint("place")?);
            Ok((place, LargeValue { file: body.varint("file")?, length: body.varint("length")? }))
        })?),
        kind::ARCHIVED_JOBS => Part::Archived(items(&mut body, "archived job", |body| {
            let (time, owner, key) = (body.time()?, OwnerNumber(body.small("owner")?), JobKey(body.array("job key")?));
            let job = JobNumber(body.varint("job")?);
            let job = ArchivedJob { job, tasks: body.small("number of tasks")?, digest: body.small("digest")? };
            Ok((time, owner, key, job))
        })?),
        kind::OVER => Part::Over(items(&mut body, "job", |body| Ok((body.time()?, JobNumber(body.varint("job")?))))?),
        _ => {
            let decoded = decode::decode(bytes, offset)?;
            return Ok((Part::Record(decoded.record), decoded.next));
        }
    };
    match body.left() {
        0 => Ok((part, end)),
        count => Err(DecodeError::Surplus { kind, count }),
    }
}

fn items<T>(
    body: &mut Body<'_>,
    field: &'static str,
    item: impl Fn(&mut Body<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = body.count(field)?;
    (0..count).map(|_| item(body)).collect()
}

fn run(body: &mut Body<'_>) -> Result<(WallTime, TaskNumber, u32), DecodeError> {
    Ok((body.time()?, TaskNumber(body.varint("task")?), body.small("number of tasks")?))
}

fn reservation(body: &mut Body<'_>) -> Result<Reservation, DecodeError> {
    Ok(Reservation {
        leases: LeaseNumber(body.varint("leases")?),
        tasks: TaskNumber(body.varint("tasks")?),
        jobs: JobNumber(body.varint("jobs")?),
    })
}

fn job(body: &mut Body<'_>) -> Result<Job, DecodeError> {
    Ok(Job {
        number: JobNumber(body.varint("job")?),
        owner: OwnerNumber(body.small("owner")?),
        key: JobKey(body.array("job key")?),
        name: body.text("name")?.into(),
        labels: body.labels()?,
        opened: body.time()?,
        closed: body.choice("end of the job", [false, true])?,
        next_index: body.small("index")?,
        digest: body.small("digest")?,
        counts: {
            let mut counts = [0; TaskState::ALL.len()];
            for count in &mut counts {
                *count = body.varint("number of tasks")?;
            }
            Counts::from(counts)
        },
        ended: body.optional_time("end")?,
        last_template: if body.choice("template", [false, true])? {
            Some(TemplateNumber(body.small("template")?))
        } else {
            None
        },
        runs: items(body, "run", |body| Ok((body.small("index")?, TaskNumber(body.varint("task")?))))?,
    })
}

fn tasks(body: &mut Body<'_>) -> Result<Part, DecodeError> {
    let job = JobNumber(body.varint("job")?);
    let count = body.count("task")?;
    let mut tasks = Vec::with_capacity(count);
    let (mut numbers, mut indexes) = (Read::default(), Read::default());
    let (mut payload, mut detail) = (0_u64, 0_u64);
    for _ in 0..count {
        let number = TaskNumber(numbers.next(body, "task")?);
        let index = indexes.next(body, "index")?;
        let index = u32::try_from(index).map_err(|_| DecodeError::OutOfRange { field: "index", value: index })?;
        payload = payload.wrapping_add_signed(body.signed("payload")?);
        detail = detail.wrapping_add_signed(body.signed("lease or outcome")?);
        let task = Task {
            payload: Place(payload),
            detail,
            job: 0,
            index,
            template: TemplateNumber(body.small("template")?),
            attempts: body.small("attempts")?,
            payload_length: body.small("length")?,
            failures: {
                let failures = body.varint("failures")?;
                u16::try_from(failures).map_err(|_| DecodeError::OutOfRange { field: "failures", value: failures })?
            },
            state: Some(state(body)?),
            marks: body.byte("marks")?,
        };
        tasks.push((number, task));
    }
    Ok(Part::Tasks { job, tasks })
}

fn state(body: &mut Body<'_>) -> Result<TaskState, DecodeError> {
    let byte = body.byte("state")?;
    let found = TaskState::ALL.into_iter().find(|state| *state as u8 == byte);
    found.ok_or(DecodeError::OutOfRange { field: "state", value: byte.into() })
}
