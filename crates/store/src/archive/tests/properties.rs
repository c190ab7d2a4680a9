//! Anything that can happen to an archive, held against the model.

use std::{collections::BTreeSet, fs};

use proptest::prelude::*;

use super::{model::Model, *};

#[derive(Clone, Debug)]
enum Step {
    /// A batch, whose watermark is so much above the last one's.
    Append(u64, Batch),
    /// One of the last batches, once more.
    Repeat(usize),
    RemoveOlderThan(u64),
    ShrinkTo(u64, u64),
    RemovePurged,
    Vacuum,
    /// A clean close.
    Reopen,
    /// The process is killed.
    Kill,
    /// The log loses its end in a power cut, before it was synced: only so much of it is there.
    Tear(f64),
}

fn value() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        1 => Just(None),
        4 => (0..60_usize).prop_map(|length| Some(Value::Inline(Bytes::from(vec![b'x'; length])))),
        1 => (9000..20_000_usize).prop_map(|length| Some(Value::Inline(Bytes::from(vec![b'y'; length])))),
        1 => (300_000..400_000_u64).prop_map(|length| Some(Value::External { file: 0, length })),
    ]
}

fn any_task() -> impl Strategy<Value = ArchivedTask> {
    let state = prop_oneof![
        4 => Just(TaskState::Succeeded),
        1 => Just(TaskState::Failed),
        1 => Just(TaskState::Cancelled),
        1 => Just(TaskState::Expired),
    ];
    let number = (0..4_u64, 0..20_u64);
    (number, 0..8_u64, state, 0..6_u32, any::<bool>(), 0..100_u64, value(), value()).prop_map(
        |((span, at), job, state, template, delivered, finished, payload, outcome)| {
            // Spread over spans, and with one name each.
            let number = span * 8190 + at + job * 50_000;
            let index = u32::try_from(number % 50_000).unwrap();
            let numbered = |value: Option<Value>, part| match value {
                Some(Value::External { length, .. }) => Some(Value::External { file: number * 2 + part, length }),
                other => other,
            };
            ArchivedTask {
                state,
                template: TemplateNumber(template),
                attempts: template + 1,
                failures: template,
                crashes: template % 3,
                delivered,
                submitted: delivered.then_some(WallTime(finished)),
                finished: WallTime(finished),
                payload_bytes: payload.as_ref().map_or(1 << 20, Value::len),
                outcome_bytes: outcome.as_ref().map(Value::len).or(delivered.then_some(3)),
                payload: numbered(payload, 0),
                outcome: numbered(outcome, 1),
                ..task(number, job, index)
            }
        },
    )
}

fn any_batch() -> impl Strategy<Value = Batch> {
    let tasks = prop::collection::vec(any_task(), 0..12);
    let delivered = prop::collection::vec((0..8_u64, 0..30_000_u32, 0..30_000_u32), 0..3);
    let purged = prop::collection::vec((0..8_u64).prop_map(JobNumber), 0..2);
    (tasks, delivered, purged, 0..8_u64, any::<bool>(), 0..100_u64).prop_map(
        |(tasks, delivered, purged, other_job, ended, time)| {
            let numbers: BTreeSet<_> = tasks.iter().map(|task| task.id.job.0).chain([other_job]).collect();
            let templates: BTreeSet<_> = tasks.iter().map(|task| task.template.0).collect();
            let describe = |number| ArchivedJob {
                closed: ended,
                ended: ended.then_some(WallTime(time)),
                tasks: time as u32,
                counts: FinalCounts { succeeded: time % 2, failed: time % 3, cancelled: time % 5, expired: time % 7 },
                ..job(number)
            };
            Batch {
                watermark: RecordNumber(0),
                jobs: numbers.into_iter().map(describe).collect(),
                templates: templates.into_iter().map(template).collect(),
                tasks,
                delivered: delivered
                    .into_iter()
                    .map(|(job, first_index, count)| Delivered {
                        job: JobNumber(job),
                        first_index,
                        last_index: first_index + count,
                    })
                    .collect(),
                purged,
            }
        },
    )
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..3_u64, any_batch()).prop_map(|(more, batch)| Step::Append(more, batch)),
        2 => (0..4_usize).prop_map(Step::Repeat),
        2 => (0..110_u64).prop_map(Step::RemoveOlderThan),
        2 => (0..40_u64, 0..1_000_000_u64).prop_map(|(tasks, bytes)| Step::ShrinkTo(tasks, bytes)),
        2 => Just(Step::RemovePurged),
        1 => Just(Step::Vacuum),
        1 => Just(Step::Reopen),
        2 => Just(Step::Kill),
        2 => (0.0..1.0).prop_map(Step::Tear),
    ]
}

/// Repeats a removal until there is nothing more to remove; the files.
fn exhaust(mut remove: impl FnMut() -> Removed) -> BTreeSet<u64> {
    let mut files = BTreeSet::new();
    for _ in 0..100 {
        let removed = remove();
        for file in removed.files {
            assert!(files.insert(file), "a file is given up once");
        }
        if !removed.more {
            return files;
        }
    }
    panic!("it comes to no end");
}

struct World {
    place: Place,
    archive: Option<Archive>,
    model: Model,
    /// What was true after each commit since the file was opened.
    past: Vec<Model>,
    batches: Vec<Batch>,
}

impl World {
    fn new() -> Self {
        let place = Place::new();
        let archive = place.open();
        let model = Model::default();
        Self { place, archive: Some(archive), past: vec![model.clone()], model, batches: Vec::new() }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append(more, batch) => {
                let watermark = RecordNumber(self.model.watermark.0 + more);
                self.append(Batch { watermark, ..batch });
            }
            Step::Repeat(back) => {
                let from_the_end = self.batches.len().checked_sub(back + 1);
                if let Some(batch) = from_the_end.and_then(|at| self.batches.get(at)).cloned() {
                    self.append(batch);
                }
            }
            Step::RemoveOlderThan(time) => {
                let time = WallTime(time);
                let archive = self.archive.as_mut().unwrap();
                assert_eq!(exhaust(|| archive.remove_older_than(time).unwrap()), self.model.remove_older_than(time));
            }
            Step::ShrinkTo(tasks, bytes) => {
                let archive = self.archive.as_mut().unwrap();
                assert_eq!(exhaust(|| archive.shrink_to(tasks, bytes).unwrap()), self.model.shrink_to(tasks, bytes));
            }
            Step::RemovePurged => {
                let archive = self.archive.as_mut().unwrap();
                assert_eq!(exhaust(|| archive.remove_purged().unwrap()), self.model.remove_purged());
            }
            Step::Vacuum => {
                let archive = self.archive.as_mut().unwrap();
                assert_eq!(archive.vacuum_some(u32::MAX).unwrap(), 0);
                assert!(archive.carry_over().unwrap());
                // What is in the file itself can't be torn any more.
                self.past.clear();
            }
            Step::Reopen => {
                self.archive = None;
                self.archive = Some(self.place.open());
                self.past.clear();
            }
            Step::Kill => {
                let copy = self.place.copy();
                self.model.check(&copy.open());
            }
            Step::Tear(part) => self.check_torn(part),
        }
        if self.past.last() != Some(&self.model) {
            self.past.push(self.model.clone());
        }
    }

    fn append(&mut self, batch: Batch) {
        self.archive.as_mut().unwrap().append(&batch).unwrap();
        self.model.append(&batch);
        self.batches.push(batch);
    }

    /// With the log cut off anywhere, the archive is one that it was before, whole.
    fn check_torn(&self, part: f64) {
        let copy = self.place.copy();
        let log = copy.directory.path().join(format!("{ARCHIVE_FILE}-wal"));
        let Ok(file) = fs::OpenOptions::new().write(true).open(log) else { return };
        let length = file.metadata().unwrap().len();
        file.set_len((length as f64 * part) as u64).unwrap();
        drop(file);
        let archive = copy.open();
        let files: BTreeSet<u64> = archive.reader().files().unwrap().into_iter().collect();
        let is_like = |model: &&Model| {
            (model.watermark, model.totals(None), model.files())
                == (archive.watermark(), archive.totals(), files.clone())
        };
        // Several may look alike from there.
        let candidates: Vec<_> = self.past.iter().filter(is_like).collect();
        assert!(!candidates.is_empty(), "it was never like this");
        let holds =
            |model: &Model| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| model.check(&archive))).is_ok();
        if let [only] = candidates[..] {
            only.check(&archive);
        } else {
            assert!(candidates.into_iter().rev().any(holds), "it was never quite like this");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_archive_holds_what_the_model_holds(steps in prop::collection::vec(any_step(), 1..25)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.model.check(world.archive.as_ref().unwrap());
        }
    }
}
