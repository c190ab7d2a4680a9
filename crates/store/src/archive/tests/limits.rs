//! What is bounded, what is refused, and what people and other threads see.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rusqlite::Connection;

use super::*;

const MANY: u32 = 25_000;

/// One job with tasks numbered as their indexes, put in as the manager would.
fn filled(place: &Place) -> Archive {
    let mut archive = place.open();
    for (watermark, first) in (0..MANY).step_by(10_000).enumerate() {
        let last = MANY.min(first + 10_000);
        let tasks = (first..last).map(|index| task(index.into(), 1, index));
        archive.append(&batch(watermark as u64 + 1, 1, tasks)).unwrap();
    }
    archive
}

fn deliver(archive: &mut Archive, first_index: u32, last_index: u32) {
    let delivered = vec![Delivered { job: JobNumber(1), first_index, last_index }];
    archive.append(&Batch { watermark: RecordNumber(9), delivered, ..Batch::default() }).unwrap();
}

/// How many tasks each step removes.
fn steps(mut remove: impl FnMut() -> Removed) -> Vec<u64> {
    let mut steps = Vec::new();
    loop {
        let removed = remove();
        steps.push(removed.tasks);
        assert!(steps.len() < 100, "it comes to an end");
        if !removed.more {
            return steps;
        }
    }
}

#[test]
fn removals_are_cut_into_steps_and_take_the_first_delivered_ones() {
    let place = Place::new();
    let mut archive = filled(&place);
    assert_eq!(steps(|| archive.shrink_to(0, 0).unwrap()), [0], "nothing was delivered");
    deliver(&mut archive, 5, u32::MAX);
    assert_eq!(steps(|| archive.shrink_to(9_000, u64::MAX).unwrap()), [10_000, 6_000]);
    let kept = archive.reader().tasks(JobNumber(1), None, 0, 7).unwrap();
    let indexes: Vec<_> = kept.tasks.iter().map(|task| task.id.index).collect();
    assert_eq!(indexes, [0, 1, 2, 3, 4, 16_005, 16_006]);
    // Each has 15 bytes.
    assert_eq!(steps(|| archive.shrink_to(u64::MAX, 15 * 8_000).unwrap()), [1_000]);
    assert_eq!(archive.totals().bytes, 15 * 8_000);
    assert_eq!(steps(|| archive.shrink_to(0, 0).unwrap()), [7_995]);
    assert_eq!(steps(|| archive.shrink_to(0, 0).unwrap()), [0], "what was not delivered stays");

    let place = Place::new();
    let mut archive = filled(&place);
    // Task 19,999 and those before it ended before this.
    assert_eq!(steps(|| archive.remove_older_than(WallTime(21_000)).unwrap()), [10_000, 10_000]);
    let purge = Batch { watermark: RecordNumber(9), purged: vec![JobNumber(1)], ..Batch::default() };
    archive.append(&purge).unwrap();
    assert_eq!(archive.reader().job(JobNumber(1)).unwrap(), None);
    assert_eq!(steps(|| archive.remove_purged().unwrap()), [5_000]);
    assert_eq!(archive.totals(), Totals::default());
}

#[test]
fn large_values_make_the_steps_smaller() {
    let place = Place::new();
    let mut archive = place.open();
    let large = |index: u32| ArchivedTask {
        outcome: Some(Value::External { file: index.into(), length: TRANSACTION_BYTES / 4 }),
        ..task(index.into(), 1, index)
    };
    archive.append(&batch(1, 1, (0..10).map(large))).unwrap();
    assert_eq!(steps(|| archive.remove_older_than(WallTime(u64::MAX)).unwrap()), [4, 4, 2]);
}

#[test]
fn times_that_jump_keep_nothing_for_ever() {
    let place = Place::new();
    let mut archive = place.open();
    // For a while the clock was years ahead.
    let at = |index: u32| if (100..200).contains(&index) { 1 << 40 } else { 1_000 + u64::from(index) };
    let tasks = (0..20_000).map(|index| ArchivedTask { finished: WallTime(at(index)), ..task(index.into(), 1, index) });
    archive.append(&batch(1, 1, tasks)).unwrap();
    let removed: u64 = steps(|| archive.remove_older_than(WallTime(1 << 30)).unwrap()).iter().sum();
    assert_eq!(removed, 19_900);
    // What was looked through isn't looked at again before it is time.
    let question = "SELECT count(*) FROM spans WHERE oldest < 1 << 30";
    assert_eq!(archive.connection.query_row(question, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    assert_eq!(archive.totals().tasks.succeeded, 100);
}

#[test]
fn the_file_gets_small_again() {
    let place = Place::new();
    let mut archive = filled(&place);
    archive.carry_over().unwrap();
    let full = place.bytes();
    assert!(full > 1_500_000, "{full}");
    steps(|| archive.remove_older_than(WallTime(25_000)).unwrap());
    let mut unused = u64::MAX;
    while unused > 0 {
        let left = archive.vacuum_some(100).unwrap();
        assert!(left == 0 || left < unused && left + 100 <= unused);
        unused = left;
    }
    archive.carry_over().unwrap();
    assert!(place.bytes() < full / 5, "{} of {full}", place.bytes());
    assert_eq!(archive.totals().tasks.succeeded, 1_000);
    assert_eq!(archive.reader().tasks(JobNumber(1), None, 0, MANY).unwrap().tasks.len(), 1_000);
    assert_eq!(archive.reader().check().unwrap(), Vec::<String>::new());
}

#[test]
fn a_log_that_readers_let_grow_is_emptied() {
    let place = Place::new();
    let mut archive = place.open();
    archive.append(&batch(1, 1, [task(0, 1, 0)].into_iter())).unwrap();
    let slow = Connection::open(place.path()).unwrap();
    let reading = slow.unchecked_transaction().unwrap();
    let count = |connection: &Connection| -> u32 {
        connection.query_row("SELECT count(*) FROM tasks", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count(&reading), 1);
    archive.append(&batch(2, 1, (1..9_000).map(|index| task(index.into(), 1, index)))).unwrap();
    assert_eq!(count(&reading), 1, "it sees what it saw");
    assert!(archive.log.length() > 500_000);
    assert!(!archive.carry_over().unwrap());
    drop(reading);
    archive.log.too_long = 500_000;
    archive.append(&batch(3, 1, [task(9_000, 1, 9_000)].into_iter())).unwrap();
    assert_eq!(archive.log.length(), 0);
    assert_eq!(count(&slow), 9_001);
}

#[test]
fn a_batch_that_does_not_fit_leaves_nothing_behind() {
    let place = Place::new();
    let mut archive = place.open();
    archive.append(&batch(1, 1, [task(1, 1, 0)].into_iter())).unwrap();
    let good = batch(2, 1, [task(2, 1, 1)].into_iter());
    let mut refuse = |change: &dyn Fn(&mut Batch)| {
        let mut bad = good.clone();
        change(&mut bad);
        let error = archive.append(&bad).unwrap_err();
        assert!(error.is_lasting(), "{error}");
        assert_eq!(archive.watermark(), RecordNumber(1));
        assert_eq!(archive.reader().totals(None).unwrap().tasks.succeeded, 1);
        error
    };
    let no_job = refuse(&|batch| batch.tasks[0].id.job = JobNumber(5));
    assert!(matches!(no_job, ArchiveError::NoJob { job: JobNumber(5), .. }));
    let no_template = refuse(&|batch| batch.tasks[0].template = TemplateNumber(5));
    assert!(matches!(no_template, ArchiveError::NoTemplate { template: TemplateNumber(5), .. }));
    let running = refuse(&|batch| batch.tasks[0].state = TaskState::Running);
    assert!(matches!(running, ArchiveError::NotFinal { task: TaskNumber(2), .. }));
    let too_large = refuse(&|batch| batch.tasks[0].number = TaskNumber(1 << 63));
    assert!(matches!(too_large, ArchiveError::OutOfRange { .. }));
    let same_name = refuse(&|batch| batch.tasks[0].id.index = 0);
    assert!(matches!(same_name, ArchiveError::Sqlite { action: "append to", .. }));
    assert_eq!(archive.append(&good).unwrap(), Appended::Added { tasks: 1 });
}

#[test]
fn a_record_may_be_cut_into_batches_and_is_repeated_after_a_crash() {
    let place = Place::new();
    let mut archive = place.open();
    archive.append(&batch(7, 1, [task(1, 1, 0)].into_iter())).unwrap();
    // Record 8 ends more tasks than a batch should have.
    let (first, second) = (batch(7, 1, [task(2, 1, 1)].into_iter()), batch(8, 1, [task(3, 1, 2)].into_iter()));
    assert_eq!(archive.append(&first).unwrap(), Appended::Added { tasks: 1 });
    let mut restarted = place.copy().open();
    assert_eq!(restarted.watermark(), RecordNumber(7));
    assert_eq!(restarted.append(&first).unwrap(), Appended::Added { tasks: 0 });
    assert_eq!(restarted.append(&second).unwrap(), Appended::Added { tasks: 1 });
    assert_eq!(restarted.append(&first).unwrap(), Appended::Known);
    assert_eq!(restarted.totals().tasks.succeeded, 3);
}

#[test]
fn threads_read_whole_batches_while_another_writes() {
    let place = Place::new();
    let mut archive = place.open();
    archive.append(&batch(1, 1, [].into_iter())).unwrap();
    let reader = archive.reader();
    let written = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..12)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = BTreeSet::new();
                    while !written.load(Ordering::Relaxed) {
                        let results = reader.results(JobNumber(1), 0, u32::MAX, u64::MAX).unwrap().tasks.len();
                        assert_eq!(results % 500, 0);
                        let job = reader.job(JobNumber(1)).unwrap().unwrap();
                        assert!(job.kept.is_multiple_of(500) && job.kept >= results as u64);
                        seen.insert(job.kept);
                    }
                    seen.len()
                })
            })
            .collect();
        for first in (0..10_000).step_by(500) {
            let tasks = (first..first + 500).map(|index| task(index.into(), 1, index));
            archive.append(&batch(u64::from(first) + 2, 1, tasks)).unwrap();
        }
        written.store(true, Ordering::Relaxed);
        let seen: usize = readers.into_iter().map(|reader| reader.join().unwrap()).max().unwrap();
        assert!(seen > 1, "it was read while it was written");
    });
}

#[test]
fn a_page_of_results_ends_with_the_one_that_reaches_the_limit_of_bytes() {
    let place = Place::new();
    let mut archive = place.open();
    archive.append(&batch(1, 1, (0..4).map(|index| task(index.into(), 1, index)))).unwrap();
    // Ten bytes each.
    for (bytes_max, expected) in [(1, 1), (10, 1), (11, 2), (20, 2), (40, 4), (u64::MAX, 4)] {
        let page = archive.reader().results(JobNumber(1), 0, 100, bytes_max).unwrap();
        assert_eq!((page.tasks.len(), page.next_index.is_some()), (expected, expected < 4), "{bytes_max}");
    }
}

#[test]
fn other_tools_see_words_and_times() {
    let place = Place::new();
    let mut archive = place.open();
    let failed = ArchivedTask { state: TaskState::Failed, template: TemplateNumber(1), ..task(5, 1, 3) };
    let mut given = batch(1, 1, [failed].into_iter());
    given.templates.push(template(1));
    archive.append(&given).unwrap();
    let tool = Connection::open(place.path()).unwrap();
    let row: String = tool
        .query_row(
            "SELECT concat_ws(' ', name, state, kind, program, submitted, finished, payload_bytes, cast(outcome AS TEXT))
             FROM task_list",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(row, "1.3 failed skill skill-1 1970-01-01T00:00:00.505Z 1970-01-01T00:00:01.005Z 5 the output");
    let row: String = tool
        .query_row("SELECT concat_ws(' ', job, owner, name, labels, opened, ended, kept) FROM job_list", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(row, "1 owner-1 Job 1 {\"label 0\":\"\\\"1\\\"\"} 1970-01-01T00:00:01.000Z 1");
}
