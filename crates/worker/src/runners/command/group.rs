//! A program with everything that it starts: a process group on Unix, a job object on Windows.

use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

#[cfg(unix)]
pub(super) use unix::Group;
#[cfg(windows)]
pub(super) use windows::Group;

/// The worker's ends of a program's pipes.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
}

#[cfg(unix)]
mod unix {
    use std::{
        io,
        os::{fd::OwnedFd, unix::process::CommandExt},
        process::{Child, Command, ExitStatus},
    };

    use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid};
    use tokio::{
        io::{Interest, unix::AsyncFd},
        process::{ChildStderr, ChildStdin, ChildStdout},
        task::JoinHandle,
    };

    use super::Pipes;

    /// A process group. Its leader is reaped last: until then the group's number can't be another's.
    #[derive(Debug)]
    pub(in super::super) struct Group {
        leader: Child,
        id: Pid,
        exit: Exit,
        reaped: bool,
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
        pub(in super::super) fn spawn(mut command: Command) -> io::Result<(Self, Pipes)> {
            let mut leader = command.process_group(0).spawn()?;
            let pipes = Pipes {
                stdin: leader.stdin.take().map(ChildStdin::from_std).transpose()?,
                stdout: leader.stdout.take().map(ChildStdout::from_std).transpose()?,
                stderr: leader.stderr.take().map(ChildStderr::from_std).transpose()?,
            };
            let id = Pid::from_child(&leader);
            let exit = match pidfd_open(id, PidfdFlags::NONBLOCK) {
                Ok(descriptor) => Exit::Descriptor(watch(descriptor)?),
                Err(_) => Exit::Thread(tokio::task::spawn_blocking(move || wait_for_exit(id))),
            };
            Ok((Self { leader, id, exit, reaped: false }, pipes))
        }

        /// Waits for the leader's exit. May be dropped and called again.
        pub(in super::super) async fn exited(&mut self) -> io::Result<()> {
            match &mut self.exit {
                Exit::Descriptor(descriptor) => drop(descriptor.readable().await?),
                Exit::Thread(thread) => thread.await.map_err(io::Error::other)??,
                Exit::Noticed => return Ok(()),
            }
            self.exit = Exit::Noticed;
            Ok(())
        }

        /// Asks the whole group to end.
        pub(in super::super) fn terminate(&self) {
            _ = kill_process_group(self.id, Signal::TERM);
        }

        /// Ends the whole group.
        pub(in super::super) fn kill(&self) {
            _ = kill_process_group(self.id, Signal::KILL);
        }

        /// The leader's exit, after [`Group::exited`].
        pub(in super::super) fn reap(&mut self) -> io::Result<ExitStatus> {
            self.reaped = true;
            self.leader.wait()
        }
    }

    impl Drop for Group {
        fn drop(&mut self) {
            if !self.reaped {
                self.kill();
                _ = self.leader.try_wait();
            }
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
}

#[cfg(windows)]
mod windows {
    use std::{
        io,
        process::{Command, ExitStatus},
    };

    use process_wrap::tokio::{ChildWrapper, CommandWrap, JobObject, KillOnDrop};

    use super::Pipes;

    /// A job object.
    #[derive(Debug)]
    pub(in super::super) struct Group {
        leader: Box<dyn ChildWrapper>,
        status: Option<ExitStatus>,
    }

    impl Group {
        /// Starts a program in a job object of its own.
        pub(in super::super) fn spawn(command: Command) -> io::Result<(Self, Pipes)> {
            let mut command = CommandWrap::from(tokio::process::Command::from(command));
            let mut leader = command.wrap(KillOnDrop).wrap(JobObject).spawn()?;
            let pipes =
                Pipes { stdin: leader.stdin().take(), stdout: leader.stdout().take(), stderr: leader.stderr().take() };
            Ok((Self { leader, status: None }, pipes))
        }

        /// Waits for the first process's exit. May be dropped and called again.
        pub(in super::super) async fn exited(&mut self) -> io::Result<()> {
            if self.status.is_none() {
                self.status = Some(self.leader.inner_mut().wait().await?);
            }
            Ok(())
        }

        /// Ends all processes of the job: Windows has no request to end that all programs understand.
        pub(in super::super) fn terminate(&mut self) {
            self.kill();
        }

        /// Ends all processes of the job.
        pub(in super::super) fn kill(&mut self) {
            _ = self.leader.start_kill();
        }

        /// The first process's exit, after [`Group::exited`].
        pub(in super::super) fn reap(&mut self) -> io::Result<ExitStatus> {
            self.status.ok_or_else(|| io::Error::other("the program has not ended"))
        }
    }
}
