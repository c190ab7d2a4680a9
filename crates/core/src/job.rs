//! The table of all jobs, in the order of their numbers.

use std::{collections::VecDeque, sync::Arc};

use rustc_hash::FxHashMap;

use crate::{
    ids::{JobNumber, OwnerNumber, TaskNumber, TemplateNumber},
    labels::Labels,
    record::JobKey,
    task::Counts,
    time::WallTime,
};

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub number: JobNumber,
    /// Whose it is.
    pub owner: OwnerNumber,
    /// The key that its client made for it.
    pub key: JobKey,
    /// Its name, for people.
    pub name: Box<str>,
    /// What people attached to it.
    pub labels: Labels,
    /// When it was opened.
    pub opened: WallTime,
    /// Whether it will get no more tasks.
    pub closed: bool,
    /// How many tasks it has: the index of the next one.
    pub next_index: u32,
    /// CRC-32C over the templates (whenever one differs from the task's before) and encoded payloads of its tasks.
    pub digest: u32,
    /// Its tasks by state.
    pub counts: Counts,
    /// When it was over, if it is.
    pub ended: Option<WallTime>,
    /// The template of its last task.
    pub last_template: Option<TemplateNumber>,
    /// Runs of tasks with neighbouring numbers: first index, first number.
    pub runs: Vec<(u32, TaskNumber)>,
}

impl Job {
    pub(crate) fn new(
        number: JobNumber,
        owner: OwnerNumber,
        key: JobKey,
        name: &str,
        labels: Labels,
        opened: WallTime,
    ) -> Self {
        Self {
            number,
            owner,
            key,
            name: name.into(),
            labels,
            opened,
            closed: false,
            next_index: 0,
            digest: 0,
            counts: Counts::default(),
            ended: None,
            last_template: None,
            runs: Vec::new(),
        }
    }

    /// Whether all of its tasks, of which there will be no more, are at their end.
    pub fn is_over(&self) -> bool {
        self.closed && self.counts.open() == 0
    }

    /// The number of the task with this index.
    pub fn task(&self, index: u32) -> Option<TaskNumber> {
        if index >= self.next_index {
            return None;
        }
        let run = self.runs.partition_point(|(first, _)| *first <= index).checked_sub(1)?;
        let (first_index, first_task) = *self.runs.get(run)?;
        Some(TaskNumber(first_task.0 + u64::from(index - first_index)))
    }

    /// The numbers of all of its tasks, by index.
    pub fn tasks(&self) -> impl Iterator<Item = TaskNumber> + '_ {
        let ends = self.runs.iter().skip(1).map(|(first, _)| *first).chain([self.next_index]);
        self.runs.iter().zip(ends).flat_map(|((first_index, first_task), end)| {
            (first_task.0..first_task.0 + u64::from(end - first_index)).map(TaskNumber)
        })
    }

    pub(crate) fn extend(&mut self, first_task: TaskNumber, count: u32) {
        let adjacent = self.next_index.checked_sub(1).and_then(|last| self.task(last)).map(TaskNumber::next);
        if adjacent != Some(first_task) {
            self.runs.push((self.next_index, first_task));
        }
        self.next_index += count;
    }
}

/// What a job costs in memory beside its words, about: itself, its place in the tables.
const OVERHEAD: u64 = 384;

/// What a job with this name and these labels takes in memory, in bytes, about.
pub(crate) fn cost(name: &str, labels: &Labels) -> u64 {
    let words: usize = labels.iter().map(|(key, value)| 2 * size_of::<String>() + key.len() + value.len()).sum();
    OVERHEAD + (name.len() + words) as u64
}

/// Jobs to a chunk.
const CHUNK: usize = 128;

/// Positions with the numbers of their jobs. A job that was purged leaves its number.
type Chunk = Vec<(JobNumber, Option<Box<Job>>)>;

/// All jobs.
#[derive(Debug, Default)]
pub struct JobTable {
    /// By position, of which the first that is kept is `first`. All but the last are full. Positions begin anew at 0 when
    /// they are used up.
    chunks: SharedJobs,
    first: u32,
    count: usize,
    bytes: u64,
    by_key: FxHashMap<(OwnerNumber, JobKey), u32>,
}

/// Chunks of jobs. A clone shares them until either changes them ([`crate::image`]).
pub(crate) type SharedJobs = VecDeque<Arc<Chunk>>;

/// What is at a position of the table whose chunks these are, and whose first position is `first`.
pub(crate) fn find(chunks: &SharedJobs, first: u32, position: u32) -> Option<&(JobNumber, Option<Box<Job>>)> {
    let at = position.wrapping_sub(first) as usize;
    chunks.get(at / CHUNK)?.get(at % CHUNK)
}

impl JobTable {
    /// The job at this position of the table.
    pub fn at(&self, position: u32) -> Option<&Job> {
        find(&self.chunks, self.first, position)?.1.as_deref()
    }

    fn slot_mut(&mut self, position: u32) -> Option<&mut Option<Box<Job>>> {
        let at = position.wrapping_sub(self.first) as usize;
        let chunk = Arc::make_mut(self.chunks.get_mut(at / CHUNK)?);
        chunk.get_mut(at % CHUNK).map(|(_, job)| job)
    }

    pub(crate) fn at_mut(&mut self, position: u32) -> Option<&mut Job> {
        self.slot_mut(position)?.as_deref_mut()
    }

    /// The position of the job with this number.
    pub fn position(&self, number: JobNumber) -> Option<u32> {
        let before = |chunk: &Arc<Chunk>| chunk.first().is_some_and(|(first, _)| *first <= number);
        let chunk = self.chunks.partition_point(before).checked_sub(1)?;
        let jobs = self.chunks.get(chunk)?;
        let at = jobs.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        jobs.get(at)?.1.as_ref().map(|_| self.first.wrapping_add((chunk * CHUNK + at) as u32))
    }

    /// The position of the owner's job with this key.
    pub fn position_of_key(&self, owner: OwnerNumber, key: JobKey) -> Option<u32> {
        self.by_key.get(&(owner, key)).copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// About how much memory they take, without their tasks, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Job> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).filter_map(|(_, job)| job.as_deref())
    }

    /// All of them with their positions, oldest first.
    pub fn positions(&self) -> impl Iterator<Item = (u32, &Job)> {
        let slots = self.chunks.iter().flat_map(|chunk| chunk.iter());
        let positions = (0..).map(|at| self.first.wrapping_add(at));
        positions.zip(slots).filter_map(|(position, (_, job))| Some((position, job.as_deref()?)))
    }

    /// Those before the job with this number, oldest first.
    pub fn before(&self, number: JobNumber) -> impl DoubleEndedIterator<Item = &Job> {
        let chunks = self.chunks.partition_point(|chunk| chunk.first().is_some_and(|(first, _)| *first < number));
        let slots = self.chunks.range(..chunks).flat_map(move |chunk| {
            let end = chunk.partition_point(|(other, _)| *other < number);
            chunk.iter().take(end)
        });
        slots.filter_map(|(_, job)| job.as_deref())
    }

    /// The chunks, to be looked at later, and the position of the first job in them.
    pub(crate) fn share(&self) -> (SharedJobs, u32) {
        (self.chunks.clone(), self.first)
    }

    pub(crate) fn insert(&mut self, job: Job) -> u32 {
        if self.chunks.back().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push_back(Arc::new(Vec::with_capacity(CHUNK)));
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let at = before + self.chunks.back().map_or(0, |chunk| chunk.len());
        let position = self.first.wrapping_add(at as u32);
        self.by_key.insert((job.owner, job.key), position);
        self.bytes += cost(&job.name, &job.labels);
        if let Some(chunk) = self.chunks.back_mut() {
            Arc::make_mut(chunk).push((job.number, Some(Box::new(job))));
        }
        self.count += 1;
        position
    }

    /// Takes a job out. A chunk goes when all of its jobs are gone.
    pub(crate) fn remove(&mut self, position: u32) -> Option<Box<Job>> {
        let job = self.slot_mut(position)?.take()?;
        self.count -= 1;
        self.bytes -= cost(&job.name, &job.labels);
        if self.by_key.get(&(job.owner, job.key)) == Some(&position) {
            self.by_key.remove(&(job.owner, job.key));
        }
        while self.chunks.front().is_some_and(|chunk| chunk.iter().all(|(_, job)| job.is_none())) {
            self.chunks.pop_front();
            self.first = self.first.wrapping_add(CHUNK as u32);
        }
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_find_their_tasks_over_runs() {
        let mut job = Job::new(JobNumber(1), OwnerNumber(0), JobKey::default(), "", Labels::new(), WallTime(0));
        job.extend(TaskNumber(10), 5);
        job.extend(TaskNumber(15), 5);
        job.extend(TaskNumber(40), 2);
        assert_eq!(job.runs.len(), 2);
        let found: Vec<_> = (0..13).map(|index| job.task(index).map(|task| task.0)).collect();
        assert_eq!(found[0], Some(10));
        assert_eq!(found[9], Some(19));
        assert_eq!(found[10..], [Some(40), Some(41), None]);
        assert_eq!(job.tasks().map(|task| Some(task.0)).collect::<Vec<_>>(), found[..12]);
    }

    #[test]
    fn purged_jobs_leave_the_table_and_positions_stay() {
        let new = |number| {
            let key = JobKey([number as u8; 16]);
            Job::new(JobNumber(number), OwnerNumber((number / 256) as u32), key, "", Labels::new(), WallTime(0))
        };
        let chunk = CHUNK as u64;
        let mut jobs = JobTable::default();
        for number in 1..=3 * chunk + 2 {
            assert_eq!(u64::from(jobs.insert(new(2 * number))), number - 1);
        }
        let (image, _) = jobs.share();
        for number in (1..2 * chunk).chain([2 * chunk + 3, 3 * chunk + 2]) {
            let position = jobs.position(JobNumber(2 * number)).unwrap();
            assert_eq!(jobs.remove(position).unwrap().number, JobNumber(2 * number));
            assert!(jobs.position(JobNumber(2 * number)).is_none() && jobs.at(position).is_none());
        }
        assert_eq!((jobs.len() as u64, u64::from(jobs.first), jobs.chunks.len()), (chunk + 1, chunk, 3));
        let found: Vec<_> = jobs.positions().map(|(at, job)| (u64::from(at), job.number.0 / 2)).collect();
        assert!(found.iter().all(|(at, number)| at + 1 == *number) && found.len() == jobs.len());
        let last = 2 * (3 * chunk + 1);
        assert_eq!(jobs.before(JobNumber(last)).next_back().unwrap().number.0, last - 2);
        assert_eq!(jobs.before(JobNumber(last)).count(), jobs.len() - 1);
        assert_eq!(jobs.before(JobNumber(last + 1)).count(), jobs.len());
        // Jobs at the border of two chunks.
        let border = 2 * (2 * chunk + 1);
        assert_eq!(jobs.before(JobNumber(border)).map(|job| job.number.0).collect::<Vec<_>>(), [border - 2]);
        assert_eq!(jobs.before(JobNumber(border + 1)).count(), 2);
        assert!(jobs.position(JobNumber(last - 1)).is_none() && jobs.position(JobNumber(0)).is_none());
        assert!(jobs.position_of_key(OwnerNumber(0), JobKey([2; 16])).is_none());
        let position = jobs.insert(new(last + 7));
        assert_eq!(jobs.position(JobNumber(last + 7)), Some(position));
        // What was shared before is as it was.
        let kept = image.iter().flat_map(|chunk| chunk.iter()).filter(|(_, job)| job.is_some()).count() as u64;
        assert_eq!(kept, 3 * chunk + 2);
        let numbers: Vec<_> = jobs.iter().map(|job| job.number).collect();
        for number in numbers {
            assert!(!jobs.is_empty());
            jobs.remove(jobs.position(number).unwrap());
        }
        assert!(jobs.is_empty() && jobs.chunks.is_empty());
        let anew = jobs.insert(new(last + 9));
        assert!(anew > position && jobs.position(JobNumber(last + 9)) == Some(anew));
    }
}
