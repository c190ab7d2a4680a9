//! What earlier uses of the disk left behind is never taken for a continuation.

use task_messenger_core::{
    ids::{JobNumber, RecordNumber},
    record::{Log, Record},
};

use super::{
    super::{Durability, OpenError, Store, open, segments},
    options, shared,
};
use crate::{
    block::{BLOCK_UNIT, HEADER_BYTES, Header},
    codec,
    disk::{Access, Disk, SimulatedDisk},
    identity::{IDENTITY_FILE, Identity},
};

fn start(disk: &SimulatedDisk, durability: Durability) -> Store {
    open(shared(disk), &options(durability)).unwrap().finish().unwrap()
}

/// Commits a record in a block of its own.
fn commit(store: &mut Store, sync: bool) {
    store.front.append(&Record::JobClosed { job: JobNumber(1) });
    let blocks = store.front.take_blocks();
    let progress = store.writer.write(blocks, sync).unwrap();
    store.front.progress(progress);
}

/// Writes a block with one record behind a header of one's own making.
fn forge(disk: &SimulatedDisk, seed: u32, offset: u64, mut header: Header) {
    let mut record = Vec::new();
    codec::encode(&Record::JobClosed { job: JobNumber(2) }, &mut record);
    let mut block = vec![0; BLOCK_UNIT];
    block[HEADER_BYTES..HEADER_BYTES + record.len()].copy_from_slice(&record);
    header.payload_length = record.len() as u32;
    header.write(&mut block, seed);
    let file = disk.open(&segments::name(1), Access::Through).unwrap();
    file.write_at(offset, &[std::io::IoSlice::new(&block)]).unwrap();
}

fn seed(disk: &SimulatedDisk) -> u32 {
    Identity::read(&disk.read(IDENTITY_FILE).unwrap()).unwrap().checksum_seed
}

/// What makes a header another one.
type Change = fn(&mut Header);

fn header_at(disk: &SimulatedDisk, offset: u64) -> (Header, u32) {
    Header::read(&disk.read(&segments::name(1)).unwrap()[offset as usize..]).unwrap()
}

#[test]
fn only_what_continues_the_last_block_is_taken() {
    let unit = BLOCK_UNIT as u64;
    let changes: [(&str, Change, u64); 8] = [
        ("a true continuation", |_| {}, 3),
        ("a continuation of a later epoch", |header| header.epoch += 7, 3),
        ("another predecessor", |header| header.previous_checksum ^= 1, 2),
        ("an earlier epoch", |header| header.epoch -= 1, 2),
        ("a record too early", |header| header.first.0 -= 1, 2),
        ("a record too late", |header| header.first.0 += 1, 2),
        ("another segment", |header| header.segment += 1, 2),
        ("another place", |header| header.offset += 4096, 2),
    ];
    for (what, change, expected) in changes {
        let disk = SimulatedDisk::new(1);
        let mut store = start(&disk, Durability::Strict);
        commit(&mut store, true);
        commit(&mut store, true);
        let (mut header, checksum) = header_at(&disk, unit);
        header.offset += unit;
        header.first = header.last().next();
        header.previous_checksum = checksum;
        change(&mut header);
        forge(&disk, seed(&disk), 2 * unit, header);
        let checked = crate::check::check(&shared(&disk), None, &mut |_| {});
        assert_eq!((checked.findings, checked.records), (vec![], expected), "{what}");
        let found = start(&disk, Durability::Strict).front.last();
        assert_eq!(found, RecordNumber(expected), "{what}");
    }
}

#[test]
fn every_start_has_an_epoch_above_all_that_left_something() {
    let unit = BLOCK_UNIT as u64;
    let disk = SimulatedDisk::new(1);
    commit(&mut start(&disk, Durability::Strict), true);
    commit(&mut start(&disk, Durability::Strict), true);
    let (first, second) = (header_at(&disk, 0).0, header_at(&disk, unit).0);
    assert!(second.epoch > first.epoch);
    // A later block of a commit whose beginning was lost.
    forge(&disk, seed(&disk), 5 * unit, Header { epoch: 40, offset: 5 * unit, first: RecordNumber(9), ..second });
    commit(&mut start(&disk, Durability::Strict), true);
    assert!(header_at(&disk, 2 * unit).0.epoch > 40);
}

#[test]
fn no_block_claims_more_than_was_synced() {
    let (mut recovered, mut appended) = (0, 0);
    for seed in 0..300 {
        let disk = SimulatedDisk::new(seed);
        let mut first = start(&disk, Durability::Interval);
        for index in 0..12 {
            commit(&mut first, index == 3);
        }
        disk.cut();
        disk.restart();
        // A wrong claim would make this store a damaged one.
        let found = start(&disk, Durability::Interval).front.last().0;
        assert!(found >= 4);
        recovered += found;
        appended += 12;
    }
    assert!(recovered > appended / 2 && recovered < appended, "{recovered} of {appended}");
}

#[test]
fn bytes_that_pretend_to_be_a_block_are_none() {
    let unit = BLOCK_UNIT as u64;
    let disk = SimulatedDisk::new(1);
    commit(&mut start(&disk, Durability::Strict), true);
    // Whoever doesn't know the store's seed can claim what they like.
    let (header, previous_checksum) = header_at(&disk, 0);
    let claim = Header { synced_through: RecordNumber(1 << 40), first: RecordNumber(2), previous_checksum, ..header };
    for offset in [unit, 3 * unit] {
        forge(&disk, !seed(&disk), offset, Header { offset, ..claim });
    }
    assert_eq!(start(&disk, Durability::Strict).front.last(), RecordNumber(1));
    forge(&disk, seed(&disk), 3 * unit, Header { offset: 3 * unit, ..claim });
    let mut recovery = open(shared(&disk), &options(Durability::Strict)).unwrap();
    assert!(recovery.next().unwrap().is_some());
    assert!(matches!(recovery.next(), Err(OpenError::Damaged { .. })));
}
