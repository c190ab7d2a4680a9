//! A state that was written down as a whole and read again is the state that it was.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    environment::{Environment, template},
    history::{History, Restart},
    numbers,
};
use crate::{
    access::Access,
    archived::ArchivedJob,
    ids::{JobNumber, LeaseNumber, OwnerNumber, Place, TaskId, TaskNumber, TemplateNumber, WorkerNumber},
    image::{Numbers, Part},
    job::Job,
    record::{Idempotency, JobKey, ValueOf, WorkerMode},
    state::{LargeValue, Silenced, State, TimedRuns},
    task::{Care, Counts, Task, TaskState},
    template::Template,
    templates::Class,
    time::WallTime,
    values::Value,
};

/// All that a state says.
#[derive(Debug, PartialEq)]
struct Picture {
    numbers: Numbers,
    access: Access,
    templates: (BTreeMap<TemplateNumber, (Arc<Template>, Class)>, u64),
    jobs: Vec<Job>,
    /// Without their positions, which may differ: the jobs instead.
    tasks: Vec<(TaskNumber, JobNumber, Task)>,
    /// With the classes' needs: their numbers may differ.
    queue: Vec<(TaskNumber, i32, Class, Care)>,
    queued: (u64, u64),
    leases: BTreeMap<LeaseNumber, (TaskNumber, WorkerNumber)>,
    silenced: BTreeMap<LeaseNumber, Silenced>,
    backing_off: BTreeMap<TaskNumber, u64>,
    times: [TimedRuns; 2],
    counts: Counts,
    open_bytes: u64,
    keys: Vec<(Idempotency, JobNumber, WallTime)>,
    large_values: BTreeMap<Place, LargeValue>,
    archived: Vec<(WallTime, OwnerNumber, JobKey, ArchivedJob)>,
    over: VecDeque<(WallTime, JobNumber)>,
}

impl Picture {
    fn of(state: &State) -> Self {
        let job_of = |task: &Task| state.jobs.at(task.job).unwrap().number;
        for job in state.jobs.iter() {
            assert_eq!(state.jobs.position_of_key(job.owner, job.key), state.jobs.position(job.number));
        }
        let mut ready = state.ready.clone();
        let queue = std::iter::from_fn(|| {
            ready.next(&state.tasks, |_, _| true).inspect(|(task, lane)| ready.take(*lane, *task))
        });
        let needs = |class| state.templates.needs(class).unwrap().clone();
        let queue = queue.map(|(task, (priority, class, care))| (task, priority, needs(class), care));
        let class = |number| needs(state.templates.class(number));
        let templates = state.templates.iter().map(|(at, template)| (at, (template.clone(), class(at)))).collect();
        Self {
            numbers: state.numbers(),
            access: state.access.clone(),
            templates: (templates, state.templates.bytes()),
            jobs: state.jobs.iter().cloned().collect(),
            tasks: state.tasks.iter().map(|(at, task)| (at, job_of(task), Task { job: 0, ..*task })).collect(),
            queue: queue.collect(),
            queued: (state.ready.count(), state.ready.count_alone()),
            leases: state.leases.iter().map(|(number, lease)| (*number, (lease.task, lease.worker))).collect(),
            silenced: state.silenced.iter().map(|(number, silenced)| (*number, *silenced)).collect(),
            backing_off: state.backing_off.iter().map(|(task, wait)| (*task, *wait)).collect(),
            times: [state.delayed.clone(), state.deadlines.clone()],
            counts: state.counts,
            open_bytes: state.open_bytes,
            keys: state.keys.iter().collect(),
            large_values: state.large_values.clone(),
            archived: state.archived.iter().collect(),
            over: state.over.clone(),
        }
    }
}

/// What a history came by, so that it is known to have come by everything.
fn came_by(state: &State) -> BTreeSet<&'static str> {
    let mut seen = BTreeSet::new();
    for (_, task) in state.tasks.iter() {
        let running = task.state() == TaskState::Running;
        let scheduled = task.state() == TaskState::Scheduled;
        let failed = task.state() == TaskState::Failed;
        let found = [
            (scheduled && task.failures > 0, "a backoff"),
            (scheduled && task.failures == 0, "a delay"),
            (task.state() == TaskState::Queued, "a queued task"),
            (running && task.is_cancelling(), "a cancelled task that runs"),
            (running && task.is_overdue(), "a task that runs past its deadline"),
            (running && task.care() == Care::Apart, "a task apart"),
            (running && task.care() == Care::Alone, "a task alone"),
            (task.state() == TaskState::Succeeded, "a task that succeeded"),
            (failed && task.outcome().is_some(), "a dead letter"),
            (failed && task.outcome().is_none(), "a dead letter of a killer"),
            (task.state() == TaskState::Cancelled, "a cancelled task"),
            (task.state() == TaskState::Expired, "an expired task"),
        ];
        seen.extend(found.into_iter().filter(|(is, _)| *is).map(|(_, what)| what));
    }
    let workers = || state.access.workers().map(|(_, worker)| worker);
    let found = [
        (!state.silenced.is_empty(), "a silenced lease"),
        (!state.deadlines.is_empty(), "a deadline"),
        (!state.keys.is_empty(), "an idempotency key"),
        (!state.large_values.is_empty(), "a large value"),
        (!state.archived.is_empty(), "an archived job"),
        (!state.over.is_empty(), "a job that is over"),
        (state.access.tokens().any(|(_, token)| token.revoked.is_some()), "a revoked token"),
        (workers().any(|worker| worker.removed.is_some()), "a removed worker"),
        (workers().any(|worker| worker.mode == WorkerMode::Draining), "a drained worker"),
        (state.numbers().weak, "a weak durability"),
        (state.jobs.iter().any(|job| job.runs.len() > 1), "a job in several runs"),
    ];
    seen.extend(found.into_iter().filter(|(is, _)| *is).map(|(_, what)| what));
    seen
}

const EVERYTHING: usize = 23;

fn restored(environment: &Environment) -> State {
    let mut state = State::default();
    for part in environment.engine.image().parts() {
        state.restore(part);
    }
    state
}

/// Every value that is needed lies where the task says, and no file is kept or dropped that should not be.
fn check_values(history: &History) {
    let state = history.environment.engine.state();
    let mut large = BTreeMap::new();
    for needed in history.environment.engine.image().values() {
        let task = state.tasks.get(needed.task).unwrap();
        let job = state.jobs.at(task.job).unwrap();
        let value = history.read(needed.place);
        match needed.value_of {
            ValueOf::Payload => assert!(history.is_payload(&value, job.key, task.index), "{value:?}"),
            ValueOf::Outcome => {
                assert_eq!(history.task_of(&value), TaskId { job: job.number, index: task.index });
            }
        }
        if let Value::External { file, length } = value {
            large.insert(needed.place, LargeValue { file, length });
        }
    }
    assert_eq!(state.large_values, large);
    let places: BTreeSet<Place> = history.environment.engine.image().values().map(|needed| needed.place).collect();
    assert_eq!(state.places().collect::<BTreeSet<_>>(), places);
    let files: BTreeSet<u64> = large.values().map(|value| value.file).collect();
    assert_eq!(history.live_files, files);
}

#[test]
fn a_manager_that_starts_from_a_snapshot_is_the_one_that_replays_every_record() {
    let mut seen = BTreeSet::new();
    for seed in [1, 2] {
        let histories = [Restart::Replay, Restart::Snapshot].map(|restart| {
            let mut history = History::new(seed, restart);
            for step in 0..700 {
                history.step();
                if step % 20 == 0 {
                    seen.extend(came_by(history.environment.engine.state()));
                    check_values(&history);
                    let picture = Picture::of(history.environment.engine.state());
                    let restored = restored(&history.environment);
                    assert_eq!(Picture::of(&restored), picture, "seed {seed}, step {step}");
                    let again = restored.image().parts().collect::<Vec<_>>();
                    let parts = history.environment.engine.image().parts().collect::<Vec<_>>();
                    assert_eq!(again, parts, "seed {seed}, step {step}");
                }
            }
            history
        });
        let [replayed, snapshot] = histories.map(|history| history.environment);
        assert_eq!(Picture::of(replayed.engine.state()), Picture::of(snapshot.engine.state()));
        assert_eq!(replayed.log.0, snapshot.log.0, "they decided the same");
        numbers::check(&replayed.log);
    }
    assert_eq!(seen.len(), EVERYTHING, "it came by {seen:?}");
}

#[test]
fn no_part_of_a_snapshot_has_more_than_1024_of_anything() {
    let mut environment = Environment::new();
    environment.submit(1, 0, 2_050, &template(0, 1, 1));
    let worker = environment.enrol(1);
    environment.connect(worker, 1, 2_049, &[]);
    let (mut tasks, mut leases) = (Vec::new(), Vec::new());
    for part in environment.engine.image().parts() {
        match part {
            Part::Tasks { tasks: some, .. } => tasks.push(some.len()),
            Part::Leases(some) => leases.push(some.len()),
            _ => {}
        }
    }
    assert_eq!((tasks, leases), (vec![1_024, 1_024, 2], vec![1_024, 1_024, 1]));
}
