//! Defects that a test switches on to see that they are caught. Only test builds have them.

use std::cell::Cell;

use super::Engine;

/// Which defects there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Effects don't wait for their records.
    pub tell_before_durable: bool,
    /// A report under a lease that has been replaced counts for the task.
    pub no_fencing: bool,
    /// Recovery loses a lease.
    pub forget_lease: bool,
    /// A worker's death is charged to all tasks that ran there.
    pub charge_neighbours: bool,
    /// Recovery loses that running tasks were cancelled.
    pub forget_cancel: bool,
    /// Number ranges are used before they are synced, where the durability allows that of other records. For the thread.
    pub unsynced_ranges: bool,
}

thread_local! {
    /// Records ask, and know no engine.
    static UNSYNCED_RANGES: Cell<bool> = const { Cell::new(false) };
}

pub(crate) fn ranges_are_unsynced() -> bool {
    UNSYNCED_RANGES.get()
}

impl Engine {
    /// Switches defects on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
        UNSYNCED_RANGES.set(faults.unsynced_ranges);
    }

    pub(super) fn forget(&mut self) {
        if self.faults.forget_cancel {
            let tasks: Vec<_> = self.state.leases.values().map(|lease| lease.task).collect();
            for task in tasks {
                self.state.forget_cancel(task);
            }
        }
        if self.faults.forget_lease
            && let Some(lease) = self.state.leases.keys().min().copied()
        {
            self.state.leases.remove(&lease);
        }
    }
}
