//! Damage anywhere is found, and a store that only lost power has none.

mod findings;
mod walk;

use std::{fs, sync::Arc};

use bytes::Bytes;
use task_messenger_core::{
    ids::{JobNumber, LeaseNumber, OwnerNumber, TaskId, TaskNumber, TemplateNumber, WorkerNumber},
    labels::Labels,
    record::{JobKey, Log, Record, Verdict, Work},
    task::TaskState,
    template::{Kind, RetryPolicy, Template},
    time::WallTime,
    values::ValuesBuilder,
};

use super::*;
use crate::{
    Durability, Store,
    archive::{Archive, ArchivedJob, ArchivedTask, ArchivedTemplate, Batch, FinalCounts},
    block::{HEADER_BYTES, Header},
    disk::{Fault, SimulatedDisk},
};

/// A store, and the state that its records say.
struct World {
    disk: SimulatedDisk,
    store: Store,
    state: State,
    job: u64,
}

fn shared(disk: &SimulatedDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn look_at(disk: &SimulatedDisk) -> Checked {
    let (before, operations) = (disk.image(), disk.operations());
    let mut looked = Looked::default();
    let checked = check(&shared(disk), None, &mut |now| {
        assert!(now.done >= looked.done && now.done <= now.total);
        looked = now;
    });
    assert!(disk.image() == before && disk.operations() == operations, "something was changed");
    checked
}

impl World {
    /// Jobs up to the number `job` were there before.
    fn open(disk: &SimulatedDisk, job: u64) -> Self {
        let durability = Durability::Strict;
        let options = Options { segment_bytes: 64 << 10, cache_bytes: 0, durability, reserve_bytes: Some(0) };
        let mut recovery = open(shared(disk), &options).unwrap();
        let mut state = State::default();
        while let Some(found) = recovery.next().unwrap() {
            match found {
                Found::Part { part, .. } => state.restore(part),
                Found::Record(Replayed { values, record, .. }) => state.apply(&record, values),
            }
        }
        let store = recovery.finish().unwrap();
        store.blobs.sweep(&state.large_values.values().map(|value| value.file).collect()).unwrap();
        let mut world = Self { disk: disk.clone(), store, state, job };
        if world.state.templates.get(TemplateNumber(0)).is_none() {
            world.append(&Record::OwnerAdded { number: OwnerNumber(0), name: "ann".to_owned() });
            let template = template();
            world.append(&Record::TemplateAdded { number: TemplateNumber(0), template });
        }
        world
    }

    fn append(&mut self, record: &Record) {
        let appended = self.store.front.append(record);
        self.state.apply(record, appended.values);
    }

    fn commit(&mut self) -> bool {
        let blocks = self.store.front.take_blocks();
        let written = self.store.writer.write(blocks, true);
        written.map(|progress| self.store.front.progress(progress)).is_ok()
    }

    /// A job of four tasks, one with a large payload; the first two succeed.
    fn add_job(&mut self) -> bool {
        self.job += 1;
        let (job, first, time) = (JobNumber(self.job), 10 * self.job, WallTime(self.job));
        let Ok(file) = self.store.blobs.write(&[self.job as u8; 3_000]) else { return false };
        let (owner, key, name) = (OwnerNumber(0), JobKey([self.job as u8; 16]), "name".to_owned());
        self.append(&Record::JobOpened { job, owner, key, name, idempotency: None, labels: Labels::new(), time });
        let mut payloads = ValuesBuilder::default();
        (0..3).for_each(|index| payloads.push(&vec![index; 5_000]));
        payloads.push_external(file, 3_000);
        self.append(&Record::Submitted {
            job,
            first_task: TaskNumber(first),
            first_index: 0,
            template: TemplateNumber(0),
            not_before: None,
            deadline: None,
            payloads: payloads.take(),
            time,
        });
        self.append(&Record::JobClosed { job });
        if !self.commit() {
            return false;
        }
        let tasks = (first..first + 2).map(TaskNumber).collect();
        self.append(&Record::Dispatched { worker: WorkerNumber(0), first_lease: LeaseNumber(first), tasks, time });
        let mut details = ValuesBuilder::default();
        (0..2).for_each(|_| details.push(b"done"));
        let ends = (first..first + 2).map(|lease| (LeaseNumber(lease), Verdict::Succeeded)).collect();
        self.append(&Record::Finished { ends, details: details.take(), time });
        self.commit()
    }

    fn purge(&mut self, jobs: impl Iterator<Item = u64>) {
        let time = WallTime(100);
        let jobs: Vec<_> = jobs.map(JobNumber).collect();
        for job in &jobs {
            self.append(&Record::Cancelled { tasks: Work::Job(*job), time });
        }
        self.append(&Record::Purged { jobs, time });
    }

    fn shrink(&mut self) -> io::Result<usize> {
        if !self.commit() {
            return Err(io::ErrorKind::Other.into());
        }
        let position = self.store.front.position().unwrap();
        let written = self.store.shrinker.write(&position, &self.state.image())?;
        for file in self.state.take_dropped_files() {
            self.store.blobs.remove(file).map_err(io::Error::other)?;
        }
        self.store.shrinker.free(&written.unneeded)?;
        Ok(written.unneeded.len())
    }
}

fn template() -> Arc<Template> {
    let (kind, retry, body) = (Kind::Command, RetryPolicy::default(), Bytes::from_static(b"body"));
    Arc::new(Template { kind, priority: 1, slots: 1, retry, body })
}

/// A store with a freed segment between others, segments before the snapshot, and some behind it.
fn filled() -> SimulatedDisk {
    let mut world = World::open(&SimulatedDisk::new(3), 0);
    (0..14).for_each(|_| assert!(world.add_job()));
    world.purge(5..=9);
    assert!(world.shrink().unwrap() > 0);
    (0..6).for_each(|_| assert!(world.add_job()));
    world.store.writer.close().unwrap();
    world.disk
}

/// The blocks of the chain: file, offset, length of header and payload.
fn blocks(disk: &SimulatedDisk) -> Vec<(String, u64, u64)> {
    let mut blocks = Vec::new();
    for (file, content) in disk.image().iter().filter(|(file, _)| segments(file)) {
        let mut at = 0;
        while let Some((header, _)) = content.get(at as usize..).and_then(Header::read) {
            blocks.push((file.clone(), at, HEADER_BYTES as u64 + u64::from(header.payload_length)));
            at += header.block_length();
        }
    }
    blocks
}

fn segments(file: &str) -> bool {
    file.starts_with("journal/") && file.ends_with(".segment")
}

#[test]
fn a_whole_store_has_no_findings_and_is_counted() {
    let disk = filled();
    let checked = look_at(&disk);
    assert_eq!(checked.findings, []);
    let count = |directory: &str| disk.list(directory).unwrap().len() as u64;
    assert_eq!((checked.segments, checked.snapshots, checked.large_values), (count("journal"), 1, count("values")));
    assert_eq!((checked.blocks, checked.values), (blocks(&disk).len() as u64, 15 * (2 + 2)));
    assert_eq!((checked.large_value_bytes, checked.unneeded_files), (15 * 3_004, 0));
    assert!(checked.last.0 > checked.records && checked.records > 50);
}

#[test]
fn a_flipped_bit_in_any_file_is_found_where_it_is() {
    let disk = filled();
    let first_gap = {
        let mut numbers: Vec<_> = disk.list("journal").unwrap();
        numbers.sort_unstable();
        numbers.into_iter().map(|name| name[..12].parse::<u64>().unwrap()).collect::<Vec<_>>()
    };
    assert!(first_gap.windows(2).any(|pair| pair[0] + 1 < pair[1]) && first_gap[0] == 1, "{first_gap:?}");
    let found = |file: &str, at: u64, offset: Option<u64>| {
        disk.flip(file, at, 2).unwrap();
        let checked = look_at(&disk);
        disk.flip(file, at, 2).unwrap();
        let finding = checked.findings.iter().find(|finding| finding.file == file);
        let finding = finding.unwrap_or_else(|| panic!("byte {at} of {file} is not found: {:?}", checked.findings));
        assert!(offset.is_none() || finding.offset == offset, "byte {at} of {file}: {finding:?}");
    };
    let mut blocks = blocks(&disk);
    // Nobody says that the last block was synced.
    blocks.pop();
    for (file, offset, length) in blocks {
        for at in [0, 4, 8, 16, 24, 28, 32, 40, 48, 52, 56, 60, HEADER_BYTES as u64, length / 2, length - 1] {
            found(&file, offset + at, Some(offset));
        }
    }
    let snapshot = format!("snapshots/{}", disk.list("snapshots").unwrap()[0]);
    let length = disk.read(&snapshot).unwrap().len() as u64;
    (0..length).step_by(7).for_each(|at| found(&snapshot, at, None));
    for value in disk.list("values").unwrap() {
        for at in [0, 1_500, 2_999, 3_000, 3_003] {
            found(&format!("values/{value}"), at, Some(3_000));
        }
    }
    let identity = disk.read(IDENTITY_FILE).unwrap();
    let extent = disk.read(EXTENT_FILE).unwrap();
    let at = |bytes: &[u8], text: &str| {
        let text = text.as_bytes();
        (bytes.windows(text.len()).position(|window| window == text).unwrap() + text.len()) as u64
    };
    for text in ["{", "\"format\": "] {
        found(IDENTITY_FILE, at(&identity, text), None);
    }
    // Another first segment: what lies before it would be removed. Another store.
    for text in ["{", "first_segment\":", "store\":\""] {
        found(EXTENT_FILE, at(&extent, text), None);
    }
    assert_eq!(look_at(&disk).findings, []);
}

#[test]
fn what_is_missing_or_cut_is_found_and_so_is_all_of_it() {
    let disk = filled();
    let whole = disk.image();
    let end = blocks(&disk).pop().unwrap().0;
    for (file, content) in &whole {
        disk.remove(file).unwrap();
        let findings = look_at(&disk).findings;
        let is_named = |finding: &Finding| finding.file == *file || file.starts_with(&format!("{}/", finding.file));
        assert_eq!(findings.iter().any(is_named), file != "reserve", "{file} is missing: {findings:?}");
        disk.replace(file, &content[..content.len() / 2]).unwrap();
        let findings = look_at(&disk).findings;
        // Where the journal ends, and behind it, a segment that was made in a hurry is cut without a trace.
        let is_end = segments(file) && *file >= end;
        assert!(is_end || findings.iter().any(is_named), "{file} was cut: {findings:?}");
        disk.replace(file, content).unwrap();
    }
    assert_eq!(look_at(&disk).findings, []);
    // Each of several is found.
    let blocks = blocks(&disk);
    let (first, later) = (&blocks[1], &blocks[blocks.len() / 2]);
    let value = format!("values/{}", disk.list("values").unwrap()[0]);
    for (file, at) in [(&first.0, first.1 + 70), (&later.0, later.1 + 70), (&value, 9)] {
        disk.flip(file, at, 1).unwrap();
    }
    let findings = look_at(&disk).findings;
    for (file, offset) in [(&first.0, first.1), (&later.0, later.1), (&value, 3_000)] {
        assert!(findings.iter().any(|found| found.file == *file && found.offset == Some(offset)), "{findings:?}");
    }
    let numbers = disk.list("journal").unwrap();
    let two: Vec<_> = ["000000000001", "000000000002"].map(|number| format!("journal/{number}.segment")).to_vec();
    assert!(two.iter().all(|file| numbers.iter().any(|name| file.ends_with(name.as_str()))), "{numbers:?}");
    let read = |file: &String| (file.clone(), disk.read(file).unwrap());
    let kept: Vec<_> = two.iter().map(read).collect();
    for file in &two {
        disk.remove(file).unwrap();
    }
    let findings = look_at(&disk).findings;
    for (file, content) in kept {
        let is_it = |found: &Finding| found.file == file && found.problem.contains("is missing");
        assert!(findings.iter().any(is_it), "{file}: {findings:?}");
        disk.replace(&file, &content).unwrap();
    }
    // A file with another content, for which its checksum is right.
    disk.flip(&first.0, first.1 + 70, 1).unwrap();
    disk.flip(&later.0, later.1 + 70, 1).unwrap();
    let other = format!("values/{}", disk.list("values").unwrap()[1]);
    disk.replace(&value, &whole[&other]).unwrap();
    assert_eq!(look_at(&disk).findings.len(), 1);
}

#[test]
fn what_a_snapshot_says_must_be_in_the_journal() {
    let mut world = World::open(&SimulatedDisk::new(3), 0);
    (0..3).for_each(|_| assert!(world.add_job()));
    world.shrink().unwrap();
    let disk = world.disk;
    assert_eq!(look_at(&disk).findings, []);
    // Nothing else says that the last block was there.
    let (file, offset, _) = blocks(&disk).pop().unwrap();
    disk.flip(&file, offset + 70, 3).unwrap();
    let findings = look_at(&disk).findings;
    let is_it = |found: &Finding| found.file == file && found.offset == Some(offset);
    assert!(findings.iter().any(is_it) && findings[0].problem.contains("checksum is wrong"), "{findings:?}");
    disk.flip(&file, offset + 70, 3).unwrap();
    // The snapshot of the same store a job later doesn't belong to this journal.
    let mut later = World::open(&SimulatedDisk::new(3), 0);
    (0..4).for_each(|_| assert!(later.add_job()));
    later.shrink().unwrap();
    assert_eq!(later.disk.read(IDENTITY_FILE).unwrap(), disk.read(IDENTITY_FILE).unwrap());
    let name = |disk: &SimulatedDisk| format!("snapshots/{}", disk.list("snapshots").unwrap()[0]);
    let bytes = later.disk.read(&name(&later.disk)).unwrap();
    disk.remove(&name(&disk)).unwrap();
    disk.replace(&name(&later.disk), &bytes).unwrap();
    let findings = look_at(&disk).findings;
    assert!(findings.iter().any(|found| segments(&found.file)), "{findings:?}");
}

#[test]
fn a_snapshot_of_another_course_of_things_is_named() {
    // The same store, as it could have gone on otherwise: two copies of it that were both used.
    let shrunk = |job| {
        let mut world = World::open(&SimulatedDisk::new(3), job);
        (0..3).for_each(|_| assert!(world.add_job()));
        world.shrink().unwrap();
        (0..3).for_each(|_| assert!(world.add_job()));
        world.disk
    };
    let (disk, other) = (shrunk(0), shrunk(50));
    let snapshot = format!("snapshots/{}", disk.list("snapshots").unwrap()[0]);
    disk.replace(&snapshot, &other.read(&snapshot).unwrap()).unwrap();
    let findings = look_at(&disk).findings;
    let is_it = |found: &Finding| found.file == snapshot && found.problem.contains("no block there does");
    assert!(findings.iter().any(is_it), "{findings:?}");
}

#[test]
fn what_a_power_cut_left_at_the_end_of_a_segment_before_a_freed_one_is_no_damage() {
    let disk = SimulatedDisk::new(3);
    let mut world = World::open(&disk, 0);
    assert!(world.add_job() && world.add_job());
    let nothing = Record::Retried { tasks: Vec::new() };
    let offset = |world: &World| world.store.front.position().unwrap().tail.offset;
    while offset(&world) < (64 << 10) - (12 << 10) {
        world.append(&nothing);
        assert!(world.commit());
    }
    // Two blocks of which nobody was told, the first of them torn. The next job doesn't fit into their room.
    let torn = offset(&world);
    let mut blocks = Vec::new();
    for _ in 0..2 {
        world.append(&nothing);
        blocks.extend(world.store.front.take_blocks());
    }
    assert_eq!(blocks.len(), 2);
    world.store.writer.write(blocks, true).unwrap();
    drop(world);
    let first = "journal/000000000001.segment";
    disk.flip(first, torn + 64, 1).unwrap();
    assert_eq!(look_at(&disk).findings, []);
    let mut world = World::open(&disk, 2);
    (0..8).for_each(|_| assert!(world.add_job()));
    let is_there = || disk.list("journal").unwrap().iter().any(|file| file.starts_with("000000000002"));
    assert!(is_there());
    world.purge(3..=8);
    world.shrink().unwrap();
    assert!(!is_there());
    assert_eq!(look_at(&disk).findings, []);
    // What had been synced, and is broken, is damage there too.
    disk.flip(first, torn - 4096 + 64, 1).unwrap();
    assert_eq!(look_at(&disk).findings[0].offset, Some(torn - 4096));
}

#[test]
fn wherever_the_power_is_cut_a_store_stays_whole() {
    for seed in 0..3 {
        survive_cuts(seed);
    }
}

fn survive_cuts(seed: u64) {
    let mut boundary = 20 + seed;
    let (mut cuts, mut job) = (0, 0);
    let disk = SimulatedDisk::new(seed);
    while cuts < 45 {
        let mut world = World::open(&disk, job);
        disk.fault_at(disk.operations() + boundary, Fault::PowerCut);
        let mut live = true;
        for _ in 0..5 {
            live = live && world.add_job();
        }
        if live {
            let done: Vec<_> = world.state.jobs.iter().map(|job| job.number.0).filter(|job| job % 3 > 0).collect();
            world.purge(done.into_iter());
            live = world.shrink().is_ok();
        }
        cuts += usize::from(!live);
        boundary = 1 + (boundary * 7 + 3) % 90;
        job = world.job;
        drop(world);
        disk.cut();
        disk.restart();
        assert_eq!(look_at(&disk).findings, [], "after {cuts} cuts");
    }
}

#[test]
fn an_archive_of_another_store_another_time_or_with_something_missing_is_found() {
    let disk = filled();
    let checked = look_at(&disk);
    let (id, last) = (checked.store.unwrap(), checked.last);
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join(ARCHIVE_FILE);
    let file = World::open(&disk, 99).store.blobs.write(&[1; 2_000]).unwrap();
    fill(&path, id, last, file);
    let look = || check(&shared(&disk), Some(place.path()), &mut |_| {});
    let whole = look();
    assert_eq!((whole.findings, whole.archived_tasks, whole.large_values), (vec![], Some(50), 16));
    let kept = fs::read(&path).unwrap();
    let finds = |words: &str| {
        let findings = look().findings;
        fs::write(&path, &kept).unwrap();
        let is_it = |finding: &Finding| finding.file == ARCHIVE_FILE && finding.problem.contains(words);
        assert!(findings.iter().any(is_it), "{words}: {findings:?}");
    };
    let edit = |text: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(text).unwrap();
    let mut damaged = kept.clone();
    damaged[kept.len() / 2..].fill(0xa5);
    fs::write(&path, damaged).unwrap();
    finds("");
    fs::write(&path, vec![0x5a; 20_000]).unwrap();
    finds("no SQLite file");
    edit("UPDATE meta SET watermark = watermark + 1");
    finds("the journal ends with record");
    edit("UPDATE meta SET store = '00112233445566778899aabbccddeeff'");
    finds("belongs to the store 00112233445566778899aabbccddeeff");
    edit("DELETE FROM tasks WHERE task_index = 7");
    finds("should have 50 tasks there, and 49 are found");
    disk.flip(&format!("values/{file}"), 5, 0).unwrap();
    assert_eq!(look().findings[0].file, format!("values/{file}"));
    disk.remove(&format!("values/{file}")).unwrap();
    assert!(look().findings[0].problem.contains("is missing"));
}

/// An archive with a job of 50 tasks, one of which has its payload in a file.
fn fill(path: &Path, id: StoreId, watermark: RecordNumber, file: u64) {
    let task = |index: u32| ArchivedTask {
        number: TaskNumber(10_000 + u64::from(index)),
        id: TaskId { job: JobNumber(1_000), index },
        state: TaskState::Succeeded,
        template: TemplateNumber(0),
        attempts: 1,
        failures: 0,
        crashes: 0,
        delivered: false,
        submitted: None,
        finished: WallTime(9),
        payload_bytes: 2_000,
        outcome_bytes: Some(4_000),
        payload: (index == 3).then_some(Value::External { file, length: 2_000 }),
        outcome: Some(Value::Inline(Bytes::from(vec![index as u8; 4_000]))),
    };
    let job = ArchivedJob {
        number: JobNumber(1_000),
        owner: OwnerNumber(0),
        owner_name: "ann".to_owned(),
        name: "old".to_owned(),
        labels: Labels::new(),
        key: None,
        opened: WallTime(5),
        closed: true,
        ended: Some(WallTime(9)),
        digest: 0,
        tasks: 50,
        counts: FinalCounts { succeeded: 50, ..FinalCounts::default() },
    };
    let template = ArchivedTemplate { number: TemplateNumber(0), program: "p".to_owned(), template: template() };
    let (jobs, templates, tasks) = (vec![job], vec![template], (0..50).map(task).collect());
    let batch = Batch { watermark, jobs, templates, tasks, ..Batch::default() };
    Archive::open(path, id, RecordNumber(0)).unwrap().append(&batch).unwrap();
}
