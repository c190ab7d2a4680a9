//! Stores that must be refused, untouched, and damage that is no reason to.

use std::collections::HashMap;

use task_messenger_core::{
    ids::RecordNumber,
    record::{Log, Record},
    time::WallTime,
    values::{Value, ValuesBuilder},
};

use super::{
    super::{
        Allocation, Durability, ExtentError, Found, OpenError, Options, check_formats, extent::EXTENT_FILE, open,
        segments,
    },
    model::Model,
    options, shared,
};
use crate::{
    blobs::{BlobError, ValueError},
    block::{BLOCK_UNIT, Header},
    check::check_blocks,
    disk::{Disk, FileDisk, Random, SimulatedDisk},
    identity::{IDENTITY_FILE, IdentityError, StoreId},
    snapshot::SnapshotError,
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
                // Where it begins a segment, it may seem to be another store's or program's.
                OpenError::ForeignSegment { file: found, .. } | OpenError::NewerSegment { file: found, .. } => {
                    assert_eq!((&found, *offset), (file, 0));
                }
                other => panic!("{other:?}"),
            }
            disk.flip(file, at, bit).unwrap();
        }
    }
    model.recover(shared(&disk), &options(Durability::Strict), all);
}

#[test]
fn what_is_found_where_a_block_is_missing_is_said() {
    let (disk, _) = written(Durability::Strict, true);
    let image = disk.image();
    let blocks = blocks(&disk);
    // Two that lie side by side, and the last one of a segment.
    let at = blocks.windows(2).position(|pair| pair[0].1 > 0 && pair[0].0 == pair[1].0).unwrap();
    let end = blocks.windows(2).position(|pair| pair[0].1 > 0 && pair[0].0 != pair[1].0).unwrap();
    let with = |file: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let disk = copy(&image, |_| true);
        let mut contents = image[file].clone();
        change(&mut contents);
        disk.replace(file, &contents).unwrap();
        match open_error(&disk) {
            OpenError::Damaged { file, offset, found, .. } => {
                // Whoever looks through everything finds it at the same place.
                let findings = check_blocks(&shared(&disk));
                let finding = findings.iter().find(|finding| finding.file == file && finding.offset == Some(offset));
                (file, offset, found, finding.map(|finding| finding.problem.clone()).unwrap_or_default())
            }
            other => panic!("{other:?}"),
        }
    };
    let (file, offset, header) = &blocks[at];
    let start = *offset as usize;
    let unit = start..start + BLOCK_UNIT;
    let is_here = |change: &dyn Fn(&mut Vec<u8>), found: &str| {
        let (found_file, found_offset, what, problem) = with(file, change);
        assert_eq!((&found_file, found_offset, what.as_str()), (file, *offset, found));
        assert!(problem.contains(&format!("{found} is found")), "{problem}");
    };
    is_here(&|bytes| bytes[unit.clone()].fill(0), "nothing but zeros");
    is_here(&|bytes| bytes[start] = 0, "something that is no block");
    is_here(&|bytes| bytes[start + 65] ^= 1, "one whose checksum is wrong");
    // Zeros behind the end of a segment's blocks are no damage: the next one should have begun in the next segment.
    let (file, offset, last) = &blocks[end];
    let zeroed = with(file, &|bytes| bytes[*offset as usize..].fill(0));
    assert_eq!((zeroed.0, zeroed.1), (segments::name(last.segment + 1), 0));
    assert_eq!(zeroed.2, format!("one of epoch {} that begins with record {}", header.epoch, last.last().next()));
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
    // The last one is ready, and nothing was written to it yet.
    let (image, last) = (disk.image(), disk.list("journal").unwrap().len() as u64);
    let missing = |disk: &SimulatedDisk| match open_error(disk) {
        OpenError::MissingSegment { file, last, .. } => (file, last),
        other => panic!("{other:?}"),
    };
    let name = segments::name;
    for segment in 1..=last {
        let disk = copy(&image, |file| file != name(segment));
        assert_eq!(missing(&disk), (name(segment), name(last)));
        // The last ones leave no other trace.
        let disk = copy(&image, |file| !file.starts_with("journal/") || *file < *name(segment));
        assert_eq!(missing(&disk), (name(segment), name(last)));
        let disk = copy(&image, |file| file != name(segment) && file != EXTENT_FILE);
        assert!(matches!(open_error(&disk), OpenError::NoExtent { file: EXTENT_FILE }));
    }
    let disk = copy(&image, |name| name == IDENTITY_FILE || name == EXTENT_FILE);
    assert_eq!(missing(&disk), (name(1), name(last)));
    model.recover(shared(&copy(&image, |_| true)), &options(Durability::Strict), all);
}

#[test]
fn a_store_without_its_identity_or_of_a_newer_format_is_refused() {
    let (disk, _) = written(Durability::Strict, true);
    let image = disk.image();
    let bare = copy(&image, |name| name != IDENTITY_FILE);
    assert!(matches!(open_error(&bare), OpenError::NoIdentity { witness, .. } if witness.starts_with("journal/")));
    let values = SimulatedDisk::new(1);
    values.replace("values/7", b"a value").unwrap();
    assert!(matches!(open_error(&values), OpenError::NoIdentity { witness, .. } if witness == "values/7"));
    let unwritten = SimulatedDisk::new(1);
    unwritten.create(&segments::name(2), 64 << 10).unwrap();
    assert!(matches!(open_error(&unwritten), OpenError::NoIdentity { witness, .. } if witness == segments::name(2)));
    let other_note = String::from_utf8(image[EXTENT_FILE].clone()).unwrap().replace("\"store\":\"", "\"store\":\"0");
    let swapped = copy(&image, |_| true);
    swapped.replace(EXTENT_FILE, other_note.as_bytes()).unwrap();
    assert!(matches!(open_error(&swapped), OpenError::Extent { source: ExtentError::Foreign { .. }, .. }));
    swapped.replace(EXTENT_FILE, b"{}").unwrap();
    assert!(matches!(open_error(&swapped), OpenError::Extent { source: ExtentError::Syntax { .. }, .. }));
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
fn a_segment_of_another_store_or_a_newer_program_or_another_length_is_refused() {
    let (disk, mut model) = written(Durability::Strict, true);
    let all = model.told;
    let (image, last) = (disk.image(), blocks(&disk).pop().unwrap().2.segment);
    let other = SimulatedDisk::new(10);
    let mut store = Model::default().recover(shared(&other), &options(Durability::Strict), RecordNumber(0));
    assert!(Model::default().live(&mut store, &mut Random(9), 100));
    let with = |segment: u64, contents: &[u8]| {
        let disk = copy(&image, |_| true);
        disk.replace(&segments::name(segment), contents).unwrap();
        open_error(&disk)
    };
    assert!(check_formats(&copy(&image, |_| true)).is_ok());
    // In the middle, as the last one, and behind it.
    for segment in [1, 3, last, last + 1] {
        let file = segments::name(segment);
        let foreign = other.image()[&segments::name(segment.min(last))].clone();
        assert!(matches!(with(segment, &foreign), OpenError::ForeignSegment { file: found, .. } if found == file));
        if segment <= last {
            let whole = &image[&file];
            let mut newer = whole.clone();
            newer[4] = 2;
            assert!(matches!(with(segment, &newer), OpenError::NewerSegment { file: name, found: 2 } if name == file));
            let disk = copy(&image, |_| true);
            disk.replace(&file, &newer).unwrap();
            assert!(matches!(check_formats(&disk), Err(OpenError::NewerSegment { file: name, .. }) if name == file));
            let long = [&whole[..], &[0; BLOCK_UNIT]].concat();
            assert!(matches!(with(segment, &long), OpenError::SegmentLength { file: found, .. } if found == file));
        }
    }
    // The store itself, and a snapshot.
    let disk = copy(&image, |_| true);
    let identity = String::from_utf8(image[IDENTITY_FILE].clone()).unwrap();
    let newer = identity.replace("\"format\": 1", "\"format\": 2").replace("\"format\":1", "\"format\":2");
    assert_ne!(newer, identity);
    disk.replace(IDENTITY_FILE, newer.as_bytes()).unwrap();
    assert!(matches!(check_formats(&disk), Err(OpenError::Identity { .. })));
    model.recover(shared(&copy(&image, |_| true)), &options(Durability::Strict), all);
}

#[test]
fn a_segment_that_was_cut_is_refused_although_nothing_behind_it_tells() {
    let disk = SimulatedDisk::new(9);
    let large = Options { segment_bytes: 8 << 20, ..options(Durability::Strict) };
    let mut model = Model::default();
    let mut store = model.recover(shared(&disk), &large, RecordNumber(0));
    while store.allocator.step().unwrap() != Allocation::Idle {}
    assert!(model.live(&mut store, &mut Random(1), 40));
    while store.allocator.step().unwrap() != Allocation::Idle {}
    let image = disk.image();
    assert!(Header::read(&image[&segments::name(2)]).is_some());
    // One in the middle, and the last one that was noted.
    for file in
        [segments::name(2), segments::name(image.keys().filter(|file| file.ends_with(".segment")).count() as u64)]
    {
        disk.replace(&file, &image[&file][..BLOCK_UNIT]).unwrap();
        let findings = check_blocks(&shared(&disk));
        assert!(findings.iter().any(|finding| finding.file == file && finding.offset == Some(BLOCK_UNIT as u64)));
        match open_error(&disk) {
            OpenError::SegmentLength { file: found_file, expected, found } => {
                assert_eq!((found_file, expected, found), (file.clone(), 8 << 20, BLOCK_UNIT as u64));
            }
            other => panic!("{other:?}"),
        }
        disk.replace(&file, &image[&file]).unwrap();
    }
}

#[test]
fn a_segment_that_was_named_but_not_noted_is_noted_with_its_length() {
    let disk = SimulatedDisk::new(9);
    let large = Options { segment_bytes: 8 << 20, ..options(Durability::Strict) };
    let mut store = open(shared(&disk), &large).unwrap().finish().unwrap();
    let before = disk.image()[EXTENT_FILE].clone();
    while store.allocator.step().unwrap() != Allocation::Idle {}
    let noted = disk.image()[EXTENT_FILE].clone();
    drop(store);
    disk.replace(EXTENT_FILE, &before).unwrap();
    drop(open(shared(&disk), &large).unwrap().finish().unwrap());
    assert!(noted != before && disk.image()[EXTENT_FILE] == noted);
}

#[test]
fn a_value_that_a_record_names_and_that_is_not_there_is_refused_before_anything_is_removed() {
    let disk = SimulatedDisk::new(9);
    let mut store = open(shared(&disk), &options(Durability::Strict)).unwrap().finish().unwrap();
    let number = store.blobs.write(&vec![1; 300_000]).unwrap();
    let mut values = ValuesBuilder::default();
    values.push_external(number, 300_000);
    store.front.append(&Record::Finished { ends: Vec::new(), details: values.take(), time: WallTime(0) });
    let blocks = store.front.take_blocks();
    store.writer.write(blocks, true).unwrap();
    drop(store);
    disk.replace("journal/making.new", b"unfinished").unwrap();
    disk.remove(&format!("values/{number}")).unwrap();
    let (before, operations) = (disk.image(), disk.operations());
    let mut recovery = open(shared(&disk), &options(Durability::Strict)).unwrap();
    let mut named = HashMap::new();
    while let Some(Found::Record(replayed)) = recovery.next().unwrap() {
        for (_, value) in replayed.record.values().unwrap().iter() {
            if let Value::External { file, length } = value {
                named.insert(file, length);
            }
        }
    }
    let error = recovery.check_values(std::iter::empty(), &named).unwrap_err();
    assert!(matches!(&error, OpenError::Value { source: ValueError::Missing { length: 300_000, .. } }), "{error:?}");
    assert!(!error.is_io());
    drop(recovery);
    assert!(disk.image() == before && disk.operations() == operations);
}

#[test]
fn a_store_keeps_its_id_and_the_size_of_its_segments() {
    let disk = SimulatedDisk::new(5);
    let recovery = open(shared(&disk), &options(Durability::Strict)).unwrap();
    assert!(recovery.is_new());
    assert_eq!(disk.operations(), 0, "nothing is made before it is finished");
    let id = recovery.id();
    assert_eq!(recovery.finish().unwrap().id, id);
    assert!(!open(shared(&disk), &options(Durability::Strict)).unwrap().is_new());
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

#[test]
fn what_can_not_be_read_is_not_missing() {
    use crate::room::RESERVE_FILE;
    for file in [IDENTITY_FILE, EXTENT_FILE, RESERVE_FILE] {
        let directory = tempfile::tempdir().unwrap();
        let disk = std::sync::Arc::new(FileDisk::new(directory.path()).unwrap());
        let options = Options { reserve_bytes: Some(4096), ..options(Durability::Strict) };
        drop(open(disk.clone(), &options).unwrap().finish().unwrap());
        // No file, and there all the same.
        std::fs::remove_file(directory.path().join(file)).unwrap();
        std::fs::create_dir(directory.path().join(file)).unwrap();
        let error = open(disk, &options).and_then(super::super::Recovery::finish).err().unwrap();
        assert!(error.is_io() && error.advice().contains("disk"), "{file}: {error:?}");
    }
}

#[test]
fn a_refusal_says_what_can_be_done() {
    let io = || std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    let snapshot = |source| OpenError::Snapshot { file: "snapshots/1.snapshot".to_owned(), source };
    let file = || segments::name(1);
    let (expected, found) = (StoreId([1; 16]), StoreId([2; 16]));
    let foreign = ExtentError::Foreign { expected: String::new(), found: String::new() };
    let newer = IdentityError::Newer { found: 2, supported: 1 };
    for (error, is_io, advice) in [
        (OpenError::SegmentBytes { segment_bytes: 1 }, false, "another size"),
        (OpenError::Io { action: "read", file: file(), source: io() }, true, "see to the disk"),
        (BlobError { action: "read", name: file(), source: io() }.into(), true, "see to the disk"),
        (snapshot(SnapshotError::Io(io())), true, "see to the disk"),
        (OpenError::Identity { file: IDENTITY_FILE, source: newer }, false, "newer program"),
        (OpenError::NewerSegment { file: file(), found: 2 }, false, "newer program"),
        (snapshot(SnapshotError::Newer { found: 2 }), false, "newer program"),
        (
            OpenError::ForeignSegment { file: file(), expected: String::new(), found: String::new() },
            false,
            "two stores",
        ),
        (snapshot(SnapshotError::Foreign { expected, found }), false, "two stores"),
        (OpenError::Extent { file: EXTENT_FILE, source: foreign }, false, "two stores"),
        (OpenError::NoExtent { file: EXTENT_FILE }, false, "from a backup"),
        (snapshot(SnapshotError::Damaged { offset: 0, what: "it is cut" }), false, "from a backup"),
    ] {
        assert_eq!(error.is_io(), is_io, "{error:?}");
        assert!(error.advice().contains(advice), "{error:?}: {}", error.advice());
    }
}
