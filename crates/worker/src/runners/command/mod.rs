//! Commands: programs of this machine.
//!
//! A program runs in a scratch directory of its own, as a process group (Unix) or job object (Windows) of its own, with a
//! clean environment. When its task is over, by itself or not, everything that it started is over too, also what has left its
//! group; and nothing that holds its pipes open can keep the task from ending. What a worker that was killed has left running
//! is ended by its next start.
//!
//! Programs are started through `posix_spawn`, which doesn't copy the worker's page tables: the program is looked up here and
//! named by its absolute path, and nothing runs between fork and exec. Only where each task gets a control group of its own, or
//! the worker has a terminal, something does (`family`), and the tables, which are small, are copied.

mod capture;
mod failure;
#[cfg(unix)]
mod family;
mod group;
mod launch;
mod scratch;

use std::{
    future::pending,
    path::Path,
    process::ExitStatus,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use task_messenger_protocol::messages::{Command, Outcome, outcome::Ending};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::oneshot,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

#[cfg(unix)]
use self::family::Family;
#[cfg(windows)]
use self::group::Family;
use self::{capture::Tail, group::Group, launch::Launch, scratch::Scratch};
use super::{TaskName, milliseconds};

/// How long what still holds a pipe of an ended program may go on before it is killed, and then until the pipe is closed.
const LINGER: Duration = Duration::from_millis(500);
/// How often a task that runs for long looks after what it has left behind already.
const TIDY: Duration = Duration::from_secs(1);
/// Who is late by more than this has been stopped for a while, with all that runs.
const STALL: Duration = Duration::from_secs(5);

/// How many threads that wait a command has at most: on Windows one for each of its pipes, on Linux without process descriptors
/// one for its end.
pub(crate) const THREADS: usize = 3;

/// Ends what an earlier start of the worker with this state directory has left running because it was killed. The caller is
/// the only worker of the directory, by its lock. Waits for their end, for at most ten seconds.
pub fn end_leftovers(state_directory: &Path) {
    Family::end_leftovers(state_directory);
}

/// Runs commands.
#[derive(Debug)]
pub struct CommandRunner {
    family: Arc<Family>,
    scratch: Scratch,
    output_limit: usize,
    kill_after: Duration,
}

/// A command task as it was handed out.
#[derive(Debug)]
pub struct CommandTask<'a> {
    /// The hand-out, which names the scratch directory.
    pub lease: u64,
    /// The task's name.
    pub name: TaskName,
    /// What to run.
    pub command: &'a Command,
    /// After which time it is ended.
    pub timeout: Option<Duration>,
    /// What the task adds to its template.
    pub payload: Bytes,
}

impl CommandRunner {
    /// A runner whose scratch directories lie in `scratch` below `state_directory`; what is left there from an earlier start is
    /// ended and removed. On Unix this process becomes the parent of what its descendants leave without one. Each of a command's outputs is kept up to `output_limit` bytes. What is ended has `kill_after`
    /// between the request to terminate and the kill.
    ///
    /// # Errors
    /// The state directory can't be used.
    pub fn new(state_directory: &Path, output_limit: usize, kill_after: Duration) -> std::io::Result<Self> {
        let family = Arc::new(Family::found(state_directory)?);
        Ok(Self { family, scratch: Scratch::sweep(&state_directory.join("scratch"))?, output_limit, kill_after })
    }

    /// The same with other limits, for tasks to come.
    #[must_use]
    pub fn with_limits(&self, output_limit: usize, kill_after: Duration) -> Self {
        Self { family: Arc::clone(&self.family), scratch: self.scratch.clone(), output_limit, kill_after }
    }

    /// Runs one task to its end. `None` when it was ended because of `stop`: then there is no outcome.
    ///
    /// Dropping the future kills the program, with all that it started, and waits for up to two seconds.
    pub async fn run(&self, task: CommandTask<'_>, stop: oneshot::Receiver<()>) -> Option<Outcome> {
        let started_milliseconds = milliseconds(SystemTime::now());
        let started = Instant::now();
        let mut outcome = match self.start(&task) {
            Ok(running) => {
                let outcome = running.finish(task.timeout, self.kill_after, stop).await;
                self.scratch.remove(task.lease).await;
                outcome?
            }
            Err(text) => {
                self.scratch.remove(task.lease).await;
                Outcome { ending: Ending::Error.into(), text, ..Outcome::default() }
            }
        };
        outcome.started_milliseconds = started_milliseconds;
        outcome.run_microseconds = started.elapsed().as_micros() as u64;
        Some(outcome)
    }

    fn start(&self, task: &CommandTask<'_>) -> Result<Running, String> {
        let launch = Launch::prepare(task.command, task.name, task.payload.clone())?;
        let directory = self
            .scratch
            .create(task.lease)
            .map_err(|error| format!("the task's scratch directory can't be made: {error}"))?;
        let input = launch.input.clone();
        let (group, pipes) = Group::spawn(launch.command(&directory), &self.family)
            .map_err(|error| failure::explain(&launch, &error))?;
        let (output, errors) = (Tail::new(self.output_limit), Tail::new(self.output_limit));
        Ok(Running { family: Arc::clone(&self.family), group, pipes, input, output, errors })
    }
}

/// A program that runs.
#[derive(Debug)]
struct Running {
    family: Arc<Family>,
    group: Group,
    pipes: group::Pipes,
    input: Bytes,
    output: Tail,
    errors: Tail,
}

/// Why a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    ByItself,
    TimedOut,
    Stopped,
}

impl Running {
    async fn finish(
        self,
        limit: Option<Duration>,
        kill_after: Duration,
        stop: oneshot::Receiver<()>,
    ) -> Option<Outcome> {
        let Self { family, mut group, pipes: group::Pipes { stdin, stdout, stderr }, input, mut output, mut errors } =
            self;
        let (end, status) = {
            let pipes = async {
                tokio::join!(write(stdin, &input), output.read(stdout), errors.read(stderr));
            };
            tokio::pin!(pipes);
            let mut open = true;
            let end = {
                let over = async {
                    tokio::select! {
                        () = after(limit) => End::TimedOut,
                        () = requested(stop) => End::Stopped,
                    }
                };
                tokio::pin!(over);
                let mut tidy = interval(TIDY);
                tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    tokio::select! {
                        result = group.exited() => break result.map(|()| End::ByItself),
                        end = &mut over => break Ok(end),
                        () = &mut pipes, if open => open = false,
                        _ = tidy.tick() => family.tidy(),
                    }
                }
            };
            if !matches!(end, Ok(End::ByItself)) {
                group.terminate();
                let patience = sleep(kill_after);
                tokio::pin!(patience);
                loop {
                    tokio::select! {
                        _ = group.gone() => break,
                        () = &mut patience => {
                            group.kill();
                            break;
                        }
                        () = &mut pipes, if open => open = false,
                    }
                }
                loop {
                    tokio::select! {
                        _ = group.exited() => break,
                        () = &mut pipes, if open => open = false,
                    }
                }
            }
            if open && timeout(LINGER, &mut pipes).await.is_ok() {
                open = false;
            }
            let status = group.end().await;
            if open {
                _ = timeout(LINGER, &mut pipes).await;
            }
            (end, status)
        };
        let mut outcome = match (end, status) {
            (Ok(End::Stopped), _) => return None,
            (Ok(End::TimedOut), _) => {
                let text = format!("it was ended after its timeout of {:?}", limit.unwrap_or_default());
                Outcome { ending: Ending::TimedOut.into(), text, ..Outcome::default() }
            }
            (Ok(End::ByItself), Ok(status)) => exited(status),
            (Err(error), _) | (_, Err(error)) => {
                let text = format!("the worker lost sight of the program: {error}");
                Outcome { ending: Ending::Error.into(), text, ..Outcome::default() }
            }
        };
        (outcome.output, outcome.output_dropped) = output.take();
        (outcome.errors, outcome.errors_dropped) = errors.take();
        Some(outcome)
    }
}

/// Ends when the worker has run for so long from now on. What it slept through with its machine doesn't count: on Windows the
/// clock goes on meanwhile, but the task does not.
async fn after(limit: Option<Duration>) {
    let Some(mut left) = limit else { return pending().await };
    while !left.is_zero() {
        let step = left.min(TIDY);
        let begin = tokio::time::Instant::now();
        sleep(step).await;
        let passed = begin.elapsed();
        left = left.saturating_sub(if passed < step + STALL { passed } else { step });
    }
}

/// Ends when a stop is asked for; never when the one who could ask is gone.
async fn requested(stop: oneshot::Receiver<()>) {
    if stop.await.is_err() {
        pending::<()>().await;
    }
}

/// A program may end or close its input without having read it: that is no failure.
async fn write(stdin: Option<impl AsyncWrite + Unpin>, input: &[u8]) {
    if let Some(mut stdin) = stdin
        && stdin.write_all(input).await.is_ok()
    {
        _ = stdin.shutdown().await;
    }
}

fn exited(status: ExitStatus) -> Outcome {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return Outcome { ending: Ending::Signalled.into(), code: signal, ..Outcome::default() };
    }
    Outcome { ending: Ending::Exited.into(), code: status.code().unwrap_or(-1), ..Outcome::default() }
}

#[cfg(test)]
#[tokio::test]
async fn what_a_machine_slept_through_is_not_the_time_of_a_task() {
    tokio::time::pause();
    let begin = tokio::time::Instant::now();
    let over = after(Some(Duration::from_mins(1)));
    tokio::pin!(over);
    assert!(timeout(Duration::from_secs(10), &mut over).await.is_err());
    let asleep = Duration::from_hours(8);
    tokio::time::advance(asleep).await;
    over.await;
    let passed = begin.elapsed().checked_sub(asleep).unwrap();
    assert!((Duration::from_secs(59)..Duration::from_secs(62)).contains(&passed), "{passed:?}");
}

#[cfg(all(test, unix))]
mod tests;
#[cfg(all(test, windows))]
mod windows_tests;
