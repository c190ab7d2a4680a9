//! A control group for each task, where the service manager has given the worker a subtree of its own (systemd's `Delegate=yes`,
//! cgroup v2): when memory runs out, the kernel ends one task as a whole and nothing else, and what a task has started can't
//! leave it in any way.
//!
//! The worker moves itself into the leaf `supervisor`, because only leaves may hold processes once controllers are on
//! (cgroups(7), "no internal processes"). Each task gets a sibling `task-PID-N`. Where none of this is possible nothing is lost
//! but that: marks find a task's processes as well.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::{Pid, Signal, kill_process};

/// Where cgroup v2 is mounted; the second place is that of the hybrid layout.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// What is turned on for the tasks' groups, if the service manager allows it.
const CONTROLLERS: [&str; 4] = ["memory", "pids", "cpu", "io"];

/// The worker's subtree.
#[derive(Debug)]
pub(super) struct Cgroups {
    root: PathBuf,
}

/// A task's group.
#[derive(Debug)]
pub(in super::super) struct TaskCgroup {
    directory: PathBuf,
    /// What had to be ended with it. What hides from its own user can't be seen in /proc (`ProtectProc=`), also when it has
    /// ended; it is known only from here.
    ended: BTreeSet<u32>,
}

impl Cgroups {
    /// Takes the subtree of this process's service, if it is the worker's own.
    pub(super) fn take() -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let place = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        MOUNTS.into_iter().find_map(|mount| {
            let root = Path::new(mount).join(place);
            root.join("cgroup.controllers").exists().then(|| Self::found(root))?
        })
    }

    fn found(root: PathBuf) -> Option<Self> {
        // Somebody's terminal is no service, and what else is in the group is not the worker's to arrange.
        let service = root.extension().is_some_and(|extension| extension == "service");
        let own = std::process::id().to_string();
        if !service || !is_delegated(&root) || fs::read_to_string(root.join("cgroup.procs")).ok()?.trim() != own {
            return None;
        }
        let supervisor = root.join("supervisor");
        match fs::create_dir(&supervisor) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                tracing::debug!(%error, "tasks get no control groups: the service has none of its own to arrange");
                return None;
            }
            _ => (),
        }
        if let Err(error) = fs::write(supervisor.join("cgroup.procs"), &own) {
            tracing::warn!(%error, "tasks get no control groups: the worker can't go into its own");
            return None;
        }
        let offered = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        for controller in CONTROLLERS.iter().filter(|name| offered.split_whitespace().any(|offered| offered == **name))
        {
            if let Err(error) = fs::write(root.join("cgroup.subtree_control"), format!("+{controller}")) {
                tracing::warn!(%error, controller, "a controller can't be turned on for the tasks' control groups");
            }
        }
        tracing::debug!(root = %root.display(), "each task gets a control group");
        Some(Self { root })
    }

    /// Has a program begin in a new group: all that it starts is in there as well.
    #[expect(unsafe_code, reason = "there is no other way to do something between fork and exec")]
    pub(super) fn enclose(&self, command: &mut Command, count: u64) -> Option<TaskCgroup> {
        // What an earlier start could not remove is in nobody's way.
        let name = format!("task-{}-{count}", std::process::id());
        let mut group = TaskCgroup { directory: self.root.join(name), ended: BTreeSet::new() };
        let made = fs::create_dir(&group.directory)
            .and_then(|()| fs::OpenOptions::new().write(true).open(group.directory.join("cgroup.procs")));
        match made {
            Ok(processes) => {
                // Only where the memory controller is on: out of memory, the group ends as a whole.
                _ = fs::write(group.directory.join("memory.oom.group"), "1");
                let enter = move || {
                    // Zero is the process itself. Should it not be let in, it runs all the same, found by its mark.
                    _ = rustix::io::write(&processes, b"0");
                    Ok(())
                };
                // SAFETY: after a fork only async-signal-safe functions may be called (fork(2)). This is one write(2) to a
                // descriptor that the closure owns; it allocates nothing and takes no lock.
                unsafe { command.pre_exec(enter) };
                Some(group)
            }
            Err(error) => {
                tracing::warn!(%error, "a task gets no control group of its own");
                group.try_remove();
                None
            }
        }
    }
}

impl TaskCgroup {
    /// Removes the group with all that the task has made in it, if nothing lives there any more; otherwise ends what does, and
    /// `false`.
    pub(in super::super) fn try_remove(&mut self) -> bool {
        if let Err(error) = fs::remove_dir(&self.directory)
            && error.kind() != ErrorKind::NotFound
        {
            let groups = subtree(&self.directory);
            let mut living = BTreeSet::new();
            for group in &groups {
                let processes = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
                living.extend(processes.lines().filter_map(|id| id.parse::<i32>().ok()));
            }
            self.ended.extend(living.iter().map(|id| id.cast_unsigned()));
            if fs::write(self.directory.join("cgroup.kill"), "1").is_err() {
                // Before Linux 5.14.
                for id in living.iter().filter_map(|id| Pid::from_raw(*id)) {
                    _ = kill_process(id, Signal::KILL);
                }
            }
            // The deepest first.
            return groups.iter().rev().all(|group| fs::remove_dir(group).is_ok());
        }
        true
    }

    /// What had to be ended with it.
    pub(super) fn ended(&self) -> impl Iterator<Item = u32> {
        self.ended.iter().copied()
    }

    /// Says so if it could not be removed in time.
    pub(in super::super) fn check_gone(&self) {
        if self.directory.exists() {
            tracing::warn!(group = %self.directory.display(), "a task's control group can't be removed: something lives in it");
        }
    }
}

/// Whether the service manager has given the group away: systemd says so since 251 (`user.delegate`, systemd.resource-control(5)).
/// Before, only what is neither root's nor a user manager's tells it, by letting groups be made there.
fn is_delegated(group: &Path) -> bool {
    let mut value = [0; 8];
    match rustix::fs::getxattr(group, "user.delegate", &mut value) {
        Ok(length) => value.get(..length) == Some(b"1"),
        Err(_) => {
            !rustix::process::geteuid().is_root() && !group.components().any(|part| part.as_os_str() == "user.slice")
        }
    }
}

/// A group and all below it, each before what is in it.
fn subtree(group: &Path) -> Vec<PathBuf> {
    let mut found = vec![group.to_owned()];
    let mut looked = 0;
    while let Some(group) = found.get(looked) {
        let inside = fs::read_dir(group).into_iter().flatten().flatten();
        let groups: Vec<_> = inside.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).collect();
        found.extend(groups.iter().map(fs::DirEntry::path));
        looked += 1;
    }
    found
}
