//! Which processes belong to which task, wherever they have gone.
//!
//! A program can leave its group, its session, its parent, its directory and its environment. It can't leave its limits: they
//! are inherited by each child and survive `exec`. So every task's program is started with a *mark* as its soft limit of
//! `RLIMIT_LOCKS`, which has limited nothing since Linux 2.4.25 but is kept, inherited and shown in `/proc/PID/limits`, also
//! of a process that has ended. The upper half of a mark is a random number of the worker's start, the lower half counts tasks.
//!
//! The worker adopts what loses its parent (it is a *child subreaper*). So when a program has ended, all that is left of its
//! task is below the worker's own children; mostly that is one look at a short list. What skills start carries no mark and is
//! not touched. Only a process that sets this very limit by itself, or has become another user's, gets away.

mod cgroup;
mod hunt;
mod leftovers;
mod session;
mod table;

use std::{
    collections::HashMap,
    io,
    path::Path,
    process::{Child, Command, ExitStatus},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getpgrp, getpid, getrlimit, set_child_subreaper, setrlimit,
    waitid,
};
use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
};

use self::cgroup::Cgroups;
use self::table::{Children, Entry};
pub(super) use self::{cgroup::TaskCgroup, hunt::Hunt};

/// The lower half of a mark. A system of 32 bits shows no more than as many.
const COUNT_BITS: u32 = usize::BITS / 2;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
/// One bit less than there is room for: the largest values mean "unlimited".
const START_MASK: u64 = (1 << (COUNT_BITS - 1)) - 1;

/// The longest pause between two looks at what should have ended.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// How often adopted processes that have ended are reaped while their tasks go on.
const TIDY: Duration = Duration::from_millis(900);

/// All processes that one start of a worker has begun.
#[derive(Debug)]
pub(super) struct Family {
    /// The upper half of the marks, in its place.
    start: u64,
    /// Whether marks can be set and seen.
    marks: bool,
    /// Where each task gets a group of its own, if the worker may make some.
    cgroups: Option<Cgroups>,
    has_terminal: bool,
    children: Children,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    count: u64,
    /// The programs that run, with their marks.
    leaders: HashMap<u32, u64>,
    tidied: Instant,
}

impl Family {
    /// A new family, noted in the state directory for the worker's next start; what is left of earlier ones is ended.
    pub(super) fn found(state_directory: &Path) -> io::Result<Self> {
        leftovers::end(state_directory);
        let random = task_messenger_protocol::secret::random_bytes().map_err(io::Error::other)?;
        let number = u64::from_le_bytes(random) & START_MASK;
        leftovers::note(state_directory, number)?;
        let start = number << COUNT_BITS;
        let own = Some(getpid());
        heed_children();
        let marks = table::is_visible() && marked(start, || ()).is_ok() && set_child_subreaper(own).is_ok();
        if !marks {
            tracing::warn!(
                "processes can't be marked or seen here: what leaves its task's process group outlives the task"
            );
        }
        let state = State { count: 0, leaders: HashMap::new(), tidied: Instant::now() };
        let cgroups = if marks { Cgroups::take() } else { None };
        let has_terminal = session::has_terminal();
        Ok(Self { start, marks, cgroups, has_terminal, children: Children::open(), state: Mutex::new(state) })
    }

    /// Ends what an earlier start of the worker has left, if it was killed. No other worker uses the directory.
    pub(super) fn end_leftovers(state_directory: &Path) {
        leftovers::end(state_directory);
    }

    /// Starts a program as the leader of a group of its own; it, its mark, and its control group if it has one.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<(Child, u64, Option<TaskCgroup>)> {
        // Held until the program is known: what carries a mark and is not known is killed.
        let mut state = self.lock();
        state.count += 1;
        let mark = self.start | (state.count & COUNT_MASK);
        session::begin(command, self.has_terminal);
        let mut cgroup = self.cgroups.as_ref().and_then(|cgroups| cgroups.enclose(command, mark & COUNT_MASK));
        let spawned = marked(mark, || command.spawn()).unwrap_or_else(|_| command.spawn());
        if spawned.is_err() {
            cgroup.take().map(|mut cgroup| cgroup.try_remove());
        }
        let child = spawned?;
        state.leaders.insert(child.id(), mark);
        Ok((child, mark, cgroup))
    }

    /// Waits for a program's exit.
    pub(super) fn reap(&self, leader: &mut Child) -> io::Result<ExitStatus> {
        let mut state = self.lock();
        let status = leader.wait();
        state.leaders.remove(&leader.id());
        status
    }

    /// A program's exit, if it has ended.
    pub(super) fn try_reap(&self, leader: &mut Child) -> io::Result<Option<ExitStatus>> {
        let mut state = self.lock();
        let status = leader.try_wait();
        if !matches!(status, Ok(None)) {
            state.leaders.remove(&leader.id());
        }
        status
    }

    /// Reaps what was ended with a task's control group and has come to this process; whether all of it has ended.
    pub(super) fn reap_ended(&self, cgroup: &TaskCgroup) -> bool {
        let state = self.lock();
        cgroup.ended().filter(|id| !state.leaders.contains_key(id)).filter(|id| !reap(*id)).count() == 0
    }

    /// Whether something of a task still runs whose program has ended.
    pub(super) fn lives(&self, mark: u64, hunt: &Hunt) -> bool {
        let is_of_task = |entry: &Entry| !entry.ended && table::mark(entry.id) == Some(mark);
        hunt.lives() || self.adopted(&self.lock()).iter().any(is_of_task)
    }

    /// Asks all of a task to end that is not in its group.
    pub(super) fn terminate_outside(&self, leader: Pid, mark: u64, hunt: &mut Hunt) {
        if !self.marks {
            return;
        }
        let leader = leader.as_raw_nonzero().get().cast_unsigned();
        let adopted = self.adopted(&self.lock());
        let roots: Vec<u32> =
            adopted.iter().map(|entry| entry.id).filter(|id| table::mark(*id) == Some(mark)).chain([leader]).collect();
        hunt.terminate(|entry| roots.contains(&entry.id), leader);
    }

    /// Begins to end what is left of a task whose program has ended.
    pub(super) fn ending<'a>(&'a self, mark: u64, hunt: &'a mut Hunt, patience: Duration) -> Ending<'a> {
        Ending { family: self, mark, hunt, deadline: Instant::now() + patience, pause: Duration::from_millis(1) }
    }

    /// Reaps what has been adopted and has ended, at most every second, and kills again what could not be ended with its task.
    pub(super) fn tidy(&self) {
        let mut state = self.lock();
        if state.tidied.elapsed() < TIDY {
            return;
        }
        state.tidied = Instant::now();
        for entry in self.adopted(&state) {
            let Some(mark) = table::mark(entry.id).filter(|mark| mark & !COUNT_MASK == self.start) else { continue };
            if entry.ended {
                _ = reap(entry.id);
            } else if !state.leaders.values().any(|leader| *leader == mark) {
                // It is known to be unwilling, and was told of.
                _ = entry.signal(Signal::KILL);
            }
        }
    }

    /// Children that are no task's program: adopted ones, and what skills have started in groups of their own.
    fn adopted(&self, state: &State) -> Vec<Entry> {
        if !self.marks {
            return Vec::new();
        }
        let strangers = self.children.read().into_iter().filter(|id| !state.leaders.contains_key(id));
        strangers.filter_map(Entry::of).filter(is_adopted).collect()
    }

    /// All processes of the family, also those that have ended and were not reaped.
    #[cfg(test)]
    pub(super) fn members(&self) -> Vec<u32> {
        let is_member = |id: &u32| table::mark(*id).is_some_and(|mark| mark & !COUNT_MASK == self.start);
        table::all().into_iter().map(|entry| entry.id).filter(is_member).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task's last processes on their way out.
#[derive(Debug)]
pub(super) struct Ending<'a> {
    family: &'a Family,
    mark: u64,
    hunt: &'a mut Hunt,
    deadline: Instant,
    pause: Duration,
}

impl Ending<'_> {
    /// Kills and reaps what there is; after which time to do so again, or `None` when nothing is left to be done.
    pub(super) fn step(&mut self) -> Option<Duration> {
        let mut goes_on = false;
        let state = self.family.lock();
        for entry in self.family.adopted(&state) {
            if self.hunt.has_claimed(&entry) || table::mark(entry.id) == Some(self.mark) {
                if entry.ended {
                    _ = reap(entry.id);
                } else {
                    goes_on |= !self.hunt.is_beyond(&entry);
                }
            }
        }
        if !goes_on && !self.hunt.goes_on() {
            return None;
        }
        if Instant::now() >= self.deadline {
            tracing::warn!("a task has left processes that don't end although they were killed");
            return None;
        }
        self.hunt.round(|entry| {
            is_adopted(entry) && !state.leaders.contains_key(&entry.id) && table::mark(entry.id) == Some(self.mark)
        });
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        Some(pause)
    }
}

/// A worker that was started with SIGCHLD ignored would never learn how its programs end. Any handler mends that.
fn heed_children() {
    if table::ignores(Signal::CHILD)
        && Handle::try_current().is_ok()
        && let Err(error) = signal(SignalKind::child())
    {
        tracing::warn!(%error, "SIGCHLD is ignored: how programs end can't be learnt");
    }
}

/// Whether it is a child of this process that may have been adopted.
fn is_adopted(entry: &Entry) -> bool {
    let number = |id: Pid| id.as_raw_nonzero().get().cast_unsigned();
    // No task's process can be in this one's own group; what skills start mostly is.
    entry.parent == number(getpid()) && entry.group != number(getpgrp())
}

/// Reaps a process if it is a child of this one that has ended; `false` if it is one that has not.
fn reap(id: u32) -> bool {
    let child = Pid::from_raw(id.cast_signed());
    let waited = child.map(|id| waitid(WaitId::Pid(id), WaitIdOptions::EXITED | WaitIdOptions::NOHANG));
    !matches!(waited, Some(Ok(None)))
}

/// Does something while this process itself carries a mark, so that whatever it starts has it from its first moment.
fn marked<T>(mark: u64, work: impl FnOnce() -> T) -> io::Result<T> {
    static MARKING: Mutex<()> = Mutex::new(());
    let _guard = MARKING.lock().unwrap_or_else(PoisonError::into_inner);
    let own = getrlimit(Resource::Locks);
    setrlimit(Resource::Locks, Rlimit { current: Some(mark), maximum: own.maximum })?;
    let result = work();
    // The hard limit is what it was, so nothing forbids it.
    _ = setrlimit(Resource::Locks, own);
    Ok(result)
}
