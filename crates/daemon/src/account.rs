//! Whose process this is.

use std::{io, path::Path};

use crate::config::FILE_VARIABLE;

/// Goes on as the user whom a state directory belongs to, if this process is root's and the directory another's: what root
/// wrote there, the daemon could not use any more. To be called first, because the program is started anew for that. It finds
/// the same configuration file, which another user would look for elsewhere.
///
/// Does nothing on Windows, where access is inherited from the directory.
///
/// # Errors
/// The program can't be started as that user.
#[cfg(target_os = "linux")]
pub fn become_owner_of(directory: &Path, configuration: Option<&Path>) -> io::Result<()> {
    use std::os::unix::{fs::MetadataExt, process::CommandExt};

    let Ok(found) = std::fs::metadata(directory) else { return Ok(()) };
    if !is_root() || found.uid() == 0 {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    // Not by its path, which may lie where only root gets: an archive that was unpacked in root's home.
    let mut again = std::process::Command::new("/proc/self/exe");
    if let Some(file) = configuration {
        again.env(FILE_VARIABLE, std::path::absolute(file)?);
    }
    // The additional groups go with the user.
    Err(again.arg0(name).args(arguments).uid(found.uid()).gid(found.gid()).exec())
}

/// Does nothing: access is inherited from the directory.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "the same shape as where it can fail")]
pub fn become_owner_of(_directory: &Path, _configuration: Option<&Path>) -> io::Result<()> {
    Ok(())
}

/// Whether this process may do everything.
#[cfg(target_os = "linux")]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this process may do everything. On Windows nobody asks.
#[cfg(not(target_os = "linux"))]
pub fn is_root() -> bool {
    false
}
