//! What must never be the case is found when it is.

use super::environment::{Environment, assigned, template};
use crate::{
    engine::Engine,
    ids::{LeaseNumber, SessionNumber, TaskNumber, WorkerNumber},
    state::{Lease, Silenced},
    task::{Care, Task, TaskState},
    templates::ClassNumber,
};

const WORKER: WorkerNumber = WorkerNumber(0);
const RUNNING: [TaskNumber; 2] = [TaskNumber(1), TaskNumber(2)];
const SCHEDULED: TaskNumber = TaskNumber(0);
const QUEUED: TaskNumber = TaskNumber(3);

/// A task that waits to be tried again, two that run with one worker, and two that are queued; and a job that is over.
fn busy() -> Engine {
    let mut environment = Environment::new();
    environment.submit(1, 0, 5, &template(0, 1, 3));
    environment.close(2);
    let worker = environment.enrol(1);
    let given = assigned(&environment.connect(worker, 1, 2, &[]));
    environment.report(1, &[(given[0].1, false)]);
    let states: Vec<_> = environment.engine.state.tasks.iter().map(|(_, task)| task.state()).collect();
    let expected = [TaskState::Scheduled, TaskState::Running, TaskState::Running, TaskState::Queued, TaskState::Queued];
    assert_eq!(states, expected);
    environment.engine
}

fn task(engine: &mut Engine, number: TaskNumber) -> &mut Task {
    engine.state.tasks.get_mut(number).unwrap()
}

fn lease_of(engine: &Engine, number: TaskNumber) -> LeaseNumber {
    engine.state.tasks.get(number).unwrap().lease().unwrap()
}

/// A defect, and what is said of it.
type Damage = (fn(&mut Engine), &'static str);

const DAMAGES: &[Damage] = &[
    (|engine| engine.state.counts.add(TaskState::Queued, 1), "counts are"),
    (|engine| engine.state.open_bytes += 1, "open bytes are"),
    (|engine| engine.state.templates.hold(crate::ids::TemplateNumber(0), 1), "templates have"),
    (|engine| engine.state.ready.left((0, ClassNumber(0), Care::None), 1), "are in the queue"),
    (|engine| engine.state.jobs.at_mut(0).unwrap().counts.add(TaskState::Failed, 1), "job 1 counts"),
    (|engine| engine.state.jobs.at_mut(0).unwrap().next_index += 1, "job 1 misses tasks"),
    (|engine| engine.state.jobs.at_mut(0).unwrap().ended = Some(crate::time::WallTime(0)), "job 1 is over"),
    (|engine| engine.state.jobs.at_mut(1).unwrap().ended = None, "job 2 is over"),
    (|engine| engine.state.over.clear(), "job 2 is over and not in the list"),
    (|engine| engine.state.next.task = TaskNumber(4), "task 4 exists though"),
    (|engine| task(engine, QUEUED).index = 9, "task 3 is not found under its name"),
    (|engine| task(engine, SCHEDULED).failures = 4, "has 4 failures of 3"),
    (|engine| task(engine, QUEUED).set_state(TaskState::Failed), "dead letter after 0 failures"),
    (|engine| task(engine, QUEUED).failures = 1, "failed more often than it ran"),
    (|engine| task(engine, RUNNING[0]).set_state(TaskState::Queued), "its lease"),
    (|engine| task(engine, QUEUED).set_state(TaskState::Running), "its lease"),
    (|engine| engine.state.backing_off.clear(), "scheduled for no time"),
    (|engine| _ = engine.state.backing_off.insert(QUEUED, 5), "has a backoff and is"),
    (|engine| task(engine, QUEUED).mark_cancelling(), "was cancelled and is"),
    (
        |engine| {
            task(engine, QUEUED).count_crash();
            task(engine, QUEUED).count_crash();
        },
        "0 in the queue are to run alone, tasks say 1",
    ),
    (|engine| _ = engine.state.leases.insert(LeaseNumber(1), Lease::new(QUEUED, WORKER, None)), "3 leases for 2"),
    (|engine| engine.state.next.lease = LeaseNumber(3), "lease 3 exists though"),
    (
        |engine| {
            let silenced = Silenced { task: RUNNING[0], worker: WORKER, counted: false };
            engine.state.silenced.insert(lease_of(engine, RUNNING[0]), silenced);
        },
        "the silenced lease",
    ),
    (
        |engine| {
            let silenced = Silenced { task: QUEUED, worker: WORKER, counted: false };
            engine.state.silenced.insert(LeaseNumber(1), silenced);
        },
        "the silenced lease",
    ),
    (|engine| engine.backoffs.remove(SCHEDULED), "timers and backoffs differ"),
    (
        |engine| {
            engine.backoffs.remove(SCHEDULED);
            engine.backoffs.insert(std::time::Duration::ZERO, QUEUED);
        },
        "timers and backoffs differ",
    ),
    (|engine| engine.presences.get_mut(&WORKER).unwrap().used += 1, "is said to hold"),
    (|engine| engine.presences.get_mut(&WORKER).unwrap().leases -= 1, "is said to hold"),
    (|engine| task(engine, RUNNING[0]).count_crash(), "is said to hold"),
    (
        |engine| {
            for number in RUNNING {
                task(engine, number).count_crash();
            }
            engine.presences.get_mut(&WORKER).unwrap().apart = 2;
        },
        "has 2 tasks that were to be kept apart",
    ),
    (
        |engine| {
            task(engine, RUNNING[0]).count_crash();
            task(engine, RUNNING[0]).count_crash();
            engine.presences.get_mut(&WORKER).unwrap().alone = 1;
        },
        "has 2 tasks, and one was to run alone",
    ),
    (|engine| _ = engine.roomy.insert(WORKER), "has room: false"),
    (|engine| drop(engine.presences.remove(&WORKER)), "leases of workers that nobody watches"),
    (|engine| _ = engine.sessions.insert(SessionNumber(9), WORKER), "session 9 is not worker 0's"),
];

#[test]
fn each_defect_of_the_state_is_found() {
    assert_eq!(busy().check_invariants(), Ok(()));
    for (damage, said) in DAMAGES {
        let mut engine = busy();
        damage(&mut engine);
        let violation = engine.check_invariants().expect_err(said).to_string();
        assert!(violation.contains(said), "{violation:?} instead of {said:?}");
    }
}

/// A connected worker, and nothing to do.
fn at_rest() -> Environment {
    let mut environment = Environment::new();
    environment.submit(1, 0, 1, &template(0, 1, 3));
    let worker = environment.enrol(1);
    let given = assigned(&environment.connect_as(worker, 1, 1, 2, &[]));
    assert!(environment.engine.check_at_rest().unwrap_err().to_string().contains("1 tasks are open"));
    environment.report(1, &[(given[0].1, true)]);
    environment
}

const UNREST: &[Damage] = &[
    (|engine| engine.state.counts.add(TaskState::Queued, 1), "1 tasks are open"),
    (|engine| engine.state.open_bytes += 1, "open tasks have 1 bytes"),
    (
        |engine| {
            let silenced = Silenced { task: QUEUED, worker: WORKER, counted: false };
            engine.state.silenced.insert(LeaseNumber(1), silenced);
        },
        "silenced leases",
    ),
    (|engine| _ = engine.state.backing_off.insert(QUEUED, 5), "wait to be tried again"),
    (|engine| engine.backoffs.insert(std::time::Duration::ZERO, QUEUED), "wait to be tried again"),
    (|engine| engine.vacating = Some(WORKER), "is kept free"),
    (|engine| engine.presences.get_mut(&WORKER).unwrap().session = None, "watched that are not there"),
    (|engine| engine.sessions.clear(), "sessions and workers differ"),
];

#[test]
fn what_is_left_when_all_is_done_is_found() {
    assert_eq!(at_rest().engine.check_at_rest(), Ok(()));
    for (damage, said) in UNREST {
        let mut engine = at_rest().engine;
        damage(&mut engine);
        let violation = engine.check_at_rest().expect_err(said).to_string();
        assert!(violation.contains(said), "{violation:?} instead of {said:?}");
    }
    let mut environment = at_rest();
    environment.connect_as(WORKER, 2, 2, 1, &[]);
    assert!(environment.engine.check_at_rest().unwrap_err().to_string().contains("1 newcomers wait"));
}
