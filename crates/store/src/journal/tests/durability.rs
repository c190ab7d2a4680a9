//! What survives: power cuts, kills, and disks that fail.

use task_messenger_core::{
    ids::{OwnerNumber, RecordNumber},
    record::{Log, Record},
};

use super::{
    super::{Durability, Found, Progress, Replayed, WriteError, open},
    model::Model,
    options, shared,
};
use crate::disk::{Fault, Random, SimulatedDisk};

#[test]
fn what_was_told_survives_a_power_cut_at_every_boundary() {
    let options = options(Durability::Strict);
    let (mut lives, mut lost, mut kept_untold) = (0, 0, 0);
    for seed in 0..3 {
        for boundary in 0.. {
            let disk = SimulatedDisk::new(seed * 1000 + boundary);
            let mut model = Model::default();
            let mut random = Random(seed);
            disk.fault_at(boundary, Fault::PowerCut);
            let finished = match open(shared(&disk), &options).unwrap().finish() {
                Ok(mut store) => model.live(&mut store, &mut random, 30),
                Err(_) => false,
            };
            if finished && disk.is_running() {
                assert!(boundary > 30);
                break;
            }
            // A second cut hits the next life, the one after that goes on undisturbed.
            disk.restart();
            let appended = model.records.len();
            let told = model.told;
            let before = disk.operations();
            let mut store = model.recover(shared(&disk), &options, told);
            lost += appended - model.records.len();
            kept_untold += model.records.len() - told.0 as usize;
            disk.fault_at(before + random.below(40), Fault::PowerCut);
            model.live(&mut store, &mut random, 20);
            disk.cut();
            disk.restart();
            let told = model.told;
            let mut store = model.recover(shared(&disk), &options, told);
            assert!(model.live(&mut store, &mut random, 5));
            model.check_values(&store.reader);
            let told = model.told;
            assert_eq!(told, store.front.last());
            store.writer.close().unwrap();
            disk.cut();
            disk.restart();
            model.recover(shared(&disk), &options, told);
            assert_eq!(model.records.len() as u64, told.0);
            lives += 1;
        }
    }
    // The cuts did take something, and not everything that could be taken.
    assert!(lives > 150 && lost > 150 && kept_untold > 40, "{lives} lives, {lost} lost, {kept_untold} kept untold");
}

#[test]
fn a_killed_process_loses_nothing_that_was_written() {
    for durability in [Durability::Interval, Durability::None, Durability::Strict] {
        let options = options(durability);
        for seed in 0..10 {
            let disk = SimulatedDisk::new(seed);
            let mut model = Model::default();
            let mut random = Random(seed);
            for _ in 0..4 {
                let least = model.written;
                let mut store = model.recover(shared(&disk), &options, least);
                let commits = random.below(25);
                assert!(model.live(&mut store, &mut random, commits));
                if durability == Durability::None {
                    assert!(model.told <= model.written);
                }
                disk.kill();
                disk.restart();
            }
            // What was replayed after a kill is durable: a power cut takes nothing of it.
            let written = model.written;
            let _store = model.recover(shared(&disk), &options, written);
            disk.cut();
            disk.restart();
            model.recover(shared(&disk), &options, written);
        }
    }
}

#[test]
fn identities_are_synced_before_anything_behind_them_is_told() {
    let (mut held, mut taken_back) = (0, 0);
    for durability in [Durability::Interval, Durability::None] {
        let options = options(durability);
        for seed in 0..60 {
            let disk = SimulatedDisk::new(seed);
            let mut model = Model::default();
            let mut random = Random(seed);
            let mut store = model.recover(shared(&disk), &options, RecordNumber(0));
            let mut synced = RecordNumber(0);
            for _ in 0..random.below(30) {
                assert!(model.commit(&mut store, &mut random));
                synced = store.writer.progress().synced;
                let told = model.told.0 as usize;
                let unsynced_told = &model.records[(synced.0 as usize).min(told)..told];
                assert!(unsynced_told.iter().all(|(record, _)| !record.is_administrative()));
                held += usize::from(store.front.wants_sync());
            }
            disk.cut();
            disk.restart();
            let told = model.told;
            model.recover(shared(&disk), &options, synced);
            taken_back += usize::from(model.told < told);
        }
    }
    assert!(taken_back > 20, "{taken_back}");
    assert_eq!(held, 0, "a commit that wants a sync gets it");
}

#[test]
fn the_gate_opens_by_durability() {
    let administrative = Record::TokenRevoked {
        token: task_messenger_core::ids::TokenNumber(1),
        time: task_messenger_core::time::WallTime(1),
    };
    let ordinary = Record::JobClosed { job: task_messenger_core::ids::JobNumber(1) };
    for (durability, expected) in [
        // After: taking, writing, syncing three ordinary records; the same with an administrative one in the middle.
        (Durability::Strict, [[0, 0, 3], [3, 3, 6]]),
        (Durability::Interval, [[0, 3, 3], [3, 4, 6]]),
        (Durability::None, [[3, 3, 3], [4, 4, 6]]),
    ] {
        let disk = SimulatedDisk::new(1);
        let mut store = open(shared(&disk), &options(durability)).unwrap().finish().unwrap();
        for (middle, expected) in [&ordinary, &administrative].into_iter().zip(expected) {
            let last = store.front.last();
            for record in [&ordinary, middle, &ordinary] {
                store.front.append(record);
            }
            assert!(store.front.pending() && store.front.sync_owed());
            let written = store.front.block_bytes();
            let taken = store.front.take_blocks();
            assert_eq!(taken.len(), 1);
            assert_eq!(store.front.block_bytes() - written, taken[0].length());
            assert!(store.front.take_blocks().is_empty());
            let end = RecordNumber(last.0 + 3);
            let steps = [
                Progress { written: last, synced: last },
                Progress { written: end, synced: last },
                Progress { written: end, synced: end },
            ];
            let told = steps.map(|progress| {
                store.front.progress(progress);
                let administrative_waits = std::ptr::eq(middle, &raw const administrative) && progress.synced < end;
                let waits = if durability == Durability::Strict { progress.synced < end } else { administrative_waits };
                assert_eq!(store.front.wants_sync(), waits);
                assert_eq!(store.front.synced_through(), progress.synced);
                store.front.told_through().0
            });
            assert_eq!(told, expected, "{durability:?}");
            store.writer.write(taken, true).unwrap();
        }
        assert_eq!(store.front.durability(), durability);
    }
}

#[test]
fn a_commit_is_one_write_and_costs_one_sync() {
    for (durability, sync, expected) in
        [(Durability::Strict, true, 1), (Durability::Interval, false, 1), (Durability::Interval, true, 2)]
    {
        let disk = SimulatedDisk::new(1);
        let wide = super::Options { segment_bytes: 8 << 20, ..options(durability) };
        let mut store = open(shared(&disk), &wide).unwrap().finish().unwrap();
        let mut values = task_messenger_core::values::ValuesBuilder::default();
        values.push(&vec![7; 200_000]);
        let record =
            Record::Finished { ends: Vec::new(), details: values.take(), time: task_messenger_core::time::WallTime(1) };
        // More than one block's worth.
        for _ in 0..12 {
            store.front.append(&record);
        }
        let blocks = store.front.take_blocks();
        assert_eq!(blocks.len(), 3);
        let before = disk.operations();
        let progress = store.writer.write(blocks, sync).unwrap();
        assert_eq!(disk.operations() - before, expected, "{durability:?} {sync}");
        assert_eq!(progress.written, RecordNumber(12));
        assert_eq!(progress.synced, RecordNumber(if sync { 12 } else { 0 }));
    }
}

#[test]
fn only_the_next_block_of_this_life_is_written() {
    let disk = SimulatedDisk::new(1);
    let options = options(Durability::Strict);
    let take = |store: &mut super::super::Store| {
        store.front.append(&Record::OwnerAdded { number: OwnerNumber(0), name: "ann".to_owned() });
        store.front.take_blocks()
    };
    let of_an_earlier_life = take(&mut open(shared(&disk), &options).unwrap().finish().unwrap());
    let mut store = open(shared(&disk), &options).unwrap().finish().unwrap();
    let first = take(&mut store);
    store.writer.write(first, true).unwrap();
    drop(store);
    let start = || open(shared(&disk), &options).unwrap().finish().unwrap();
    // One is passed over; one is of the right number, but of a process that ended.
    let (mut store, before) = (start(), disk.image());
    take(&mut store);
    let (expected, found) = (RecordNumber(2), RecordNumber(3));
    let later = take(&mut store);
    match store.writer.write(later, true) {
        Err(WriteError::OutOfOrder { expected: e, found: f }) => assert_eq!((e, f), (expected, found)),
        other => panic!("{other:?}"),
    }
    let fresh = SimulatedDisk::new(2);
    let mut store = open(shared(&fresh), &options).unwrap().finish().unwrap();
    take(&mut store);
    drop(store);
    open(shared(&fresh), &options).unwrap().finish().unwrap().writer.close().unwrap();
    let mut store = open(shared(&fresh), &options).unwrap().finish().unwrap();
    assert!(matches!(store.writer.write(of_an_earlier_life, true), Err(WriteError::OutOfOrder { .. })));
    assert!(disk.image() == before);
}

#[test]
fn the_largest_record_fills_a_block_and_a_larger_one_is_the_callers_mistake() {
    for (segment_bytes, limit) in [(64 << 10, 64 << 10), (8 << 20, 1 << 20)] {
        let options = super::Options { segment_bytes, ..options(Durability::Strict) };
        let disk = SimulatedDisk::new(1);
        let mut store = open(shared(&disk), &options).unwrap().finish().unwrap();
        let largest = store.front.largest_record();
        // Kind, number and length of the name come before it; the record's own length in front of all.
        let named = |bytes: usize| Record::OwnerAdded { number: OwnerNumber(0), name: "n".repeat(bytes - 8) };
        store.front.append(&named(largest));
        let blocks = store.front.take_blocks();
        assert_eq!((blocks.len(), blocks[0].length(), store.front.record_bytes()), (1, limit, largest as u64));
        assert_eq!(blocks[0].bytes().len() as u64, limit);
        assert_eq!(blocks[0].bytes().as_ptr().align_offset(crate::block::BLOCK_UNIT), 0);
        store.writer.write(blocks, true).unwrap();
        // The same in two pieces takes no second block.
        store.front.append(&named(largest - 100));
        let before = store.front.record_bytes();
        store.front.append(&Record::OwnerAdded { number: OwnerNumber(0), name: "n".repeat(96) });
        assert_eq!(store.front.record_bytes() - before, 100);
        let blocks = store.front.take_blocks();
        assert_eq!((blocks.len(), blocks[0].length()), (1, limit));
        store.writer.write(blocks, true).unwrap();
        drop(store);
        let mut recovery = open(shared(&disk), &options).unwrap();
        let sizes = [largest - 8, largest - 108, 96];
        for size in sizes {
            let Some(Found::Record(Replayed { record: Record::OwnerAdded { name, .. }, .. })) =
                recovery.next().unwrap()
            else {
                panic!("a record is missing")
            };
            assert_eq!(name.len(), size);
        }
        let mut store = recovery.finish().unwrap();
        let too_large = std::panic::AssertUnwindSafe(|| store.front.append(&named(largest + 1)));
        assert!(std::panic::catch_unwind(too_large).is_err());
    }
}

#[test]
fn a_segment_that_can_not_be_made_or_grow_is_no_full_disk() {
    // Where the second segment ends, which the start made; and where the first one has no more space reserved.
    for (segment_bytes, filled) in [(64_u64 << 10, (2, 64 << 10)), (8 << 20, (1, 4 << 20))] {
        let options = super::Options { segment_bytes, ..options(Durability::Strict) };
        let disk = SimulatedDisk::new(1);
        let mut store = open(shared(&disk), &options).unwrap().finish().unwrap();
        let mut commit = || {
            store.front.append(&Record::OwnerAdded { number: OwnerNumber(0), name: "n".repeat(16_000) });
            let written = store.writer.write(store.front.take_blocks(), true);
            let tail = store.front.position().unwrap().tail;
            written.map(|_| (tail.segment, tail.offset))
        };
        while commit().unwrap() < filled {}
        let operations = disk.operations();
        disk.fault_at(operations, Fault::Error);
        let error = commit().unwrap_err();
        assert!(matches!(error, WriteError::Io { action: "make" | "make room in", .. }), "{error:?}");
        assert_eq!(disk.operations(), operations + 1, "it is not tried again");
    }
}

#[test]
fn after_a_failed_write_nothing_more_is_written_and_nothing_told_is_lost() {
    for durability in [Durability::Strict, Durability::Interval] {
        let options = options(durability);
        for seed in 0..60 {
            let disk = SimulatedDisk::new(seed);
            let mut model = Model::default();
            let mut random = Random(seed);
            let mut store = model.recover(shared(&disk), &options, RecordNumber(0));
            disk.fault_at(disk.operations() + random.below(30), Fault::Error);
            let mut survived = 0;
            while survived < 60 && model.commit(&mut store, &mut random) {
                survived += 1;
            }
            if survived == 60 {
                // The allocator had the failure; the writer made its own segment.
                continue;
            }
            let operations = disk.operations();
            assert!(matches!(store.writer.write(Vec::new(), true), Err(WriteError::Failed)));
            assert!(matches!(store.writer.close(), Err(WriteError::Failed)));
            assert_eq!(disk.operations(), operations);
            disk.kill();
            disk.restart();
            let told = model.told;
            model.recover(shared(&disk), &options, told);
        }
    }
}
