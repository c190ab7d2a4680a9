//! What is answered about jobs, tasks and workers.

use std::time::Duration;

use super::environment::{CALLER, CLIENT, Environment, assigned, submission, template, values};
use crate::{
    effect::{Effect, Refusal},
    ids::{JobNumber, OwnerNumber, SessionNumber, TaskId, WorkerNumber},
    input::{Input, Named, Resume, Submit},
    labels::Labels,
    query::{Answer, Contact, JobFilter, JobSummary, Query, Status, TaskDetail, TaskSummary, WorkerSummary},
    record::{Caller, Role, SecretHash, WorkerMode},
    task::{Counts, TaskState},
};

const ADMINISTRATOR: Caller = Caller { owner: OwnerNumber(9), admin: true };
const OTHER: Caller = Caller { owner: OwnerNumber(1), admin: false };

fn ask(environment: &mut Environment, caller: Caller, query: Query) -> Result<Answer, Refusal> {
    let input = Input::Query { session: CLIENT, request: 5, caller, query };
    match environment.input(input).remove(0) {
        Effect::Answer { session: CLIENT, request: 5, answer } => Ok(answer),
        Effect::Refused { refusal, .. } => Err(refusal),
        other => panic!("{other:?}"),
    }
}

fn status(environment: &mut Environment, caller: Caller) -> Status {
    match ask(environment, caller, Query::Status) {
        Ok(Answer::Status(status)) => status,
        other => panic!("{other:?}"),
    }
}

fn tasks(environment: &mut Environment, state: Option<TaskState>, from: u32, limit: u32) -> (Vec<u32>, Option<u32>) {
    match ask(environment, CALLER, Query::Tasks { job: JobNumber(1), state, from_index: from, limit }) {
        Ok(Answer::Tasks { tasks, next_index }) => (tasks.iter().map(|task| task.task.index).collect(), next_index),
        other => panic!("{other:?}"),
    }
}

fn detail(environment: &mut Environment, index: u32) -> TaskDetail {
    match ask(environment, CALLER, Query::Task(TaskId { job: JobNumber(1), index })) {
        Ok(Answer::Task(detail)) => *detail,
        other => panic!("{other:?}"),
    }
}

fn counts(some: &[(TaskState, u64)]) -> Counts {
    let mut counts = Counts::default();
    for (state, count) in some {
        counts.add(*state, *count);
    }
    counts
}

#[test]
fn everybody_is_told_how_things_are_with_what_is_his_and_an_administrator_with_all() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 5, &template(0, 1, 1));
    let submit = Submit { template: template(0, 9, 1), ..submission(2, 0, values(3)) };
    environment.input(Input::Submit { session: CLIENT, request: 1, caller: OTHER, submit });
    let workers = [environment.enrol(1), environment.enrol(2), environment.enrol(3)];
    environment.connect(workers[0], 1, 2, &[]);
    environment.input(Input::Window { session: SessionNumber(1), slots: 3 });
    environment.connect(workers[1], 2, 4, &[]);
    environment.connect(workers[2], 3, 7, &[]);
    environment.input(Input::SessionClosed { session: SessionNumber(3) });
    let all = Status {
        tasks: counts(&[(TaskState::Running, 5), (TaskState::Queued, 3)]),
        jobs: 2,
        workers_connected: 2,
        workers_enrolled: 3,
        slots: 6,
        // Three tasks with the first worker, of which two have a slot.
        slots_used: 4,
        open_bytes: 32,
    };
    assert_eq!(status(&mut environment, ADMINISTRATOR), all);
    // The first worker wants a third task, for which it has no slot.
    assert_eq!(environment.engine.free_slots(), 2);
    let drain = Input::SetWorker { session: CLIENT, request: 2, worker: workers[1], mode: WorkerMode::Draining };
    environment.input(drain);
    assert_eq!(environment.engine.free_slots(), 0);
    let mine = Status { tasks: counts(&[(TaskState::Running, 5)]), jobs: 1, ..all.clone() };
    assert_eq!(status(&mut environment, CALLER), mine);
    let his = Status { tasks: counts(&[(TaskState::Queued, 3)]), jobs: 1, ..all };
    assert_eq!(status(&mut environment, OTHER), his);
}

#[test]
fn jobs_are_told_with_all_that_people_know_of_them() {
    let mut environment = Environment::new();
    // It makes the first owner.
    environment.input(Input::CreateToken {
        session: CLIENT,
        request: 1,
        role: Role::Client,
        label: String::new(),
        owner: "ann".to_owned(),
        expires_in: None,
        hash: SecretHash([1; 32]),
    });
    let opened = environment.now.wall;
    let labels = Labels::from([("a".to_owned(), "b".to_owned())]);
    let name = "nightly".to_owned();
    environment.send(Submit { name, labels: labels.clone(), ..submission(1, 0, values(2)) });
    environment.pass(Duration::from_secs(9));
    environment.close(1);
    let list = |environment: &mut Environment, caller, limit| match ask(
        environment,
        caller,
        Query::Jobs { before: None, limit, filter: JobFilter::default() },
    ) {
        Ok(Answer::Jobs { jobs, .. }) => jobs,
        other => panic!("{other:?}"),
    };
    let expected = JobSummary {
        job: JobNumber(1),
        name: "nightly".to_owned(),
        owner: "ann".to_owned(),
        tasks: 2,
        closed: true,
        counts: counts(&[(TaskState::Queued, 2)]),
        opened,
        labels,
    };
    assert_eq!(list(&mut environment, CALLER, 9), std::slice::from_ref(&expected));
    assert_eq!(list(&mut environment, ADMINISTRATOR, 0), [expected], "at least one");
    assert!(list(&mut environment, OTHER, 9).is_empty());
    for key in 2..=254 {
        for owner in 0..4 {
            let caller = Caller { owner: OwnerNumber(owner), admin: false };
            let submit = submission(key, 0, values(0));
            let input = Input::Submit { session: CLIENT, request: 1, caller, submit };
            environment.engine.handle(environment.now, input, &mut environment.log);
        }
    }
    environment.turn();
    assert_eq!(list(&mut environment, ADMINISTRATOR, 5_000).len(), 1_000, "at most a page");
}

#[test]
fn tasks_are_listed_by_index_and_state_page_by_page() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 7, &template(0, 1, 1));
    for index in [1, 4, 5] {
        let named = Named::Task(TaskId { job: JobNumber(1), index });
        environment.input(Input::Cancel { session: CLIENT, request: 1, caller: CALLER, named });
    }
    assert_eq!(tasks(&mut environment, None, 0, 10), ((0..7).collect(), None));
    assert_eq!(tasks(&mut environment, None, 0, 7), ((0..7).collect(), None));
    assert_eq!(tasks(&mut environment, None, 0, 3), (vec![0, 1, 2], Some(3)));
    assert_eq!(tasks(&mut environment, None, 3, 0), (vec![3], Some(4)), "at least one");
    assert_eq!(tasks(&mut environment, None, 7, 3), (vec![], None));
    assert_eq!(tasks(&mut environment, None, u32::MAX, 3), (vec![], None));
    let cancelled = Some(TaskState::Cancelled);
    assert_eq!(tasks(&mut environment, cancelled, 0, 2), (vec![1, 4], Some(5)));
    assert_eq!(tasks(&mut environment, cancelled, 5, 2), (vec![5], None));
    assert_eq!(tasks(&mut environment, Some(TaskState::Failed), 0, 2), (vec![], None));
    environment.submit(1, 7, 1_000, &template(0, 1, 1));
    let (page, next) = tasks(&mut environment, None, 0, 5_000);
    assert_eq!((page.len(), next), (1_000, Some(1_000)), "at most a page");
    let tasks_of = |job| Query::Tasks { job: JobNumber(job), state: None, from_index: 0, limit: 5 };
    for (caller, job) in [(OTHER, 1), (CALLER, 2)] {
        assert!(matches!(ask(&mut environment, caller, tasks_of(job)), Err(Refusal::NotFound(_))));
    }
}

#[test]
fn a_task_is_told_with_all_that_happened_to_it() {
    let mut environment = Environment::new();
    let three = template(0, 1, 3);
    let name = "nightly".to_owned();
    environment.send(Submit { name: name.clone(), template: three.clone(), ..submission(1, 0, values(3)) });
    let opened = environment.now.wall;
    let worker = environment.enrol(1);
    let given = assigned(&environment.connect_as(worker, 1, 1, 2, &[]));
    environment.input(Input::Started { session: SessionNumber(1), leases: vec![given[0].1] });
    let summary = TaskSummary {
        task: TaskId { job: JobNumber(1), index: 0 },
        state: TaskState::Running,
        attempts: 1,
        failures: 0,
        worker: Some("worker-1".to_owned()),
        started: true,
        cancelling: false,
        crashes: 0,
        has_outcome: false,
    };
    let expected = TaskDetail { summary, template: three, payload_bytes: 4, job_name: name, opened };
    assert_eq!(detail(&mut environment, 0), expected);
    let at = |environment: &mut Environment, index| detail(environment, index).summary;
    assert!(!at(&mut environment, 1).started);
    let waits = at(&mut environment, 2);
    assert_eq!((waits.state, waits.attempts, waits.worker), (TaskState::Queued, 0, None));
    environment.report(1, &[(given[1].1, false)]);
    let failed = at(&mut environment, 1);
    assert_eq!((failed.state, failed.failures, failed.worker), (TaskState::Scheduled, 1, None));
    let named = Named::Job(JobNumber(1));
    environment.input(Input::Cancel { session: CLIENT, request: 1, caller: CALLER, named });
    assert!(at(&mut environment, 0).cancelling);
    environment.report(1, &[(given[0].1, true)]);
    let cancelled = at(&mut environment, 0);
    assert_eq!((cancelled.state, cancelled.cancelling, cancelled.has_outcome), (TaskState::Cancelled, false, false));

    environment.input(Input::SessionClosed { session: SessionNumber(1) });
    environment.submit(2, 0, 1, &template(0, 1, 1));
    let task = TaskId { job: JobNumber(2), index: 0 };
    for incarnation in 2..4 {
        let given = assigned(&environment.connect_as(worker, incarnation, incarnation, 2, &[]));
        let leases = given.iter().map(|(_, lease, _)| *lease).collect();
        environment.input(Input::Started { session: SessionNumber(incarnation), leases });
        environment.input(Input::SessionClosed { session: SessionNumber(incarnation) });
    }
    let given = assigned(&environment.connect_as(worker, 4, 4, 2, &[]));
    let of = |environment: &mut Environment| match ask(environment, CALLER, Query::Task(task)) {
        Ok(Answer::Task(detail)) => detail.summary,
        other => panic!("{other:?}"),
    };
    assert_eq!((of(&mut environment).crashes, of(&mut environment).attempts), (2, 3));
    environment.report(4, &[(given[0].1, true)]);
    assert!(of(&mut environment).has_outcome);
    for (caller, index) in [(CALLER, 1), (OTHER, 0)] {
        let query = Query::Task(TaskId { index, ..task });
        assert!(matches!(ask(&mut environment, caller, query), Err(Refusal::NotFound(_))));
    }
}

#[test]
fn workers_are_told_as_they_were_when_they_were_there_last_and_removed_ones_are_not() {
    let mut environment = Environment::new();
    let enrolled = environment.now.wall;
    for secret in 1..=4 {
        environment.enrol(secret);
    }
    environment.submit(1, 0, 3, &template(0, 2, 1));
    let resume = |name: &str| Resume {
        slots: 5,
        window: 5,
        commands: true,
        name: name.to_owned(),
        software: "worker 1.2".to_owned(),
        address: "[::1]:5".to_owned(),
        ..Resume::default()
    };
    for (worker, name) in [(0, "fast"), (1, "")] {
        let input =
            Input::Resume { session: SessionNumber(worker), worker: WorkerNumber(worker as u32), resume: resume(name) };
        environment.input(input);
    }
    environment.input(Input::SessionClosed { session: SessionNumber(1) });
    let mode = WorkerMode::Paused;
    environment.input(Input::SetWorker { session: CLIENT, request: 1, worker: WorkerNumber(2), mode });
    environment.input(Input::RemoveWorker { session: CLIENT, request: 1, worker: WorkerNumber(3) });
    let Ok(Answer::Workers(workers)) = ask(&mut environment, CALLER, Query::Workers) else { panic!() };
    let first = WorkerSummary {
        worker: WorkerNumber(0),
        name: "fast".to_owned(),
        connected: true,
        slots: 5,
        slots_used: 4,
        leases: 2,
        software: "worker 1.2".to_owned(),
        address: "[::1]:5".to_owned(),
        enrolled,
        mode: WorkerMode::Active,
        contact: Contact::Connected,
        heard: Some(Duration::ZERO),
        connected_for: Some(Duration::ZERO),
    };
    let name = "worker-2".to_owned();
    let worker = WorkerNumber(1);
    let second = WorkerSummary {
        worker,
        name,
        connected: false,
        slots_used: 2,
        leases: 1,
        contact: Contact::Silent,
        connected_for: None,
        ..first.clone()
    };
    let third = WorkerSummary {
        worker: WorkerNumber(2),
        name: "worker-3".to_owned(),
        connected: false,
        slots: 0,
        slots_used: 0,
        leases: 0,
        software: String::new(),
        address: String::new(),
        enrolled,
        mode: WorkerMode::Paused,
        contact: Contact::Gone,
        heard: None,
        connected_for: None,
    };
    assert_eq!(workers, [first, second, third]);
}

#[test]
fn a_worker_is_silent_until_its_grace_is_over_and_then_gone_and_when_it_was_heard_stays_known() {
    let seconds = Duration::from_secs;
    let mut environment = Environment::new();
    let worker = environment.enrol(1);
    let known = |environment: &mut Environment| match ask(environment, CALLER, Query::Workers) {
        Ok(Answer::Workers(workers)) => {
            let WorkerSummary { contact, heard, connected_for, ref address, .. } = workers[0];
            (contact, heard, connected_for, address.clone())
        }
        other => panic!("{other:?}"),
    };
    let resume = || Resume { slots: 1, window: 1, commands: true, address: "[::1]:5".to_owned(), ..Resume::default() };
    let session = SessionNumber(1);
    environment.input(Input::Resume { session, worker, resume: resume() });
    environment.pass(seconds(7));
    environment.input(Input::Heard { session });
    environment.pass(seconds(3));
    let address = || "[::1]:5".to_owned();
    assert_eq!(known(&mut environment), (Contact::Connected, Some(seconds(3)), Some(seconds(10)), address()));
    environment.input(Input::SessionClosed { session });
    environment.pass(seconds(5));
    assert_eq!(known(&mut environment), (Contact::Silent, Some(seconds(8)), None, address()));
    environment.pass(seconds(60));
    assert_eq!(known(&mut environment), (Contact::Gone, Some(seconds(68)), None, address()));
    environment.input(Input::Resume { session: SessionNumber(2), worker, resume: resume() });
    let now = Some(Duration::ZERO);
    assert_eq!(known(&mut environment), (Contact::Connected, now, now, address()));

    // What a process hears is not told by the next one.
    environment.submit(1, 0, 1, &template(0, 1, 1));
    environment.restart();
    environment.pass(seconds(5));
    assert_eq!(known(&mut environment), (Contact::Silent, None, None, String::new()));
    environment.pass(seconds(60));
    assert_eq!(known(&mut environment), (Contact::Gone, None, None, String::new()));
}
