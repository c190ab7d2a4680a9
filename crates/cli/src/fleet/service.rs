//! One process of this program, kept by hand.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
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
const END: Duration = Duration::from_secs(90);

/// `CREATE_NEW_PROCESS_GROUP`: Ctrl-C on the console doesn't reach it.
#[cfg(windows)]
const NEW_PROCESS_GROUP: u32 = 0x0200;

/// A process that can be started again. It is killed when this is dropped.
pub struct Service {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    log: PathBuf,
    child: Option<Child>,
}

impl Service {
    /// Nothing is started yet. Its output goes to `NAME.log` in `directory`.
    pub fn new(name: &str, directory: &Path, arguments: Vec<OsString>) -> Result<Self> {
        let program = std::env::current_exe().context("the path of this program is unknown")?;
        let log = directory.join(format!("{name}.log"));
        Ok(Self { name: name.to_owned(), program, arguments, log, child: None })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// What it is started with the next time.
    pub fn set_arguments(&mut self, arguments: Vec<OsString>) {
        self.arguments = arguments;
    }

    /// Starts it.
    pub fn start(&mut self) -> Result<()> {
        let mut command = self.command(&self.arguments)?;
        self.child = Some(command.stdin(Stdio::null()).spawn().with_context(|| self.cannot_start())?);
        Ok(())
    }

    /// Runs it once with other arguments and this on its standard input, until it ends well.
    pub async fn run_once(&mut self, arguments: Vec<OsString>, input: &str) -> Result<()> {
        let mut child = self.command(&arguments)?.stdin(Stdio::piped()).spawn().with_context(|| self.cannot_start())?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).await?;
        }
        let status = child.wait().await?;
        if !status.success() {
            bail!("{} ended with {status}; its log: {}", self.name, self.log.display());
        }
        Ok(())
    }

    /// Whether it ended by itself.
    pub fn has_ended(&mut self) -> Result<bool> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?.is_some()),
            None => Ok(false),
        }
    }

    /// Kills it at once, without warning (SIGKILL), and waits until it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await.with_context(|| format!("{} could not be killed", self.name))?;
        }
        Ok(())
    }

    /// Asks it to stop. On Windows, where a process without a console can't be asked, it is ended.
    pub fn ask_to_stop(&mut self) -> Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        #[cfg(unix)]
        if let Some(pid) = child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed())) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)
                .with_context(|| format!("{} could not be asked to stop", self.name))?;
        }
        #[cfg(windows)]
        if child.id().is_none_or(|group| !break_group(group)) {
            // It has no console to be asked by.
            child.start_kill()?;
        }
        Ok(())
    }

    /// Waits until it has ended; kills it if that takes too long.
    pub async fn wait_until_ended(&mut self) -> Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        if tokio::time::timeout(END, child.wait()).await.is_err() {
            self.kill().await?;
        }
        self.child = None;
        Ok(())
    }

    fn command(&self, arguments: &[OsString]) -> Result<Command> {
        let log = self.open_log()?;
        let mut command = Command::new(&self.program);
        command.args(arguments).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        // This program's own configuration is not theirs.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TASK_MESSENGER_") {
                command.env_remove(name);
            }
        }
        // Several of them on one machine can't have the same port.
        command.env("TASK_MESSENGER_HTTP", "null");
        // A Ctrl-C on the terminal is for whoever started this program, which then stops them in order.
        #[cfg(unix)]
        command.process_group(0);
        #[cfg(windows)]
        command.creation_flags(NEW_PROCESS_GROUP);
        Ok(command)
    }

    fn open_log(&self) -> Result<File> {
        let open = OpenOptions::new().create(true).append(true).open(&self.log);
        open.with_context(|| format!("{} can't be written", self.log.display()))
    }

    fn cannot_start(&self) -> String {
        format!("{} could not be started from {}", self.name, self.program.display())
    }
}

/// Has Ctrl-Break reach a process group on this program's console; whether that could be done.
#[cfg(windows)]
fn break_group(group: u32) -> bool {
    use windows::Win32::System::Console::{CTRL_BREAK_EVENT, GenerateConsoleCtrlEvent};
    #[expect(unsafe_code, reason = "the system's own function")]
    // SAFETY: it takes two numbers.
    unsafe { GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, group) }.is_ok()
}
