//! A control group for each task, where the service manager has given the worker a subtree of its own (systemd's `Delegate=yes`,
//! cgroup v2): when memory runs out, the kernel ends one task as a whole and nothing else, and what a task has started can't
//! leave it in any way.
//!
//! The worker moves itself into the leaf `supervisor`, because only leaves may hold processes once controllers are on
//! (cgroups(7), "no internal processes"). Each task gets a sibling `task-N`. Where none of this is possible nothing is lost
//! but that: marks find a task's processes as well.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use super::table;

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
        if !service || fs::read_to_string(root.join("cgroup.procs")).ok()?.trim() != own {
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

    /// Puts a program that was just started into a new group, with what it has started since.
    pub(super) fn enclose(&self, leader: u32, mark: u64, count: u64) -> Option<TaskCgroup> {
        let group = TaskCgroup { directory: self.root.join(format!("task-{count}")) };
        match self.fill(&group, leader, mark) {
            Ok(()) => Some(group),
            Err(error) => {
                tracing::warn!(%error, "a task gets no control group of its own");
                group.try_remove();
                None
            }
        }
    }

    fn fill(&self, group: &TaskCgroup, leader: u32, mark: u64) -> io::Result<()> {
        fs::create_dir(&group.directory)?;
        // Only where the memory controller is on: out of memory, the group ends as a whole.
        _ = fs::write(group.directory.join("memory.oom.group"), "1");
        group.add(leader)?;
        // What it started before it was moved is still here; what that starts from now on may be as well.
        loop {
            let here = fs::read_to_string(self.root.join("supervisor/cgroup.procs"))?;
            let left: Vec<u32> = here
                .lines()
                .filter_map(|line| line.parse().ok())
                .filter(|id| *id != std::process::id() && table::mark(*id) == Some(mark))
                .collect();
            if left.is_empty() {
                return Ok(());
            }
            left.into_iter().try_for_each(|id| group.add(id))?;
        }
    }
}

impl TaskCgroup {
    /// Moves a process here. One that has ended meanwhile needs no place.
    fn add(&self, process: u32) -> io::Result<()> {
        match fs::write(self.directory.join("cgroup.procs"), process.to_string()) {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => Ok(()),
            result => result,
        }
    }

    /// Removes the group, if nothing lives in it any more; otherwise ends what does, and `false`.
    pub(in super::super) fn try_remove(&self) -> bool {
        match fs::remove_dir(&self.directory) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(_) => {
                // Since Linux 5.14; before, marks have to do.
                _ = fs::write(self.directory.join("cgroup.kill"), "1");
                false
            }
        }
    }

    /// Says so if it could not be removed in time.
    pub(in super::super) fn check_gone(&self) {
        if self.directory.exists() {
            tracing::warn!(group = %self.directory.display(), "a task's control group can't be removed: something lives in it");
        }
    }
}
