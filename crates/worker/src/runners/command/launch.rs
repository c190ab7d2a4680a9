//! What is started: the program's place, arguments, environment and input.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
};

use bytes::Bytes;
use task_messenger_protocol::messages::{Command, command::Use};

use super::TaskName;

/// Variables that hardly any Windows program can do without.
#[cfg(windows)]
const INHERITED: [&str; 12] = [
    "SystemRoot",
    "SystemDrive",
    "windir",
    "ComSpec",
    "PATHEXT",
    "TEMP",
    "TMP",
    "ProgramData",
    "ProgramFiles",
    "ProgramFiles(x86)",
    "NUMBER_OF_PROCESSORS",
    "PROCESSOR_ARCHITECTURE",
];
#[cfg(not(windows))]
const INHERITED: [&str; 0] = [];

/// What programs call their home, which is the scratch directory.
const HOMES: &[&str] = if cfg!(windows) { &["HOME", "USERPROFILE"] } else { &["HOME"] };

/// Where programs are looked for when the worker has no PATH of its own.
#[cfg(unix)]
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
#[cfg(not(unix))]
const DEFAULT_PATH: &str = "";

/// A command with its payload put in.
#[derive(Debug)]
pub(super) struct Launch<'a> {
    pub(super) command: &'a Command,
    /// Where the program is.
    pub(super) program: PathBuf,
    arguments: Vec<OsString>,
    path: OsString,
    name: TaskName,
    /// What it reads; nothing is the null device.
    pub(super) input: Bytes,
    has_input: bool,
}

impl<'a> Launch<'a> {
    /// Finds the program and puts the payload in.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub(super) fn prepare(command: &'a Command, name: TaskName, payload: Bytes) -> Result<Self, String> {
        let (argument, input, has_input) = split(command.payload(), payload)?;
        let arguments = match argument {
            None => command.arguments.iter().map(OsString::from).collect(),
            Some(argument) => {
                command.arguments.iter().map(|text| text.replace("{}", argument.as_str()).into()).collect()
            }
        };
        if let Some(name) = command.environment.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
            return Err(format!("{name:?} can't be the name of an environment variable"));
        }
        let path = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
        let program = find(&command.program, &path)?;
        Ok(Self { command, program, arguments, path, name, input, has_input })
    }

    /// The bytes of the arguments and the template's environment together, and of the longest of them.
    pub(super) fn size(&self) -> (usize, usize) {
        let variables = self.command.environment.iter().map(|(name, value)| name.len() + value.len() + 1);
        let lengths = self.arguments.iter().map(|argument| argument.len()).chain(variables);
        lengths.fold((0, 0), |(all, longest), length| (all + length, longest.max(length)))
    }

    /// The command as it is started in `directory`.
    pub(super) fn command(&self, directory: &Path) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::arg0(&mut command, &self.command.program);
        command
            .args(&self.arguments)
            .current_dir(directory)
            .env_clear()
            .envs(INHERITED.iter().filter_map(|name| Some((name, env::var_os(name)?))))
            .env("PATH", &self.path)
            .envs(HOMES.iter().map(|name| (name, directory)))
            .env("LANG", "C.UTF-8")
            .env("TASK_MESSENGER_TASK", self.name.to_string())
            .envs(&self.command.environment)
            .stdin(if self.has_input { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// The payload as argument, as input, and whether there is an input.
fn split(payload_use: Use, payload: Bytes) -> Result<(Option<String>, Bytes, bool), String> {
    match payload_use {
        Use::None => Ok((None, Bytes::new(), false)),
        Use::Stdin => Ok((None, payload, true)),
        Use::Argument => Ok((Some(argument(&payload)?), Bytes::new(), false)),
        Use::ArgumentAndStdin => {
            let Some(end) = payload.iter().position(|byte| *byte == 0) else {
                return Err("the payload has no NUL byte between argument and standard input".to_owned());
            };
            Ok((Some(argument(&payload[..end])?), payload.slice(end + 1..), true))
        }
    }
}

fn argument(bytes: &[u8]) -> Result<String, String> {
    let text = str::from_utf8(bytes).map_err(|error| format!("the payload can't be an argument: {error}"))?;
    if text.contains('\0') {
        return Err("the payload can't be an argument: it contains a NUL byte".to_owned());
    }
    Ok(text.to_owned())
}

/// Finds a program as a shell does: as it is when its name has a separator, else in the directories of `path`.
fn find(program: &str, path: &OsString) -> Result<PathBuf, String> {
    if program.is_empty() || program.contains('\0') {
        return Err(format!("{program:?} can't be the name of a program"));
    }
    if program.chars().any(std::path::is_separator) {
        let place = std::path::absolute(program).map_err(|error| format!("{program:?} can't be found: {error}"))?;
        return match candidates(&place).into_iter().find(|place| is_executable(place)) {
            Some(place) => Ok(place),
            None => Err(unusable(program, &place)),
        };
    }
    let mut not_executable = None;
    for directory in env::split_paths(path).filter(|directory| directory.is_absolute()) {
        for place in candidates(&directory.join(program)) {
            if is_executable(&place) {
                return Ok(place);
            }
            if place.is_file() {
                not_executable = Some(place);
            }
        }
    }
    Err(match not_executable {
        Some(place) => unusable(program, &place),
        None => format!(
            "{program:?} is not in the worker's PATH ({}): install it on the worker's machine, or name its place",
            path.display()
        ),
    })
}

/// Why the file at a place can't be run.
fn unusable(program: &str, place: &Path) -> String {
    match fs::metadata(place) {
        Ok(metadata) if metadata.is_dir() => format!("{program:?} is a directory, not a program"),
        Ok(metadata) if metadata.is_file() => {
            format!("{program:?} is not executable for the worker's user ({}): see its permissions", place.display())
        }
        Ok(_) => format!("{program:?} is not a file"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            format!("{program:?} is not there: it has to be on the worker's machine")
        }
        Err(error) => format!("{program:?} can't be reached by the worker: {error}"),
    }
}

#[cfg(unix)]
fn candidates(place: &Path) -> [PathBuf; 1] {
    [place.to_owned()]
}

/// Windows completes names by the endings of programs.
#[cfg(windows)]
fn candidates(place: &Path) -> Vec<PathBuf> {
    let endings = env::var("PATHEXT").unwrap_or_else(|_| ".COM;.EXE;.BAT;.CMD".to_owned());
    let completed = endings.split(';').filter(|ending| !ending.is_empty()).map(|ending| {
        let mut completed = place.as_os_str().to_owned();
        completed.push(ending);
        completed.into()
    });
    let exact = place.extension().is_some().then(|| place.to_owned());
    exact.into_iter().chain(completed).collect()
}

#[cfg(unix)]
fn is_executable(place: &Path) -> bool {
    rustix::fs::access(place, rustix::fs::Access::EXEC_OK).is_ok() && place.is_file()
}

#[cfg(windows)]
fn is_executable(place: &Path) -> bool {
    place.is_file()
}

#[cfg(all(test, windows))]
mod tests {
    use std::{collections::BTreeMap, ffi::OsStr};

    use super::*;

    const NAME: TaskName = TaskName { job: 12, index: 345 };

    fn command(program: &str) -> Command {
        Command { program: program.to_owned(), ..Command::default() }
    }

    fn environment(command: &Command) -> BTreeMap<OsString, OsString> {
        let launch = Launch::prepare(command, NAME, Bytes::new()).unwrap();
        let started = launch.command(Path::new(r"C:\scratch"));
        started.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect()
    }

    #[test]
    fn the_environment_is_clean_but_for_what_programs_for_windows_need() {
        let mut command = command("cmd");
        let found = environment(&command);
        let known = ["PATH", "HOME", "USERPROFILE", "LANG", "TASK_MESSENGER_TASK"];
        let others: Vec<_> = found.keys().filter(|name| !known.iter().any(|known| name == known)).collect();
        assert!(others.iter().all(|name| INHERITED.iter().any(|known| name.eq_ignore_ascii_case(known))), "{others:?}");
        for name in ["SystemRoot", "ComSpec", "TEMP"] {
            assert_eq!(found.get(OsStr::new(name)), env::var_os(name).as_ref(), "{name}");
            assert!(found.contains_key(OsStr::new(name)), "{name}");
        }
        assert_eq!(found[OsStr::new("HOME")], r"C:\scratch");
        assert_eq!(found[OsStr::new("USERPROFILE")], r"C:\scratch");

        // The template's word is the last.
        for name in ["HOME", "USERPROFILE", "TEMP"] {
            command.environment.insert(name.to_owned(), r"D:\own".to_owned());
        }
        let found = environment(&command);
        for name in ["HOME", "USERPROFILE", "TEMP"] {
            assert_eq!(found[OsStr::new(name)], r"D:\own", "{name}");
        }
    }

    #[test]
    fn names_are_completed_by_the_endings_of_programs() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["both.exe", "both.cmd", "script.cmd", "data.txt", "dotted.name.bat"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let found = |name: &str| {
            let found = find(name, &directory.path().into())?;
            Ok::<_, String>(found.file_name().unwrap().to_ascii_lowercase())
        };
        assert_eq!(found("both").unwrap(), "both.exe", "the first of them");
        assert_eq!(found("both.cmd").unwrap(), "both.cmd");
        assert_eq!(found("script").unwrap(), "script.cmd");
        assert_eq!(found("dotted.name").unwrap(), "dotted.name.bat");
        assert_eq!(found("data.txt").unwrap(), "data.txt", "a whole name is taken as it is");
        assert!(found("data").unwrap_err().contains("is not in the worker's PATH"));
    }
}
