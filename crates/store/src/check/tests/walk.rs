//! Where a chain of blocks ends, where it is broken, and where it goes on.

use std::io::IoSlice;

use super::*;
use crate::block::BLOCK_UNIT;

const UNIT: u64 = BLOCK_UNIT as u64;

/// Writes each of these records in a block of its own, of which nothing says that it is synced; where each block begins.
fn write_untold(world: &mut World, records: &[Record]) -> Vec<(String, u64)> {
    let before = blocks(&world.disk).len();
    for record in records {
        world.append(record);
        let blocks = world.store.front.take_blocks();
        world.store.writer.write(blocks, true).unwrap();
    }
    blocks(&world.disk).into_iter().skip(before).map(|(file, offset, _)| (file, offset)).collect()
}

fn nothing() -> Record {
    Record::Retried { tasks: Vec::new() }
}

/// A record with a value of so many bytes, which nobody needs.
fn large(bytes: usize) -> Record {
    let mut details = ValuesBuilder::default();
    details.push(&vec![7; bytes]);
    Record::Finished { ends: Vec::new(), details: details.take(), time: WallTime(1) }
}

#[test]
fn a_store_whose_first_segments_went_is_whole() {
    let mut world = World::open(&SimulatedDisk::new(3), 0);
    (0..8).for_each(|_| assert!(world.add_job()));
    world.purge(1..=8);
    assert!(world.shrink().unwrap() > 0);
    assert!(world.add_job());
    world.store.writer.close().unwrap();
    let disk = world.disk;
    assert!(!disk.list("journal").unwrap().contains(&"000000000001.segment".to_owned()));
    let checked = look_at(&disk);
    assert_eq!((checked.findings, checked.blocks), (vec![], blocks(&disk).len() as u64));
}

#[test]
fn behind_an_end_that_nobody_saw_synced_there_is_nothing() {
    let mut world = World::open(&SimulatedDisk::new(3), 0);
    assert!(world.add_job());
    let whole = blocks(&world.disk).len() as u64;
    let last = world.store.front.last();
    // The last one doesn't fit into the first segment.
    let records = [nothing(), nothing(), large(20_000), large(20_000), large(20_000)];
    let untold = write_untold(&mut world, &records);
    let disk = world.disk;
    assert!(untold[0].0 != untold[4].0);
    disk.flip(&untold[0].0, untold[0].1 + 65, 1).unwrap();
    let checked = look_at(&disk);
    assert_eq!((checked.findings, checked.blocks, checked.last), (vec![], whole, last));
}

#[test]
fn what_a_snapshot_or_a_later_block_says_was_synced_is_missed_and_the_rest_is_looked_at() {
    for witness in ["snapshot", "block"] {
        let mut world = World::open(&SimulatedDisk::new(3), 0);
        assert!(world.add_job());
        // The first one takes two units.
        let untold = write_untold(&mut world, &[large(5_000), nothing(), nothing()]);
        if witness == "snapshot" {
            let position = world.store.front.position().unwrap();
            world.store.shrinker.write(&position, &world.state.image()).unwrap();
        } else {
            let progress = world.store.writer.progress();
            world.store.front.progress(progress);
            write_untold(&mut world, &[nothing()]);
        }
        let disk = world.disk;
        let all = look_at(&disk);
        assert_eq!(all.findings, []);
        let (file, offset) = &untold[0];
        assert_eq!(untold[1], (file.clone(), offset + 2 * UNIT));
        disk.flip(file, offset + 70, 1).unwrap();
        // In its second unit lies what an earlier end of the journal left there.
        let identity = Identity::read(&disk.read(IDENTITY_FILE).unwrap()).unwrap();
        let (mut header, _) = Header::read(&disk.read(file).unwrap()[*offset as usize..]).unwrap();
        (header.epoch, header.offset, header.payload_length) = (header.epoch - 1, offset + UNIT, 0);
        (header.first, header.count) = (header.first.next(), 0);
        let mut block = vec![0; BLOCK_UNIT];
        header.write(&mut block, identity.checksum_seed);
        disk.open(file, Access::Through).unwrap().write_at(offset + UNIT, &[IoSlice::new(&block)]).unwrap();

        let checked = look_at(&disk);
        let on =
            format!("one whose checksum is wrong is found; the next whole one is at offset {} of", offset + 2 * UNIT);
        assert_eq!((&checked.findings[0].file, checked.findings[0].offset), (file, Some(*offset)), "{witness}");
        assert!(checked.findings[0].problem.contains(&on), "{witness}: {:?}", checked.findings);
        assert_eq!((checked.findings.len(), checked.blocks), (1, all.blocks - 1), "{witness}");
    }
}
