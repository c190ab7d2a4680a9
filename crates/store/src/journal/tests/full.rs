//! Disks that are full: from any moment on, at the start, and with nothing left of the reserve.

use std::io;

use task_messenger_core::ids::RecordNumber;

use super::{
    super::{Durability, OpenError, Options, WriteError, open},
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
