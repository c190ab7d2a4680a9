//! Everything that is wrong is told, once, and how far the looking is.

use super::*;
use crate::{
    blobs::{BlobError, ValueError},
    journal::OpenError,
};

#[test]
fn the_looking_says_how_far_it_is_and_how_much_there_is() {
    let disk = filled();
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join(ARCHIVE_FILE);
    fill(
        &path,
        look_at(&disk).store.unwrap(),
        RecordNumber(5),
        World::open(&disk, 99).store.blobs.write(&[1; 2_000]).unwrap(),
    );
    fs::write(place.path().join(format!("{ARCHIVE_FILE}-wal")), []).unwrap();
    let bytes = |directory: &str| -> u64 {
        disk.image().iter().filter(|(file, _)| file.starts_with(directory)).map(|(_, bytes)| bytes.len() as u64).sum()
    };
    let (journal, snapshots, values) = (bytes("journal/"), bytes("snapshots/"), bytes("values/"));
    let archive = fs::metadata(&path).unwrap().len();
    let mut told = Vec::new();
    let checked = check(&shared(&disk), Some(place.path()), &mut |now| told.push(now));
    assert!(checked.is_whole(), "{:?}", checked.findings);
    assert_eq!((checked.journal_bytes, checked.snapshot_bytes), (journal, snapshots));
    assert_eq!((checked.large_value_bytes, checked.archive_bytes), (values, archive));
    let total = 2 * journal + snapshots + values + archive;
    assert!(told.iter().all(|now| now.total == total) && told.is_sorted_by_key(|now| now.done));
    // Behind the last block of a segment there may be nothing to look at.
    let blocks: u64 = blocks(&disk).iter().map(|(_, _, length)| length.next_multiple_of(4096)).sum();
    assert_eq!(told.last().unwrap().done, blocks + journal + snapshots + values + archive);

    // A log that was left behind is a part of the archive. One that is empty belongs to no write.
    let log = place.path().join(format!("{ARCHIVE_FILE}-wal"));
    fs::write(&log, [0; 100]).unwrap();
    assert_eq!(check(&shared(&disk), Some(place.path()), &mut |_| {}).archive_bytes, archive + 100);
}

#[test]
fn what_nobody_needs_is_counted_only_if_it_is_known_what_is_needed() {
    let disk = filled();
    let unneeded = World::open(&disk, 99).store.blobs.write(&[1; 2_000]).unwrap();
    disk.replace("values/7000.new", b"unfinished").unwrap();
    let checked = look_at(&disk);
    assert_eq!((checked.findings, checked.unneeded_files, checked.large_values), (vec![], 2, 15));
    // What a record says isn't known: every value may be needed, and is looked at.
    let (file, offset, _) = blocks(&disk).into_iter().rev().nth(1).unwrap();
    for (name, at) in [(&file, offset + 70), (&format!("values/{unneeded}"), 5)] {
        disk.flip(name, at, 1).unwrap();
    }
    let checked = look_at(&disk);
    assert!(!checked.is_whole());
    assert_eq!((checked.unneeded_files, checked.large_values), (0, 16));
    let found: Vec<_> = checked.findings.iter().map(|finding| (&finding.file, finding.offset)).collect();
    assert_eq!(found, [(&file, Some(offset)), (&format!("values/{unneeded}"), Some(2_000))]);
    disk.flip(&file, offset + 70, 1).unwrap();
    assert_eq!((look_at(&disk).findings, look_at(&disk).unneeded_files), (vec![], 2));
    // An archive that can't be read could say that they are.
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join(ARCHIVE_FILE), vec![0x5a; 20_000]).unwrap();
    let checked = check(&shared(&disk), Some(place.path()), &mut |_| {});
    assert_eq!((checked.unneeded_files, checked.findings.len(), checked.archived_tasks), (0, 2, None));
}

#[test]
fn every_segment_that_is_not_what_it_should_be_is_found() {
    let disk = filled();
    let mut names: Vec<_> = disk.image().into_keys().filter(|file| segments(file)).collect();
    names.truncate(4);
    let [long, cut, newer, foreign] = &names[..] else { panic!("{names:?}") };
    let whole = disk.image();
    // As if none of them had been made in a hurry.
    let extent = String::from_utf8(whole[EXTENT_FILE].clone()).unwrap();
    let (others, _) = extent.split_once("\"short_segments\"").unwrap();
    disk.replace(EXTENT_FILE, format!("{others}\"short_segments\":[]}}").as_bytes()).unwrap();
    disk.replace(long, &[&whole[long][..], &[0; 4_096]].concat()).unwrap();
    disk.replace(cut, &whole[cut][..40_000]).unwrap();
    // Both in the first block's header: the format's version, and the store's tag.
    disk.flip(newer, 4, 1).unwrap();
    disk.flip(foreign, 56, 1).unwrap();
    let findings = look_at(&disk).findings;
    let found = |file: &str, offset: u64, problem: &str| {
        let is_it = |found: &&Finding| found.file == file && found.problem.contains(problem);
        let finding = findings.iter().find(is_it).unwrap_or_else(|| panic!("{problem}: {findings:?}"));
        assert_eq!(finding.offset, Some(offset), "{finding:?}");
    };
    found(long, 64 << 10, "it has 69632 bytes, and 65536 are expected");
    found(cut, 40_000, "it has 40000 bytes, and 65536 are expected");
    found(newer, 0, "it begins with a block of format 3");
    found(foreign, 0, "it begins with a block of a store whose id begins with");
    // What a start refuses first is none more.
    assert_eq!(findings.iter().filter(|finding| finding.file == *long).count(), 1, "{findings:?}");
}

#[test]
fn a_damaged_snapshot_is_found_once_with_the_frame_that_is_wrong() {
    let disk = filled();
    let file = format!("snapshots/{}", disk.list("snapshots").unwrap()[0]);
    // In the header, and in the first frame's length, checksum, and payload.
    for (at, offset) in [(0, 0), (30, 0), (64, 64), (68, 64), (80, 64)] {
        disk.flip(&file, at, 2).unwrap();
        let findings = look_at(&disk).findings;
        disk.flip(&file, at, 2).unwrap();
        let of_it: Vec<_> = findings.iter().filter(|finding| finding.file == file).collect();
        assert!(matches!(of_it[..], [finding] if finding.offset == Some(offset)), "byte {at}: {findings:?}");
    }
    // A frame that is whole and holds what nobody understands.
    let mut bytes = disk.read(&file).unwrap().to_vec();
    let length = u32::from_le_bytes(*bytes[64..].first_chunk().unwrap());
    bytes[73] = 99;
    let previous = u32::from_le_bytes(*bytes[60..].first_chunk().unwrap());
    let checksum =
        crc32c::crc32c_append(crc32c::crc32c_append(previous, &length.to_le_bytes()), &bytes[72..72 + length as usize]);
    bytes[68..72].copy_from_slice(&checksum.to_le_bytes());
    let end = 72 + length as usize;
    let last = crc32c::crc32c_append(checksum, &[0; 4]);
    bytes[end + 4..end + 8].copy_from_slice(&last.to_le_bytes());
    disk.replace(&file, &bytes).unwrap();
    let findings = look_at(&disk).findings;
    let of_it: Vec<_> = findings.iter().filter(|finding| finding.file == file).collect();
    assert!(
        matches!(of_it[..], [finding] if finding.offset == Some(64) && finding.problem.contains("not understood")),
        "{findings:?}"
    );
}

#[test]
fn a_missing_value_is_told_with_how_many_lie_in_its_segment() {
    let mut world = World::open(&SimulatedDisk::new(3), 0);
    (0..6).for_each(|_| assert!(world.add_job()));
    world.shrink().unwrap();
    world.store.writer.close().unwrap();
    let disk = world.disk;
    // The first job's payloads: those of its two tasks that are queued are needed.
    let blocks = blocks(&disk);
    let (file, offset, _) = blocks.iter().find(|(_, _, length)| *length > 15_000).unwrap();
    let text = "2 values that are needed lie, the first of them there";
    disk.flip(file, offset + 70, 1).unwrap();
    let findings = look_at(&disk).findings;
    let is_it =
        |found: &Finding| found.file == *file && found.problem.contains(text) && found.offset > Some(offset + 10_000);
    assert!(findings.iter().any(is_it), "{findings:?}");
}

#[test]
fn a_store_that_can_not_be_named_says_why() {
    let disk = filled();
    let identity = disk.read(IDENTITY_FILE).unwrap();
    disk.remove(IDENTITY_FILE).unwrap();
    assert!(look_at(&disk).findings[0].problem.starts_with("it is missing"));
    disk.replace(IDENTITY_FILE, &identity[1..]).unwrap();
    let checked = look_at(&disk);
    assert_eq!((checked.findings.len(), checked.findings[0].file.as_str(), checked.store), (1, IDENTITY_FILE, None));
    disk.replace(IDENTITY_FILE, &identity).unwrap();
    disk.cut();
    assert!(look_at(&disk).findings[0].problem.starts_with("it can't be read"));
}

#[test]
fn what_makes_a_start_refuse_is_told_unless_it_is_known_and_the_number_of_findings_is_bounded() {
    let mut ignore = |_| {};
    let mut report = Report::new(&mut ignore);
    report.find("a", Some(5), "known".to_owned());
    report.find("b", None, "known".to_owned());
    let at = |file: &str, offset| OpenError::MissingValue { file: file.to_owned(), offset };
    let all_of = |file: &str| OpenError::Value { source: ValueError::Missing { file: file.to_owned(), length: 1 } };
    for known in [at("a", 5), all_of("a"), at("b", 7), all_of("b")] {
        report.find_refusal(&known);
    }
    assert_eq!(report.count(), 2);
    let failed = BlobError { action: "list", name: "d".to_owned(), source: io::ErrorKind::Other.into() };
    for news in [at("a", 6), at("c", 5), OpenError::Blobs { source: failed }] {
        report.find_refusal(&news);
    }
    (0..1_000).for_each(|number| report.find("e", Some(number), "one of many".to_owned()));
    let (findings, more) = report.take();
    assert_eq!((findings.len(), more), (1_000, 5));
    let places: Vec<_> = findings[2..5].iter().map(|finding| (finding.file.as_str(), finding.offset)).collect();
    assert_eq!(places, [("a", Some(6)), ("c", Some(5)), ("d", None)]);
    assert!(findings[4].problem.starts_with("cannot list the large value d"), "{:?}", findings[4]);
}
