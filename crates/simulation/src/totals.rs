//! What a run has seen.

use std::fmt;

macro_rules! totals {
    ($($(#[$doc:meta])* $field:ident: $label:literal,)*) => {
        /// How often each thing happened.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Totals {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl Totals {
            /// Adds another run's.
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }

            /// Every count with its name.
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$(($label, self.$field)),*]
            }
        }
    };
}

totals! {
    /// Seeds.
    seeds: "seeds",
    /// Events handled.
    steps: "steps",
    /// Virtual seconds.
    seconds: "virtual seconds",
    /// Records appended.
    records: "records appended",
    /// Records replayed.
    replayed: "records replayed",
    /// Writes to the journal.
    writes: "journal writes",
    /// Seeds of durability `strict`.
    strict: "seeds with strict durability",
    /// Seeds of durability `interval`.
    interval: "seeds with interval durability",
    /// Seeds of durability `none`.
    none: "seeds with no durability",
    /// Kills of the manager.
    manager_kills: "manager kills",
    /// Of these, between the write of a block and the news of it.
    kills_between: "  between write and news",
    /// Clean restarts of the manager.
    manager_restarts: "manager clean restarts",
    /// Power cuts.
    power_cuts: "power cuts",
    /// Of these, in the middle of an operation of the disk.
    torn: "  in the middle of an operation",
    /// Power cuts that took back something that had been told, as weak durability allows.
    taken_back: "  that took back what was told (weak)",
    /// Snapshots written.
    snapshots: "snapshots",
    /// Snapshots that could not be written.
    failed_snapshots: "snapshots that failed",
    /// Values that were written again.
    moved_values: "values moved",
    /// Segments that were removed.
    freed_segments: "segments freed",
    /// Jobs that went to the archive.
    archived: "jobs archived",
    /// Questions that the archive answered, or completed.
    asked_archive: "questions to the archive",
    /// Results told from the archive.
    results_of_archive: "results told from the archive",
    /// Errors of writes or syncs.
    disk_errors: "write or sync errors",
    /// Of the ends of the manager's process, those because the disk was full.
    disk_full: "stops by a full disk",
    /// Kills of workers.
    worker_kills: "worker kills",
    /// Workers killed by a task that they ran.
    killed_by_tasks: "workers killed by a task",
    /// Sessions that were refused because another process with their identity answered.
    clones: "clones refused",
    /// Sessions of workers that were told that they are removed.
    workers_removed: "workers told that they are removed",
    /// Workers that never came back.
    workers_lost: "workers lost for good",
    /// Graceful stops of workers.
    worker_stops: "worker stops",
    /// Workers that froze for longer than the grace.
    worker_freezes: "worker freezes",
    /// Kills of clients.
    client_kills: "client kills",
    /// Links cut.
    cuts: "links cut",
    /// Of these, in one direction first.
    half_cuts: "  in one direction first",
    /// Jumps of the wall clock.
    clock_jumps: "wall clock jumps",
    /// Jobs.
    jobs: "jobs",
    /// Tasks.
    tasks: "tasks",
    /// Submits repeated.
    resubmits: "submits repeated",
    /// Submits under an idempotency key that was used before.
    idempotent: "idempotent repeats",
    /// Submits refused because of an idempotency key that was used for something else.
    other_content: "idempotency keys used for something else",
    /// Requests refused.
    refused: "requests refused",
    /// Hand-outs.
    dispatched: "hand-outs",
    /// Failed attempts tried again.
    retries: "retries",
    /// Cancels of jobs and tasks that changed something.
    cancels: "cancels",
    /// Requests to run something again that changed something.
    run_again: "retries asked for",
    /// Runs of delayed tasks whose time came.
    due: "delays over",
    /// Runs of tasks whose deadline passed.
    deadlines: "deadlines passed",
    /// Tasks that expired.
    expired: "tasks expired",
    /// Attempts that were reported after their task was cancelled.
    cancelled_running: "reports of cancelled attempts",
    /// Leases ended without an outcome, at nobody's charge.
    released: "leases released",
    /// Workers that died with leases, as the manager sees it.
    deaths: "workers' deaths with leases",
    /// Leases that ended by silence.
    silenced: "leases ended by silence",
    /// Crashes counted.
    crashes: "crashes counted",
    /// Deaths of tasks that ran alone.
    charged_deaths: "deaths alone, charged",
    /// Processes that came while another with their identity stood.
    newcomers: "newcomers while another stood",
    /// Leases that were asked back.
    asked_back: "leases asked back",
    /// Leases taken up again after silence.
    readopted: "leases taken up again",
    /// Leases that a worker was told to drop.
    dropped: "leases dropped",
    /// Reports that came too late to count.
    fenced: "late reports fenced",
    /// Tasks that succeeded.
    succeeded: "tasks succeeded",
    /// Dead letters.
    dead_letters: "dead letters",
    /// Of these, tasks whose workers died while they ran alone.
    dead_by_death: "  because their workers died",
    /// Results told.
    results: "results told",
    /// Questions answered.
    answers: "questions answered",
    /// Values read from the journal on the disk.
    read_back: "values read back",
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (label, count) in self.entries() {
            writeln!(f, "{label:<40} {count:>12}")?;
        }
        Ok(())
    }
}
