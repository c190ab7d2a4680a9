//! The table of all tasks: dense chunks found by number, one small entry a task.

use std::{collections::VecDeque, sync::Arc};

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

    /// What it is called, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Whether it is an end.
    pub fn is_final(self) -> bool {
        self >= Self::Succeeded
    }
}

/// How many tasks are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; 8]);

impl From<[u64; 8]> for Counts {
    /// In the order of [`TaskState::ALL`].
    fn from(counts: [u64; 8]) -> Self {
        Self(counts)
    }
}

impl Counts {
    /// How many are in `state`.
    pub fn get(&self, state: TaskState) -> u64 {
        self.0[state as usize - 1]
    }

    /// How many are not at an end.
    pub fn open(&self) -> u64 {
        TaskState::ALL.iter().filter(|state| !state.is_final()).map(|state| self.get(*state)).sum()
    }

    /// In the order of [`TaskState::ALL`].
    pub fn as_array(&self) -> [u64; 8] {
        self.0
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Counts some more.
    pub fn add(&mut self, state: TaskState, count: u64) {
        self.0[state as usize - 1] += count;
    }

    pub(crate) fn subtract(&mut self, state: TaskState, count: u64) {
        self.0[state as usize - 1] -= count;
    }

    pub(crate) fn transition(&mut self, from: TaskState, to: TaskState) {
        self.move_many(from, to, 1);
    }

    pub(crate) fn move_many(&mut self, from: TaskState, to: TaskState, count: u64) {
        self.0[from as usize - 1] -= count;
        self.0[to as usize - 1] += count;
    }
}

/// What is kept of a task: 40 bytes, so that a million queued tasks fit into 40 MB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Where its payload lies.
    pub payload: Place,
    /// By state: the current or last lease, or where the outcome lies; 0 for neither.
    pub detail: u64,
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
    /// Where it is in its life; `None` where no task is.
    pub state: Option<TaskState>,
    /// How many workers died while it ran, at most 2; 4 if it was cancelled while it ran; 8 if its deadline passed then.
    pub marks: u8,
}

/// How carefully a task is placed: workers have died while it ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Care {
    /// No worker died with it: it goes anywhere.
    #[default]
    None,
    /// One did: it shares no worker with another such task.
    Apart,
    /// Two did: it runs alone.
    Alone,
}

/// The bits of [`Task::marks`]: two for crashes, one each for what else was said of the task.
const CRASHES: u8 = 0b11;
const CANCELLING: u8 = 0b100;
const OVERDUE: u8 = 0b1000;

impl Task {
    pub(crate) fn new(
        state: TaskState,
        payload: Place,
        payload_length: u32,
        job: u32,
        index: u32,
        template: TemplateNumber,
    ) -> Self {
        Self {
            payload,
            detail: 0,
            job,
            index,
            template,
            attempts: 0,
            payload_length,
            failures: 0,
            state: Some(state),
            marks: 0,
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
        marks: 0,
    };

    /// Where it is in its life.
    pub fn state(&self) -> TaskState {
        self.state.unwrap_or(TaskState::Expired)
    }

    /// Whether it is at its end.
    pub(crate) fn is_over(&self) -> bool {
        self.state().is_final()
    }

    pub(crate) fn set_state(&mut self, state: TaskState) {
        self.state = Some(state);
    }

    /// The current lease of a running task, the last one of a task that waits again.
    pub fn lease(&self) -> Option<LeaseNumber> {
        (!self.state().is_final() && self.detail != 0).then_some(LeaseNumber(self.detail))
    }

    /// The last lease of a task that waits again, also when it has just been set to an end.
    pub(crate) fn lease_of_waiting(&self) -> Option<LeaseNumber> {
        (self.detail != 0 && self.outcome().is_none()).then_some(LeaseNumber(self.detail))
    }

    pub(crate) fn set_lease(&mut self, lease: LeaseNumber) {
        self.detail = lease.0;
    }

    /// Where the payload lies, if it may be needed again: a task that succeeded is done with it.
    pub fn needed_payload(&self) -> Option<Place> {
        (self.state() != TaskState::Succeeded).then_some(self.payload)
    }

    /// Where the outcome of a task at its end lies. A dead letter whose workers died has none.
    pub fn outcome(&self) -> Option<Place> {
        let has = matches!(self.state(), TaskState::Succeeded | TaskState::Failed) && self.detail != 0;
        has.then_some(Place(self.detail))
    }

    /// How many workers died while it ran, at most 2.
    pub fn crashes(&self) -> u8 {
        self.marks & CRASHES
    }

    /// How carefully it is placed.
    pub fn care(&self) -> Care {
        match self.crashes() {
            0 => Care::None,
            1 => Care::Apart,
            _ => Care::Alone,
        }
    }

    /// Whether it was cancelled while it ran: whatever becomes of the attempt, it ends `cancelled`.
    pub fn is_cancelling(&self) -> bool {
        self.marks & CANCELLING != 0
    }

    /// Whether it is known to have been started: an attempt failed, or a worker died with it.
    pub fn has_started(&self) -> bool {
        self.failures > 0 || self.crashes() > 0
    }

    /// Whether its deadline passed while it ran: when it comes back unstarted, it ends `expired`.
    pub fn is_overdue(&self) -> bool {
        self.marks & OVERDUE != 0
    }

    pub(crate) fn count_crash(&mut self) {
        self.marks = self.marks & !CRASHES | (self.crashes() + 1).min(2);
    }

    pub(crate) fn uncount_crash(&mut self) {
        self.marks = self.marks & !CRASHES | self.crashes().saturating_sub(1);
    }

    pub(crate) fn mark_cancelling(&mut self) {
        self.marks |= CANCELLING;
    }

    pub(crate) fn mark_overdue(&mut self) {
        self.marks |= OVERDUE;
    }

    /// It has started: its deadline means nothing any more.
    pub(crate) fn met_deadline(&mut self) {
        self.marks &= !OVERDUE;
    }

    /// Forgets how it ended, and everything that was held against it.
    pub(crate) fn begin_anew(&mut self) {
        self.marks = 0;
        self.failures = 0;
        self.detail = 0;
    }

    #[cfg(feature = "faults")]
    pub(crate) fn forget_cancel(&mut self) {
        self.marks &= !CANCELLING;
    }

    pub(crate) fn set_outcome(&mut self, place: Option<Place>) {
        self.detail = place.map_or(0, |place| place.0);
    }
}

/// Tasks to a chunk.
const CHUNK: u64 = 1024;

/// All tasks by number. A clone shares what it can until either changes it.
#[derive(Clone, Debug, Default)]
pub struct TaskTable {
    /// `None` where a range of numbers was skipped, or all its tasks were purged.
    chunks: VecDeque<Option<Chunk>>,
    /// How many chunks were there before the first of these.
    gone: usize,
}

#[derive(Clone, Debug)]
struct Chunk {
    /// Shared with images of the table ([`crate::image`]), and copied before it changes if it is.
    tasks: Arc<[Task]>,
    count: u32,
}

impl TaskTable {
    fn chunk_of(&self, number: TaskNumber) -> Option<usize> {
        ((number.0 / CHUNK) as usize).checked_sub(self.gone)
    }

    /// The task with this number.
    pub fn get(&self, number: TaskNumber) -> Option<&Task> {
        let chunk = self.chunks.get(self.chunk_of(number)?)?.as_ref()?;
        chunk.tasks.get((number.0 % CHUNK) as usize).filter(|task| task.state.is_some())
    }

    /// The task with this number, to be changed.
    pub(crate) fn get_mut(&mut self, number: TaskNumber) -> Option<&mut Task> {
        let chunk = self.chunk_of(number)?;
        let tasks = Arc::make_mut(&mut self.chunks.get_mut(chunk)?.as_mut()?.tasks);
        tasks.get_mut((number.0 % CHUNK) as usize).filter(|task| task.state.is_some())
    }

    pub(crate) fn insert(&mut self, number: TaskNumber, task: Task) {
        if self.chunks.is_empty() {
            self.gone = (number.0 / CHUNK) as usize;
        }
        let Some(at) = self.chunk_of(number) else {
            debug_assert!(false, "task {number} comes behind the purged ones");
            return;
        };
        if at >= self.chunks.len() {
            self.chunks.resize_with(at + 1, || None);
        }
        let chunk =
            self.chunks[at].get_or_insert_with(|| Chunk { tasks: vec![Task::VACANT; CHUNK as usize].into(), count: 0 });
        Arc::make_mut(&mut chunk.tasks)[(number.0 % CHUNK) as usize] = task;
        chunk.count += 1;
    }

    /// Takes a task out; its memory is free when its neighbours are gone too.
    pub(crate) fn remove(&mut self, number: TaskNumber) -> Option<Task> {
        let at = self.chunk_of(number)?;
        let chunk = self.chunks.get_mut(at)?.as_mut()?;
        let tasks = Arc::make_mut(&mut chunk.tasks);
        let task = tasks.get_mut((number.0 % CHUNK) as usize).filter(|task| task.state.is_some())?;
        let removed = std::mem::replace(task, Task::VACANT);
        chunk.count -= 1;
        if chunk.count == 0 {
            self.chunks[at] = None;
            while self.chunks.front().is_some_and(Option::is_none) {
                self.chunks.pop_front();
                self.gone += 1;
            }
        }
        Some(removed)
    }

    /// All tasks in order.
    pub fn iter(&self) -> impl Iterator<Item = (TaskNumber, &Task)> {
        self.chunks
            .iter()
            .enumerate()
            .flat_map(|(chunk, tasks)| {
                let first = (self.gone + chunk) as u64 * CHUNK;
                tasks.iter().flat_map(move |tasks| {
                    tasks.tasks.iter().enumerate().map(move |(at, task)| (TaskNumber(first + at as u64), task))
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
    fn a_lease_or_an_outcome_is_where_the_state_says() {
        let mut task = Task::new(TaskState::Queued, Place(3), 1, 0, 0, TemplateNumber(0));
        let told = |task: &Task| (task.lease(), task.lease_of_waiting(), task.outcome());
        assert_eq!(told(&task), (None, None, None));
        assert_eq!(task.needed_payload(), Some(Place(3)));
        let (lease, place) = (Some(LeaseNumber(7)), Some(Place(9)));
        task.set_lease(LeaseNumber(7));
        for state in [TaskState::Running, TaskState::Queued, TaskState::Scheduled] {
            task.set_state(state);
            assert_eq!(told(&task), (lease, lease, None), "{state:?}");
        }
        for state in [TaskState::Cancelled, TaskState::Expired] {
            task.set_state(state);
            assert_eq!(told(&task), (None, lease, None), "{state:?}");
        }
        task.set_outcome(place);
        for (state, payload) in [(TaskState::Failed, Some(Place(3))), (TaskState::Succeeded, None)] {
            task.set_state(state);
            assert_eq!((told(&task), task.needed_payload()), ((None, None, place), payload), "{state:?}");
        }
        task.set_outcome(None);
        assert_eq!(told(&task), (None, None, None));
    }

    #[test]
    fn what_is_said_of_a_task_while_it_runs_is_said_of_nothing_else() {
        let mut task = Task::new(TaskState::Running, Place(0), 1, 0, 0, TemplateNumber(0));
        let said = |task: &Task| (task.crashes(), task.is_cancelling(), task.is_overdue());
        task.mark_overdue();
        assert_eq!(said(&task), (0, false, true));
        for (crashes, care) in [(1, Care::Apart), (2, Care::Alone), (2, Care::Alone)] {
            task.count_crash();
            assert_eq!((said(&task), task.care()), ((crashes, false, true), care));
        }
        task.mark_cancelling();
        task.mark_cancelling();
        assert_eq!(said(&task), (2, true, true));
        for crashes in [1, 0, 0] {
            task.uncount_crash();
            assert_eq!(said(&task), (crashes, true, true));
        }
        task.count_crash();
        assert!(task.has_started());
        task.met_deadline();
        assert_eq!(said(&task), (1, true, false));
        task.failures = 2;
        task.begin_anew();
        assert_eq!((said(&task), task.has_started()), ((0, false, false), false));
    }

    #[test]
    fn tasks_are_found_across_gaps() {
        let mut table = TaskTable::default();
        for number in [0, 1, CHUNK - 1, CHUNK * 5 + 3] {
            let task = Task::new(TaskState::Queued, Place(number), 1, 0, number as u32, TemplateNumber(0));
            table.insert(TaskNumber(number), task);
        }
        assert_eq!(table.iter().map(|(number, task)| (number.0, task.payload.0)).filter(|(a, b)| a == b).count(), 4);
        assert!(table.get(TaskNumber(2)).is_none());
        assert!(table.get(TaskNumber(CHUNK * 3)).is_none());
        assert!(table.get(TaskNumber(CHUNK * 9)).is_none());
    }

    #[test]
    fn chunks_go_when_all_of_their_tasks_are_gone() {
        let mut table = TaskTable::default();
        let new = |number| Task::new(TaskState::Queued, Place(number), 1, 0, number as u32, TemplateNumber(0));
        let numbers = || CHUNK * 2 + 5..CHUNK * 6;
        for number in numbers() {
            table.insert(TaskNumber(number), new(number));
        }
        assert_eq!(table.chunks.len(), 4);
        for number in numbers().filter(|number| *number != CHUNK * 5) {
            assert_eq!(table.remove(TaskNumber(number)).unwrap().payload, Place(number));
            assert!(table.get(TaskNumber(number)).is_none() && table.remove(TaskNumber(number)).is_none());
        }
        assert_eq!((table.chunks.len(), table.gone), (1, 5));
        assert_eq!(table.iter().map(|(number, _)| number.0).collect::<Vec<_>>(), [CHUNK * 5]);
        table.insert(TaskNumber(CHUNK * 9), new(0));
        assert!(table.remove(TaskNumber(CHUNK * 5)).is_some() && table.get(TaskNumber(CHUNK * 9)).is_some());
        assert_eq!((table.chunks.len(), table.gone), (1, 9));
        assert!(table.remove(TaskNumber(CHUNK * 9)).is_some() && table.chunks.is_empty());
        table.insert(TaskNumber(CHUNK * 9 + 1), new(1));
        assert_eq!(table.get(TaskNumber(CHUNK * 9 + 1)).unwrap().payload, Place(1));
    }
}
