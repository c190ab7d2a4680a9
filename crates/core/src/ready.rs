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

    /// The task that came first, of all.
    pub(crate) fn oldest(&mut self, tasks: &TaskTable) -> Option<TaskNumber> {
        self.lists.iter_mut().filter_map(|((_, _, care), list)| list.head(tasks, *care)).min().map(TaskNumber)
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::{
        ids::{Place, TemplateNumber},
        task::Task,
    };

    /// Tasks that come, go and come back, beside a plain list of those that are queued.
    #[derive(Default)]
    struct Model {
        ready: Ready,
        tasks: TaskTable,
        lanes: BTreeMap<u64, Lane>,
        queued: BTreeSet<u64>,
        away: Vec<u64>,
        seed: u64,
    }

    impl Model {
        fn below(&mut self, end: u64) -> u64 {
            self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.seed >> 33) % end
        }

        fn submit(&mut self) {
            let lane = (self.below(3) as i32 - 1, ClassNumber(self.below(2) as u32), Care::None);
            let (first, count) = (self.lanes.len() as u64, 1 + self.below(4));
            for number in first..first + count {
                let task = Task::new(TaskState::Queued, Place(0), 0, 0, 0, TemplateNumber(0));
                self.tasks.insert(TaskNumber(number), task);
                self.lanes.insert(number, lane);
                self.queued.insert(number);
            }
            self.ready.push_fresh(lane, TaskNumber(first), count);
        }

        fn fits((class, care): (ClassNumber, Care), mask: u64) -> bool {
            mask >> (class.0 * 3 + care as u32) & 1 == 1
        }

        /// Takes some tasks, as they come to a worker that can have those which the mask says.
        fn hand_out(&mut self, count: u64, mask: u64) {
            let mut taken = Vec::new();
            for _ in 0..count {
                let wanted = self.queued.iter().filter(|number| {
                    let (_, class, care) = self.lanes[*number];
                    Self::fits((class, care), mask) && !taken.contains(*number)
                });
                let expected = wanted.min_by_key(|number| (Reverse(self.lanes[*number].0), **number)).copied();
                let found = self.ready.next(&self.tasks, |class, care| Self::fits((class, care), mask));
                assert_eq!(found, expected.map(|number| (TaskNumber(number), self.lanes[&number])));
                let Some((task, lane)) = found else { break };
                self.ready.take(lane, task);
                taken.push(task.0);
            }
            for number in taken {
                self.leave(number);
                self.away.push(number);
            }
        }

        /// A task leaves the queue, whatever becomes of it.
        fn leave(&mut self, number: u64) {
            self.queued.remove(&number);
            self.tasks.get_mut(TaskNumber(number)).unwrap().set_state(TaskState::Running);
            self.ready.left(self.lanes[&number], 1);
        }

        /// A queued task is cancelled, or taken up again by who held it.
        fn pass_over(&mut self) {
            if self.queued.is_empty() {
                return;
            }
            let at = self.below(self.queued.len() as u64) as usize;
            let number = *self.queued.iter().nth(at).unwrap();
            self.leave(number);
            self.away.push(number);
        }

        fn come_back(&mut self) {
            if self.away.is_empty() {
                return;
            }
            let at = self.below(self.away.len() as u64) as usize;
            let number = self.away.swap_remove(at);
            let crashed = self.below(2) == 0;
            let task = self.tasks.get_mut(TaskNumber(number)).unwrap();
            if crashed {
                task.count_crash();
            }
            task.set_state(TaskState::Queued);
            let lane = self.lanes.get_mut(&number).unwrap();
            lane.2 = task.care();
            self.ready.push_returned(*lane, TaskNumber(number));
            self.queued.insert(number);
        }

        fn check(&self) {
            let lanes: BTreeSet<Lane> = self.queued.iter().map(|number| self.lanes[number]).collect();
            let alone = self.queued.iter().filter(|number| self.lanes[number].2 == Care::Alone).count() as u64;
            assert_eq!((self.ready.count(), self.ready.count_alone()), (self.queued.len() as u64, alone));
            assert_eq!(self.ready.lists.len(), lanes.len(), "nothing is kept of a list that is empty");
        }
    }

    #[test]
    fn tasks_go_by_priority_then_first_come_however_often_they_come_and_leave() {
        let mut model = Model::default();
        for _ in 0..1_000 {
            match model.below(8) {
                0 => model.submit(),
                1..=2 => {
                    let (count, mask) = (1 + model.below(4), model.below(64));
                    model.hand_out(count, mask);
                }
                3 => model.pass_over(),
                _ => model.come_back(),
            }
            model.check();
        }
        let alone = model.lanes.values().filter(|(_, _, care)| *care == Care::Alone).count();
        assert!(alone > 20 && model.queued.len() > 20, "{alone} alone, {} queued", model.queued.len());
        model.hand_out(u64::from(u16::MAX), u64::MAX);
        assert!(model.queued.is_empty());
        model.check();
    }

    #[test]
    fn neighbours_are_one_entry() {
        let mut ready = Ready::default();
        let lane = (0, ClassNumber(0), Care::None);
        for first in [0, 10, 20, 40] {
            ready.push_fresh(lane, TaskNumber(first), 10);
        }
        let list = ready.lists.values().next().unwrap();
        assert_eq!((&list.fresh, ready.count()), (&VecDeque::from([(0, 30), (40, 50)]), 40));
        ready.push_fresh((0, ClassNumber(0), Care::Alone), TaskNumber(50), 3);
        assert_eq!((ready.count(), ready.count_alone()), (43, 3));
    }
}
