//! Reading an archive that nobody uses.

use std::{collections::BTreeMap, fs};

use super::*;

fn files(place: &Place) -> BTreeMap<std::ffi::OsString, Vec<u8>> {
    let entries = fs::read_dir(place.directory.path()).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn what_was_committed_last_is_read_and_nothing_is_changed_whatever_the_writer_left_behind() {
    let place = Place::new();
    let mut archive = place.open();
    let large = Value::External { file: 77, length: 300_000 };
    let tasks = (0..10)
        .map(|index| ArchivedTask { payload: (index == 3).then(|| large.clone()), ..task(u64::from(index), 1, index) });
    archive.append(&batch(9, 1, tasks)).unwrap();
    // Killed; killed, and copied without what its connections shared; stopped in order.
    let (killed, copied) = (place.copy(), place.copy());
    let shared = format!("{ARCHIVE_FILE}-shm");
    fs::copy(place.directory.path().join(&shared), killed.directory.path().join(&shared)).unwrap();
    drop(archive);
    assert!(files(&killed).len() == 3 && files(&copied).len() == 2 && files(&place).len() == 1);
    for place in [killed, copied, place] {
        let before = files(&place);
        let reader = Reader::open_unused(&place.path()).unwrap();
        let about = About { store: STORE.to_string(), format: ARCHIVE_FORMAT, watermark: RecordNumber(9) };
        assert_eq!(reader.about().unwrap(), about);
        assert_eq!(reader.tasks(JobNumber(1), None, 0, 100).unwrap().tasks.len(), 10);
        assert_eq!(reader.large_values().unwrap(), [(77, 300_000)].into());
        assert_eq!(reader.check().unwrap(), [""; 0]);
        drop(reader);
        assert!(files(&place) == before, "{:?}", files(&place).keys());
        // The next one to write finds everything.
        assert_eq!(place.open().totals().tasks.total(), 10);
    }
}

#[test]
fn a_path_is_taken_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    // Windows has no names with a question mark.
    let path = directory.path().join(if cfg!(windows) { "a#b%20 ü.sqlite" } else { "a?b#c%20 ü.sqlite" });
    Archive::open(&path, STORE, RecordNumber(3)).unwrap();
    assert_eq!(Reader::open_unused(&path).unwrap().about().unwrap().watermark, RecordNumber(3));
    let absent = directory.path().join("absent");
    assert!(Reader::open_unused(&absent).is_err());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}
