//! Process groups, and what has left them.

use std::{
    io,
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid};
use tokio::{
    io::{Interest, unix::AsyncFd},
    process::{ChildStderr, ChildStdin, ChildStdout},
    task::JoinHandle,
    time::sleep,
};

use super::{
    super::family::{Family, Hunt, TaskCgroup},
    Pipes,
};

/// How long killed processes are waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same where nothing else can go on meanwhile.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);
/// How often a task that was asked to end is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A process group, and what its members have started in others.
#[derive(Debug)]
pub(in super::super) struct Group {
    leader: Child,
    /// The group's number, which can't be another's until the leader is reaped.
    id: Pid,
    mark: u64,
    family: Arc<Family>,
    hunt: Hunt,
    cgroup: Option<TaskCgroup>,
    exit: Exit,
    reaped: bool,
    over: bool,
}

/// How the leader's exit is noticed, without reaping it.
#[derive(Debug)]
enum Exit {
    Descriptor(AsyncFd<OwnedFd>),
    /// For kernels without process descriptors.
    Thread(JoinHandle<io::Result<()>>),
    Noticed,
}

impl Group {
    /// Starts a program as the leader of a group of its own.
    pub(in super::super) fn spawn(mut command: Command, family: &Arc<Family>) -> io::Result<(Self, Pipes)> {
        let (leader, mark, cgroup) = family.spawn(&mut command)?;
        let id = Pid::from_child(&leader);
        let family = Arc::clone(family);
        // From here on it is ended when something fails.
        let mut group = Self {
            leader,
            id,
            mark,
            family,
            hunt: Hunt::default(),
            cgroup,
            exit: Exit::Noticed,
            reaped: false,
            over: false,
        };
        let pipes = Pipes {
            stdin: group.leader.stdin.take().map(ChildStdin::from_std).transpose()?,
            stdout: group.leader.stdout.take().map(ChildStdout::from_std).transpose()?,
            stderr: group.leader.stderr.take().map(ChildStderr::from_std).transpose()?,
        };
        group.exit = match pidfd_open(id, PidfdFlags::NONBLOCK) {
            Ok(descriptor) => Exit::Descriptor(watch(descriptor)?),
            Err(_) => Exit::by_thread(id),
        };
        Ok((group, pipes))
    }

    /// Waits for the leader's exit. May be dropped and called again.
    pub(in super::super) async fn exited(&mut self) -> io::Result<()> {
        let result = match &mut self.exit {
            Exit::Descriptor(descriptor) => descriptor.readable().await.map(drop),
            Exit::Thread(thread) => thread.await.map_err(io::Error::other).flatten(),
            Exit::Noticed => Ok(()),
        };
        self.exit = Exit::Noticed;
        result
    }

    /// Waits until the leader has exited and nothing of the task lives. May be dropped and called again.
    pub(in super::super) async fn gone(&mut self) -> io::Result<()> {
        self.exited().await?;
        while self.family.lives(self.mark, &self.hunt) {
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Asks the whole task to end.
    pub(in super::super) fn terminate(&mut self) {
        // Those outside first: they are found by their parents.
        self.family.terminate_outside(self.id, self.mark, &mut self.hunt);
        _ = kill_process_group(self.id, Signal::TERM);
    }

    /// Ends the group. What has left it follows in [`Group::end`].
    pub(in super::super) fn kill(&self) {
        if !self.reaped {
            _ = kill_process_group(self.id, Signal::KILL);
        }
    }

    /// Ends all that is left of the task; the leader's exit, after [`Group::exited`]. To be called once.
    pub(in super::super) async fn end(&mut self) -> io::Result<ExitStatus> {
        self.kill();
        self.reaped = true;
        let status = self.family.reap(&mut self.leader);
        // First, because what hides from its own user is seen by its mark only when it has ended.
        let deadline = Instant::now() + PATIENCE;
        while !self.leave_cgroup(deadline) {
            sleep(Duration::from_millis(1)).await;
        }
        let mut ending = self.family.ending(self.mark, &mut self.hunt, PATIENCE);
        while let Some(pause) = ending.step() {
            sleep(pause).await;
        }
        self.over = true;
        status
    }

    /// Ends what is left in the control group, and removes it; `false` if it has to be tried again.
    fn leave_cgroup(&mut self, deadline: Instant) -> bool {
        let Some(cgroup) = &mut self.cgroup else { return true };
        let gone = cgroup.try_remove() && self.family.reap_ended(cgroup);
        if !gone && Instant::now() < deadline {
            return false;
        }
        cgroup.check_gone();
        self.cgroup = None;
        true
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.kill();
        let deadline = Instant::now() + SHORT_PATIENCE;
        while !self.reaped && Instant::now() < deadline {
            self.reaped = !matches!(self.family.try_reap(&mut self.leader), Ok(None));
            std::thread::sleep(Duration::from_millis(1));
        }
        let deadline = Instant::now() + SHORT_PATIENCE;
        while !self.leave_cgroup(deadline) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut ending = self.family.ending(self.mark, &mut self.hunt, SHORT_PATIENCE);
        while let Some(pause) = ending.step() {
            std::thread::sleep(pause);
        }
    }
}

impl Exit {
    fn by_thread(id: Pid) -> Self {
        Self::Thread(tokio::task::spawn_blocking(move || wait_for_exit(id)))
    }
}

#[expect(deprecated, reason = "what replaces it is unsafe; a descriptor that is owned can't be closed by others")]
fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

fn wait_for_exit(id: Pid) -> io::Result<()> {
    loop {
        match waitid(WaitId::Pid(id), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => (),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scene {
        family: Arc<Family>,
        _state: tempfile::TempDir,
    }

    impl Scene {
        fn new() -> Self {
            let state = tempfile::tempdir().unwrap();
            Self { family: Arc::new(Family::found(state.path()).unwrap()), _state: state }
        }

        fn spawn(&self, script: &str) -> (Group, Pipes) {
            let mut command = Command::new("sh");
            command.args(["-c", script]).stdin(std::process::Stdio::piped());
            Group::spawn(command, &self.family).unwrap()
        }
    }

    #[tokio::test]
    async fn without_process_descriptors_an_exit_is_noticed_all_the_same() {
        let scene = Scene::new();
        let (mut group, mut pipes) = scene.spawn("read line; exit 3");
        group.exit = Exit::by_thread(group.id);
        let given_up = tokio::time::timeout(Duration::from_millis(20), group.exited()).await;
        assert!(given_up.is_err(), "it reads");
        drop(pipes.stdin.take());
        group.exited().await.unwrap();
        group.exited().await.unwrap();
        assert_eq!(group.end().await.unwrap().code(), Some(3));
        assert_eq!(scene.family.members(), [0; 0]);
    }

    #[tokio::test]
    async fn a_group_that_is_given_up_leaves_nothing() {
        let scene = Scene::new();
        let (group, _pipes) = scene.spawn("trap '' TERM; setsid sleep 1000 & sleep 1000");
        drop(group);
        assert_eq!(scene.family.members(), [0; 0]);
        // As when something fails after the start: nothing watches it yet.
        let (mut group, _pipes) = scene.spawn("exec sleep 1000");
        group.exit = Exit::Noticed;
        drop(group);
        assert_eq!(scene.family.members(), [0; 0]);
    }
}
