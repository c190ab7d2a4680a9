//! Other programs: NSSM, and the installed ones.

use std::{path::Path, process::Command};

use super::{
    error::{ServiceError, at},
    nssm::text_of,
};

/// Runs a program to its end; what it printed.
///
/// # Errors
/// It could not be started, or failed.
pub(super) fn call(program: &Path, arguments: &[String]) -> Result<String, ServiceError> {
    let done = Command::new(program).args(arguments).stdin(std::process::Stdio::null()).output();
    let done = done.map_err(at(program, "run"))?;
    let said = [text_of(&done.stdout), text_of(&done.stderr)].join("\n").trim().to_owned();
    if done.status.success() {
        return Ok(said);
    }
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let call = [&[name.into_owned()], arguments].concat().join(" ");
    Err(ServiceError::Call { call, status: done.status, said })
}
