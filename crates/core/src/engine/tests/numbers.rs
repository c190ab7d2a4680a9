//! Numbers are reserved before they are given out.

use super::environment::{Environment, MemoryLog, template};
use crate::{
    ids::{JobNumber, LeaseNumber, TaskNumber},
    record::{Record, Reservation},
};

/// No record gives out a number that was not reserved before it, and what is reserved never becomes less.
pub(super) fn check(log: &MemoryLog) {
    let mut reserved = Reservation::default();
    for (record, _) in &log.0 {
        match record {
            Record::Reserved(more) => {
                assert!(more.leases >= reserved.leases && more.tasks >= reserved.tasks && more.jobs >= reserved.jobs);
                reserved = *more;
            }
            Record::JobOpened { job, .. } => assert!(*job < reserved.jobs),
            Record::Submitted { first_task, payloads, .. } => {
                assert!(first_task.0 + u64::from(payloads.count()) <= reserved.tasks.0);
            }
            Record::Dispatched { first_lease, tasks, .. } => {
                assert!(first_lease.0 + tasks.len() as u64 <= reserved.leases.0);
            }
            _ => {}
        }
    }
}

fn reservations(environment: &Environment) -> Vec<Reservation> {
    let of = |record: &Record| match record {
        Record::Reserved(reservation) => Some(*reservation),
        _ => None,
    };
    environment.log.0.iter().filter_map(|(record, _)| of(record)).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Lease,
    Task,
    Job,
}

/// A manager with a worker, which may give out three more numbers of one kind.
fn with_three_left(kind: Kind) -> Environment {
    let mut environment = Environment::new();
    environment.submit(1, 0, 1, &template(0, 1, 1));
    let worker = environment.enrol(1);
    environment.connect(worker, 1, 100, &[]);
    let state = &mut environment.engine.state;
    let (next, reserved) = (state.next, &mut state.reserved);
    match kind {
        Kind::Lease => reserved.leases = LeaseNumber(next.lease.0 + 3),
        Kind::Task => reserved.tasks = TaskNumber(next.task.0 + 3),
        Kind::Job => reserved.jobs = JobNumber(next.job.0 + 3),
    }
    environment
}

#[test]
fn numbers_are_reserved_in_long_ranges_and_only_when_those_of_one_kind_are_used_up() {
    for kind in [Kind::Lease, Kind::Task, Kind::Job] {
        let mut environment = with_three_left(kind);
        let before = reservations(&environment).len();
        for key in 2..5 {
            environment.submit(key, 0, u32::from(kind != Kind::Job), &template(0, 1, 1));
        }
        assert_eq!(reservations(&environment).len(), before, "{kind:?}: the last of them are given out");
        let next = environment.engine.state.next;
        environment.submit(5, 0, 1, &template(0, 1, 1));
        let after = reservations(&environment);
        assert_eq!(after.len(), before + 1, "{kind:?}: one record for more of each kind");
        let Reservation { leases, tasks, jobs } = after[before];
        assert!(leases.0 - next.lease.0 > 1_000_000 && tasks.0 - next.task.0 > 60_000, "{kind:?}");
        assert!((900..2_000).contains(&(jobs.0 - next.job.0)), "{kind:?}: people see a gap");
    }
}

#[test]
fn more_numbers_than_a_range_has_are_reserved_at_once() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 70_000, &template(0, 1, 1));
    check(&environment.log);
    let reserved = reservations(&environment);
    assert_eq!(reserved.len(), 2, "one for the job, one for its tasks");
    assert!(reserved[1].tasks.0 >= 70_000 + 60_000, "{reserved:?}");
}
