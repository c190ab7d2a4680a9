//! Seeds: many for the whole, one for a closer look, the same twice, and with defects that must be found.

use std::fmt::Write;

use task_messenger_core::engine::{Engine, Faults};
use task_messenger_simulation::{Setup, run, run_many};

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"))
}

/// `SEED=123 cargo test -p task-messenger-simulation one_seed -- --nocapture` shows what happens in a seed;
/// `SEEDS=100000 cargo test --release -p task-messenger-simulation many_seeds -- --nocapture` looks for new ones.
#[test]
fn many_seeds_break_nothing_and_see_every_kind_of_fault() {
    let count = from_environment("SEEDS", 3_000);
    let first = from_environment("FIRST_SEED", 0);
    let (totals, failures) = run_many(first, count, 2, Setup::default());
    println!("{totals}");
    let mut words = String::new();
    for (seed, violation) in &failures {
        let _ = write!(
            words,
            "\nseed {seed}: {violation}\n  SEED={seed} cargo test -p task-messenger-simulation one_seed -- --nocapture\n"
        );
    }
    assert!(failures.is_empty(), "{words}");
    if count >= 1_000 {
        assert!(totals.power_cuts >= 500, "{} power cuts", totals.power_cuts);
        for (label, seen) in totals.entries() {
            assert!(seen > 0, "{label}: none in {count} seeds");
        }
    }
}

#[test]
fn one_seed_can_be_looked_at() {
    let seed = from_environment("SEED", 1);
    let print = std::env::var("SEED").is_ok();
    match run(seed, Setup { print, ..Setup::default() }) {
        Ok(report) if print => println!("{}", report.totals),
        Ok(_) => {}
        Err(violation) => panic!("seed {seed}: {violation}"),
    }
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in 0..20 {
        let first = run(seed, Setup::default()).expect("no violation");
        let again = run(seed, Setup::default()).expect("no violation");
        assert_eq!(first, again, "seed {seed}");
    }
    assert_ne!(
        run(1, Setup::default()).expect("no violation").hash,
        run(2, Setup::default()).expect("no violation").hash
    );
}

/// The first seed in which a defect shows.
fn first_violation(prepare: fn(&mut Engine)) -> String {
    let (_, failures) = run_many(0, 300, 2, Setup { prepare, ..Setup::default() });
    let (seed, violation) = failures.first().expect("the defect shows within 300 seeds");
    println!("seed {seed}: {violation}");
    violation.to_string()
}

#[test]
fn telling_before_it_is_durable_is_found() {
    first_violation(|engine| engine.set_faults(Faults { tell_before_durable: true, ..Faults::default() }));
}

#[test]
fn a_missing_fence_is_found() {
    first_violation(|engine| engine.set_faults(Faults { no_fencing: true, ..Faults::default() }));
}

#[test]
fn a_cancel_that_recovery_loses_is_found() {
    first_violation(|engine| engine.set_faults(Faults { forget_cancel: true, ..Faults::default() }));
}

#[test]
fn a_charged_neighbour_is_found() {
    first_violation(|engine| engine.set_faults(Faults { charge_neighbours: true, ..Faults::default() }));
}

#[test]
fn numbers_that_are_used_before_their_range_is_synced_are_found() {
    first_violation(|engine| engine.set_faults(Faults { unsynced_ranges: true, ..Faults::default() }));
}

#[test]
fn a_forgotten_lease_is_found() {
    first_violation(|engine| engine.set_faults(Faults { forget_lease: true, ..Faults::default() }));
}
