//! The reference model, and lives of a store that are checked against it.

use std::sync::Arc;

use task_messenger_core::{
    ids::{JobNumber, LeaseNumber, Place, RecordNumber, TaskNumber, TemplateNumber, TokenNumber, WorkerNumber},
    record::{Log, Record, Verdict},
    time::WallTime,
    values::ValuesBuilder,
};

use super::super::{Allocation, Found, Options, Reader, Store, open};
use crate::disk::{Disk, Random};

/// What a store should hold.
#[derive(Default)]
pub(super) struct Model {
    /// Every record that was appended, with the place of its values.
    pub(super) records: Vec<(Record, Place)>,
    /// Through which record everything was told.
    pub(super) told: RecordNumber,
    /// The last record of which the writer said that it was written.
    pub(super) written: RecordNumber,
}

impl Model {
    /// Opens a store and checks that it holds a prefix of what was appended, and all that was told through `least`. From
    /// now on the prefix is what there is.
    pub(super) fn recover(&mut self, disk: Arc<dyn Disk>, options: &Options, least: RecordNumber) -> Store {
        assert_eq!(crate::check::check_blocks(&disk), []);
        let mut recovery = open(disk, options).unwrap();
        let mut found = 0;
        while let Some(Found::Record(replayed)) = recovery.next().unwrap() {
            let (record, place) = &self.records[found];
            found += 1;
            assert_eq!(replayed.number, RecordNumber(found as u64));
            assert_eq!(&replayed.record, record);
            if record.values().is_some() {
                assert_eq!(replayed.values, *place);
            }
        }
        assert!(found as u64 >= least.0, "{found} records are left of {}, {least} were told", self.records.len());
        self.records.truncate(found);
        self.told = RecordNumber(found as u64);
        self.written = self.told;
        let store = recovery.finish().unwrap();
        assert_eq!(store.front.last(), self.told);
        assert_eq!(store.front.told_through(), self.told);
        assert!(!store.front.pending() && !store.front.sync_owed() && !store.front.wants_sync());
        self.check_values(&store.reader);
        store
    }

    /// Appends a few records and commits them, and says whether the disk did its part.
    pub(super) fn commit(&mut self, store: &mut Store, random: &mut Random) -> bool {
        for _ in 0..=random.below(6) {
            let record = any_record(random);
            let appended = store.front.append(&record);
            self.records.push((record, appended.values));
            assert_eq!(appended.number, RecordNumber(self.records.len() as u64));
        }
        let sync = store.front.wants_sync() || random.below(4) == 0;
        let blocks = store.front.take_blocks();
        assert!(!store.front.pending());
        assert_eq!(blocks.last().map(super::super::Block::last), Some(store.front.last()));
        let Ok(progress) = store.writer.write(blocks, sync) else { return false };
        assert_eq!(progress.written, store.front.last());
        store.front.progress(progress);
        self.written = progress.written;
        assert!(store.front.told_through() >= self.told);
        self.told = store.front.told_through();
        // Sometimes the allocator is in time, sometimes it isn't.
        if random.below(3) == 0 {
            while let Ok(Allocation::Working) = store.allocator.step() {}
        }
        true
    }

    /// Appends and commits until the disk stops or `commits` are done, and says whether it still runs.
    pub(super) fn live(&mut self, store: &mut Store, random: &mut Random, commits: u64) -> bool {
        (0..commits).all(|_| self.commit(store, random))
    }

    /// Checks that every value is found at its place.
    pub(super) fn check_values(&self, reader: &Reader) {
        let (mut places, mut expected) = (Vec::new(), Vec::new());
        for (record, place) in &self.records {
            for (offset, value) in record.values().iter().flat_map(|values| values.iter()) {
                places.push(Place(place.0 + offset as u64));
                expected.push(value);
            }
        }
        let mut found = Vec::new();
        reader.read_many(&places, &mut found).unwrap();
        assert!(found == expected, "values differ");
    }
}

/// A record of a kind and size that come by chance.
fn any_record(random: &mut Random) -> Record {
    let time = WallTime(random.below(1 << 40));
    let mut values = ValuesBuilder::default();
    match random.below(8) {
        0 => Record::TokenRevoked { token: TokenNumber(random.below(9) as u32), time },
        1 | 2 => {
            let first = random.below(1000);
            let tasks = (first..first + random.below(300)).map(TaskNumber).collect();
            Record::Dispatched { worker: WorkerNumber(1), first_lease: LeaseNumber(first), tasks, time }
        }
        kind => {
            let longest = if random.below(10) == 0 { 14_000 } else { 300 };
            for index in 0..=random.below(4) {
                match random.below(20) {
                    0 => values.push_external(random.below(1 << 40), 1 << 20),
                    fill => values.push(&vec![(fill + index) as u8; random.below(longest) as usize]),
                }
            }
            if kind < 5 {
                let ends = (0..values.count().into()).map(|n| (LeaseNumber(n), Verdict::Succeeded)).collect();
                return Record::Finished { ends, details: values.take(), time };
            }
            Record::Submitted {
                job: JobNumber(1),
                first_task: TaskNumber(random.below(1000)),
                first_index: 0,
                template: TemplateNumber(0),
                payloads: values.take(),
                time,
                not_before: None,
                deadline: None,
            }
        }
    }
}
