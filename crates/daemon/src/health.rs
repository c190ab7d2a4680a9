//! Whether a daemon is alive, and whether it is ready: two things.
//!
//! *Alive* means that what must turn does ([`Health::alive`]): it drives `/healthz` and the watchdog of the service manager,
//! and a restart is what helps when it is lost. Nothing remote is part of it, and neither is a slow disk. *Ready* means that
//! the daemon can do its work now ([`Health::ready`]): it drives `/readyz`, and whoever reads it waits, or does something
//! about the reason.

use std::{
    fmt::Write as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use serde::{Serialize, Serializer};

/// What must turn has stopped when it did not for so long.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How something that must turn does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// Goes up with every turn.
    pub beats: u64,
    /// Whether it waits for something that may take any time, and is not to be blamed for it: the disk.
    pub excused: bool,
    /// Whether it has ended, and never turns again.
    pub ended: bool,
}

/// One thing that has to be so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What: `disk`, say.
    pub name: &'static str,
    /// Whether it is so.
    pub ok: bool,
    /// Whether the whole depends on it. What is not required, and not so, is only shown.
    pub required: bool,
    /// Since when; written as RFC 3339.
    #[serde(serialize_with = "rfc3339")]
    pub since: SystemTime,
    /// How it is, in words.
    pub detail: String,
    /// What to do, unless it is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<&'static str>,
}

/// All checks of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether all that is required is so.
    pub ok: bool,
    /// Each of them.
    pub checks: Vec<Check>,
}

impl Report {
    fn of(checks: Vec<Check>) -> Self {
        Self { ok: checks.iter().all(|check| check.ok || !check.required), checks }
    }

    /// What is required and not so, in one line: `disk (…), connected (…)`; empty if there is nothing.
    pub fn troubles(&self) -> String {
        let mut text = String::new();
        for check in self.checks.iter().filter(|check| check.required && !check.ok) {
            let comma = if text.is_empty() { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(text, "{comma}{} ({})", check.name, check.detail);
        }
        text
    }
}

/// How a daemon is. Clones share it.
#[derive(Clone, Default)]
pub struct Health {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    turning: Mutex<Vec<Turning>>,
    conditions: Mutex<Vec<State>>,
}

/// Something that must turn.
struct Turning {
    state: State,
    look: Box<dyn Fn() -> Beat + Send>,
    seen: u64,
    changed: Instant,
}

/// Whether something is so.
struct State {
    name: &'static str,
    advice: &'static str,
    required: bool,
    ok: bool,
    since: SystemTime,
    detail: String,
}

impl State {
    fn new(name: &'static str, required: bool, advice: &'static str, detail: &str) -> Self {
        Self { name, advice, required, ok: false, since: SystemTime::now(), detail: detail.to_owned() }
    }

    fn set(&mut self, ok: bool, detail: String) {
        if self.ok != ok {
            self.ok = ok;
            self.since = SystemTime::now();
        }
        self.detail = detail;
    }

    fn check(&self) -> Check {
        Check {
            name: self.name,
            ok: self.ok,
            required: self.required,
            since: self.since,
            detail: self.detail.clone(),
            advice: (!self.ok).then_some(self.advice),
        }
    }
}

/// Numbers what waits for the disk, or for a log that is not taken.
static WAITS: AtomicU64 = AtomicU64::new(0);

/// What each thread waits for just now; zero: nothing.
static WAITING: Mutex<Vec<Arc<AtomicU64>>> = Mutex::new(Vec::new());

thread_local! {
    static WAITS_FOR: Arc<AtomicU64> = {
        let own = Arc::<AtomicU64>::default();
        let mut all = lock(&WAITING);
        // Threads that have ended.
        all.retain(|other| Arc::strong_count(other) > 1);
        all.push(own.clone());
        own
    };
}

/// Does something that may have to wait for the disk, on a thread that must turn: while that lasts, nothing that is watched
/// counts as dead, because a restart would not make the disk faster.
pub fn waiting_for_disk<T>(work: impl FnOnce() -> T) -> T {
    struct Waits(Arc<AtomicU64>, u64);
    impl Drop for Waits {
        fn drop(&mut self) {
            self.0.store(self.1, Ordering::Relaxed);
        }
    }
    // A thread that ends writes its last lines without.
    let _waits = WAITS_FOR.try_with(|own| {
        let number = WAITS.fetch_add(1, Ordering::Relaxed) + 1;
        Waits(own.clone(), own.swap(number, Ordering::Relaxed))
    });
    work()
}

/// Whether something still waits that has begun to before `since`, a number of [`WAITS`].
fn waits_since(since: u64) -> bool {
    lock(&WAITING).iter().any(|own| (1..=since).contains(&own.load(Ordering::Relaxed)))
}

/// Shows that a loop turns.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// It turned once more.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// One of the things that a daemon needs to be ready.
#[derive(Clone)]
pub struct Condition {
    shared: Arc<Shared>,
    index: usize,
}

impl Condition {
    /// Says whether it is so, and how it is.
    pub fn set(&self, ok: bool, detail: impl Into<String>) {
        if let Some(state) = lock(&self.shared.conditions).get_mut(self.index) {
            state.set(ok, detail.into());
        }
    }
}

impl Health {
    /// A loop that must turn, at least every [`PATIENCE`], and shows it by its pulse.
    pub fn pulse(&self, name: &'static str) -> Pulse {
        let pulse = Pulse::default();
        let beats = pulse.clone();
        let looked = AtomicU64::new(0);
        self.watch(name, move || {
            // What waits at two looks in a row: a log that is written all the time excuses nothing.
            let since = looked.swap(WAITS.load(Ordering::Relaxed), Ordering::Relaxed);
            Beat { beats: beats.0.load(Ordering::Relaxed), excused: waits_since(since), ended: false }
        });
        pulse
    }

    /// Something else that must turn.
    pub fn watch(&self, name: &'static str, look: impl Fn() -> Beat + Send + 'static) {
        let advice = "restart the daemon, and report what its log says before";
        let mut state = State::new(name, true, advice, "it turns");
        state.ok = true;
        let turning = Turning { state, look: Box::new(look), seen: 0, changed: Instant::now() };
        lock(&self.shared.turning).push(turning);
    }

    /// Something that is needed to be ready, with what to do when it is missing. It is not so until it is set.
    pub fn condition(&self, name: &'static str, advice: &'static str) -> Condition {
        self.add(State::new(name, true, advice, "not yet"))
    }

    /// Something that should be so, but that the daemon works without. It is so until it is set.
    pub fn wish(&self, name: &'static str, advice: &'static str, detail: &str) -> Condition {
        let mut state = State::new(name, false, advice, detail);
        state.ok = true;
        self.add(state)
    }

    fn add(&self, state: State) -> Condition {
        let mut conditions = lock(&self.shared.conditions);
        conditions.push(state);
        Condition { shared: self.shared.clone(), index: conditions.len() - 1 }
    }

    /// Whether all that must turn did so lately. To be asked about every second: what turned since it was asked last counts
    /// as turning now.
    pub fn alive(&self) -> Report {
        self.alive_at(Instant::now())
    }

    fn alive_at(&self, now: Instant) -> Report {
        let mut all = lock(&self.shared.turning);
        for turning in &mut *all {
            let Beat { beats, excused, ended } = (turning.look)();
            if beats != turning.seen || excused {
                (turning.seen, turning.changed) = (beats, now);
            }
            let still = now.duration_since(turning.changed);
            if ended {
                turning.state.set(false, "it has ended".to_owned());
            } else if still >= PATIENCE {
                turning.state.set(false, format!("it has not turned for {} s", still.as_secs()));
            } else {
                turning.state.set(true, if excused { "it waits for the disk" } else { "it turns" }.to_owned());
            }
        }
        Report::of(all.iter().map(|turning| turning.state.check()).collect())
    }

    /// Whether the daemon can do its work now.
    pub fn ready(&self) -> Report {
        Report::of(lock(&self.shared.conditions).iter().map(State::check).collect())
    }
}

#[cfg_attr(windows, expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls it with"))]
fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_seconds(*time))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn what_does_not_turn_is_dead_unless_it_waits_for_the_disk() {
        let health = Health::default();
        let start = Instant::now();
        let at = |seconds| health.alive_at(start + Duration::from_secs(seconds)).ok;
        let pulse = health.pulse("loop");
        let journal = Arc::new(Mutex::new(Beat::default()));
        let look = journal.clone();
        health.watch("journal", move || *look.lock().unwrap());
        pulse.beat();
        assert!(at(1) && at(10));
        pulse.beat();
        journal.lock().unwrap().excused = true;
        assert!(at(11) && at(20));
        assert!(!at(22), "the loop has not turned since second 11");
        pulse.beat();
        assert!(at(23) && at(32));
        pulse.beat();
        *journal.lock().unwrap() = Beat { beats: 7, ..Beat::default() };
        assert!(at(33));
        pulse.beat();
        assert!(at(42));
        let report = health.alive_at(start + Duration::from_secs(44));
        assert!(report.troubles().starts_with("journal (it has not turned for 11 s)"), "{}", report.troubles());
        journal.lock().unwrap().ended = true;
        assert!(!at(45));
    }

    #[test]
    fn the_daemon_is_ready_when_all_that_it_needs_is_so() {
        let health = Health::default();
        assert!(health.ready().ok);
        let disk = health.condition("disk", "make room");
        let configuration = health.wish("configuration", "correct the file", "as in the file");
        let report = health.ready();
        assert_eq!((report.ok, report.troubles().as_str()), (false, "disk (not yet)"));
        assert_eq!(report.checks[0].advice, Some("make room"));
        let written = serde_json::to_value(&report.checks[0]).unwrap();
        assert_eq!(written["since"], humantime::format_rfc3339_seconds(report.checks[0].since).to_string());
        disk.set(true, "9 GiB are free");
        configuration.set(false, "the file is damaged");
        let report = health.ready();
        assert_eq!((report.ok, report.troubles().as_str()), (true, ""));
        assert_eq!(report.checks[0].advice, None);
        assert_eq!((report.checks[1].ok, report.checks[1].advice), (false, Some("correct the file")));
        disk.set(false, "none is free");
        assert!(!health.ready().ok);
    }
}
