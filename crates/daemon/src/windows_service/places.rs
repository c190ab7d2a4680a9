//! The directories of an installation: whose they may be, and who may do what in them.

use std::{
    fs,
    os::windows::fs::MetadataExt,
    path::{Path, PathBuf},
};

use task_messenger_protocol::windows_access::{
    ADMINISTRATORS, SYSTEM, access, changers, create_directory, is_protected, owner, set_access, user,
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
    for directory in [layout.all_programs().to_owned(), layout.tree(), layout.bin(), layout.nssm_directory()] {
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
    let data = directories(layout, None).into_iter().map(|(directory, _)| directory);
    for thing in data.chain([layout.configuration()]) {
        if exists(&thing)? {
            check_owner(&thing)?;
        }
    }
    Ok(())
}

/// The directories of the data, those above first, with who may do what in each.
fn directories(layout: &Layout, sid: Option<&str>) -> [(PathBuf, String); 5] {
    [
        (layout.all_data().to_owned(), rights::data()),
        (layout.configurations(), rights::data()),
        (layout.data_below("logs"), rights::data()),
        (layout.logs(), rights::written_by(sid)),
        (layout.state(), rights::written_by(sid)),
    ]
}

/// Whether it is there; not as a link to somewhere else.
fn exists(thing: &Path) -> Result<bool, ServiceError> {
    let Ok(found) = fs::symlink_metadata(thing) else { return Ok(false) };
    if found.file_attributes() & REPARSE_POINT != 0 {
        let text = format!("{} is a link to somewhere else: remove it", thing.display());
        return Err(ServiceError::Refused(text));
    }
    Ok(true)
}

fn check_owner(thing: &Path) -> Result<(), ServiceError> {
    let found = owner(thing).map_err(at(thing, "asked for its owner"))?;
    let user = user().map_err(at(thing, "asked for its owner"))?;
    let is_service = found.starts_with("S-1-5-80-");
    if [SYSTEM, ADMINISTRATORS, TRUSTED_INSTALLER, &user].contains(&found.as_str()) || is_service {
        return Ok(());
    }
    Err(ServiceError::Refused(format!(
        "{0} belongs to somebody else ({found}), who could do with it whatever they want: see what is in it, and remove it, or make \
         it the administrators' (takeown /A /F \"{0}\")",
        thing.display()
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
    for (directory, list) in directories(layout, sid) {
        if directory.is_dir() {
            let what = format!("set who may use {}", directory.display());
            give(&directory, &list, what, steps)?;
            if !steps.is_dry() {
                // Nobody else could have changed whose it is since.
                check_owner(&directory)?;
            }
        } else {
            steps.take(format!("make {}", directory.display()), || {
                // Closed at first: what is inherited is set below.
                create_directory(&directory, &rights::written_by(None)).map_err(at(&directory, "made"))
            })?;
            let made = directory.clone();
            steps.or(format!("{} is removed", directory.display()), move || super::tree::remove(&made));
            steps.silently(|| set_access(&directory, &list).map_err(at(&directory, "given its access")))?;
        }
    }
    give_secrets(&layout.state(), sid, steps)
}

/// What is closed for all others names the account that wrote it, which may not be the service's any more.
fn give_secrets(state: &Path, sid: Option<&str>, steps: &mut Steps) -> Result<(), ServiceError> {
    let Ok(entries) = fs::read_dir(state) else { return Ok(()) };
    let list = rights::secret_of(sid);
    for entry in entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file())) {
        let file = entry.path();
        let found = access(&file).map_err(at(&file, "asked for its access"))?;
        if is_protected(&found) {
            steps.silently(|| set_access(&file, &list).map_err(at(&file, "given its access")))?;
            steps.or(format!("{} may be used by whom it could be used", file.display()), give_back(file, found));
        }
    }
    Ok(())
}

/// Gives something that is there an access list, and back the one that it had when a later step fails.
pub(super) fn give(thing: &Path, list: &str, what: String, steps: &mut Steps) -> Result<(), ServiceError> {
    let before = access(thing).map_err(at(thing, "asked for its access"))?;
    steps.take(what, || set_access(thing, list).map_err(at(thing, "given its access")))?;
    steps.or(format!("{} may be used by whom it could be used", thing.display()), give_back(thing.to_owned(), before));
    Ok(())
}

fn give_back(thing: PathBuf, list: String) -> impl FnOnce() -> Result<(), ServiceError> + 'static {
    move || set_access(&thing, &list).map_err(at(&thing, "given its access"))
}
