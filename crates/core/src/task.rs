//! The table of all tasks: dense chunks found by number, one small entry a task.

use std::collections::VecDeque;

use crate::ids::{LeaseNumber, Place, TaskNumber, TemplateNumber};

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TaskState {
    /// For other tasks to end.
    Waiting = 1,
    /// Not before a time: after a failure, for its backoff.
    Scheduled = 2,
    /// For a worker.
    Queued = 3,
    /// Under a lease.
    Running = 4,
    /// Done. Final.
    Succeeded = 5,
    /// Its attempts are used up: a dead letter. Final.
    Failed = 6,
    /// Final.
    Cancelled = 7,
    /// Not started before its deadline. Final.
    Expired = 8,
}

impl TaskState {
    /// All of them, in the order of [`Counts`].
    pub const ALL: [Self; 8] = [
        Self::Waiting,
        Self::Scheduled,
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// Whether it is an end.
    pub fn is_final(self) -> bool {
        self >= Self::Succeeded
    }
}

/// How many tasks are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; 8]);

impl Counts {
    /// How many are in `state`.
    pub fn get(&self, state: TaskState) -> u64 {
        self.0[state as usize - 1]
    }

    /// How many are not at an end.
    pub fn open(&self) -> u64 {
        TaskState::ALL.iter().filter(|state| !state.is_final()).map(|state| self.get(*state)).sum()
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn add(&mut self, state: TaskState, count: u64) {
        self.0[state as usize - 1] += count;
    }

    pub(crate) fn transition(&mut self, from: TaskState, to: TaskState) {
        self.0[from as usize - 1] -= 1;
        self.0[to as usize - 1] += 1;
    }
}

/// What is kept of a task: 40 bytes, so that a million queued tasks fit into 40 MB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Where its payload lies.
    pub payload: Place,
    /// By state: the current or last lease, or where the outcome lies.
    detail: u64,
    /// The job's position in the job table.
    pub job: u32,
    /// Its index in the job.
    pub index: u32,
    /// What it shares with others.
    pub template: TemplateNumber,
    /// How often it was handed out.
    pub attempts: u32,
    /// The payload's length in bytes.
    pub payload_length: u32,
    /// How many failures were charged to it.
    pub failures: u16,
    state: Option<TaskState>,
}

impl Task {
    pub(crate) fn queued(payload: Place, payload_length: u32, job: u32, index: u32, template: TemplateNumber) -> Self {
        Self {
            payload,
            detail: 0,
            job,
            index,
            template,
            attempts: 0,
            payload_length,
            failures: 0,
            state: Some(TaskState::Queued),
        }
    }

    const VACANT: Self = Self {
        payload: Place(0),
        detail: 0,
        job: 0,
        index: 0,
        template: TemplateNumber(0),
        attempts: 0,
        payload_length: 0,
        failures: 0,
        state: None,
    };

    /// Where it is in its life.
    pub fn state(&self) -> TaskState {
        self.state.unwrap_or(TaskState::Expired)
    }

    pub(crate) fn set_state(&mut self, state: TaskState) {
        self.state = Some(state);
    }

    /// The current lease of a running task, the last one of a task that waits again.
    pub fn lease(&self) -> Option<LeaseNumber> {
        (!self.state().is_final() && self.detail != 0).then_some(LeaseNumber(self.detail))
    }

    pub(crate) fn set_lease(&mut self, lease: LeaseNumber) {
        self.detail = lease.0;
    }

    /// Where the outcome of a task at its end lies.
    pub fn outcome(&self) -> Option<Place> {
        matches!(self.state(), TaskState::Succeeded | TaskState::Failed).then_some(Place(self.detail))
    }

    pub(crate) fn set_outcome(&mut self, place: Place) {
        self.detail = place.0;
    }
}

/// Tasks to a chunk.
const CHUNK: u64 = 1024;

/// All tasks by number.
#[derive(Debug, Default)]
pub struct TaskTable {
    /// `None` where a range of numbers was skipped.
    chunks: VecDeque<Option<Box<[Task]>>>,
}

impl TaskTable {
    /// The task with this number.
    pub fn get(&self, number: TaskNumber) -> Option<&Task> {
        let chunk = self.chunks.get((number.0 / CHUNK) as usize)?.as_ref()?;
        chunk.get((number.0 % CHUNK) as usize).filter(|task| task.state.is_some())
    }

    /// The task with this number, to be changed.
    pub(crate) fn get_mut(&mut self, number: TaskNumber) -> Option<&mut Task> {
        let chunk = self.chunks.get_mut((number.0 / CHUNK) as usize)?.as_mut()?;
        chunk.get_mut((number.0 % CHUNK) as usize).filter(|task| task.state.is_some())
    }

    pub(crate) fn insert(&mut self, number: TaskNumber, task: Task) {
        let chunk = (number.0 / CHUNK) as usize;
        if chunk >= self.chunks.len() {
            self.chunks.resize_with(chunk + 1, || None);
        }
        let chunk = self.chunks[chunk].get_or_insert_with(|| vec![Task::VACANT; CHUNK as usize].into_boxed_slice());
        chunk[(number.0 % CHUNK) as usize] = task;
    }

    /// All tasks in order.
    pub fn iter(&self) -> impl Iterator<Item = (TaskNumber, &Task)> {
        self.chunks
            .iter()
            .enumerate()
            .flat_map(|(chunk, tasks)| {
                tasks.iter().flat_map(move |tasks| {
                    tasks.iter().enumerate().map(move |(at, task)| (TaskNumber(chunk as u64 * CHUNK + at as u64), task))
                })
            })
            .filter(|(_, task)| task.state.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_forty_bytes() {
        assert_eq!(size_of::<Task>(), 40);
    }

    #[test]
    fn tasks_are_found_across_gaps() {
        let mut table = TaskTable::default();
        for number in [0, 1, CHUNK - 1, CHUNK * 5 + 3] {
            table.insert(TaskNumber(number), Task::queued(Place(number), 1, 0, number as u32, TemplateNumber(0)));
        }
        assert_eq!(table.iter().map(|(number, task)| (number.0, task.payload.0)).filter(|(a, b)| a == b).count(), 4);
        assert!(table.get(TaskNumber(2)).is_none());
        assert!(table.get(TaskNumber(CHUNK * 3)).is_none());
        assert!(table.get(TaskNumber(CHUNK * 9)).is_none());
    }
}
