//! Running seeds, one or many.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use task_messenger_core::engine::Engine;

use crate::{stage::Violation, totals::Totals, world::World};

/// How a world is made.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Called with every engine that is made, before it recovers.
    pub prepare: fn(&mut Engine),
    /// Whether what happens is printed.
    pub print: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { prepare: |_| {}, print: false }
    }
}

/// What a run has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it has seen.
    pub totals: Totals,
    /// What happened, in order, as a hash.
    pub hash: u64,
}

/// Runs a seed. A panic is a violation too.
pub fn run(seed: u64, setup: Setup) -> Result<Report, Violation> {
    let run = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, setup.prepare, setup.print);
        let result = world.run();
        let at = world.describe();
        result
            .map(|()| Report { totals: world.totals(), hash: world.hash() })
            .map_err(|Violation(text)| Violation(format!("{text} ({at})")))
    }));
    run.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("something");
        Err(Violation(format!("panic: {text}")))
    })
}

/// Runs many seeds on several threads, up to the first violation of each thread: the totals, and every seed that failed.
pub fn run_many(first: u64, count: u64, threads: usize, setup: Setup) -> (Totals, Vec<(u64, Violation)>) {
    let next = AtomicU64::new(first);
    let failed = AtomicBool::new(false);
    let work = || {
        let mut totals = Totals::default();
        let mut failures = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                break;
            }
            match run(seed, setup) {
                Ok(report) => totals.add(&report.totals),
                Err(violation) => {
                    failures.push((seed, violation));
                    failed.store(true, Ordering::Relaxed);
                }
            }
        }
        (totals, failures)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut totals = Totals::default();
        let mut failures = Vec::new();
        for thread in threads {
            if let Ok((seen, failed)) = thread.join() {
                totals.add(&seen);
                failures.extend(failed);
            }
        }
        failures.sort_by_key(|(seed, _)| *seed);
        (totals, failures)
    })
}
