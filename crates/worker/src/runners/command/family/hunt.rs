//! Ending processes that start others while they are being ended.

use std::collections::{HashMap, HashSet};

use rustix::{
    io::Errno,
    process::{Signal, getpid},
};

use super::table::{self, Entry};

/// How often the table is read again in one round when it shows more each time.
const MOST_READINGS: usize = 64;

/// What is being ended.
#[derive(Debug, Default)]
pub(in super::super) struct Hunt {
    /// By number, with their starts. What once was found is not lost when its parent dies.
    claimed: HashMap<u32, u64>,
    /// What this user may not end.
    beyond: HashSet<u32>,
}

impl Hunt {
    /// Ends these and their descendants, and what was found before; how many of them have not ended yet.
    pub(super) fn round(&mut self, is_root: impl Fn(&Entry) -> bool) -> usize {
        let mut found = Vec::new();
        let mut stopped = HashSet::new();
        for _ in 0..MOST_READINGS {
            found = table::with_descendants(&table::all(), |entry| self.has_claimed(entry) || is_root(entry));
            found.retain(|entry| !entry.ended && !self.beyond.contains(&entry.id));
            let mut all_stopped = true;
            for entry in &found {
                self.claimed.insert(entry.id, entry.start);
                if stopped.insert((entry.id, entry.start)) {
                    all_stopped = false;
                    // What is stopped starts nothing: so the table shows all when it shows nothing new.
                    self.signal(entry, Signal::STOP);
                }
            }
            if all_stopped {
                break;
            }
        }
        // Children first: a stopped group that loses its last parent outside is continued by the kernel.
        for entry in found.iter().rev() {
            self.signal(entry, Signal::KILL);
        }
        found.retain(|entry| !self.beyond.contains(&entry.id));
        found.len()
    }

    /// Asks these and their descendants to end, but for those in a group, who are asked together.
    pub(super) fn terminate(&mut self, is_root: impl Fn(&Entry) -> bool, group: u32) {
        for entry in table::with_descendants(&table::all(), is_root) {
            if entry.id != group {
                self.claimed.insert(entry.id, entry.start);
            }
            if entry.group != group && !entry.ended {
                // It may have ended meanwhile, or be another user's.
                _ = entry.signal(Signal::TERM);
            }
        }
    }

    /// Whether something that was found still runs.
    pub(super) fn lives(&self) -> bool {
        self.claimed.iter().any(|(id, start)| Entry::of(*id).is_some_and(|entry| entry.start == *start && !entry.ended))
    }

    pub(super) fn has_claimed(&self, entry: &Entry) -> bool {
        self.claimed.get(&entry.id) == Some(&entry.start)
    }

    pub(super) fn is_beyond(&self, entry: &Entry) -> bool {
        self.beyond.contains(&entry.id)
    }

    /// Whether something that was found still has to end, or to be reaped by this process.
    pub(super) fn goes_on(&mut self) -> bool {
        let own = getpid().as_raw_nonzero().get().cast_unsigned();
        self.claimed.retain(|id, start| Entry::of(*id).is_some_and(|entry| entry.start == *start));
        let beyond = &self.beyond;
        self.claimed
            .keys()
            .any(|id| !beyond.contains(id) && Entry::of(*id).is_some_and(|entry| !entry.ended || entry.parent == own))
    }

    fn signal(&mut self, entry: &Entry, signal: Signal) {
        if entry.signal(signal) == Err(Errno::PERM) && self.beyond.insert(entry.id) {
            tracing::warn!(process = entry.id, "a task's process is another user's and can't be ended");
        }
    }
}
