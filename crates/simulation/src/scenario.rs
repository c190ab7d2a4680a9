//! What a seed decides in advance: how large the world is, how it is configured, and what goes wrong in it.

use std::time::Duration;

use task_messenger_core::limits::Limits;
use task_messenger_store::Durability;

use crate::random::Random;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    KillManager,
    KillManagerBetweenWriteAndNews,
    RestartManager,
    CutPower,
    CutPowerInsideOperation,
    FailDisk,
    FillDisk,
    KillWorker,
    StopWorker,
    FreezeWorker,
    ChangeWindow,
    GiveBack,
    CopyWorker,
    KillClient,
    CutLink,
    JumpClock,
}

const ALL: [Fault; 16] = [
    Fault::KillManager,
    Fault::KillManagerBetweenWriteAndNews,
    Fault::RestartManager,
    Fault::CutPower,
    Fault::CutPowerInsideOperation,
    Fault::FailDisk,
    Fault::FillDisk,
    Fault::KillWorker,
    Fault::StopWorker,
    Fault::FreezeWorker,
    Fault::ChangeWindow,
    Fault::GiveBack,
    Fault::CopyWorker,
    Fault::KillClient,
    Fault::CutLink,
    Fault::JumpClock,
];

impl Fault {
    /// Whether workers may die of it, lose what they hold, or be silent for too long.
    fn ends_workers(self) -> bool {
        matches!(self, Self::KillWorker | Self::StopWorker | Self::FreezeWorker | Self::CopyWorker | Self::CutLink)
    }
}

/// A seed's settings.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) durability: Durability,
    pub(crate) segment_bytes: u64,
    pub(crate) cache_bytes: usize,
    pub(crate) limits: Limits,
    pub(crate) workers: usize,
    pub(crate) clients: usize,
    pub(crate) jobs: u64,
    pub(crate) job_size: u64,
    pub(crate) large_values: bool,
    /// So many tasks in a hundred kill their worker.
    pub(crate) killers: u64,
    /// Workers die of nothing else, and nothing else makes them silent: what neither kills nor fails is never charged.
    pub(crate) only_killers: bool,
    /// After so many of a hundred commits what is over goes on its way to the archive.
    pub(crate) archived: u64,
    /// In so many of a hundred commits a snapshot is taken.
    pub(crate) snapshots: u64,
    /// Whether administrators do something with workers and tokens.
    pub(crate) administrated: bool,
    /// How many events are handled before everything is made whole.
    pub(crate) chaos: u64,
    /// The faults that happen, some more often than others.
    pub(crate) faults: Vec<Fault>,
    pub(crate) fault_pause: Duration,
    pub(crate) slowest_link: Duration,
    pub(crate) slowest_write: Duration,
}

impl Scenario {
    pub(crate) fn new(random: &mut Random) -> Self {
        let durability = match random.below(100) {
            0..70 => Durability::Strict,
            70..88 => Durability::Interval,
            _ => Durability::None,
        };
        let only_killers = durability == Durability::Strict && random.percent(10);
        let shape = random.below(100);
        let (jobs, job_size) = match shape {
            0..3 => (2, 2_000),
            3..30 => (6, 8),
            _ => (5, 40),
        };
        let large_values = (3..6).contains(&shape);
        let graces = if only_killers { &[3_000, 10_000][..] } else { &[1_000, 3_000, 10_000] };
        let mut limits = Limits {
            lease_grace: Duration::from_millis(random.pick(graces)),
            window: random.pick(&[10, 64, 64]),
            probe: Duration::from_millis(random.pick(&[500, 1_000, 3_000])),
            archive_lag: Some(1_000_000),
            ..Limits::default()
        };
        if shape >= 90 {
            limits.open_tasks = 40.max(limits.window.into());
            limits.open_bytes = 1 << 15;
        }
        let killers = if only_killers { 8 } else { random.pick(&[0, 0, 4]) };
        let mut faults = Vec::new();
        for fault in ALL {
            // Whatever ends the manager or fills its disk is rarer, or nobody would get anywhere.
            let of_manager = fault as usize <= Fault::FillDisk as usize;
            let most = if of_manager { 2 } else { 4 };
            let likely = random.percent(60) && !(only_killers && fault.ends_workers());
            let weight = if likely { random.between(1, most) } else { 0 };
            faults.extend((0..weight).map(|_| fault));
        }
        Self {
            durability,
            segment_bytes: if large_values { 1 << 20 } else { random.pick(&[1 << 16, 1 << 16, 1 << 18]) },
            cache_bytes: random.pick(&[0, 1 << 14, 1 << 20]),
            limits,
            workers: random.between(1, 5) as usize,
            clients: random.between(1, 3) as usize,
            jobs: random.between(1, jobs),
            job_size,
            large_values,
            killers,
            only_killers,
            archived: random.pick(&[0, 10, 100]),
            snapshots: random.pick(&[0, 2, 10]),
            administrated: random.percent(40),
            chaos: random.pick(&[300, 600, 1_000, 2_000, 4_000]),
            faults,
            fault_pause: Duration::from_millis(random.pick(&[60, 200, 600, 2_000, 6_000])),
            slowest_link: Duration::from_millis(random.pick(&[1, 10, 200])),
            slowest_write: Duration::from_millis(random.pick(&[1, 5, 40, 300])),
        }
    }
}
