//! One call of the command line.

use std::{
    fs::File,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use rustix::process::Signal;

use super::Process;

/// A command line that runs.
pub(crate) struct Invocation {
    process: Process,
    output: PathBuf,
    errors: PathBuf,
    line: String,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) output: Vec<u8>,
    pub(crate) errors: String,
    line: String,
}

impl Invocation {
    /// Starts it with these bytes on its standard input; its output goes to files `BASE.out` and `BASE.err`.
    pub(crate) fn start(mut command: Command, input: Option<&[u8]>, base: &Path) -> Self {
        let line = format!("{command:?}");
        let path = |extension| base.with_extension(extension);
        if let Some(input) = input {
            std::fs::write(path("in"), input).unwrap();
            command.stdin(File::open(path("in")).unwrap());
        }
        let (output, errors) = (path("out"), path("err"));
        Self { process: Process::start(&line, command, &output, &errors), output, errors, line }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// What it has written to its standard output so far.
    pub(crate) fn output_so_far(&self) -> Vec<u8> {
        std::fs::read(&self.output).unwrap()
    }

    /// What it has written to its standard error so far.
    pub(crate) fn errors_so_far(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.errors).unwrap()).into_owned()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.has_ended()
    }

    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        let status = self.process.wait();
        Ended { status, output: self.output_so_far(), errors: self.errors_so_far(), line: self.line }
    }
}

impl Ended {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.output).unwrap()
    }

    /// The exit code, as a shell would show it.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or_default())
    }

    /// Fails unless it ended with this exit code.
    #[track_caller]
    pub(crate) fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "{self}");
        self
    }

    /// Fails unless its standard error contains each of these.
    #[track_caller]
    pub(crate) fn saying(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.errors.contains(word), "{word:?} is not said: {self}");
        }
        self
    }

    /// Its standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.output).unwrap_or_else(|error| panic!("not JSON ({error}): {self}"))
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let output = String::from_utf8_lossy(&self.output);
        write!(f, "{}\n{}\n-- output --\n{output}\n-- errors --\n{}", self.line, self.status, self.errors)
    }
}
