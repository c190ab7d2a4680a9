//! The bytes of records.
//!
//! A record is a varint, the length of its body, and the body; so a reader finds the next record even behind one that it
//! doesn't know. A body is one byte, the kind, and the fields in the order below. What a body may consist of:
//!
//! - `varint`: a number of up to 64 bits in LEB128. Times are varints, in milliseconds since the Unix epoch.
//! - `signed`: a varint `n << 1 ^ n >> 63` (so that small negative numbers are short too).
//! - `bytes`: a varint length, and the bytes. `text`: the same, UTF-8.
//! - `option X`: a byte 0, or a byte 1 and X.
//! - `numbers`: a varint count, then a `step` for each number. A step is the `signed` difference (modulo 2^64) between the
//!   number and the one that was to be expected: 0 at the beginning, then always one more than the number before. So
//!   consecutive numbers take a byte each.
//! - `values`: what is left of the body, encoded as [`task_messenger_core::values`] says. They come last, so that the place of
//!   a value is known when the record is appended; their count stands before them.
//!
//! | kind | record | fields |
//! |---|---|---|
//! | 1 | `Started` | time, byte: weak |
//! | 2 | `Reserved` | varint leases, varint tasks, varint jobs |
//! | 3 | `TemplateAdded` | varint number; kind: byte 0 (command), or byte 1 and text (skill); signed priority; varint slots; varint `max_attempts`; first and longest backoff, each varint seconds and varint nanoseconds; bytes body |
//! | 4 | `JobOpened` | varint job, varint owner, 16 bytes key, text name, option idempotency (16 bytes key, 16 bytes content), time; varint count, then for each label text key, text value |
//! | 5 | `Submitted` | varint job, varint first task, varint first index, varint template, option time not before, option time deadline, time, varint count, values |
//! | 6 | `JobClosed` | varint job |
//! | 7 | `Dispatched` | varint worker, varint first lease, time, numbers tasks |
//! | 8 | `Finished` | time; varint count, then for each end the step of its lease and a verdict; varint count, values |
//! | 9 | `Released` | byte reason (0 given back, 1 not held, 2 removed), time, numbers leases |
//! | 10 | `Readopted` | varint worker, time; varint count, then for each the step of its lease and the step of its task |
//! | 11 | `Retried` | numbers tasks |
//! | 12 | `OwnerAdded` | varint number, text name |
//! | 13 | `TokenCreated` | varint number, byte role (0 worker, 1 client, 2 admin), varint owner, 32 bytes hash, text label, option time expires, time |
//! | 14 | `TokenRevoked` | varint token, time |
//! | 15 | `WorkerEnrolled` | varint number, varint token, 32 bytes hash, text name, time |
//! | 16 | `Due` | time, varint first task |
//! | 17 | `Expired` | time, varint first task |
//! | 18 | `Cancelled` | time, work |
//! | 19 | `Requeued` | time, work |
//! | 20 | `WorkerLost` | varint worker, byte: silent, time; varint count, then for each end the step of its lease and a loss |
//! | 21 | `WorkerStarted` | varint worker, varint incarnation, time |
//! | 22 | `WorkerSet` | varint worker, byte mode (0 active, 1 paused, 2 draining) |
//! | 23 | `WorkerRemoved` | varint worker, time |
//! | 24 | `Purged` | time, numbers jobs |
//! | 25 | `Archived` | time, numbers jobs |
//! | 26 | `Moved` | varint count, then for each value the step of its task and a byte (0 payload, 1 outcome); varint count, values |
//!
//! A snapshot consists of parts. Owners, tokens, workers and templates are told by the records above; the others are
//! encoded like records, and are of these kinds. Where it says "for each", a varint count comes first.
//!
//! | kind | part | fields |
//! |---|---|---|
//! | 128 | `Numbers` | next and reserved, each varint leases, varint tasks, varint jobs; varint next template; byte weak; time |
//! | 129 | `Job` | varint job, varint owner, 16 bytes key, text name; for each label text key, text value; time opened, byte closed, varint number of tasks, varint digest; 8 varint counts by state; option time ended; option varint last template; for each run varint first index, varint first task |
//! | 130 | `Tasks` | varint job; for each task the steps of its number and of its index, the `signed` differences of its payload's place and of its detail to those of the task before, varint template, varint attempts, varint payload length, varint failures, byte state, byte marks |
//! | 131 | `Leases` | for each varint lease, varint task, varint worker |
//! | 132 | `Silenced` | for each varint lease, varint task, varint worker, byte counted |
//! | 133 | `BackingOff` | for each varint task, varint milliseconds |
//! | 134, 135 | `Delayed`, `Deadlines` | for each time, varint first task, varint count |
//! | 136 | `Keys` | for each 16 bytes key, 16 bytes content, varint job, time opened |
//! | 137 | `LargeValues` | for each varint place, varint file, varint length |
//! | 138 | `Over` | for each time, varint job |
//! | 139 | `Archived` | for each time, varint owner, 16 bytes key, varint job, varint number of tasks, varint digest |
//!
//! A verdict is a byte: 0 succeeded, 1 failed, 2 retry, followed by the backoff in milliseconds as a varint, 3 cancelled. A
//! loss is a byte: 0 unstarted, 1 crashed, 2 failed, 3 retry, followed by the backoff. Work is a byte 0 and the numbers of
//! tasks, or a byte 1 and a varint job.

mod decode;
mod encode;
mod part;
#[cfg(test)]
mod tests;

pub use decode::{DecodeError, Decoded, decode};
pub use encode::encode;
pub(crate) use encode::{encode_head, varint_length};
pub use part::{decode_part, encode_part};

/// The kinds of records, as their first byte says them.
mod kind {
    pub(super) const STARTED: u8 = 1;
    pub(super) const RESERVED: u8 = 2;
    pub(super) const TEMPLATE_ADDED: u8 = 3;
    pub(super) const JOB_OPENED: u8 = 4;
    pub(super) const SUBMITTED: u8 = 5;
    pub(super) const JOB_CLOSED: u8 = 6;
    pub(super) const DISPATCHED: u8 = 7;
    pub(super) const FINISHED: u8 = 8;
    pub(super) const RELEASED: u8 = 9;
    pub(super) const READOPTED: u8 = 10;
    pub(super) const RETRIED: u8 = 11;
    pub(super) const OWNER_ADDED: u8 = 12;
    pub(super) const TOKEN_CREATED: u8 = 13;
    pub(super) const TOKEN_REVOKED: u8 = 14;
    pub(super) const WORKER_ENROLLED: u8 = 15;
    pub(super) const DUE: u8 = 16;
    pub(super) const EXPIRED: u8 = 17;
    pub(super) const CANCELLED: u8 = 18;
    pub(super) const REQUEUED: u8 = 19;
    pub(super) const WORKER_LOST: u8 = 20;
    pub(super) const WORKER_STARTED: u8 = 21;
    pub(super) const WORKER_SET: u8 = 22;
    pub(super) const WORKER_REMOVED: u8 = 23;
    pub(super) const PURGED: u8 = 24;
    pub(super) const ARCHIVED: u8 = 25;
    pub(super) const MOVED: u8 = 26;

    // Only in snapshots.
    pub(super) const NUMBERS: u8 = 128;
    pub(super) const JOB: u8 = 129;
    pub(super) const TASKS: u8 = 130;
    pub(super) const LEASES: u8 = 131;
    pub(super) const SILENCED: u8 = 132;
    pub(super) const BACKING_OFF: u8 = 133;
    pub(super) const DELAYED: u8 = 134;
    pub(super) const DEADLINES: u8 = 135;
    pub(super) const KEYS: u8 = 136;
    pub(super) const LARGE_VALUES: u8 = 137;
    pub(super) const OVER: u8 = 138;
    pub(super) const ARCHIVED_JOBS: u8 = 139;
}
