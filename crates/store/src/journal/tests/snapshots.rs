//! Starts from snapshots, and segments that are gone.

use std::collections::{BTreeSet, HashMap, HashSet};

use task_messenger_core::{
    engine::Engine,
    ids::{JobNumber, LeaseNumber, OwnerNumber, RecordNumber, TaskNumber, TemplateNumber, TokenNumber, WorkerNumber},
    image::Part,
    labels::Labels,
    limits::Limits,
    record::{Idempotency, JobKey, Log, Record, Role, SecretHash, Verdict, Work},
    template::{Kind, RetryPolicy, Template},
    time::WallTime,
    values::{Value, ValuesBuilder},
};

use super::{
    super::{Durability, Found, OpenError, Position, Replayed, Store, open},
    options, shared,
};
use crate::{
    disk::{Disk, Fault, SimulatedDisk, is_full},
    snapshot::{self, SnapshotError},
};

/// A store, and the state that its records say.
struct World {
    disk: SimulatedDisk,
    engine: Engine,
    store: Store,
    job: u64,
}

fn parts(engine: &Engine) -> Vec<Part> {
    engine.image().parts().collect()
}

impl World {
    fn new() -> Self {
        let disk = SimulatedDisk::new(3);
        let mut world = Self::open(disk);
        let time = WallTime(5);
        world.append(&Record::OwnerAdded { number: OwnerNumber(0), name: "ann".to_owned() });
        let (number, owner, hash) = (TokenNumber(0), OwnerNumber(0), SecretHash([1; 32]));
        let (role, label, expires) = (Role::Worker, "t".to_owned(), None);
        world.append(&Record::TokenCreated { number, role, owner, hash, label, expires, time });
        let (number, token, name) = (WorkerNumber(0), TokenNumber(0), "w".to_owned());
        world.append(&Record::WorkerEnrolled { number, token, hash: SecretHash([2; 32]), name, time });
        let template = Template {
            kind: Kind::Command,
            priority: 1,
            slots: 1,
            retry: RetryPolicy::default(),
            body: bytes::Bytes::from_static(b"body"),
        };
        world.append(&Record::TemplateAdded { number: TemplateNumber(0), template: template.into() });
        world
    }

    fn open(disk: SimulatedDisk) -> Self {
        let mut recovery = open(shared(&disk), &options(Durability::Strict)).unwrap();
        let mut engine = Engine::new(Limits::default());
        while let Some(found) = recovery.next().unwrap() {
            match found {
                Found::Part { last, part } => engine.restore(last, part),
                Found::Record(Replayed { number, values, record }) => engine.replay(number, &record, values),
            }
        }
        recovery.check_values(engine.state().places(), &HashMap::new()).unwrap();
        let store = recovery.finish().unwrap();
        let job = engine.state().jobs.iter().last().map_or(0, |job| job.number.0);
        Self { disk, engine, store, job }
    }

    fn append(&mut self, record: &Record) {
        let appended = self.store.front.append(record);
        self.engine.replay(appended.number, record, appended.values);
    }

    fn commit(&mut self) -> Position {
        let blocks = self.store.front.take_blocks();
        let progress = self.store.writer.write(blocks, true).unwrap();
        self.store.front.progress(progress);
        self.store.front.position().unwrap()
    }

    /// A job of four tasks with payloads that fill a few blocks; the first `done` of them succeed.
    fn add_job(&mut self, done: u64) {
        self.job += 1;
        let (job, first, time) = (JobNumber(self.job), 10 * self.job, WallTime(self.job));
        let idempotency = Some(Idempotency { key: [self.job as u8; 16], content: [3; 16] });
        let labels = Labels::from([("number".to_owned(), job.to_string())]);
        let (owner, key, name) = (OwnerNumber(0), JobKey([self.job as u8; 16]), "name".to_owned());
        self.append(&Record::JobOpened { job, owner, key, name, idempotency, labels, time });
        let mut payloads = ValuesBuilder::default();
        (0..4).for_each(|index| payloads.push(&vec![index; 5_000]));
        self.append(&Record::Submitted {
            job,
            first_task: TaskNumber(first),
            first_index: 0,
            template: TemplateNumber(0),
            not_before: None,
            deadline: Some(WallTime(1 << 40)),
            payloads: payloads.take(),
            time,
        });
        self.append(&Record::JobClosed { job });
        let tasks = (first..first + done).map(TaskNumber).collect();
        let (worker, first_lease) = (WorkerNumber(0), LeaseNumber(first));
        self.append(&Record::Dispatched { worker, first_lease, tasks, time });
        let mut details = ValuesBuilder::default();
        (0..done).for_each(|_| details.push(b"done"));
        let ends = (first..first + done).map(|lease| (LeaseNumber(lease), Verdict::Succeeded)).collect();
        self.append(&Record::Finished { ends, details: details.take(), time });
        self.commit();
    }

    /// Writes a snapshot, removes what is unneeded then, and says how many segments that were.
    fn shrink(&mut self) -> usize {
        let position = self.commit();
        let written = self.store.shrinker.write(&position, &self.engine.image()).unwrap();
        assert_eq!(written.last, self.store.front.last());
        self.store.shrinker.free(&written.unneeded).unwrap();
        written.unneeded.len()
    }

    fn snapshots(&self) -> Vec<String> {
        self.disk.list(snapshot::DIRECTORY).unwrap()
    }

    fn restart(self) -> Self {
        let Self { disk, store, engine, .. } = self;
        let before = parts(&engine);
        drop(store);
        disk.cut();
        disk.restart();
        let world = Self::open(disk);
        assert!(parts(&world.engine) == before, "another state is found");
        world
    }
}

#[test]
fn a_start_finds_what_the_snapshot_and_the_records_behind_it_say_and_segments_go() {
    let mut world = World::new();
    for _ in 0..30 {
        world.add_job(4);
    }
    // All of a job's outcomes are needed until it is purged.
    world.append(&Record::Purged { jobs: (2..=29).map(JobNumber).collect(), time: WallTime(100) });
    let before = world.store.shrinker.segments();
    let freed = world.shrink();
    assert!(freed > 5 && world.store.shrinker.segments() == before - freed, "{freed} of {before} were freed");
    assert_eq!(world.disk.list("journal").unwrap().len(), before - freed);
    let mut world = world.restart();
    assert_eq!(world.store.recovered.replayed_bytes, 0);
    let snapshot = world.snapshots();
    for done in 0..=4 {
        world.add_job(done);
    }
    let mut world = world.restart();
    assert!(world.store.recovered.replayed_bytes > 60_000);
    assert_eq!(world.snapshots(), snapshot);
    // What the first job's outcomes lie in is still there, and nothing between.
    let mut values = Vec::new();
    let places: Vec<_> = world.engine.state().places().collect();
    assert_eq!(places.len(), 8 + 5 * 4);
    world.store.reader.read_many(&places, &mut values).unwrap();
    world.append(&Record::Purged { jobs: vec![JobNumber(1)], time: WallTime(101) });
    assert!(world.shrink() > 0);
    let world = world.restart();
    assert_ne!(world.snapshots(), snapshot);
    assert_eq!(world.snapshots().len(), 1);
}

#[test]
fn wherever_the_power_is_cut_while_a_snapshot_is_written_and_segments_go_the_state_is_found_again() {
    let mut cut = 0;
    loop {
        let mut world = World::new();
        for _ in 0..12 {
            world.add_job(4);
        }
        world.shrink();
        world.append(&Record::Purged { jobs: (1..=11).map(JobNumber).collect(), time: WallTime(100) });
        let position = world.commit();
        let (disk, before) = (world.disk.clone(), parts(&world.engine));
        disk.fault_at(disk.operations() + cut, Fault::PowerCut);
        let written = world.store.shrinker.write(&position, &world.engine.image());
        let freed = written.and_then(|written| world.store.shrinker.free(&written.unneeded));
        let done = freed.is_ok();
        drop(world);
        disk.cut();
        disk.restart();
        let mut world = World::open(disk);
        assert!(parts(&world.engine) == before, "another state is found when the power is cut at {cut}");
        assert_eq!(world.snapshots().len(), 1, "cut at {cut}");
        world.add_job(2);
        world.shrink();
        world.restart();
        if done {
            break;
        }
        cut += 1;
    }
    assert!(cut > 10, "{cut} operations");
}

#[test]
fn a_damaged_foreign_newer_or_missing_snapshot_is_refused() {
    let mut world = World::new();
    for _ in 0..12 {
        world.add_job(4);
    }
    world.append(&Record::Purged { jobs: (1..=11).map(JobNumber).collect(), time: WallTime(100) });
    assert!(world.shrink() > 0);
    let name = format!("{}/{}", snapshot::DIRECTORY, world.snapshots()[0]);
    let World { disk, store, .. } = world;
    drop(store);
    let refused = |disk: &SimulatedDisk| {
        let read = || {
            let mut recovery = open(shared(disk), &options(Durability::Strict))?;
            while recovery.next()?.is_some() {}
            recovery.finish()
        };
        let (before, operations) = (disk.image(), disk.operations());
        let error = read().err().unwrap();
        assert!(disk.image() == before && disk.operations() == operations);
        assert!(!error.is_io(), "{error:?}");
        error
    };
    let length = disk.read(&name).unwrap().len() as u64;
    for at in (0..length).step_by(7).chain([4, 5]).chain(length - 8..length) {
        disk.flip(&name, at, (at % 8) as u8).unwrap();
        match refused(&disk) {
            OpenError::Snapshot { file, source } => {
                assert_eq!(file, name);
                let is_newer = matches!(source, SnapshotError::Newer { .. });
                let is_foreign = matches!(source, SnapshotError::Foreign { .. });
                assert_eq!(is_newer, at == 4 || at == 5, "byte {at}: {source}");
                assert_eq!(is_foreign, (8..24).contains(&at), "byte {at}: {source}");
            }
            other => panic!("byte {at}: {other:?}"),
        }
        disk.flip(&name, at, (at % 8) as u8).unwrap();
    }
    let whole = disk.image();
    for length in (0..length).step_by(11) {
        disk.open(&name, crate::disk::Access::Buffered).unwrap().set_length(length).unwrap();
        assert!(matches!(refused(&disk), OpenError::Snapshot { source: SnapshotError::Damaged { .. }, .. }));
        disk.replace(&name, &whole[&name]).unwrap();
    }
    disk.replace(&name, &[&whole[&name][..], &[0; 9]].concat()).unwrap();
    let follows = |what: &str| what.contains("something follows its end");
    let error = refused(&disk);
    assert!(matches!(error, OpenError::Snapshot { source: SnapshotError::Damaged { what, .. }, .. } if follows(what)));
    disk.remove(&name).unwrap();
    assert!(matches!(refused(&disk), OpenError::NoSnapshot { .. }));
    disk.replace(&name, &whole[&name]).unwrap();
    World::open(disk).restart();
}

#[test]
fn a_snapshot_is_written_though_the_disk_is_full_while_the_reserve_does() {
    let mut world = World::new();
    for _ in 0..12 {
        world.add_job(4);
    }
    let image = world.engine.image();
    let position = world.commit();
    let World { disk, store, .. } = world;
    drop(store);
    disk.set_capacity(Some(64 << 20));
    let with_reserve = super::Options { reserve_bytes: Some(16 << 20), ..options(Durability::Strict) };
    let store = open(shared(&disk), &with_reserve).unwrap().finish().unwrap();
    let used = (64 << 20) - disk.space().unwrap().free;
    disk.set_capacity(Some(used));
    let written = store.shrinker.write(&position, &image).unwrap();
    assert_eq!(written.last, RecordNumber(position.last().0));
    assert!(store.room.state().reserve < 16 << 20);
}

#[test]
fn a_value_that_could_not_be_read_is_looked_at_by_the_next_start() {
    let mut world = World::new();
    for _ in 0..6 {
        world.add_job(4);
    }
    world.shrink();
    let mut places: Vec<_> = world.engine.state().places().collect();
    places.sort_unstable();
    let place = places[places.len() / 2];
    let segment_bytes = world.store.shrinker.segment_bytes();
    let (segment, offset) = (world.store.shrinker.segment_of(place), place.0 % segment_bytes);
    let World { disk, store, .. } = world;
    assert!(segment > 1);
    let file = format!("journal/{segment:012}.segment");
    disk.flip(&file, offset + 1, 0).unwrap();
    // A start doesn't look: it lies before the snapshot. Whoever needs it comes upon it.
    let start = |disk: &SimulatedDisk| {
        let mut recovery = open(shared(disk), &options(Durability::Strict)).unwrap();
        while recovery.next().unwrap().is_some() {}
        recovery.check_values(places.iter().copied(), &HashMap::new()).map(|()| recovery.finish().unwrap())
    };
    drop(store);
    let store = start(&disk).unwrap();
    assert!(store.reader.read_many(&[place], &mut Vec::new()).is_err());
    drop(store);
    disk.cut();
    disk.restart();
    // Each start refuses it until it is as it was, or nobody needs it.
    for _ in 0..2 {
        match start(&disk).err() {
            Some(OpenError::MissingValue { file: found, .. }) => assert_eq!(found, file),
            other => panic!("{other:?}"),
        }
    }
    disk.flip(&file, offset + 1, 0).unwrap();
    drop(start(&disk).unwrap());
    let names = disk.list("journal").unwrap();
    assert!(names.iter().all(|name| name.ends_with(".segment")), "{names:?}");
}

#[test]
fn what_was_freed_stays_away_and_the_last_segment_stays() {
    let mut world = World::new();
    for _ in 0..12 {
        world.add_job(4);
    }
    world.append(&Record::Purged { jobs: (1..=4).chain(7..=10).map(JobNumber).collect(), time: WallTime(100) });
    let before = world.disk.image();
    assert!(world.shrink() > 1);
    let after = world.disk.image();
    // Neither the last one nor one that never was.
    let numbers = world.disk.list("journal").unwrap().into_iter();
    let last = numbers.map(|name| name[..12].parse::<u64>().unwrap()).max().unwrap();
    world.store.shrinker.free(&[last, last + 1, last + 2]).unwrap();
    assert!(world.disk.image() == after);
    let disk = world.disk.clone();
    let gone = before.keys().filter(|file| file.starts_with("journal/") && !after.contains_key(*file));
    let unfinished = ["journal/filling.new", "journal/making.new"].map(str::to_owned);
    let gone: Vec<_> = gone.chain(&unfinished).collect();
    for file in &gone {
        disk.replace(file, b"brought back by a power cut").unwrap();
    }
    // None of ours, though their names are nearly like it.
    let others = ["journal/000000000000.segment", "journal/1.segment", "journal/1.suspect", "snapshots/9.snapshot"];
    for file in others {
        disk.replace(file, b"somebody's").unwrap();
    }
    world.restart();
    assert!(others.iter().all(|file| disk.read(file).is_ok()));
    assert!(gone.len() >= 4 && gone.into_iter().all(|file| disk.read(file).is_err()));
}

#[test]
fn a_snapshot_that_fails_leaves_nothing_behind_and_the_last_of_the_reserve() {
    let mut world = World::new();
    (0..4).for_each(|_| world.add_job(4));
    let (position, image) = (world.commit(), world.engine.image());
    let World { disk, store, .. } = world;
    drop(store);
    let little_reserve = super::Options { reserve_bytes: Some(4 << 20), ..options(Durability::Strict) };
    let store = open(shared(&disk), &little_reserve).unwrap().finish().unwrap();
    let mut failures = 0;
    loop {
        disk.fault_at(disk.operations() + failures, Fault::Error);
        let written = store.shrinker.write(&position, &image);
        assert_eq!(store.room.state().reserve, 4 << 20);
        if written.is_ok() {
            break;
        }
        assert!(disk.read("snapshots/unfinished.new").is_err(), "at {failures}");
        failures += 1;
    }
    assert!(failures > 5, "{failures}");
    // What is left of the reserve is for what can't wait.
    let before = disk.image();
    disk.fault_at(disk.operations(), Fault::Full);
    disk.replace("values/1", b"fills the disk").unwrap_err();
    store.room.look().unwrap();
    assert!(is_full(&store.shrinker.write(&position, &image).unwrap_err()));
    assert!(disk.image() == before);
}

#[test]
fn what_lies_in_nearly_empty_segments_is_given_back_to_be_written_again() {
    let mut world = World::new();
    // Each job has a segment of its own at the end. The second and the third have a payload of 5,000 bytes left besides
    // their outcomes, of which a tenth of a segment holds one; the fourth has more.
    let mut kept = Vec::new();
    for done in [4, 3, 3, 0] {
        (0..3).for_each(|_| world.add_job(4));
        world.add_job(done);
        kept.push(world.job);
    }
    (0..3).for_each(|_| world.add_job(4));
    world.add_job(4);
    kept.push(world.job);
    let others = (1..=world.job).filter(|job| !kept.contains(job)).map(JobNumber).collect();
    world.append(&Record::Purged { jobs: others, time: WallTime(100) });
    let position = world.commit();
    let written = world.store.shrinker.write(&position, &world.engine.image()).unwrap();
    let segments: HashSet<_> =
        world.engine.state().places().map(|place| world.store.shrinker.segment_of(place)).collect();
    // The last job's outcomes lie in the segment that is written to.
    assert!(segments.len() >= 5 && segments.contains(&position.tail.segment));
    let tasks: BTreeSet<_> = written.sparse.iter().map(|(needed, _)| needed.task.0).collect();
    let of = |job: u64| 10 * job..10 * job + 4;
    assert_eq!(tasks, of(kept[0]).chain(of(kept[1])).collect());
    assert_eq!(written.sparse.len(), 8);
    for (needed, value) in &written.sparse {
        let mut found = Vec::new();
        world.store.reader.read_many(&[needed.place], &mut found).unwrap();
        assert_eq!(found, std::slice::from_ref(value));
        assert!(!written.unneeded.contains(&world.store.shrinker.segment_of(needed.place)));
    }
    // What lies in the segment that is written to stays there; and that one stays when nothing is needed any more.
    let (last, others) = kept.split_last().unwrap();
    for jobs in [others, &[*last]] {
        for job in jobs {
            world.append(&Record::Cancelled { tasks: Work::Job(JobNumber(*job)), time: WallTime(101) });
        }
        world.append(&Record::Purged { jobs: jobs.iter().copied().map(JobNumber).collect(), time: WallTime(101) });
        let position = world.commit();
        let written = world.store.shrinker.write(&position, &world.engine.image()).unwrap();
        assert_eq!(written.sparse, []);
        assert!(written.unneeded.last() < Some(&position.tail.segment), "{:?}", written.unneeded);
    }
}

#[test]
fn a_value_of_a_segment_that_went_is_found_no_more_and_the_others_are() {
    let mut world = World::new();
    (0..9).for_each(|_| world.add_job(4));
    let places: Vec<_> = world.engine.state().places().collect();
    let values = |world: &World, place| {
        let mut values = Vec::new();
        world.store.reader.read_many(&[place], &mut values).map(|()| values)
    };
    let (first, last) = (*places.iter().min().unwrap(), *places.iter().max().unwrap());
    assert!(world.store.shrinker.segment_of(first) < world.store.shrinker.segment_of(last));
    let cached = world.store.reader.all_cached(&[last, last]);
    assert_eq!(cached, Some([values(&world, last).unwrap(), values(&world, last).unwrap()].concat()));
    assert_eq!(world.store.reader.all_cached(&[last, first]), None);
    let before = values(&world, first).unwrap();
    world.append(&Record::Purged { jobs: (1..=8).map(JobNumber).collect(), time: WallTime(100) });
    assert_eq!(values(&world, first).unwrap(), before);
    assert!(world.shrink() > 0);
    assert!(values(&world, first).is_err());
    assert_eq!(values(&world, last).unwrap().len(), 1);
}

#[test]
fn a_store_that_nobody_uses_tells_how_large_it_is_and_what_lies_where() {
    let mut world = World::new();
    (0..9).for_each(|_| world.add_job(4));
    world.append(&Record::Purged { jobs: (1..=8).map(JobNumber).collect(), time: WallTime(100) });
    assert!(world.shrink() > 0);
    let file = world.store.blobs.write(&vec![7; 300_000]).unwrap();
    world.add_job(2);
    let (last, places) = (world.store.front.last(), world.engine.state().places().collect::<Vec<_>>());
    let World { disk, store, .. } = world;
    drop(store);
    let before = disk.image();
    // Brought back by a power cut: the next start removes it.
    disk.replace("journal/000000000001.segment", &vec![0; 64 << 10]).unwrap();
    let mut recovery = open(shared(&disk), &options(Durability::Strict)).unwrap();
    while recovery.next().unwrap().is_some() {}
    let segments: Vec<_> = before.iter().filter(|(file, _)| file.starts_with("journal/")).collect();
    let number = |index: usize| segments[index].0["journal/".len()..][..12].parse::<u64>().unwrap();
    let overview = recovery.overview().unwrap();
    assert_eq!((overview.first_segment, overview.last_segment), (number(0), number(segments.len() - 1)));
    assert_eq!((overview.segments, overview.segment_bytes), (segments.len() as u64, 64 << 10));
    assert_eq!(overview.journal_bytes, segments.iter().map(|(_, contents)| contents.len() as u64).sum::<u64>());
    assert_eq!((overview.last, recovery.last()), (last, last));
    assert!(
        overview.recovered.replayed_bytes > 10_000 && overview.snapshot.is_some_and(|file| before.contains_key(&file))
    );
    let mut values = recovery.values();
    for place in places {
        let value = values.at(place).unwrap();
        let bytes = values.bytes(&value).unwrap();
        let (file, offset) = values.locate(place);
        // Before the bytes is their length.
        let found = &before[&file][offset as usize..];
        assert!(found[1..].starts_with(&bytes) || found[2..].starts_with(&bytes), "{file} {offset}");
    }
    assert_eq!(values.bytes(&Value::External { file, length: 300_000 }).unwrap(), vec![7; 300_000]);
    assert!(values.bytes(&Value::External { file: file + 1, length: 1 }).is_err());
}
