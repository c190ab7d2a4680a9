//! A process: its output goes to files, and it is killed when this is dropped.

use std::{
    fs::{File, OpenOptions},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::wait_until;

/// The programs under test, with nothing of this machine's environment but the path.
pub(crate) fn program(home: &Path, arguments: &[&str]) -> Command {
    program_behind(&[], home, arguments)
}

/// The same, started by another command, which takes it as its last arguments.
pub(crate) fn program_behind(prefix: &[String], home: &Path, arguments: &[&str]) -> Command {
    let words: Vec<&str> =
        prefix.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_task-messenger-e2e")]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(arguments).env_clear().env("HOME", home).stdin(Stdio::null());
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// A running process, or one that has ended.
pub(crate) struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts it; standard output and error are added to files, which may be the same.
    pub(crate) fn start(name: &str, mut command: Command, output: &Path, errors: &Path) -> Self {
        let child = command.stdout(append(output)).stderr(append(errors)).spawn();
        Self { name: name.to_owned(), child: child.unwrap_or_else(|error| panic!("{name} can't be started: {error}")) }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Ends it without warning.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until(&format!("{} has ended", self.name), || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}
