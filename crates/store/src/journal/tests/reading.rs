//! Values found again in memory and on disks, and the real disk.

use std::{io::IoSlice, path::Path, sync::Arc};

use task_messenger_core::{
    ids::{Place, RecordNumber},
    record::{Log, Record},
    time::WallTime,
    values::{Value, ValuesBuilder},
};

use super::{
    super::{Allocation, Durability, Options, ReadError, Store, open},
    model::Model,
    options, shared,
};
use crate::{
    block::BLOCK_UNIT,
    disk::{Access, Disk, FileDisk, Random, SimulatedDisk},
    identity::{IDENTITY_FILE, Identity},
};

#[test]
fn every_value_is_found_in_any_order_in_memory_or_not() {
    let disk = SimulatedDisk::new(2);
    let mut model = Model::default();
    let mut random = Random(2);
    let roomy = Options { cache_bytes: 128 << 10, ..options(Durability::Strict) };
    let mut store = model.recover(shared(&disk), &roomy, RecordNumber(0));
    assert!(model.live(&mut store, &mut random, 150));
    model.check_values(&store.reader);

    let mut places = Vec::new();
    for (record, place) in &model.records {
        for (offset, value) in record.values().iter().flat_map(|values| values.iter()) {
            places.push((Place(place.0 + offset as u64), value));
        }
    }
    let (mut cached, mut out) = (0, Vec::new());
    for _ in 0..3000 {
        let (place, value) = &places[random.below(places.len() as u64) as usize];
        cached += usize::from(store.reader.cached(*place).is_some_and(|found| found == *value));
        store.reader.read_many(&[*place], &mut out).unwrap();
        assert!(out.pop().as_ref() == Some(value));
    }
    assert!((30..1000).contains(&cached), "{cached} of 3,000 were in memory");
    // The newest are in memory, and the memory is bounded.
    let (newest, value) = places.last().unwrap();
    assert_eq!(store.reader.cached(*newest).as_ref(), Some(value));
    assert_eq!(store.reader.cached(places[0].0), None);
}

#[test]
fn where_no_value_is_an_error_comes_back_and_nothing_else() {
    let disk = SimulatedDisk::new(2);
    let mut model = Model::default();
    let mut store = model.recover(shared(&disk), &options(Durability::Strict), RecordNumber(0));
    assert!(model.live(&mut store, &mut Random(2), 60));
    let good = model.records.iter().find(|(record, _)| record.values().is_some()).unwrap().1;
    let end = disk.image().len() as u64 * (64 << 10);
    let mut random = Random(1);
    let mut out = Vec::new();
    let mut errors = 0;
    for _ in 0..2000 {
        // Whatever it finds, it doesn't panic; headers, padding and what was never written hold no values.
        errors += usize::from(store.reader.read_many(&[Place(random.below(end * 2))], &mut out).is_err());
    }
    assert!(errors > 500);
    for place in [0, 64 << 10, (64 << 10) + 63, u64::MAX] {
        out.clear();
        assert!(store.reader.read_many(&[good, Place(place)], &mut out).is_err(), "{place}");
        assert!(out.is_empty());
    }
    // Damage to a block is noticed when it is read.
    let file = "journal/000000000001.segment";
    disk.flip(file, good.0 % (64 << 10) + 1, 0).unwrap();
    let fresh = copy_reader(&disk);
    assert!(matches!(fresh.read_many(&[good], &mut out), Err(ReadError::NoValue { .. })));
}

/// A reader that has read nothing yet.
fn copy_reader(disk: &SimulatedDisk) -> super::super::Reader {
    let cache = super::super::cache::Cache::new(0, RecordNumber(0));
    let tail = super::super::Tail { segment: 1, offset: 0, checksum: 0, last: RecordNumber(0) };
    let identity = Identity::read(&disk.read(IDENTITY_FILE).unwrap()).unwrap();
    super::super::Reader::new(shared(disk), &identity, Arc::new(std::sync::Mutex::new(cache)), 0, tail)
}

#[test]
fn what_an_earlier_end_left_behind_is_never_read() {
    let disk = SimulatedDisk::new(3);
    let tight = Options { cache_bytes: 0, ..options(Durability::Interval) };
    let commit = |store: &mut Store, value: &[u8]| {
        let mut values = ValuesBuilder::default();
        values.push(value);
        let record = Record::Finished { ends: Vec::new(), details: values.take(), time: WallTime(0) };
        let place = store.front.append(&record).values;
        let blocks = store.front.take_blocks();
        let progress = store.writer.write(blocks, false).unwrap();
        store.front.progress(progress);
        let mut out = Vec::new();
        store.reader.read_many(&[place], &mut out).unwrap();
        assert_eq!(out, [Value::Inline(value.to_vec().into())]);
    };
    let mut store = open(shared(&disk), &tight).unwrap().finish().unwrap();
    for value in [b"first", b"lost!", b"stale"] {
        commit(&mut store, value);
    }
    disk.flip("journal/000000000001.segment", BLOCK_UNIT as u64, 0).unwrap();
    disk.kill();
    disk.restart();
    let mut store = open(shared(&disk), &tight).unwrap().finish().unwrap();
    assert_eq!(store.front.last(), RecordNumber(1));
    // The first read brings what lies behind into the reader's window, before it is written over.
    for value in [b"other", b"fresh"] {
        commit(&mut store, value);
    }
}

#[test]
fn large_values_are_found_in_a_segment_that_has_grown_since_it_was_read() {
    let disk = SimulatedDisk::new(2);
    // No segment is ready in advance: the first one is made longer as it is written.
    let options = Options { segment_bytes: 16 << 20, cache_bytes: 0, ..options(Durability::Strict) };
    let mut store = open(shared(&disk), &options).unwrap().finish().unwrap();
    let mut values = ValuesBuilder::default();
    let (mut places, mut out) = (Vec::new(), Vec::new());
    for index in 0..20_u8 {
        (0..3).for_each(|_| values.push(&vec![index; 100_000 + 1_000 * usize::from(index)]));
        let record = Record::Finished { ends: Vec::new(), details: values.take(), time: WallTime(0) };
        let offsets = record.values().unwrap().iter().map(|(offset, value)| (offset as u64, value)).collect::<Vec<_>>();
        let first = store.front.append(&record).values.0;
        places.extend(offsets.into_iter().map(|(offset, value)| (Place(first + offset), value)));
        let blocks = store.front.take_blocks();
        let progress = store.writer.write(blocks, true).unwrap();
        store.front.progress(progress);
        let (place, value) = places.last().unwrap();
        store.reader.read_many(&[*place], &mut out).unwrap();
        assert!(out.pop().as_ref() == Some(value), "{index}");
    }
    assert!(disk.image()["journal/000000000001.segment"].len() > 6 << 20);
    for (place, value) in places.iter().rev() {
        store.reader.read_many(&[*place], &mut out).unwrap();
        assert!(out.pop().as_ref() == Some(value));
    }
    drop(store);
    assert_eq!(open(shared(&disk), &options).unwrap().finish().unwrap().front.last(), RecordNumber(20));
}

#[test]
fn what_is_not_written_yet_stays_in_memory_whatever_the_budget() {
    let disk = SimulatedDisk::new(2);
    let tight = Options { cache_bytes: 0, ..options(Durability::Strict) };
    let mut store = open(shared(&disk), &tight).unwrap().finish().unwrap();
    let mut values = ValuesBuilder::default();
    let mut places = Vec::new();
    for index in 0..50 {
        values.push(&[index; 5000]);
        let details = values.take();
        places.push(store.front.append(&Record::Finished { ends: Vec::new(), details, time: WallTime(0) }).values);
    }
    let blocks = store.front.take_blocks();
    for (index, place) in (0..).zip(&places) {
        assert_eq!(store.reader.cached(*place), Some(Value::Inline(vec![index; 5000].into())));
    }
    let progress = store.writer.write(blocks, true).unwrap();
    store.front.progress(progress);
    assert!(places.iter().all(|place| store.reader.cached(*place).is_none()));
    let mut out = Vec::new();
    store.reader.read_many(&places, &mut out).unwrap();
    assert_eq!(out[49], Value::Inline(vec![49; 5000].into()));
}

#[test]
fn a_segment_is_filled_with_zeros_in_advance_if_every_write_waits_for_the_disk() {
    for (durability, pieces) in [(Durability::Strict, 3), (Durability::Interval, 0), (Durability::None, 0)] {
        let disk = SimulatedDisk::new(2);
        let options = Options { segment_bytes: 5 << 19, ..options(durability) };
        let mut store = open(shared(&disk), &options).unwrap().finish().unwrap();
        let mut steps = Vec::new();
        while steps.last() != Some(&Allocation::Idle) {
            steps.push(store.allocator.step().unwrap());
        }
        let working = steps.iter().take_while(|step| **step == Allocation::Working).count();
        assert_eq!(working, pieces, "{durability:?}");
        assert_eq!(steps[working..], [Allocation::Ready { segment: 2 }, Allocation::Idle]);
        assert_eq!(disk.image()["journal/000000000002.segment"].len(), 5 << 19);
    }
}

#[test]
fn a_segment_made_in_a_hurry_is_left_once_the_next_is_ready() {
    let disk = SimulatedDisk::new(2);
    let large = Options { segment_bytes: 8 << 20, ..options(Durability::Strict) };
    let mut model = Model::default();
    let mut random = Random(4);
    let mut store = model.recover(shared(&disk), &large, RecordNumber(0));
    assert!(model.commit(&mut store, &mut random));
    while store.allocator.step().unwrap() != Allocation::Idle {}
    let length = |number: usize| disk.image().get(&super::super::segments::name(number as u64)).map(Vec::len);
    assert_eq!((length(1), length(2), length(3)), (Some(4 << 20), Some(8 << 20), None));
    assert!(model.commit(&mut store, &mut random));
    let record = model.records.iter().rev().find(|(record, _)| record.values().is_some()).unwrap();
    assert_eq!(record.1.0 / (8 << 20), 2);
    let told = model.told;
    model.recover(shared(&disk), &large, told);
    assert_eq!(model.records.len() as u64, told.0);
}

fn use_real_disk(directory: &Path, durability: Durability) {
    let disk = Arc::new(FileDisk::new(directory.join("store")).unwrap());
    let options = Options { segment_bytes: 256 << 10, cache_bytes: 64 << 10, durability, reserve_bytes: Some(1 << 20) };
    let mut model = Model::default();
    let mut random = Random(11);
    for life in 0..4 {
        let all = model.written;
        let mut store = model.recover(disk.clone(), &options, all);
        assert_eq!(model.records.len() as u64, all.0);
        assert!(model.live(&mut store, &mut random, 60));
        model.check_values(&store.reader);
        let blob = store.blobs.write(&vec![life; 300_000]).unwrap();
        assert_eq!(store.blobs.read(blob).unwrap(), vec![life; 300_000]);
        if life % 2 == 0 {
            store.writer.close().unwrap();
        }
    }
    let all = model.written;
    model.recover(disk, &options, all);
    assert!(std::fs::read_dir(directory.join("store/journal")).unwrap().count() > 2);
}

#[test]
fn the_real_disk_keeps_what_it_was_given() {
    for durability in [Durability::Strict, Durability::Interval] {
        let directory = tempfile::tempdir().unwrap();
        use_real_disk(directory.path(), durability);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_system_without_direct_writes_will_do() {
    // A file system in memory, where there is one.
    if let Ok(directory) = tempfile::tempdir_in("/dev/shm") {
        use_real_disk(directory.path(), Durability::Strict);
    }
}

#[test]
fn a_write_that_the_file_system_refuses_directly_is_done_otherwise() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FileDisk::new(directory.path()).unwrap();
    disk.create("file", 10_000).unwrap();
    let file = disk.open("file", Access::Through).unwrap();
    // Direct writes want multiples of the device's block.
    file.write_at(100, &[IoSlice::new(b"odd "), IoSlice::new(b"pieces")]).unwrap();
    file.sync().unwrap();
    let mut found = [0; 12];
    assert_eq!(file.read_at(99, &mut found).unwrap(), 12);
    assert_eq!(&found, b"\0odd pieces\0");
    assert_eq!((file.length().unwrap(), file.read_at(9_999, &mut found).unwrap()), (10_000, 1));
    assert_eq!(disk.read("file").unwrap().len(), 10_000);
    assert!(disk.create("file", 1).is_err());
}
