//! Processes of this program in its other roles.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};

/// How long a process may take to end after it was asked to.
const END: Duration = Duration::from_mins(1);

/// A daemon, whose output goes to a file. It is killed when this is dropped.
pub(crate) struct Daemon {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Daemon {
    /// Starts it. Its log is `NAME.log` in `directory`.
    pub(crate) fn start(name: &str, directory: &Path, arguments: Vec<OsString>) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let child = logged(&log, arguments)?.stdin(Stdio::null()).spawn().with_context(|| cannot_start(name))?;
        Ok(Self { name: name.to_owned(), log, child })
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The system's number for it.
    pub(crate) fn id(&self) -> Result<u32> {
        self.child.id().with_context(|| format!("{} has ended; its log: {}", self.name, self.log.display()))
    }

    /// An error if it has ended by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} ended with {status}; {}", self.name, last_words(&self.log)),
            None => Ok(()),
        }
    }

    /// Kills it without warning, and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("{} could not be killed", self.name))
    }

    /// Asks it to stop and waits for its end. On Windows, where a process without a console can't be asked, it is ended.
    pub(crate) async fn stop(mut self) -> Result<()> {
        #[cfg(unix)]
        if let Some(id) = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
            rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        }
        #[cfg(not(unix))]
        self.child.start_kill()?;
        let late = || format!("{} did not stop within {} s; {}", self.name, END.as_secs(), last_words(&self.log));
        let status = tokio::time::timeout(END, self.child.wait()).await.with_context(late)??;
        if cfg!(unix) && !status.success() {
            bail!("{} did not stop cleanly ({status}); {}", self.name, last_words(&self.log));
        }
        Ok(())
    }
}

/// Runs this program once, with this on its standard input, until it ends well.
pub(crate) async fn run_once(name: &str, directory: &Path, arguments: Vec<OsString>, input: &str) -> Result<()> {
    let log = directory.join(format!("{name}.log"));
    let mut child = logged(&log, arguments)?.stdin(Stdio::piped()).spawn().with_context(|| cannot_start(name))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await?;
    }
    let status = child.wait().await?;
    if !status.success() {
        bail!("{name} ended with {status}; {}", last_words(&log));
    }
    Ok(())
}

/// Starts this program with its input and output in pipes, and its errors where this one's go.
pub(crate) fn piped<const N: usize>(arguments: [&str; N]) -> Result<Child> {
    let mut command = command()?;
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().with_context(|| cannot_start(arguments.first().copied().unwrap_or_default()))
}

fn logged(log: &Path, arguments: Vec<OsString>) -> Result<Command> {
    let open = OpenOptions::new().create(true).append(true).open(log);
    let file = open.with_context(|| format!("{} can't be written", log.display()))?;
    let mut command = command()?;
    command.args(arguments).stdout(file.try_clone()?).stderr(file);
    Ok(command)
}

fn command() -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("the path of this program is unknown")?);
    command.kill_on_drop(true);
    // The configuration of daemons on this machine is not that of these.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TASK_MESSENGER_") {
            command.env_remove(name);
        }
    }
    // A Ctrl-C on the terminal is for whoever started this program, which then ends them.
    #[cfg(unix)]
    command.process_group(0);
    Ok(command)
}

fn cannot_start(name: &str) -> String {
    format!("{name} could not be started")
}

fn last_words(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(5)..).unwrap_or_default();
    if last.is_empty() { "it left no log".to_owned() } else { format!("its log ends:\n{}", last.join("\n")) }
}
