//! The state from the parts of a snapshot.

use super::{Lease, NextNumbers, State};
use crate::{
    ids::{JobNumber, Place, TaskNumber},
    image::{Image, Numbers, Part},
    record::Reservation,
    task::{Task, TaskState},
};

impl State {
    /// Adds a part of a snapshot. All parts, in their order, make an empty state what it was.
    pub fn restore(&mut self, part: Part) {
        match part {
            Part::Record(record) => self.apply(&record, Place(0)),
            Part::Numbers(Numbers { next, next_template, reserved, weak, clock }) => {
                self.next = NextNumbers { lease: next.leases, task: next.tasks, job: next.jobs };
                self.templates.skip_to(next_template);
                self.reserved = reserved;
                self.weak = weak;
                self.clock = clock;
            }
            Part::Job(job) => drop(self.jobs.insert(*job)),
            Part::Tasks { job, tasks } => self.restore_tasks(job, tasks),
            Part::Leases(leases) => {
                let leases = leases.into_iter().map(|(number, task, worker)| (number, Lease::new(task, worker, None)));
                self.leases.extend(leases);
            }
            Part::Silenced(silenced) => self.silenced.extend(silenced),
            Part::BackingOff(tasks) => self.backing_off.extend(tasks),
            Part::Delayed(runs) => self.delayed.extend(runs.into_iter().map(|(at, task, count)| ((at, task), count))),
            Part::Deadlines(runs) => {
                self.deadlines.extend(runs.into_iter().map(|(at, task, count)| ((at, task), count)));
            }
            Part::Keys(keys) => {
                for (idempotency, job, opened) in keys {
                    self.keys.insert(idempotency, job, opened);
                }
            }
            Part::LargeValues(values) => self.large_values.extend(values),
            Part::Archived(jobs) => {
                for (time, owner, key, job) in jobs {
                    self.archived.restore(time, owner, key, job);
                }
            }
            Part::Over(jobs) => self.over.extend(jobs),
        }
    }

    /// All of it, as it is.
    pub fn image(&self) -> Image {
        Image::of(self)
    }

    /// The places of all values that are needed.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        crate::image::values(&self.tasks).map(|value| value.place)
    }

    fn restore_tasks(&mut self, job: JobNumber, tasks: Vec<(TaskNumber, Task)>) {
        let Some(position) = self.jobs.position(job) else {
            debug_assert!(false, "job {job} was restored");
            return;
        };
        for (number, task) in tasks {
            let state = task.state();
            self.counts.add(state, 1);
            self.templates.hold(task.template, 1);
            if !state.is_final() {
                self.open_bytes += u64::from(task.payload_length);
            }
            if state == TaskState::Queued {
                self.ready.push_fresh(self.lane_of(task.template, task.care()), number, 1);
            }
            self.tasks.insert(number, Task { job: position, ..task });
        }
    }

    pub(crate) fn numbers(&self) -> Numbers {
        let NextNumbers { lease, task, job } = self.next;
        let next = Reservation { leases: lease, tasks: task, jobs: job };
        let next_template = self.templates.next();
        Numbers { next, next_template, reserved: self.reserved, weak: self.weak, clock: self.clock }
    }
}
