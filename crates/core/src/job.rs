//! The table of all jobs, in the order of their numbers.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::{
    ids::{JobNumber, OwnerNumber, TaskNumber, TemplateNumber},
    labels::Labels,
    record::JobKey,
    task::Counts,
    time::WallTime,
};

/// A job.
#[derive(Debug)]
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
    pub(crate) last_template: Option<TemplateNumber>,
    /// Runs of tasks with neighbouring numbers: first index, first number.
    runs: Vec<(u32, TaskNumber)>,
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

/// All jobs.
#[derive(Debug, Default)]
pub struct JobTable {
    /// By position, of which the first that is kept is `first`. A job that was purged leaves its number.
    slots: VecDeque<(JobNumber, Option<Box<Job>>)>,
    first: u32,
    count: usize,
    by_key: FxHashMap<(OwnerNumber, JobKey), u32>,
}

impl JobTable {
    /// The job at this position of the table.
    pub fn at(&self, position: u32) -> Option<&Job> {
        self.slots.get(position.checked_sub(self.first)? as usize)?.1.as_deref()
    }

    pub(crate) fn at_mut(&mut self, position: u32) -> Option<&mut Job> {
        self.slots.get_mut(position.checked_sub(self.first)? as usize)?.1.as_deref_mut()
    }

    /// The position of the job with this number.
    pub fn position(&self, number: JobNumber) -> Option<u32> {
        let at = self.slots.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.slots.get(at)?.1.as_ref().map(|_| self.first + at as u32)
    }

    /// The position of the owner's job with this key.
    pub fn position_of_key(&self, owner: OwnerNumber, key: JobKey) -> Option<u32> {
        self.by_key.get(&(owner, key)).copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Job> {
        self.slots.iter().filter_map(|(_, job)| job.as_deref())
    }

    /// All of them with their positions, oldest first.
    pub fn positions(&self) -> impl Iterator<Item = (u32, &Job)> {
        (self.first..).zip(&self.slots).filter_map(|(position, (_, job))| Some((position, job.as_deref()?)))
    }

    /// Those before the job with this number, oldest first.
    pub fn before(&self, number: JobNumber) -> impl DoubleEndedIterator<Item = &Job> {
        let end = self.slots.partition_point(|(other, _)| *other < number);
        self.slots.range(..end).filter_map(|(_, job)| job.as_deref())
    }

    pub(crate) fn insert(&mut self, job: Job) -> u32 {
        let position = self.first + self.slots.len() as u32;
        self.by_key.insert((job.owner, job.key), position);
        self.slots.push_back((job.number, Some(Box::new(job))));
        self.count += 1;
        position
    }

    /// Takes a job out.
    pub(crate) fn remove(&mut self, position: u32) -> Option<Box<Job>> {
        let job = self.slots.get_mut(position.checked_sub(self.first)? as usize)?.1.take()?;
        self.count -= 1;
        if self.by_key.get(&(job.owner, job.key)) == Some(&position) {
            self.by_key.remove(&(job.owner, job.key));
        }
        while self.slots.len() > 1 && self.slots.front().is_some_and(|(_, job)| job.is_none()) {
            self.slots.pop_front();
            self.first += 1;
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
        let mut jobs = JobTable::default();
        for number in 1..=5 {
            let key = JobKey([number; 16]);
            jobs.insert(Job::new(JobNumber(u64::from(number)), OwnerNumber(0), key, "", Labels::new(), WallTime(0)));
        }
        for number in [2, 1, 5] {
            let position = jobs.position(JobNumber(number)).unwrap();
            assert_eq!(jobs.remove(position).unwrap().number, JobNumber(number));
            assert!(jobs.position(JobNumber(number)).is_none() && jobs.at(position).is_none());
        }
        assert_eq!((jobs.len(), jobs.first, jobs.slots.len()), (2, 2, 3));
        assert_eq!(jobs.positions().map(|(at, job)| (at, job.number.0)).collect::<Vec<_>>(), [(2, 3), (3, 4)]);
        assert_eq!(jobs.before(JobNumber(5)).rev().map(|job| job.number.0).collect::<Vec<_>>(), [4, 3]);
        assert!(jobs.position_of_key(OwnerNumber(0), JobKey([2; 16])).is_none());
        assert_eq!(
            jobs.insert(Job::new(JobNumber(9), OwnerNumber(0), JobKey([9; 16]), "", Labels::new(), WallTime(0))),
            5
        );
        assert_eq!(jobs.position(JobNumber(9)), Some(5));
    }
}
