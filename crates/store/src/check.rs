//! Looking at everything in a store that nobody uses: what a start reads, and what it doesn't. Nothing is changed.
//!
//! A start reads the newest snapshot and what the journal holds behind it, and sees that what is needed is there. Here every
//! snapshot is read to its end, every block of every segment that is kept from its beginning, every value that is needed at
//! its place, every large value with its checksum, and the archive.
//!
//! What can't be found: that the journal has lost blocks from its end, if nothing further on tells of them; that a segment
//! before one that was freed has, if no trace of them is left and no value in them is needed; and that bytes within a value
//! of the archive have changed, which has no checksums.

mod archive;
mod report;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::Path,
    sync::Arc,
};

use task_messenger_core::{
    ids::{Place, RecordNumber},
    state::State,
    values::Value,
};

pub use self::report::{Finding, Looked};
pub(crate) use self::report::{Report, text_of};
use crate::{
    archive::ARCHIVE_FILE,
    blobs,
    disk::{Access, Disk},
    identity::{IDENTITY_FILE, Identity, StoreId},
    journal::{
        EXTENT_FILE, Found, Options, Position, ReadError, Recovery, Replayed, check_journal, journal_bytes, open,
    },
    snapshot::{self, SnapshotError, SnapshotReader},
};

/// So many places are looked at in one go, in their order.
const PLACES: usize = 1 << 16;

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Which store it is, if its `store.json` says so.
    pub store: Option<StoreId>,
    /// How many segments were read.
    pub segments: u64,
    /// How many bytes their files have.
    pub journal_bytes: u64,
    /// How many whole blocks were found.
    pub blocks: u64,
    /// How many records in them.
    pub records: u64,
    /// The last record.
    pub last: RecordNumber,
    /// How many snapshots were read.
    pub snapshots: u64,
    /// How many bytes their files have.
    pub snapshot_bytes: u64,
    /// How many values that are needed were read at their places in the journal.
    pub values: u64,
    /// How many large values were read.
    pub large_values: u64,
    /// How many bytes their files have.
    pub large_value_bytes: u64,
    /// How many files of large values nobody needs: the next start removes them.
    pub unneeded_files: u64,
    /// How many tasks the archive holds; `None` if there is no archive, or it can't be read.
    pub archived_tasks: Option<u64>,
    /// How many bytes its files have.
    pub archive_bytes: u64,
    /// What is wrong, at most 1,000 things.
    pub findings: Vec<Finding>,
    /// How many more things are wrong.
    pub more_findings: u64,
}

impl Checked {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Looks through the store on `disk`, of which `directory` is the directory for the archive, which other programs read by its
/// path; `None` if there is none. Whoever calls holds the lock ([`crate::lock::StoreLock`]). `watch` is told how far it is.
pub fn check(disk: &Arc<dyn Disk>, directory: Option<&Path>, watch: &mut dyn FnMut(Looked)) -> Checked {
    let mut report = Report::new(watch);
    let mut checked = Checked::default();
    look(disk, directory, &mut checked, &mut report);
    (checked.findings, checked.more_findings) = report.take();
    checked
}

fn look(disk: &Arc<dyn Disk>, directory: Option<&Path>, checked: &mut Checked, report: &mut Report<'_>) {
    let identity = disk.read(IDENTITY_FILE);
    let identity = match identity.map(|bytes| Identity::read(&bytes)) {
        Ok(Ok(identity)) => identity,
        Ok(Err(error)) => return report.find(IDENTITY_FILE, None, text_of(&error)),
        Err(error) => {
            let problem = if error.kind() == io::ErrorKind::NotFound { "it is missing" } else { "it can't be read" };
            return report.find(IDENTITY_FILE, None, format!("{problem}: {error}"));
        }
    };
    checked.store = Some(identity.id);
    let path = directory.map(|directory| directory.join(ARCHIVE_FILE)).filter(|path| path.exists());
    checked.archive_bytes = path.as_deref().map_or(0, archive::bytes);
    let journal = journal_bytes(&**disk);
    let (values, others) = blobs::names(&**disk).unwrap_or_else(|error| {
        report.find(&error.name, None, format!("it can't be listed: {}", error.source));
        (Vec::new(), 0)
    });
    let lengths = values.iter().map(|number| length(&**disk, &blobs::name(*number)));
    let snapshots = snapshot::list(&**disk).unwrap_or_else(|error| {
        report.find(snapshot::DIRECTORY, None, format!("it can't be listed: {error}"));
        Vec::new()
    });
    checked.snapshot_bytes = snapshots.iter().map(|last| length(&**disk, &snapshot::name(*last))).sum();
    // The journal is read twice: as a chain of blocks, and where values lie in it.
    report.expect(2 * journal + lengths.sum::<u64>() + checked.snapshot_bytes + checked.archive_bytes);

    let mut positions = Vec::new();
    for last in snapshots {
        checked.snapshots += 1;
        positions.extend(check_snapshot(&**disk, &identity, last, report));
    }
    let found = check_journal(disk, &identity, &positions, report);
    checked.segments = found.segments;
    checked.journal_bytes = journal;
    (checked.blocks, checked.records, checked.last) = (found.blocks, found.records, found.last);

    let mut needed = BTreeMap::new();
    let state = replay(disk, report);
    let is_known = state.is_some();
    if let Some((recovery, state)) = state {
        checked.last = checked.last.max(recovery.last());
        needed.extend(state.large_values.values().map(|value| (value.file, Some(value.length))));
        checked.values = check_places(&recovery, &state, journal, &mut needed, report);
    } else {
        report.looked_at(journal);
    }
    let archived = path.as_deref().and_then(|path| archive::check(path, &identity, is_known, checked, report));
    let is_known = is_known && (path.is_none() || archived.is_some());
    needed.extend(archived.unwrap_or_default().into_iter().map(|(file, length)| (file, Some(length))));
    if is_known {
        let unneeded = values.iter().filter(|number| !needed.contains_key(number)).count() + others;
        checked.unneeded_files = unneeded as u64;
    } else {
        // Nobody can say which are needed.
        for number in values {
            needed.entry(number).or_insert(None);
        }
    }
    for (number, length) in needed {
        checked.large_values += 1;
        match blobs::verify(&**disk, identity.checksum_seed, number, length) {
            Ok(bytes) => {
                checked.large_value_bytes += bytes;
                report.looked_at(bytes);
            }
            Err(error) => report.find(&blobs::name(number), error.offset(), error.to_string()),
        }
    }
}

/// Reads a snapshot to its end, and says where the journal goes on behind it.
fn check_snapshot(
    disk: &dyn Disk,
    identity: &Identity,
    last: RecordNumber,
    report: &mut Report<'_>,
) -> Option<Position> {
    let read = || {
        let mut reader = SnapshotReader::open(disk, identity.id, identity.checksum_seed, last)?;
        let recovered = reader.recovered();
        while reader.next()?.is_some() {}
        Ok(recovered)
    };
    match read() {
        Ok(recovered) => {
            report.looked_at(recovered.bytes);
            Some(recovered.position)
        }
        Err(error) => {
            let offset = match &error {
                SnapshotError::Damaged { offset, .. } | SnapshotError::Part { offset, .. } => Some(*offset),
                _ => None,
            };
            report.find(&snapshot::name(last), offset, text_of(&error));
            None
        }
    }
}

/// What a start would find. What would make it refuse is a finding, unless it is one already.
fn replay(disk: &Arc<dyn Disk>, report: &mut Report<'_>) -> Option<(Recovery, State)> {
    let read = || {
        let mut recovery = open(disk.clone(), &Options { cache_bytes: 0, ..Options::default() })?;
        let mut state = State::default();
        while let Some(found) = recovery.next()? {
            match found {
                Found::Part { part, .. } => state.restore(part),
                Found::Record(Replayed { values, record, .. }) => state.apply(&record, values),
            }
        }
        Ok((recovery, state))
    };
    read().map_err(|error| report.find_refusal(&error)).ok()
}

/// Reads every value that is needed at its place, and says how many there are. The large ones among them are added to
/// `large`.
fn check_places(
    recovery: &Recovery,
    state: &State,
    journal: u64,
    large: &mut BTreeMap<u64, Option<u64>>,
    report: &mut Report<'_>,
) -> u64 {
    let total = state.places().count().max(1) as u64;
    let mut reader = recovery.values();
    // By file: where the first one is, and how many there are.
    let mut freed: BTreeMap<String, u64> = BTreeMap::new();
    let mut missing: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut places = state.places();
    let mut values = 0;
    loop {
        let mut some: Vec<Place> = places.by_ref().take(PLACES).collect();
        if some.is_empty() {
            break;
        }
        some.sort_unstable();
        for place in &some {
            if recovery.has_freed(*place) {
                *freed.entry(reader.locate(*place).0).or_insert(0) += 1;
            }
            match reader.at(*place) {
                Ok(Value::Inline(_)) => values += 1,
                Ok(Value::External { file, length }) => {
                    values += 1;
                    large.entry(file).or_insert(Some(length));
                }
                Err(ReadError::NoValue { file, offset }) => {
                    let entry = missing.entry(file).or_insert((offset, 0));
                    *entry = (entry.0.min(offset), entry.1 + 1);
                }
                Err(ReadError::Io { file, source }) => {
                    report.find(&file, Some(reader.locate(*place).1), format!("it can't be read: {source}"));
                }
            }
        }
        report.looked_at((u128::from(journal) * some.len() as u128 / u128::from(total)) as u64);
    }
    for (file, count) in freed {
        let problem = format!("it says that {file} was freed, in which {count} values lie that are needed");
        report.find(EXTENT_FILE, None, problem);
    }
    for (file, (offset, count)) in missing {
        let which = if count == 1 {
            "a value that is needed lies".to_owned()
        } else {
            format!("{count} values that are needed lie, the first of them")
        };
        report.find(&file, Some(offset), format!("{which} there, and no whole block is around it"));
    }
    values
}

fn length(disk: &dyn Disk, name: &str) -> u64 {
    // A file that can't be opened is come upon when it is read.
    disk.open(name, Access::Read).and_then(|file| file.length()).unwrap_or(0)
}

/// What is wrong with the journal alone, whatever its records say.
#[cfg(test)]
pub(crate) fn check_blocks(disk: &Arc<dyn Disk>) -> Vec<Finding> {
    let mut ignore = |_| {};
    let mut report = Report::new(&mut ignore);
    if let Ok(bytes) = disk.read(IDENTITY_FILE) {
        let identity = Identity::read(&bytes).unwrap();
        check_journal(disk, &identity, &[], &mut report);
    }
    report.take().0
}

/// Large values by the numbers of their files, with their lengths in bytes.
type LargeValues = HashMap<u64, u64>;
