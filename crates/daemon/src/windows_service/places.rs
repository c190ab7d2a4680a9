//! The directories of an installation: whose they may be, and who may do what in them.

use std::{fs, os::windows::fs::MetadataExt, path::Path};

use task_messenger_protocol::windows_access::{
    ADMINISTRATORS, SYSTEM, access, changers, create_directory, owner, set_access, user,
};

use super::{
    error::{ServiceError, at},
    layout::Layout,
    rights::{self, Account},
    undo::Steps,
};

/// A link or a mount point (winnt.h, `FILE_ATTRIBUTE_REPARSE_POINT`).
const REPARSE_POINT: u32 = 0x400;
/// Windows' own installer.
const TRUSTED_INSTALLER: &str = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464";

/// Refuses directories that somebody else could have prepared: programs that others can change, data of somebody else's.
pub(super) fn check(layout: &Layout) -> Result<(), ServiceError> {
    for directory in [layout.all_programs().to_owned(), layout.tree(), layout.bin()] {
        if !exists(&directory)? {
            continue;
        }
        check_owner(&directory)?;
        let mut others = changers(&access(&directory).map_err(at(&directory, "asked for its access"))?);
        let user = user().map_err(at(&directory, "asked for its access"))?;
        others.retain(|who| *who != user);
        if !others.is_empty() {
            return Err(ServiceError::Refused(format!(
                "{} can be changed by others ({}): whoever can change a service's program can do what the service can. Remove \
                 the directory, or take their right to write",
                directory.display(),
                others.join(", ")
            )));
        }
    }
    for directory in [layout.all_data().to_owned(), layout.configurations(), layout.state()] {
        if exists(&directory)? {
            check_owner(&directory)?;
        }
    }
    Ok(())
}

/// Whether it is there; not as a link to somewhere else.
fn exists(directory: &Path) -> Result<bool, ServiceError> {
    let Ok(found) = fs::symlink_metadata(directory) else { return Ok(false) };
    if found.file_attributes() & REPARSE_POINT != 0 {
        let text = format!("{} is a link to somewhere else: remove it", directory.display());
        return Err(ServiceError::Refused(text));
    }
    Ok(true)
}

fn check_owner(directory: &Path) -> Result<(), ServiceError> {
    let found = owner(directory).map_err(at(directory, "asked for its owner"))?;
    let user = user().map_err(at(directory, "asked for its owner"))?;
    let is_service = found.starts_with("S-1-5-80-");
    if [SYSTEM, ADMINISTRATORS, TRUSTED_INSTALLER, &user].contains(&found.as_str()) || is_service {
        return Ok(());
    }
    Err(ServiceError::Refused(format!(
        "{} belongs to somebody else ({found}), who could do with it whatever they want: see what is in it, and remove it",
        directory.display()
    )))
}

/// The SID of an account; `None` for the system, which may everything anyway.
pub(super) fn sid_of(account: &Account) -> Result<Option<String>, ServiceError> {
    match account {
        Account::System => Ok(None),
        Account::Named(_, Some(sid)) => Ok(Some(sid.clone())),
        Account::Named(name, None) => {
            let found = task_messenger_protocol::windows_access::account(name);
            found.map(Some).map_err(|error| ServiceError::Refused(format!("there is no account {name}: {error}")))
        }
    }
}

/// Makes the directories of a service that runs as `sid`, and sets who may do what in them, also where they exist.
pub(super) fn make(layout: &Layout, sid: Option<&str>, steps: &mut Steps) -> Result<(), ServiceError> {
    let closed = rights::written_by(None);
    let logs = layout.data_below("logs");
    let directories = [
        (layout.all_data().to_owned(), rights::data()),
        (layout.configurations(), rights::data()),
        (logs, rights::data()),
        (layout.logs(), rights::written_by(sid)),
        (layout.state(), rights::written_by(sid)),
    ];
    for (directory, list) in directories {
        if directory.is_dir() {
            steps.take(format!("set who may use {}", directory.display()), || {
                set_access(&directory, &list).map_err(at(&directory, "given its access"))
            })?;
        } else {
            steps.take(format!("make {}", directory.display()), || {
                // Closed at first: what is inherited is set below.
                create_directory(&directory, &closed).map_err(at(&directory, "made"))?;
                set_access(&directory, &list).map_err(at(&directory, "given its access"))
            })?;
            let made = directory.clone();
            steps.or(format!("{} is removed", directory.display()), move || super::tree::remove(&made));
        }
    }
    Ok(())
}
