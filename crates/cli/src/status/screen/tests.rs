//! Whole screens, as they look.

use task_messenger_client::{
    QueueStatus, Rates, Readiness, StoreStatus, Totals, WorkerContact, WorkerMode, WorkerSummary,
};

use super::*;

/// 2026-11-03 08:00:00 in UTC.
const NOW: u64 = 1_793_692_800_000;

fn shape(width: usize, height: usize) -> Shape {
    Shape { width: Some(width), height, coloured: false, zone: TimeZone::UTC }
}

fn status() -> Status {
    Status {
        software: "task-messenger-manager 0.1.0".to_owned(),
        durability: "strict".to_owned(),
        uptime_milliseconds: 3 * 86_400_000 + 4 * 3_600_000,
        tasks: Some(Counts {
            waiting: 0,
            scheduled: 5,
            queued: 1_234_567,
            running: 5,
            succeeded: 12_345_678,
            failed: 17,
            cancelled: 3,
            expired: 0,
        }),
        jobs: 12,
        workers_connected: 4,
        workers_enrolled: 7,
        slots: 14,
        slots_used: 5,
        queued_bytes: 3 << 29,
        readiness: Some(Readiness { ready: true, troubles: Vec::new() }),
        queue: Some(QueueStatus {
            tasks: 1_234_577,
            bytes: 3 << 29,
            limit_tasks: 20_000_000,
            limit_bytes: 16 << 30,
            oldest_milliseconds: Some(184_000),
        }),
        rates: Some(Rates { submitted: 1_203.44, ended: 0.0 }),
        totals: Some(Totals { submitted: 9, ended: 8, leases: 7, retried: 40, leases_lost: 3 }),
        storage: Some(StoreStatus {
            disk_free_bytes: 41 << 30,
            disk_reserve_bytes: 256 << 20,
            disk_reserve_wanted_bytes: 256 << 20,
            journal_bytes: 128 << 20,
            archive_tasks: 12_345_678,
            archive_bytes: 2 << 30,
            archive_lag_tasks: 0,
        }),
        ..Status::default()
    }
}

fn worker(number: u32, name: &str, contact: WorkerContact, mode: WorkerMode, heard: Option<u64>) -> WorkerSummary {
    WorkerSummary {
        worker: number,
        name: name.to_owned(),
        connected: contact == WorkerContact::Connected,
        slots: 4,
        software: "task-messenger-worker 0.1.0".to_owned(),
        address: format!("10.0.0.{number}:51000"),
        mode: mode.into(),
        contact: contact.into(),
        last_heard_milliseconds: heard,
        ..WorkerSummary::default()
    }
}

fn fleet() -> Vec<WorkerSummary> {
    use WorkerContact::{Connected, Gone, Silent};
    use WorkerMode::{Active, Draining, Paused};
    let mut fleet = vec![
        worker(0, "rack-2", Connected, Active, Some(900)),
        worker(1, "rack-1", Connected, Active, Some(2_000)),
        worker(2, "scrapped", Gone, Draining, None),
        worker(3, "attic", Gone, Active, Some(240_000)),
        worker(4, "rack-3", Connected, Paused, Some(1_000)),
        worker(5, "laptop", Silent, Active, Some(12_000)),
        worker(6, "rack-4", Connected, Draining, Some(1_000)),
    ];
    fleet[1].slots_used = 2;
    // It holds more than it runs.
    fleet[5].slots_used = 6;
    fleet[6].slots_used = 3;
    fleet[6].leases = 3;
    fleet[2].slots = 0;
    fleet[3].slots = 0;
    fleet
}

fn screen(status: Status, workers: Vec<WorkerSummary>, shape: &Shape) -> String {
    let lines = render(&Picture { status, workers, taken_milliseconds: NOW }, &[], shape);
    assert!(shape.width.is_none_or(|width| lines.iter().all(|line| measure_text_width(line) <= width)), "{lines:#?}");
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

#[test]
fn a_screen_shows_everything_within_80_columns_and_those_in_trouble_first() {
    let expected = "\
manager   READY, task-messenger-manager 0.1.0, durability strict
          up since 2026-10-31 04:00:00 (3 d 4 h)
queue     1,234,567 queued, 5 running, 5 scheduled
          1,234,577 of 20,000,000 tasks (6.2%), 1.5 GiB of 16.0 GiB (9.4%)
          the oldest queued one has waited for 3 min 4 s
rates     1,203 submitted/s, 0.0 ended/s
finished  12,345,678 succeeded, 3 cancelled, 0 expired; 12 jobs
failed    17 dead letters: task-messenger list --state failed
          since the start: 40 tried again, 3 leases lost
store     41.0 GiB free on the disk, reserve 256.0 MiB of 256.0 MiB
          journal 128.0 MiB; archive 12,345,678 tasks in 2.0 GiB, 0 behind
workers   4 of 7 connected, 5 of 14 slots used

NAME      STATE          SLOTS      VERSION  ADDRESS         LAST HEARD
laptop    silent         ##### 4/4  0.1.0    10.0.0.5:51000  12 s ago
attic     gone           -          0.1.0    10.0.0.3:51000  4 min 0 s ago
rack-3    paused         ..... 0/4  0.1.0    10.0.0.4:51000  1 s ago
rack-4    draining       ####. 3/4  0.1.0    10.0.0.6:51000  1 s ago
rack-1    active         ###.. 2/4  0.1.0    10.0.0.1:51000  2 s ago
rack-2    active         ..... 0/4  0.1.0    10.0.0.0:51000  now
scrapped  gone, drained  -          0.1.0    10.0.0.2:51000  not since start
";
    assert_eq!(screen(status(), fleet(), &shape(80, 24)), expected);
}

#[test]
fn a_manager_that_is_not_ready_says_why_and_what_to_do() {
    let trouble = |name: &str, required, detail: &str, advice: &str| Trouble {
        name: name.to_owned(),
        required,
        since_milliseconds: NOW - 60_000,
        detail: detail.to_owned(),
        advice: advice.to_owned(),
    };
    let disk = "make room on the disk of the state directory, or lower disk.reserve";
    let troubles = vec![
        trouble("disk", true, "12.0 MiB are free", disk),
        trouble("configuration", false, "the file was changed\u{1b}[2J", ""),
    ];
    let status = Status {
        readiness: Some(Readiness { ready: false, troubles }),
        queue: Some(QueueStatus { tasks: 95, limit_tasks: 100, limit_bytes: 1 << 30, ..QueueStatus::default() }),
        tasks: Some(Counts { waiting: 95, failed: 1, succeeded: 12_345_678, cancelled: 3, ..Counts::default() }),
        totals: None,
        ..status()
    };
    let expected = "\
manager   NOT READY, task-messenger-manager 0.1.0, durability strict
          disk since 2026-11-03 07:59:00: 12.0 MiB are free
          what to do: make room on the disk of the state directory, or lower
          disk.reserve
          configuration since 2026-11-03 07:59:00: the file was changed [2J
          up since 2026-10-31 04:00:00 (3 d 4 h)
queue     0 queued, 0 running, 95 waiting for others
          95 of 100 tasks (95.0%), 0 B of 1.0 GiB (0.0%)
rates     1,203 submitted/s, 0.0 ended/s
finished  12,345,678 succeeded, 3 cancelled, 0 expired; 12 jobs
failed    1 dead letter: task-messenger list --state failed
";
    let shown = screen(status.clone(), Vec::new(), &shape(80, 24));
    assert!(shown.starts_with(expected), "{shown}");
    assert!(shown.ends_with("makes the\n          token that one joins with\n"), "{shown}");
    let coloured = Shape { coloured: true, ..shape(80, 24) };
    let shown = screen(status, Vec::new(), &coloured);
    assert!(shown.contains("\u{1b}[31m\u{1b}[1mNOT READY\u{1b}[0m"), "{shown:?}");
    assert!(shown.contains("\u{1b}[31m\u{1b}[1m95.0%\u{1b}[0m"), "{shown:?}");
}

#[test]
fn what_does_not_fit_a_narrow_screen_is_wrapped_cut_or_left_out() {
    let mut fleet = fleet();
    fleet[0].name = "a-machine-with-quite-a-long-name.example.org".to_owned();
    fleet[1].address = "[2001:db8:1234:5678:9abc:def0:1234:5678]:51000".to_owned();
    let expected = "\
NAME       STATE          SLOTS      VERSION  ADDRESS    LAST HEARD
laptop     silent         ##### 4/4  0.1.0    10.0.0.5…  12 s ago
";
    let shown = screen(status(), fleet.clone(), &shape(72, 40));
    assert!(shown.contains("a-machin…  active"), "{shown}");
    assert!(shown.contains(expected), "{shown}");
    let shown = screen(status(), fleet.clone(), &shape(40, 40));
    assert!(shown.contains("\nNAME      STATE          SLOTS      LAS…"), "{shown}");
    assert!(shown.contains("\n          up since 2026-10-31 04:00:00\n          (3 d 4 h)\n"), "{shown}");
    for width in 1..40 {
        screen(status(), fleet.clone(), &shape(width, 40));
    }
    // Nothing is lost for whoever reads lines.
    let shown = screen(status(), fleet, &Shape { zone: TimeZone::UTC, ..Shape::plain() });
    assert!(shown.contains("a-machine-with-quite-a-long-name.example.org  active"), "{shown}");
    assert!(shown.contains("[2001:db8:1234:5678:9abc:def0:1234:5678]:51000"), "{shown}");
}

#[test]
fn of_many_workers_those_in_trouble_are_shown_and_the_others_are_counted() {
    use WorkerContact::{Connected, Gone};
    let mut workers: Vec<WorkerSummary> = (0..1_500)
        .map(|number| worker(number, &format!("w{number}"), Connected, WorkerMode::Active, Some(0)))
        .collect();
    workers.push(worker(2_000, "lost-earlier", Gone, WorkerMode::Active, Some(90_000)));
    workers.push(worker(2_001, "never-seen", Gone, WorkerMode::Active, None));
    workers.push(worker(2_002, "lost-lately", Gone, WorkerMode::Active, Some(80_000)));
    let shown = screen(status(), workers.clone(), &shape(80, 24));
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 24);
    let names: Vec<&str> = lines[14..19].iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["lost-lately", "lost-earlier", "never-seen", "w0", "w1"]);
    assert_eq!(lines[23], "… and 1,494 more (task-messenger workers)");
    // However low the screen is, one is shown.
    let shown = screen(status(), workers, &shape(80, 3));
    assert!(
        shown.ends_with("… and 1,502 more (task-messenger workers)\n") && shown.contains("\nlost-lately"),
        "{shown}"
    );
}

#[test]
fn of_an_older_manager_is_shown_what_it_says() {
    let status = Status { readiness: None, queue: None, rates: None, totals: None, storage: None, ..status() };
    let older = WorkerSummary { contact: 0, ..worker(1, "one", WorkerContact::Connected, WorkerMode::Active, None) };
    let expected = "\
manager   task-messenger-manager 0.1.0, durability strict
          up since 2026-10-31 04:00:00 (3 d 4 h)
queue     1,234,567 queued, 5 running, 5 scheduled
          payloads: 1.5 GiB
finished  12,345,678 succeeded, 3 cancelled, 0 expired; 12 jobs
failed    17 dead letters: task-messenger list --state failed
workers   4 of 1 connected, 5 of 14 slots used

NAME  STATE   SLOTS      VERSION  ADDRESS         LAST HEARD
one   active  ..... 0/4  0.1.0    10.0.0.1:51000  ?
";
    assert_eq!(screen(status, vec![older], &shape(80, 24)), expected);
}
