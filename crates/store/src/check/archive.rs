//! Looking through the archive.

use std::{ffi::OsString, fs, path::Path};

use super::{Checked, LargeValues, Report, text_of};
use crate::{
    archive::{ARCHIVE_FILE, ArchiveError, JobQuestion, Reader},
    identity::Identity,
};
use task_messenger_core::{ids::JobNumber, query::JobFilter};

/// So many rows are asked for at a time.
const PAGE: u32 = 1_000;

/// How many bytes the archive's files have.
pub(super) fn bytes(path: &Path) -> u64 {
    let length = |suffix: &str| {
        let mut name = OsString::from(path);
        name.push(suffix);
        fs::metadata(name).map_or(0, |file| file.len())
    };
    length("") + length("-wal")
}

/// Looks through the archive, and says which large values it needs; `None` if it can't be read. `is_known` says whether the
/// journal's end is known.
pub(super) fn check(
    path: &Path,
    identity: &Identity,
    is_known: bool,
    checked: &mut Checked,
    report: &mut Report<'_>,
) -> Option<LargeValues> {
    let (last, bytes) = (checked.last, checked.archive_bytes);
    let mut find = |problem: String| report.find(ARCHIVE_FILE, None, problem);
    let mut look = || {
        let reader = Reader::open_unused(path)?;
        let about = reader.about()?;
        if about.store != identity.id.to_string() {
            find(format!("it belongs to the store {}, and this is the store {}", about.store, identity.id));
        }
        if is_known && about.watermark > last {
            find(format!(
                "it holds what records up to {} brought about, and the journal ends with record {last}",
                about.watermark
            ));
        }
        reader.check()?.into_iter().for_each(&mut find);
        let tasks = check_rows(&reader, &mut find)?;
        Ok((tasks, reader.large_values()?))
    };
    let looked: Result<_, ArchiveError> = look();
    report.looked_at(bytes);
    match looked {
        Ok((tasks, large)) => {
            checked.archived_tasks = Some(tasks);
            Some(large)
        }
        Err(error) => {
            report.find(ARCHIVE_FILE, None, text_of(&error));
            None
        }
    }
}

/// Reads every job and task, and says how many tasks there are.
fn check_rows(reader: &Reader, find: &mut impl FnMut(String)) -> Result<u64, ArchiveError> {
    let mut before: Option<JobNumber> = None;
    let mut total = 0;
    loop {
        let filter = JobFilter::default();
        let page = reader.jobs(&JobQuestion { owner: None, before, name_contains: None, filter, limit: PAGE })?;
        for job in &page.jobs {
            let number = job.job.number;
            let (mut found, mut from) = (0, Some(0));
            while let Some(index) = from {
                let tasks = reader.tasks(number, None, index, PAGE)?;
                found += tasks.tasks.len() as u64;
                from = tasks.next_index;
            }
            if found != job.kept {
                find(format!("job {number} should have {} tasks there, and {found} are found", job.kept));
            }
            total += found;
        }
        before = page.next;
        if before.is_none() {
            return Ok(total);
        }
    }
}
