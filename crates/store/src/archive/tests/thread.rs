//! The archive's thread.

use std::{
    sync::mpsc::{self, Receiver},
    time::Instant,
};

use rusqlite::Connection;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn start(archive: Archive) -> (ArchiveThread, Receiver<Event>) {
    let (sender, events) = mpsc::channel();
    // Whoever is no longer interested may be gone.
    let on_event = Box::new(move |event| drop(sender.send(event)));
    (ArchiveThread::spawn(archive, on_event).unwrap(), events)
}

/// The next event that `what` finds something in.
fn wait_for<T>(events: &Receiver<Event>, what: impl Fn(&Event) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = events.recv_timeout(left).expect("it happens in time");
        if let Some(found) = what(&event) {
            return found;
        }
    }
}

fn durable(event: &Event) -> Option<RecordNumber> {
    match event {
        Event::Durable { watermark, .. } => Some(*watermark),
        _ => None,
    }
}

fn retained(event: &Event) -> Option<Totals> {
    match event {
        Event::Retained { totals } => Some(*totals),
        _ => None,
    }
}

fn numbered(number: u64) -> Batch {
    batch(number, 1, [task(number, 1, number as u32)].into_iter())
}

/// Hands a batch over, however long the queue is.
fn append(thread: &ArchiveThread, batch: Batch) {
    let deadline = Instant::now() + PATIENCE;
    let mut batch = batch;
    while let Err(error) = thread.append(batch) {
        let AppendError::Busy { batch: again } = error else { panic!("{error}") };
        batch = *again;
        assert!(Instant::now() < deadline, "there is room in time");
        std::thread::yield_now();
    }
}

#[test]
fn batches_go_in_in_order_and_a_stop_waits_for_them() {
    let place = Place::new();
    let (thread, events) = start(place.open());
    for number in 1..=20 {
        append(&thread, numbered(number));
    }
    assert_eq!(thread.stop().unwrap(), RecordNumber(20));
    // Nothing else is worth telling.
    let watermarks: Vec<_> = events.iter().map(|event| durable(&event)).collect();
    assert_eq!(watermarks, (1..=20).map(|number| Some(RecordNumber(number))).collect::<Vec<_>>());
    assert_eq!(place.open().totals().tasks.succeeded, 20);
}

#[test]
fn what_fails_is_kept_and_tried_again_until_it_works() {
    let place = Place::new();
    let (thread, events) = start(place.open());
    append(&thread, numbered(1));
    wait_for(&events, durable);
    let other = Connection::open(place.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for number in 2..=5 {
        append(&thread, numbered(number));
    }
    let (attempts, text) = wait_for(&events, |event| match event {
        Event::Failing { error, attempts, .. } => Some((*attempts, error.to_string())),
        _ => None,
    });
    assert_eq!(attempts, 1);
    assert!(text.contains("locked"), "{text}");
    let status = thread.status();
    assert_eq!((status.waiting, status.ended), (4, false));
    assert_eq!(status.failing.unwrap().1, text);
    // One is in its hands and three wait: there is room for one more.
    append(&thread, numbered(6));
    assert!(
        matches!(thread.append(numbered(7)), Err(AppendError::Busy { batch }) if batch.watermark == RecordNumber(7))
    );

    other.execute_batch("COMMIT").unwrap();
    wait_for(&events, |event| matches!(event, Event::Recovered).then_some(()));
    wait_for(&events, |event| durable(event).filter(|watermark| *watermark == RecordNumber(6)));
    assert_eq!(thread.status(), ThreadStatus { waiting: 0, failing: None, ended: false });
    assert_eq!(thread.stop().unwrap(), RecordNumber(6));
    assert_eq!(place.open().totals().tasks.succeeded, 6);
}

#[test]
fn what_fails_is_tried_again_later_and_later() {
    let place = Place::new();
    let archive = place.open();
    archive.connection.busy_timeout(Duration::ZERO).unwrap();
    let other = Connection::open(place.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (sender, events) = mpsc::channel();
    let on_event = Box::new(move |event| drop(sender.send((Instant::now(), event))));
    let thread = ArchiveThread::spawn(archive, on_event).unwrap();
    append(&thread, numbered(1));
    let failures: Vec<_> = (0..4).map(|_| events.recv_timeout(PATIENCE).unwrap()).collect();
    for (index, pair) in (1..).zip(failures.windows(2)) {
        let [(first, Event::Failing { attempts, retry_after, .. }), (second, _)] = pair else { panic!("{pair:?}") };
        assert_eq!((*attempts, *retry_after), (index, Duration::from_millis(50 << index)));
        assert!(*second - *first >= *retry_after);
    }
    drop(other);
}

#[test]
fn a_stop_while_it_fails_says_so_and_leaves_the_rest_to_the_journal() {
    let place = Place::new();
    let (thread, events) = start(place.open());
    append(&thread, numbered(1));
    wait_for(&events, durable);
    let other = Connection::open(place.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    append(&thread, numbered(2));
    append(&thread, numbered(3));
    wait_for(&events, |event| matches!(event, Event::Failing { .. }).then_some(()));
    let error = thread.stop().unwrap_err();
    assert!(matches!(error, ArchiveError::Busy { .. }), "{error}");
    drop(other);
    assert_eq!(place.open().watermark(), RecordNumber(1));
}

#[test]
fn dropping_it_ends_it_and_leaves_what_waits_to_the_journal() {
    let place = Place::new();
    let (thread, events) = start(place.open());
    append(&thread, numbered(1));
    wait_for(&events, durable);
    let other = Connection::open(place.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    (2..5).for_each(|number| append(&thread, numbered(number)));
    wait_for(&events, |event| matches!(event, Event::Failing { .. }).then_some(()));
    other.execute_batch("COMMIT").unwrap();
    drop(thread);
    // Whoever it told is told no more, and the file is free.
    let ended = std::iter::repeat_with(|| events.try_recv()).find_map(Result::err);
    assert_eq!(ended, Some(mpsc::TryRecvError::Disconnected));
    assert!([1, 2].contains(&place.open().watermark().0));
}

#[test]
fn what_can_never_work_ends_the_thread() {
    let place = Place::new();
    let (thread, events) = start(place.open());
    append(&thread, numbered(1));
    append(&thread, Batch { jobs: Vec::new(), ..batch(2, 8, [task(2, 8, 0)].into_iter()) });
    let deadline = Instant::now() + PATIENCE;
    while !thread.status().ended {
        assert!(Instant::now() < deadline, "it ends in time");
        std::thread::yield_now();
    }
    assert!(matches!(thread.append(numbered(3)), Err(AppendError::Ended)));
    assert!(matches!(thread.stop(), Err(ArchiveError::NoJob { job: JobNumber(8), .. })));
    assert_eq!(wait_for(&events, durable), RecordNumber(1));
    assert_eq!(place.open().watermark(), RecordNumber(1));
}

#[test]
fn purged_old_and_excess_tasks_go_and_the_file_gets_small_again() {
    let place = Place::new();
    let (thread, events) = start(place.open());
    // Job 1 is purged, of job 2 a third is old; of the rest, all delivered, a thousand may stay. Rows of 4 KiB.
    let large = |number: u64, job| ArchivedTask {
        delivered: true,
        outcome: Some(Value::Inline(Bytes::from(vec![1; 4000]))),
        payload: number.is_multiple_of(100).then_some(Value::External { file: number, length: 300_000 }),
        ..task(number, job, number as u32)
    };
    append(&thread, batch(1, 1, (0..3_000).map(|number| large(number, 1))));
    append(&thread, batch(2, 2, (3_000..9_000).map(|number| large(number, 2))));
    let anything = Retention { older_than: None, tasks: u64::MAX, bytes: u64::MAX };
    thread.retain(anything);
    let totals = wait_for(&events, retained);
    assert_eq!((totals.tasks.succeeded, totals.jobs), (9_000, 2));
    let full = place.bytes();
    append(&thread, Batch { watermark: RecordNumber(3), purged: vec![JobNumber(1)], ..Batch::default() });
    let purged = wait_for(&events, |event| match event {
        Event::Removed { removed, .. } => Some(removed.clone()),
        _ => None,
    });
    assert_eq!((purged.tasks, purged.files.len()), (3_000, 30));
    thread.retain(Retention { older_than: Some(WallTime(1_000 + 5_000)), tasks: 1_000, bytes: u64::MAX });
    let mut files = purged.files;
    let totals = loop {
        let event = events.recv_timeout(PATIENCE).unwrap();
        match event {
            Event::Removed { removed, .. } => files.extend(removed.files),
            Event::Retained { totals } => break totals,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((totals.tasks.succeeded, totals.jobs), (1_000, 1));
    files.sort_unstable();
    assert_eq!(files, (0..8_000).step_by(100).collect::<Vec<_>>());
    let deadline = Instant::now() + PATIENCE;
    // 16 MiB may stay unused.
    while place.bytes() > 24 << 20 {
        assert!(Instant::now() < deadline, "{} of {full}", place.bytes());
        std::thread::yield_now();
    }
    assert!(full > 36 << 20);
    assert_eq!(thread.stop().unwrap(), RecordNumber(3));
    let archive = place.open();
    assert_eq!(archive.reader().tasks(JobNumber(2), None, 0, 1).unwrap().tasks[0].number, TaskNumber(8_000));
    assert_eq!(archive.reader().files().unwrap().len(), 10);
}
