//! Job objects. What a process in one starts is in it too, and stays there: it gets out only through others that start it, as
//! a service, the task scheduler and WMI do when a task asks them to. When the last handle to a job is closed, as it is when
//! the worker dies, Windows ends all processes in it: so there is nothing to look for at a start.

use std::{
    io,
    os::windows::io::BorrowedHandle,
    path::Path,
    process::{Command, ExitStatus},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{process::Child, time::sleep};
use windows::Win32::System::Threading::{CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW, CREATE_SUSPENDED};

use super::{
    Pipes,
    job::{Job, resume},
};

/// It has a console of its own, which nobody sees, and so a Ctrl-C for the worker, also NSSM's, doesn't reach it.
const ALONE: u32 = CREATE_NEW_PROCESS_GROUP.0 | CREATE_NO_WINDOW.0;
/// How long ended processes are waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether they are gone.
const LOOK: Duration = Duration::from_millis(2);

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

/// A program in a job object of its own.
#[derive(Debug)]
pub(in super::super) struct Group {
    leader: Child,
    job: Job,
    status: Option<ExitStatus>,
}

impl Group {
    /// Starts a program, which runs only once it is in its job.
    pub(in super::super) fn spawn(command: Command, _family: &Arc<Family>) -> io::Result<(Self, Pipes)> {
        let job = Job::new()?;
        let mut command = tokio::process::Command::from(command);
        // Until it is in the job only this ends it when something fails.
        let mut leader = command.creation_flags(ALONE | CREATE_SUSPENDED.0).kill_on_drop(true).spawn()?;
        let pipes = Pipes { stdin: leader.stdin.take(), stdout: leader.stdout.take(), stderr: leader.stderr.take() };
        if let (Some(handle), Some(id)) = (leader.raw_handle(), leader.id()) {
            #[expect(unsafe_code, reason = "it has only a raw handle")]
            // SAFETY: the handle is open as long as the leader has not been waited for.
            job.take(unsafe { BorrowedHandle::borrow_raw(handle) })?;
            resume(id)?;
        }
        Ok((Self { leader, job, status: None }, pipes))
    }

    /// Waits for the first process's exit. May be dropped and called again.
    pub(in super::super) async fn exited(&mut self) -> io::Result<()> {
        if self.status.is_none() {
            self.status = Some(self.leader.wait().await?);
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
        _ = self.job.terminate();
    }

    /// How many processes of the job have not ended.
    pub(in super::super) fn members(&self) -> u32 {
        self.job.members().unwrap_or_default()
    }

    /// Ends all processes of the job, and waits until they are gone; the first one's exit, after [`Group::exited`].
    pub(in super::super) async fn end(&mut self) -> io::Result<ExitStatus> {
        self.kill();
        let deadline = Instant::now() + PATIENCE;
        while self.members() > 0 {
            if Instant::now() >= deadline {
                tracing::warn!(seconds = PATIENCE.as_secs(), "processes of a task were ended and are still there");
                break;
            }
            sleep(LOOK).await;
        }
        self.status.ok_or_else(|| io::Error::other("the program has not ended"))
    }
}
