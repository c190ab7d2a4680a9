mod damage;
mod limits;
mod model;
mod properties;
mod thread;
mod unused;

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use task_messenger_core::{
    ids::{JobNumber, OwnerNumber, RecordNumber, TaskId, TaskNumber, TemplateNumber},
    record::JobKey,
    task::TaskState,
    template::{Kind, RetryPolicy, Template},
    time::WallTime,
    values::Value,
};

use super::*;
use crate::identity::StoreId;

const STORE: StoreId = StoreId([7; 16]);

/// A directory for an archive.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join(ARCHIVE_FILE)
    }

    fn open(&self) -> Archive {
        Archive::open(&self.path(), STORE, RecordNumber(0)).unwrap()
    }

    /// What a killed process would leave: the files as they are now, elsewhere.
    fn copy(&self) -> Self {
        let copy = Self::new();
        for name in [ARCHIVE_FILE.to_owned(), format!("{ARCHIVE_FILE}-wal")] {
            let from = self.directory.path().join(&name);
            if from.exists() {
                std::fs::copy(from, copy.directory.path().join(&name)).unwrap();
            }
        }
        copy
    }

    /// How many bytes the file and its log have.
    fn bytes(&self) -> u64 {
        let files = std::fs::read_dir(self.directory.path()).unwrap();
        files
            .map(|file| file.unwrap())
            .filter(|file| !file.file_name().to_string_lossy().ends_with("-shm"))
            .map(|file| file.metadata().unwrap().len())
            .sum()
    }
}

fn job(number: u64) -> ArchivedJob {
    ArchivedJob {
        number: JobNumber(number),
        owner: OwnerNumber((number % 3) as u32),
        owner_name: format!("owner-{}", number % 3),
        name: format!("Job {number}"),
        labels: (0..number % 3).map(|label| (format!("label {label}"), format!("\"{}\"", number % 2))).collect(),
        key: number.is_multiple_of(2).then_some(JobKey([number as u8; 16])),
        opened: WallTime(1000 * number),
        closed: false,
        ended: None,
        digest: number as u32,
        tasks: 1000,
        counts: FinalCounts { succeeded: 10, ..FinalCounts::default() },
    }
}

fn template(number: u32) -> ArchivedTemplate {
    let is_skill = number % 2 == 1;
    let kind = if is_skill { Kind::Skill(format!("skill-{number}")) } else { Kind::Command };
    ArchivedTemplate {
        number: TemplateNumber(number),
        program: if is_skill { format!("skill-{number}") } else { format!("/bin/program-{number}") },
        template: Arc::new(Template {
            kind,
            priority: -3,
            slots: number + 1,
            retry: RetryPolicy {
                max_attempts: 5,
                backoff_first: Duration::from_millis(1500),
                ..RetryPolicy::default()
            },
            body: Bytes::from(number.to_be_bytes().to_vec()),
        }),
    }
}

/// A task of 15 bytes of values.
fn task(number: u64, job: u64, index: u32) -> ArchivedTask {
    ArchivedTask {
        number: TaskNumber(number),
        id: TaskId { job: JobNumber(job), index },
        state: TaskState::Succeeded,
        template: TemplateNumber(0),
        attempts: 1,
        failures: 0,
        crashes: 0,
        delivered: false,
        submitted: Some(WallTime(500 + number)),
        finished: WallTime(1000 + number),
        payload_bytes: 5,
        outcome_bytes: Some(10),
        payload: Some(Value::Inline(Bytes::from_static(b"input"))),
        outcome: Some(Value::Inline(Bytes::from_static(b"the output"))),
    }
}

/// A job's tasks, numbered as their indexes behind `first`.
fn batch(watermark: u64, job_number: u64, tasks: impl Iterator<Item = ArchivedTask>) -> Batch {
    Batch {
        watermark: RecordNumber(watermark),
        jobs: vec![job(job_number)],
        templates: vec![template(0)],
        tasks: tasks.collect(),
        ..Batch::default()
    }
}
