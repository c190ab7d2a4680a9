//! Whether anything waits behind something else at a worker for long while another has a slot free for it.

use std::{collections::BTreeMap, time::Duration};

use task_messenger_core::{
    ids::LeaseNumber,
    state::{Start, State},
};

use crate::{
    newcomers::Sessions,
    reference::{Reference, Room},
    stage::{Checked, ensure},
};

/// For longer than this nothing is to wait that was not asked back: twice as long as it takes to notice.
const LONG: Duration = Duration::from_millis(400);

/// Since when things are as they are.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Workers with slots free.
    idle: BTreeMap<u32, (Room, Duration)>,
    /// Workers that hold more than they have slots.
    full: BTreeMap<u32, Duration>,
    /// What those hold and were not asked for.
    held: BTreeMap<u64, Duration>,
    /// Nothing that was asked back is on its way.
    quiet: Option<Duration>,
}

impl Waiting {
    /// Looks at how things are at the end of a turn.
    pub(crate) fn check(
        &mut self,
        reference: &Reference,
        sessions: &Sessions,
        state: &State,
        now: Duration,
    ) -> Checked {
        let room = |worker: &u32| reference.room_of(*worker).map(|room| (*worker, room));
        let rooms: Vec<(u32, Room)> = sessions.workers.values().filter_map(room).collect();
        let judged = rooms.iter().any(|(_, room)| room.over > 0) && !reference.has_lone_tasks();
        if !judged {
            *self = Self::default();
            return Ok(());
        }
        let earlier = std::mem::take(self);
        for (worker, room) in rooms {
            if room.over > 0 {
                self.full.insert(worker, earlier.full.get(&worker).copied().unwrap_or(now));
            }
            if room.free > 0 {
                let since = earlier.idle.get(&worker).filter(|(before, _)| *before == room).map(|(_, since)| *since);
                self.idle.insert(worker, (room, since.unwrap_or(now)));
            }
        }
        let coming = state.leases.values().any(|lease| lease.asked_back && lease.start == Start::No);
        self.quiet = (!coming).then(|| earlier.quiet.unwrap_or(now));
        let asked_back = |lease: u64| state.leases.get(&LeaseNumber(lease)).is_some_and(|lease| lease.asked_back);
        for (lease, (_, holder)) in &reference.leases {
            // What was asked back in vain, because the session ended, waits anew.
            if self.full.contains_key(holder) && !asked_back(*lease) {
                self.held.insert(*lease, earlier.held.get(lease).copied().unwrap_or(now));
            }
        }
        self.judge(reference, state, now)
    }

    fn judge(&self, reference: &Reference, state: &State, now: Duration) -> Checked {
        let long = |since: Duration| now.saturating_sub(since) >= LONG;
        if !self.quiet.is_some_and(long) {
            return Ok(());
        }
        let idle: Vec<(u32, u32)> = self
            .idle
            .iter()
            .filter(|(_, (_, since))| long(*since))
            .map(|(worker, (room, _))| (*worker, room.free))
            .collect();
        if idle.is_empty() {
            return Ok(());
        }
        for (lease, since) in self.held.iter().filter(|(_, since)| long(**since)) {
            let Some((task, holder)) = reference.leases.get(lease).copied() else { continue };
            let waits = state.leases.get(&LeaseNumber(*lease)).is_some_and(|lease| lease.start != Start::Yes);
            if !waits || !self.full.get(&holder).copied().is_some_and(long) {
                continue;
            }
            for (worker, free) in &idle {
                let waited = now.saturating_sub(*since);
                ensure!(
                    !reference.could_take(*worker, *free, task),
                    "lease {lease} waits at worker {holder} for {waited:?} while worker {worker} has {free} slots free"
                );
            }
        }
        Ok(())
    }
}
