//! Stores that must be refused, untouched, and damage that is no reason to.

use task_messenger_core::ids::RecordNumber;

use super::{
    super::{Durability, OpenError, Options, open, segments},
    model::Model,
    options, shared,
};
use crate::{
    block::{BLOCK_UNIT, Header},
    disk::{Disk, Random, SimulatedDisk},
    identity::{IDENTITY_FILE, IdentityError},
};

/// A disk with a store of several segments, and what it holds. `close` says whether it was closed cleanly.
fn written(durability: Durability, close: bool) -> (SimulatedDisk, Model) {
    let disk = SimulatedDisk::new(9);
    let mut model = Model::default();
    let mut random = Random(9);
    let mut store = model.recover(shared(&disk), &options(durability), RecordNumber(0));
    assert!(model.live(&mut store, &mut random, 100));
    if close {
        store.writer.close().unwrap();
    }
    assert!(disk.list("journal").unwrap().len() > 4);
    (disk, model)
}

/// Every block as it lies on the disk, in order: file, offset, header.
fn blocks(disk: &SimulatedDisk) -> Vec<(String, u64, Header)> {
    let mut blocks = Vec::new();
    for (name, contents) in disk.image() {
        for (index, unit) in contents.chunks(BLOCK_UNIT).enumerate() {
            blocks.extend(Header::read(unit).map(|(header, _)| (name.clone(), (index * BLOCK_UNIT) as u64, header)));
        }
    }
    blocks
}

fn open_error(disk: &SimulatedDisk) -> OpenError {
    let (before, operations) = (disk.image(), disk.operations());
    let read = || {
        let mut recovery = open(shared(disk), &options(Durability::Strict))?;
        while recovery.next()?.is_some() {}
        recovery.finish()
    };
    let error = read().err().unwrap();
    assert_eq!(disk.operations(), operations, "a refused store is left alone");
    assert!(disk.image() == before);
    error
}

#[test]
fn damage_to_what_was_synced_is_refused_wherever_it_is() {
    let (disk, mut model) = written(Durability::Strict, true);
    let all = model.told;
    let blocks = blocks(&disk);
    let mut random = Random(1);
    let (_, data) = blocks.split_last().unwrap();
    for (file, offset, header) in data {
        for _ in 0..3 {
            let at = offset + random.below(64 + u64::from(header.payload_length));
            let bit = random.below(8) as u8;
            disk.flip(file, at, bit).unwrap();
            match open_error(&disk) {
                OpenError::Damaged { next, synced, file: found, offset: found_offset, .. } => {
                    assert_eq!((next, &found, found_offset), (header.first, file, *offset));
                    assert!(next <= synced && synced <= all);
                }
                other => panic!("{other:?}"),
            }
            disk.flip(file, at, bit).unwrap();
        }
    }
    model.recover(shared(&disk), &options(Durability::Strict), all);
}

#[test]
fn damage_to_what_nobody_knows_to_be_synced_is_the_end() {
    let (disk, mut model) = written(Durability::Interval, false);
    let blocks = blocks(&disk);
    let (file, offset, last) = blocks.last().unwrap();
    assert!(last.count > 0);
    disk.flip(file, offset + 70, 3).unwrap();
    model.recover(shared(&disk), &options(Durability::Strict), RecordNumber(last.first.0 - 1));
    assert_eq!(model.records.len() as u64, last.first.0 - 1);
}

#[test]
fn a_damaged_closing_block_costs_nothing() {
    let (disk, mut model) = written(Durability::Strict, true);
    let all = model.told;
    let (file, offset, closing) = blocks(&disk).pop().unwrap();
    assert_eq!((closing.count, closing.synced_through), (0, all));
    disk.flip(&file, offset + 9, 0).unwrap();
    model.recover(shared(&disk), &options(Durability::Strict), all);
}

#[test]
fn a_missing_segment_is_refused_by_name() {
    let (disk, mut model) = written(Durability::Strict, true);
    let all = model.told;
    let (image, last) = (disk.image(), blocks(&disk).pop().unwrap().2.segment);
    for segment in 1..last {
        let disk = copy(&image, |name| name != segments::name(segment));
        match open_error(&disk) {
            OpenError::MissingSegment { file } => assert_eq!(file, segments::name(segment)),
            other => panic!("{other:?}"),
        }
    }
    let disk = copy(&image, |name| name == IDENTITY_FILE);
    assert!(matches!(open_error(&disk), OpenError::MissingSegment { file } if file == segments::name(1)));
    model.recover(shared(&copy(&image, |_| true)), &options(Durability::Strict), all);
}

#[test]
fn a_store_without_its_identity_or_of_a_newer_format_is_refused() {
    let (disk, _) = written(Durability::Strict, true);
    let bare = copy(&disk.image(), |name| name != IDENTITY_FILE);
    assert!(matches!(open_error(&bare), OpenError::NoIdentity { .. }));
    let identity = disk.read(IDENTITY_FILE).unwrap();
    let newer = String::from_utf8(identity.to_vec()).unwrap().replace("\"format\": 1", "\"format\": 2");
    disk.replace(IDENTITY_FILE, newer.as_bytes()).unwrap();
    match open_error(&disk) {
        OpenError::Identity { source: IdentityError::Newer { found, supported }, .. } => {
            assert_eq!((found, supported), (2, 1));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_store_keeps_its_id_and_the_size_of_its_segments() {
    let disk = SimulatedDisk::new(5);
    let recovery = open(shared(&disk), &options(Durability::Strict)).unwrap();
    assert!(recovery.is_new());
    assert_eq!(disk.operations(), 0, "nothing is made before it is finished");
    let id = recovery.id();
    assert_eq!(recovery.finish().unwrap().id, id);
    let larger = Options { segment_bytes: 1 << 20, ..options(Durability::Strict) };
    let mut model = Model::default();
    let mut store = model.recover(shared(&disk), &larger, RecordNumber(0));
    assert_eq!(store.id, id);
    assert!(model.live(&mut store, &mut Random(1), 100));
    assert!(disk.image().values().all(|contents| contents.len() <= 64 << 10));
    assert_ne!(open(shared(&SimulatedDisk::new(6)), &larger).unwrap().id(), id);
    let odd = Options { segment_bytes: 65_537, ..larger };
    assert!(matches!(open(shared(&disk), &odd), Err(OpenError::SegmentBytes { segment_bytes: 65_537 })));
}

/// A disk with some of the files of another.
fn copy(image: &std::collections::BTreeMap<String, Vec<u8>>, keep: impl Fn(&str) -> bool) -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    for (name, contents) in image.iter().filter(|(name, _)| keep(name)) {
        disk.replace(name, contents).unwrap();
    }
    disk
}
