//! Files that are no archive of this store, and places where none can be.

use std::fs;

use rusqlite::Connection;

use super::*;

fn refusal(place: &Place) -> ArchiveError {
    Archive::open(&place.path(), STORE, RecordNumber(0)).unwrap_err()
}

/// An archive with a task, closed.
fn filled() -> Place {
    let place = Place::new();
    let mut archive = place.open();
    archive.append(&batch(9, 1, [task(1, 1, 0)].into_iter())).unwrap();
    place
}

#[test]
fn a_file_that_is_no_archive_of_this_store_is_refused_and_left_as_it_is() {
    let place = filled();
    let original = fs::read(place.path()).unwrap();

    let other = Archive::open(&place.path(), StoreId([8; 16]), RecordNumber(0)).unwrap_err();
    assert!(matches!(&other, ArchiveError::OtherStore { found, .. } if *found == STORE.to_string()), "{other}");
    assert!(other.to_string().contains(&place.path().display().to_string()), "{other}");
    assert_eq!(fs::read(place.path()).unwrap(), original);

    let edit = Connection::open(place.path()).unwrap();
    // A newer program may have changed everything else.
    edit.execute_batch("UPDATE meta SET format = 2; ALTER TABLE meta RENAME COLUMN store TO stores").unwrap();
    drop(edit);
    let newer = fs::read(place.path()).unwrap();
    assert!(matches!(refusal(&place), ArchiveError::Newer { found: 2, .. }));
    assert_eq!(fs::read(place.path()).unwrap(), newer);
    assert!(matches!(Reader::open(&place.path()), Err(ArchiveError::Newer { .. })));

    let foreign = Place::new();
    Connection::open(foreign.path()).unwrap().execute_batch("CREATE TABLE meta (format INTEGER)").unwrap();
    let before = fs::read(foreign.path()).unwrap();
    assert!(matches!(refusal(&foreign), ArchiveError::Foreign { .. }));
    assert_eq!(fs::read(foreign.path()).unwrap(), before);
    assert_eq!(fs::read_dir(foreign.directory.path()).unwrap().count(), 1);

    let garbage = Place::new();
    fs::write(garbage.path(), vec![0x5a; 20_000]).unwrap();
    assert!(matches!(refusal(&garbage), ArchiveError::NoDatabase { .. }));
    assert!(refusal(&garbage).is_lasting());
    assert_eq!(fs::read(garbage.path()).unwrap(), vec![0x5a; 20_000]);
}

#[test]
fn a_damaged_archive_is_reported_with_its_path() {
    let place = filled();
    let edit = Connection::open(place.path()).unwrap();
    edit.execute_batch("DELETE FROM meta").unwrap();
    drop(edit);
    let no_meta = refusal(&place);
    assert!(matches!(no_meta, ArchiveError::Damaged { .. }), "{no_meta}");
    assert!(no_meta.is_lasting());

    // What it is and what it holds is written at once: without its tables it is none that was only begun.
    let empty = Place::new();
    Connection::open(empty.path()).unwrap().pragma_update(None, "application_id", 0x544d_4152).unwrap();
    assert!(matches!(refusal(&empty), ArchiveError::Damaged { .. }), "{}", refusal(&empty));

    let place = filled();
    let length = fs::metadata(place.path()).unwrap().len();
    let healthy = place.open().reader().check().unwrap();
    assert_eq!(healthy, Vec::<String>::new());
    // The last pages hold indexes and tables of which the beginning says nothing.
    let mut bytes = fs::read(place.path()).unwrap();
    bytes[length as usize / 2..].fill(0xa5);
    fs::write(place.path(), bytes).unwrap();
    match Archive::open(&place.path(), STORE, RecordNumber(0)) {
        Ok(archive) => match archive.reader().check() {
            Ok(findings) => assert!(!findings.is_empty()),
            Err(error) => assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}"),
        },
        Err(error) => assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}"),
    }

    let place = filled();
    Connection::open(place.path()).unwrap().execute_batch("UPDATE tasks SET state = 3").unwrap();
    let error = place.open().reader().task(task(1, 1, 0).id).unwrap_err();
    assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
}

#[test]
fn a_deleted_archive_is_made_anew_with_the_watermark_that_is_told() {
    let place = filled();
    assert_eq!(place.open().watermark(), RecordNumber(9));
    // A log that outlived its file belongs to nothing.
    let mut archive = place.open();
    archive.append(&batch(10, 2, [task(2, 2, 0)].into_iter())).unwrap();
    let log = fs::read(place.copy().directory.path().join(format!("{ARCHIVE_FILE}-wal"))).unwrap();
    assert!(!log.is_empty());
    drop(archive);
    fs::remove_file(place.path()).unwrap();
    fs::write(place.directory.path().join(format!("{ARCHIVE_FILE}-wal")), log).unwrap();

    let mut archive = Archive::open(&place.path(), STORE, RecordNumber(77)).unwrap();
    assert_eq!(archive.watermark(), RecordNumber(77));
    assert_eq!(archive.totals(), Totals::default());
    assert_eq!(archive.reader().task(task(1, 1, 0).id).unwrap(), None);
    assert_eq!(archive.append(&batch(10, 2, [task(2, 2, 0)].into_iter())).unwrap(), Appended::Known);
    archive.append(&batch(78, 3, [task(3, 3, 0)].into_iter())).unwrap();
    drop(archive);
    let again = Archive::open(&place.path(), STORE, RecordNumber(5)).unwrap();
    assert_eq!(again.watermark(), RecordNumber(78));
    again.check_journal(RecordNumber(78)).unwrap();
    assert!(matches!(again.check_journal(RecordNumber(77)), Err(ArchiveError::Ahead { .. })));
}

#[test]
fn a_process_that_died_while_it_made_the_archive_left_nothing_that_is_in_the_way() {
    let settings = |place: &Place| {
        let connection = Connection::open(place.path()).unwrap();
        let ask = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        (ask("page_size"), ask("auto_vacuum"))
    };
    let usual = settings(&filled());
    assert_eq!(usual, (8192, 2));
    let beginnings = [
        "",
        "PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL",
        "CREATE TABLE gone (a); DROP TABLE gone",
    ];
    for beginning in beginnings {
        let place = Place::new();
        fs::write(place.path(), b"").unwrap();
        Connection::open(place.path()).unwrap().execute_batch(beginning).unwrap();
        let mut archive = place.open();
        archive.append(&batch(1, 1, [task(1, 1, 0)].into_iter())).unwrap();
        // FULL: each commit is synced.
        let synchronous =
            archive.connection.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(synchronous, 2);
        drop(archive);
        assert_eq!(place.open().totals().tasks.succeeded, 1);
        assert_eq!(settings(&place), usual, "{beginning}");
    }
}

#[test]
fn a_place_that_can_not_be_written_is_reported() {
    let absent = Place::new();
    let path = absent.directory.path().join("absent").join(ARCHIVE_FILE);
    let error = Archive::open(&path, STORE, RecordNumber(0)).unwrap_err();
    assert!(matches!(error, ArchiveError::Sqlite { action: "open", .. }) && !error.is_lasting(), "{error}");
    assert!(matches!(Reader::open(&absent.path()), Err(ArchiveError::Sqlite { .. })));

    let place = filled();
    let mut permissions = fs::metadata(place.path()).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(place.path(), permissions).unwrap();
    // Permissions don't bind the superuser.
    if fs::OpenOptions::new().write(true).open(place.path()).is_err() {
        let error = refusal(&place);
        assert!(matches!(error, ArchiveError::ReadOnly { .. }), "{error}");
        assert!(!error.is_lasting());
    }
}

#[test]
fn a_full_disk_costs_no_batch() {
    let place = Place::new();
    let mut archive = place.open();
    let limit = |archive: &Archive, pages: u32| {
        archive.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    };
    archive.append(&batch(1, 1, (0..100).map(|index| task(index.into(), 1, index)))).unwrap();
    let before = archive.totals();
    limit(&archive, 1);
    let large = batch(2, 1, (100..9000).map(|index| task(index.into(), 1, index)));
    let error = archive.append(&large).unwrap_err();
    assert!(matches!(error, ArchiveError::Full { .. }) && !error.is_lasting(), "{error}");
    assert_eq!((archive.watermark(), archive.totals()), (RecordNumber(1), before));
    assert_eq!(archive.reader().totals(None).unwrap(), before);
    limit(&archive, u32::MAX);
    assert_eq!(archive.append(&large).unwrap(), Appended::Added { tasks: 8900 });
    assert_eq!(archive.reader().tasks(JobNumber(1), None, 0, 10_000).unwrap().tasks.len(), 9000);
}
