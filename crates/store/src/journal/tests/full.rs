//! Disks that are full: from any moment on, at the start, and with nothing left of the reserve.

use std::io;

use task_messenger_core::ids::RecordNumber;

use super::{
    super::{Durability, OpenError, Options, Tail, WriteError, open},
    model::Model,
    options, shared,
};
use crate::{
    disk::{Disk, Fault, Random, SimulatedDisk, is_full},
    room::Level,
};

const MIB: u64 = 1 << 20;

fn reserving(durability: Durability, bytes: u64) -> Options {
    Options { reserve_bytes: Some(bytes), ..options(durability) }
}

fn start_error(disk: &SimulatedDisk, options: &Options) -> io::Error {
    match open(shared(disk), options).unwrap().finish().err() {
        Some(OpenError::Io { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_disk_that_is_full_from_any_operation_on_stops_nothing_that_the_reserve_can_carry() {
    let (mut before, mut after) = (0, 0);
    for durability in [Durability::Strict, Durability::Interval] {
        let options = reserving(durability, 8 * MIB);
        for boundary in (0..150).step_by(3) {
            let disk = SimulatedDisk::new(boundary);
            let mut model = Model::default();
            let mut random = Random(boundary);
            disk.fault_at(boundary, Fault::Full);
            let Ok(store) = open(shared(&disk), &options).unwrap().finish() else {
                // There is no reserve yet: the start is tried again.
                assert!(is_full(&start_error(&disk, &options)));
                disk.set_capacity(None);
                model.recover(shared(&disk), &options, RecordNumber(0));
                before += 1;
                continue;
            };
            let mut store = store;
            assert!(model.live(&mut store, &mut random, 60), "full at {boundary}");
            assert!(disk.operations() > boundary);
            if store.room.state().reserve < 8 * MIB {
                store.room.look().unwrap();
                assert!(!store.room.take(1));
                after += 1;
            }
            let written = model.written;
            drop(store);
            // It also starts there, and lets go of what it doesn't need.
            let mut store = model.recover(shared(&disk), &options, written);
            assert!(model.live(&mut store, &mut random, 10));
            disk.set_capacity(None);
            store.room.refill().unwrap();
            store.room.look().unwrap();
            assert_eq!((store.room.level(), store.room.state().reserve), (Level::Ample, 8 * MIB));
            model.check_values(&store.reader);
        }
    }
    assert!(before > 2 && after > 30, "{before} full before there was a reserve, {after} used it");
}

#[test]
fn a_power_cut_on_a_full_disk_takes_nothing_that_was_told() {
    let options = reserving(Durability::Strict, 8 * MIB);
    for boundary in (0..120).step_by(4) {
        let disk = SimulatedDisk::new(boundary);
        let mut model = Model::default();
        let mut random = Random(boundary);
        let mut store = model.recover(shared(&disk), &options, RecordNumber(0));
        assert!(model.live(&mut store, &mut random, 10));
        disk.fault_at(disk.operations(), Fault::Full);
        assert!(model.live(&mut store, &mut random, 5));
        disk.fault_at(disk.operations() + boundary, Fault::PowerCut);
        model.live(&mut store, &mut random, 60);
        disk.cut();
        disk.restart();
        // The cut may have brought back what had been removed: then the disk is fuller than full.
        let told = model.told;
        if open(shared(&disk), &options).unwrap().finish().is_err() {
            disk.set_capacity(None);
        }
        let mut store = model.recover(shared(&disk), &options, told);
        assert!(model.live(&mut store, &mut random, 5));
    }
}

#[test]
fn when_the_reserve_is_used_up_too_writing_ends_and_a_start_waits_for_room() {
    let options = reserving(Durability::Strict, 3 * MIB);
    let disk = SimulatedDisk::new(3);
    let mut model = Model::default();
    let mut random = Random(3);
    let mut store = model.recover(shared(&disk), &options, RecordNumber(0));
    disk.fault_at(disk.operations(), Fault::Full);
    assert!(!model.live(&mut store, &mut random, 10_000));
    assert_eq!((store.room.state().reserve, store.room.level()), (0, Level::Critical));
    assert!(store.allocator.step().is_err());
    match store.writer.write(Vec::new(), true) {
        Err(WriteError::Failed) => {}
        other => panic!("{other:?}"),
    }
    drop(store);
    let journal = disk.list("journal").unwrap();
    assert!(journal.len() > 30, "all of the reserve went into the journal: {journal:?}");

    // The last segment is full, or there is hardly any place left in it.
    let error = start_error(&disk, &options);
    assert!(is_full(&error), "{error:?}");
    disk.set_capacity(None);
    let told = model.told;
    let mut store = model.recover(shared(&disk), &options, told);
    assert_eq!(store.room.level(), Level::Ample);
    assert!(model.live(&mut store, &mut random, 50));
}

#[test]
fn the_first_commit_after_a_start_finds_room_though_the_disk_is_full_by_then() {
    use task_messenger_core::{ids::OwnerNumber, record::Log, record::Record};
    // Up to where the first segment is filled before: with room for a block or without, in one that can grow or can't.
    for (segment_bytes, filled, segments) in
        [(64 << 10, 40_u64 << 10, 2), (8 << 20, 1 << 20, 1), (8 << 20, 7 << 19, 1), (8 << 20, 15 << 19, 2)]
    {
        let disk = SimulatedDisk::new(3);
        let options = Options { segment_bytes, ..reserving(Durability::Strict, 0) };
        let mut store = open(shared(&disk), &options).unwrap().finish().unwrap();
        let record = |bytes: usize| Record::OwnerAdded { number: OwnerNumber(0), name: "n".repeat(bytes) };
        let offset = |store: &super::super::Store| {
            let tail = store.front.position().unwrap().tail;
            (tail.segment - 1) * segment_bytes + tail.offset
        };
        while offset(&store) < filled {
            store.front.append(&record(20_000));
            let blocks = store.front.take_blocks();
            store.writer.write(blocks, true).unwrap();
        }
        let last = store.front.last();
        drop(store);
        let mut store = open(shared(&disk), &options).unwrap().finish().unwrap();
        disk.fault_at(disk.operations(), Fault::Full);
        assert_eq!((store.room.state().reserve, disk.list("journal").unwrap().len()), (0, segments));
        store.front.append(&record(store.front.largest_record() - 10));
        let blocks = store.front.take_blocks();
        let written = store.writer.write(blocks, true);
        assert_eq!(written.unwrap().synced, last.next(), "{segment_bytes} {filled}");
    }
}

#[test]
fn a_segment_grows_from_the_reserve_by_little_and_what_it_has_ahead_counts_as_room() {
    let (mut random, mut model) = (Random(5), Model::default());
    let options = Options { segment_bytes: 8 * MIB, ..reserving(Durability::Strict, 8 * MIB) };
    let disk = SimulatedDisk::new(5);
    let mut store = model.recover(shared(&disk), &options, RecordNumber(0));
    disk.fault_at(disk.operations(), Fault::Full);
    assert!(model.commit(&mut store, &mut random));
    store.room.look().unwrap();
    // Of the reserve nothing is left for outcomes: what they can have is what the first segment has of its 4 MiB.
    let ahead = |store: &super::super::Store| 4 * MIB - store.front.position().unwrap().tail.offset;
    assert!(!store.room.take_for_outcomes(ahead(&store) + 1, 0) && store.room.take_for_outcomes(ahead(&store), 0));
    let last = |store: &super::super::Store| store.front.position().unwrap().tail;
    while last(&store).offset <= 4 * MIB {
        assert_eq!(store.room.state().reserve, 8 * MIB);
        assert!(model.live(&mut store, &mut random, 20));
    }
    assert_eq!(last(&store).segment, 1);
    let used = 8 * MIB - store.room.state().reserve;
    assert!((MIB..2 * MIB).contains(&used), "{used}");
    // With another segment made ready, there is that too.
    disk.set_capacity(None);
    store.room.refill().unwrap();
    while store.allocator.step().unwrap() != super::super::Allocation::Idle {}
    let told = model.told;
    let mut store = model.recover(shared(&disk), &options, told);
    disk.fault_at(disk.operations(), Fault::Full);
    assert!(model.commit(&mut store, &mut random));
    store.room.look().unwrap();
    let Tail { segment, offset, .. } = last(&store);
    let length = disk.image()[&format!("journal/{segment:012}.segment")].len() as u64;
    let segments = disk.list("journal").unwrap().len() as u64;
    let ahead = length - offset + (segments - segment) * 8 * MIB;
    assert!(segments == 2 && !store.room.take_for_outcomes(ahead + 1, 0) && store.room.take_for_outcomes(ahead, 0));
}
