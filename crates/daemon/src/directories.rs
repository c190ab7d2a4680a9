//! Where things lie when nothing says otherwise.

#[cfg(windows)]
pub(crate) mod windows;

use std::{
    io,
    path::{Path, PathBuf},
};

use task_messenger_protocol::private_file;

use crate::account::is_root;

/// There is no home directory to put anything below.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no home directory (HOME is not set): name the directory")]
pub struct NoHome;

/// The state directory of a component (`manager`, `worker`): `$XDG_STATE_HOME/task-messenger/…`, by default
/// `~/.local/state/task-messenger/…`; on Windows `%ProgramData%\TaskMessenger\…`.
pub fn state(component: &str) -> Result<PathBuf, NoHome> {
    Ok(base("XDG_STATE_HOME", ".local/state")?.join(component))
}

/// Where configuration and credentials lie: `$XDG_CONFIG_HOME/task-messenger`, by default `~/.config/task-messenger`; on
/// Windows `%ProgramData%\TaskMessenger\config`.
pub fn config() -> Result<PathBuf, NoHome> {
    let base = base("XDG_CONFIG_HOME", ".config")?;
    Ok(if cfg!(windows) { base.join("config") } else { base })
}

/// Where the services' configuration and credentials lie: `/etc/task-messenger`; on Windows as [`config`].
pub fn system_config() -> Option<PathBuf> {
    if cfg!(windows) { config().ok() } else { Some("/etc/task-messenger".into()) }
}

/// The configuration file of a component (`manager`, `worker`, `worker-gpu`) that is read when nothing names another: root's is
/// the service's if there is one, anybody else's their own.
pub fn config_file(component: &str) -> Option<PathBuf> {
    file_of_service(component).filter(|_| is_root()).or_else(|| own_file(component))
}

/// The configuration file of one of several workers of a machine (`worker-gpu`): the service's if there is one, also for others
/// than root, else a person's own. Root has no other than the service's.
pub fn instance_file(component: &str) -> Result<PathBuf, NoHome> {
    if let Some(file) = file_of_service(component) {
        return Ok(file);
    }
    let directory = system_config().filter(|_| is_root());
    Ok(directory.map_or_else(config, Ok)?.join(format!("config-{component}.json")))
}

fn file_of_service(component: &str) -> Option<PathBuf> {
    system_config().map(|directory| directory.join(format!("config-{component}.json"))).filter(|file| file.exists())
}

fn own_file(component: &str) -> Option<PathBuf> {
    Some(config().ok()?.join(format!("config-{component}.json")))
}

/// Where a person's own credentials lie: as [`config`], but on Windows in the person's profile
/// (`%APPDATA%\TaskMessenger`), which others can't read.
pub fn personal() -> Result<PathBuf, NoHome> {
    if cfg!(windows) {
        return absolute(std::env::var_os("APPDATA")).map(|profile| profile.join("TaskMessenger")).ok_or(NoHome);
    }
    config()
}

fn base(variable: &str, below_home: &str) -> Result<PathBuf, NoHome> {
    #[cfg(windows)]
    {
        let _ = (variable, below_home);
        windows::program_data().map(|data| data.join("TaskMessenger")).ok_or(NoHome)
    }
    #[cfg(not(windows))]
    locate(std::env::var_os(variable), std::env::home_dir(), below_home)
}

#[cfg(not(windows))]
fn locate(variable: Option<std::ffi::OsString>, home: Option<PathBuf>, below_home: &str) -> Result<PathBuf, NoHome> {
    let base = absolute(variable).or_else(|| Some(absolute(Some(home?.into()))?.join(below_home)));
    base.map(|base| base.join("task-messenger")).ok_or(NoHome)
}

/// The XDG specification has relative paths ignored.
fn absolute(path: Option<std::ffi::OsString>) -> Option<PathBuf> {
    path.map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Makes a directory, and what is missing above it, for its owner alone (mode 0700; on Windows for the user, administrators and
/// the system). One that exists stays as it is. What was made is there after a power cut too.
pub fn create_private(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|directory| !directory.exists()).collect();
    for directory in missing.iter().rev().filter(|directory| !directory.as_os_str().is_empty()) {
        private_file::create_directory(directory)
            .or_else(|error| if directory.is_dir() { Ok(()) } else { Err(error) })?;
    }
    if missing.is_empty() {
        if !path.is_dir() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        // Whoever made it may have been killed before its name was durable. If it can't be made so now, because the
        // directory above is somebody else's, say, then it was not this program that made it.
        let _ = sync_name(path);
    }
    missing.into_iter().try_for_each(sync_name)
}

/// Makes a directory's name durable.
fn sync_name(directory: &Path) -> io::Result<()> {
    let Some(above) = directory.parent() else { return Ok(()) };
    private_file::sync_directory(if above.as_os_str().is_empty() { Path::new(".") } else { above })
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_variable_wins_over_home_unless_it_is_relative() {
        let home = || Some(PathBuf::from("/home/one"));
        let locate = |variable: Option<&str>, home| super::locate(variable.map(Into::into), home, ".local/state");
        assert_eq!(locate(Some("/state"), home()), Ok("/state/task-messenger".into()));
        assert_eq!(locate(Some("state"), home()), Ok("/home/one/.local/state/task-messenger".into()));
        assert_eq!(locate(None, home()), Ok("/home/one/.local/state/task-messenger".into()));
        assert_eq!(locate(None, None), Err(NoHome));
    }

    #[test]
    fn a_private_directory_is_its_owners_alone() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("a/b");
        create_private(&path).unwrap();
        create_private(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
