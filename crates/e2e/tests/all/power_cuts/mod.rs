//! Power cuts, with the real manager on a real disk: everything that it does to its state directory is recorded in order,
//! and for random moments the directory is rebuilt as a disk could look after a power cut then. A manager that starts on it
//! must hold to everything that anybody had been told by that moment.
//!
//! Recorder and clients read one clock. Strace notes the end of a call before it lets the process go on; so whoever is told
//! something learns it later than the noted ends of all that came before, and what he notes himself is later still.

mod check;
mod contents;
mod disk;
mod history;
mod load;
mod random;
mod recording;
mod trace;
mod witness;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    time::Instant,
};

use self::{
    check::Told,
    disk::{Disk, Tree},
    random::Random,
    recording::{Life, Recording},
    trace::{Operation, STATE, Step},
};

/// How many cuts, in the long form.
const CUTS_VARIABLE: &str = "TASK_MESSENGER_POWER_CUTS";
/// Which cuts; the recording itself is a new one each time.
const SEED_VARIABLE: &str = "TASK_MESSENGER_POWER_CUTS_SEED";

/// How many cuts in the short form.
const FEW: usize = 5;

/// Managers that are looked at at a time.
const AT_A_TIME: usize = 2;

/// The file that tests remove before they start a manager, to see when the new one is ready.
const REMOVED_BY_TESTS: &str = "listening.json";

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is to be a number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nothing_that_was_told_is_lost_by_a_power_cut() {
    let wanted = number_of(CUTS_VARIABLE);
    if !recording::is_possible() {
        assert!(wanted.is_none(), "{CUTS_VARIABLE} is set, and nothing can be recorded here");
        return;
    }
    let seed = number_of(SEED_VARIABLE).unwrap_or_else(|| crate::harness::random(u64::MAX));
    let began = Instant::now();
    let recording = recording::record().await;
    let recorded = began.elapsed();
    let cuts = wanted.map_or(FEW, |wanted| wanted as usize);
    let replay = Mutex::new(Replay::new(&recording, cuts, seed));
    println!("{}; {:.1} s; seed {seed}", describe(&recording), recorded.as_secs_f64());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let next = replay.lock().unwrap().next();
                    let Some(cut) = next else { return };
                    let told = Told::until(&recording.facts, cut.time);
                    let checked = catch_unwind(AssertUnwindSafe(|| check::check(&cut.left, &told)));
                    if checked.is_err() {
                        failures.lock().unwrap().push(keep(&cut));
                    }
                }
            });
        }
    });
    let mut replay = replay.into_inner().unwrap();
    replay.compare_with_the_end();
    let failures = failures.into_inner().unwrap();
    println!("{cuts} cuts, of which {} lost something; {:.1} s in all", replay.lossy, began.elapsed().as_secs_f64());
    assert!(failures.is_empty(), "{} of {cuts} cuts: {failures:#?}", failures.len());
}

fn describe(recording: &Recording) -> String {
    let operations = recording.lives.iter().flat_map(|life| &life.trace.operations);
    let (mut writes, mut bytes, mut syncs, mut names) = (0, 0, 0, 0);
    for operation in operations {
        match operation {
            Operation::Write { data, .. } => {
                writes += 1;
                bytes += data.len();
            }
            Operation::Sync { .. } => syncs += 1,
            Operation::Rename { .. } | Operation::Remove { .. } | Operation::Open { create: true, .. } => names += 1,
            _ => {}
        }
    }
    let told = recording.facts.len();
    format!("{writes} writes of {bytes} bytes, {syncs} syncs, {names} changes of names; {told} facts told")
}

/// Keeps what a cut has left, for somebody to look at, and says where.
fn keep(cut: &Cut) -> String {
    let kept = tempfile::Builder::new().prefix("task-messenger-power-cut-").tempdir().unwrap().keep();
    disk::write_tree(&cut.left, &kept);
    format!("cut {} at {} µs: {}", cut.number, cut.time, kept.display())
}

/// A moment, and what a power cut at it leaves.
struct Cut {
    number: usize,
    time: u64,
    left: Tree,
}

/// The recording, replayed from moment to moment.
struct Replay<'a> {
    lives: &'a [Life],
    disk: Disk,
    random: Random,
    /// In order.
    moments: Vec<u64>,
    cuts: usize,
    /// How many of them lost anything.
    lossy: usize,
    life: usize,
    step: usize,
    /// The number of the life's first operation among all calls.
    first_call: usize,
}

impl<'a> Replay<'a> {
    fn new(recording: &'a Recording, cuts: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let lives = &recording.lives;
        let steps: Vec<u64> = lives.iter().flat_map(|life| &life.trace.steps).map(|step| step.time).collect();
        let facts: Vec<u64> = recording.facts.iter().map(|(time, _)| *time).collect();
        // Half of them where something was done, half of them just when somebody has been told something.
        let mut moments: Vec<u64> = (0..cuts)
            .map(|cut| {
                let from = if cut % 2 == 0 { &facts } else { &steps };
                from[random.below(from.len() as u64) as usize]
            })
            .collect();
        moments.sort_unstable();
        Self { lives, disk: Disk::new(), random, moments, cuts: 0, lossy: 0, life: 0, step: 0, first_call: 1 }
    }

    /// The next cut.
    fn next(&mut self) -> Option<Cut> {
        let number = self.cuts;
        let time = *self.moments.get(number)?;
        self.cuts += 1;
        while self.peek().is_some_and(|step| step.time <= time) {
            self.advance();
        }
        let left = self.disk.after_a_cut(&mut self.random.of_a_cut());
        self.lossy += usize::from(left != self.disk.current());
        Some(Cut { number, time, left })
    }

    fn peek(&self) -> Option<&Step> {
        // A life without a step would be no start.
        self.lives.get(self.life)?.trace.steps.get(self.step)
    }

    fn advance(&mut self) {
        let life = &self.lives[self.life];
        let step = life.trace.steps[self.step];
        let operation = &life.trace.operations[step.operation];
        let call = self.first_call + step.operation;
        if step.ends {
            self.disk.end(call, operation);
        } else {
            self.disk.begin(call, operation);
        }
        self.step += 1;
        if self.step == life.trace.steps.len() {
            let operation_of = |call: usize| &life.trace.operations[call - self.first_call];
            self.disk.process_ended(operation_of, &life.left);
            compare(&self.disk.current(), &life.left);
            self.first_call += life.trace.operations.len();
            self.life += 1;
            self.step = 0;
            if self.life < self.lives.len() {
                let removed = Operation::Remove { path: format!("{STATE}/{REMOVED_BY_TESTS}") };
                self.disk.begin(self.first_call, &removed);
                self.disk.end(self.first_call, &removed);
                self.first_call += 1;
            }
        }
    }

    /// Replays the rest, and sees that it led to what was really there.
    fn compare_with_the_end(&mut self) {
        while self.peek().is_some() {
            self.advance();
        }
    }
}

/// Fails if a recording, replayed whole, is not what its process has left: then it has missed something.
fn compare(replayed: &Tree, left: &Tree) {
    let names = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(replayed), names(left), "replayed, and there");
    for (name, entry) in replayed {
        assert!(left[name] == *entry, "{name} was changed by something that was not recorded");
    }
}
