//! Job objects, which no process leaves. When the last handle to one is closed, as it is when the worker dies, Windows ends
//! all processes in it: so there is nothing to look for at a start.

use std::{
    io,
    path::Path,
    process::{Command, ExitStatus},
    sync::Arc,
};

use process_wrap::tokio::{ChildWrapper, CommandWrap, CreationFlags, JobObject, KillOnDrop};
use windows::Win32::System::Threading::{CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW, PROCESS_CREATION_FLAGS};

use super::Pipes;

const ALONE: PROCESS_CREATION_FLAGS = PROCESS_CREATION_FLAGS(CREATE_NEW_PROCESS_GROUP.0 | CREATE_NO_WINDOW.0);

/// What all jobs of a worker share: nothing.
#[derive(Debug)]
pub(in super::super) struct Family;

impl Family {
    #[expect(clippy::unnecessary_wraps, reason = "the same as on Unix")]
    pub(in super::super) fn found(_state_directory: &Path) -> io::Result<Self> {
        Ok(Self)
    }

    pub(in super::super) fn end_leftovers(_state_directory: &Path) {}

    #[expect(clippy::unused_self, reason = "the same as on Unix")]
    pub(in super::super) fn tidy(&self) {}
}

/// A job object.
#[derive(Debug)]
pub(in super::super) struct Group {
    leader: Box<dyn ChildWrapper>,
    status: Option<ExitStatus>,
}

impl Group {
    /// Starts a program in a job object of its own. `KillOnDrop` is what makes the job end with its last handle. It has a
    /// console of its own, which nobody sees, and so a Ctrl-C for the worker, also NSSM's, doesn't reach it.
    pub(in super::super) fn spawn(command: Command, _family: &Arc<Family>) -> io::Result<(Self, Pipes)> {
        let mut command = CommandWrap::from(tokio::process::Command::from(command));
        let mut leader = command.wrap(KillOnDrop).wrap(CreationFlags(ALONE)).wrap(JobObject).spawn()?;
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

    /// The same: what is asked to end here has been ended.
    pub(in super::super) async fn gone(&mut self) -> io::Result<()> {
        self.exited().await
    }

    /// Ends all processes of the job: Windows has no request to end that all programs understand.
    pub(in super::super) fn terminate(&mut self) {
        self.kill();
    }

    /// Ends all processes of the job.
    pub(in super::super) fn kill(&mut self) {
        _ = self.leader.start_kill();
    }

    /// Ends all processes of the job; the first one's exit, after [`Group::exited`].
    #[expect(clippy::unused_async, reason = "the same as on Unix")]
    pub(in super::super) async fn end(&mut self) -> io::Result<ExitStatus> {
        self.kill();
        self.status.ok_or_else(|| io::Error::other("the program has not ended"))
    }
}
