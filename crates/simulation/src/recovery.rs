//! The manager's start: what the disk has is read again, compared with what was written, and held against what was told.

use std::{sync::Arc, time::Duration};

use task_messenger_core::{engine::Engine, ids::RecordNumber};
use task_messenger_store::{
    Durability, Options,
    disk::Fault,
    journal::{Found, OpenError, Recovery, Store},
    open,
};

use crate::{
    manager::{End, Manager, Process},
    reference::{Reference, Tee},
    stage::{Checked, Event, Stage, Violation, ensure},
};

/// What stops a start.
enum Stopped {
    /// The disk fails, for now.
    Disk(OpenError),
    Violation(Violation),
}

impl From<OpenError> for Stopped {
    fn from(error: OpenError) -> Self {
        match error {
            error if error.is_io() => Self::Disk(error),
            other => Self::Violation(Violation(format!("the store is refused: {other}"))),
        }
    }
}

impl From<Violation> for Stopped {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl Manager {
    /// Starts the manager's process.
    pub(crate) fn start(&mut self, stage: &mut Stage) -> Checked {
        if self.process.is_some() {
            return Ok(());
        }
        self.disk.restart();
        if !stage.calm && stage.random.percent(8) {
            let fault = stage.random.pick(&[Fault::Error, Fault::PowerCut]);
            self.disk.fault_at(self.disk.operations() + stage.random.below(4), fault);
        }
        let options = Options {
            segment_bytes: stage.scenario.segment_bytes,
            cache_bytes: stage.scenario.cache_bytes,
            durability: stage.scenario.durability,
            reserve_bytes: Some(0),
        };
        let mut reference = Reference::default();
        let mut engine = Engine::new(stage.scenario.limits.clone());
        (self.prepare)(&mut engine);
        let recovered = open(Arc::new(self.disk.clone()), &options)
            .map_err(Stopped::from)
            .and_then(|recovery| self.recover(recovery, &mut engine, &mut reference));
        match recovered {
            Ok(store) => self.run(stage, engine, reference, store),
            Err(Stopped::Violation(violation)) => Err(violation),
            Err(Stopped::Disk(error)) => {
                ensure!(!stage.calm, "the manager cannot start though nothing is wrong with its disk: {error:?}");
                if self.count_failure(stage, &error) == End::PowerCut {
                    stage.totals.power_cuts += 1;
                    self.power_was_cut(stage);
                } else {
                    self.disk.kill();
                }
                let delay = stage.delay(1_000, 2_000_000);
                stage.after(delay, Event::StartManager);
                Ok(())
            }
        }
    }

    /// Replays every record, and sees that they are those that were written, in their order and at their places.
    fn recover(
        &self,
        mut recovery: Recovery,
        engine: &mut Engine,
        reference: &mut Reference,
    ) -> Result<Store, Stopped> {
        while let Some(found) = recovery.next()? {
            let replayed = match found {
                Found::Record(replayed) => replayed,
                Found::Part { last, part } => {
                    engine.restore(last, part);
                    self.take_over(last, reference)?;
                    continue;
                }
            };
            let expected = self.reference.records.get(reference.records.len());
            let same = expected.is_some_and(|(record, place)| {
                let same_place = record.values().is_none_or(|values| values.count() == 0) || *place == replayed.values;
                *record == replayed.record && same_place
            });
            if !same || replayed.number.0 != reference.records.len() as u64 + 1 {
                let text = format!("record {} was {expected:?}, and is {replayed:?}", replayed.number);
                return Err(Violation(text).into());
            }
            engine.replay(replayed.number, &replayed.record, replayed.values);
            reference.apply(&replayed.record, replayed.values)?;
        }
        Ok(recovery.finish()?)
    }

    /// What a snapshot stands for: the records up to its last one, as they were written.
    fn take_over(&self, last: RecordNumber, reference: &mut Reference) -> Result<(), Violation> {
        let written = self.reference.records.len() as u64;
        ensure!(last.0 <= written, "a snapshot holds record {last}, and {written} were written");
        let missing = reference.records.len()..last.0 as usize;
        for (record, values) in self.reference.records.get(missing).unwrap_or_default() {
            reference.apply(record, *values)?;
        }
        Ok(())
    }

    fn run(&mut self, stage: &mut Stage, mut engine: Engine, reference: Reference, mut store: Store) -> Checked {
        let records = reference.records.len() as u64;
        stage.totals.replayed += records;
        let owed = self.owed;
        ensure!(records >= owed.records, "{records} records are found, but {} were on the disk", owed.records);
        let access = &engine.state().access;
        let lost = stage.model.recovered(records, owed.everything, access)?;
        if lost {
            stage.totals.taken_back += 1;
        }
        reference.compare(engine.state())?;
        self.reference = reference;
        stage.trace.say(stage.now, || format!("the manager starts with {records} records"));

        self.starts += 1;
        let clock = Duration::from_millis(stage.random.below(1 << 40));
        let weak = stage.scenario.durability != Durability::Strict;
        let now = task_messenger_core::time::Now { monotonic: clock, wall: stage.wall() };
        let mut log = Tee {
            front: &mut store.front,
            reference: &mut self.reference,
            model: &stage.model,
            totals: &mut stage.totals,
            wall: now.wall,
        };
        engine.start(now, weak, &mut log);
        self.process = Some(Process::new(self.starts, engine, store, (stage.now, clock)));
        stage.manager_up = true;
        self.begin(stage)
    }
}
