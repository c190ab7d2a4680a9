//! The queued tasks, in the order in which they go: priority, then first come.
//!
//! First come means the lower task number, also for a task that was handed out before. New tasks come in ascending order, so
//! they are kept as ranges of numbers; those that come back go into a heap. Entries whose task is no longer queued (it was
//! readopted or cancelled) are dropped when they reach the front, so that leaving the queue costs nothing.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
};

use crate::{
    ids::TaskNumber,
    task::{Care, TaskState, TaskTable},
    templates::ClassNumber,
};

/// All queued tasks.
#[derive(Clone, Debug, Default)]
pub struct Ready {
    lists: BTreeMap<(Reverse<i32>, ClassNumber, Care), List>,
    count: u64,
    alone: u64,
}

/// Queued tasks of one priority, class and care.
#[derive(Clone, Debug, Default)]
struct List {
    fresh: VecDeque<(u64, u64)>,
    returned: BinaryHeap<Reverse<u64>>,
    count: u64,
}

/// Where a task is queued.
pub(crate) type Lane = (i32, ClassNumber, Care);

impl Ready {
    /// How many are queued.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many of them are to run alone.
    pub fn count_alone(&self) -> u64 {
        self.alone
    }

    /// Queues `count` tasks from `first` on, behind all that were queued so.
    pub(crate) fn push_fresh(&mut self, (priority, class, care): Lane, first: TaskNumber, count: u64) {
        let list = self.lists.entry((Reverse(priority), class, care)).or_default();
        match list.fresh.back_mut() {
            Some((_, end)) if *end == first.0 => *end += count,
            _ => list.fresh.push_back((first.0, first.0 + count)),
        }
        list.count += count;
        self.count += count;
        if care == Care::Alone {
            self.alone += count;
        }
    }

    /// Queues a task again.
    pub(crate) fn push_returned(&mut self, (priority, class, care): Lane, task: TaskNumber) {
        let list = self.lists.entry((Reverse(priority), class, care)).or_default();
        list.returned.push(Reverse(task.0));
        list.count += 1;
        self.count += 1;
        self.alone += u64::from(care == Care::Alone);
    }

    /// Counts tasks out that left the queue. Their entries go when they reach the front.
    pub(crate) fn left(&mut self, (priority, class, care): Lane, count: u64) {
        if let Some(list) = self.lists.get_mut(&(Reverse(priority), class, care)) {
            list.count -= count;
            self.count -= count;
            if care == Care::Alone {
                self.alone -= count;
            }
            if list.count == 0 {
                // Nothing of it is queued: whatever entries remain are stale.
                self.lists.remove(&(Reverse(priority), class, care));
            }
        }
    }

    /// Takes the entries of a task that [`Ready::next`] just found: more than one if it was queued, left and was queued
    /// again. It is counted out when the task leaves the queue.
    pub(crate) fn take(&mut self, (priority, class, care): Lane, task: TaskNumber) {
        let Some(list) = self.lists.get_mut(&(Reverse(priority), class, care)) else { return };
        while list.returned.peek() == Some(&Reverse(task.0)) {
            list.returned.pop();
        }
        if let Some((first, _)) = list.fresh.front_mut()
            && *first == task.0
        {
            *first += 1;
        }
    }

    /// The next task among the classes that `fits`, placed with this care: of the highest priority, the first come.
    pub(crate) fn next(
        &mut self,
        tasks: &TaskTable,
        fits: impl Fn(ClassNumber, Care) -> bool,
    ) -> Option<(TaskNumber, Lane)> {
        let mut best: Option<(u64, Lane)> = None;
        for ((Reverse(priority), class, care), list) in &mut self.lists {
            if best.is_some_and(|(_, (found, ..))| found > *priority) {
                break;
            }
            if !fits(*class, *care) {
                continue;
            }
            if let Some(head) = list.head(tasks, *care)
                && best.is_none_or(|(number, _)| head < number)
            {
                best = Some((head, (*priority, *class, *care)));
            }
        }
        best.map(|(number, lane)| (TaskNumber(number), lane))
    }
}

impl List {
    fn head(&mut self, tasks: &TaskTable, care: Care) -> Option<u64> {
        let queued = |number| {
            tasks.get(TaskNumber(number)).is_some_and(|task| task.state() == TaskState::Queued && task.care() == care)
        };
        while let Some(Reverse(number)) = self.returned.peek()
            && !queued(*number)
        {
            self.returned.pop();
        }
        while let Some((first, end)) = self.fresh.front_mut() {
            while first < end && !queued(*first) {
                *first += 1;
            }
            if first < end {
                break;
            }
            self.fresh.pop_front();
        }
        let fresh = self.fresh.front().map(|(first, _)| *first);
        let returned = self.returned.peek().map(|Reverse(number)| *number);
        fresh.into_iter().chain(returned).min()
    }
}
