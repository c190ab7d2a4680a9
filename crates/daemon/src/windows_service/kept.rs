//! Configuration files that are kept whatever is installed.

use std::{fs, io, path::Path};

use task_messenger_protocol::windows_access::set_access;

use crate::say::say;

use super::{
    configuration::adapted,
    error::{ServiceError, at},
    layout::Layout,
    places, rights, tree,
    undo::Steps,
};

/// Puts the configuration there if there is none. One that is there stays; a default that
/// is another than that of the old tree comes beside it.
pub(super) fn put(
    layout: &Layout,
    old: &Path,
    source: &Path,
    sid: Option<&str>,
    slots: Option<u32>,
    steps: &mut Steps,
) -> Result<(), ServiceError> {
    let read = |tree: &Path| fs::read_to_string(layout.default_configuration(tree));
    let default = layout.default_configuration(source);
    let new = adapted(&fs::read_to_string(&default).map_err(at(&default, "read"))?, layout, slots);
    let file = layout.configuration();
    let access = rights::read_by(sid);
    if !file.exists() {
        let written = file.clone();
        steps.or(format!("{} is removed", file.display()), move || remove(&written));
        return steps.take(format!("write {}", file.display()), || write(&file, &new, &access));
    }
    places::give(&file, &access, format!("keep {}", file.display()), steps)?;
    if slots.is_some() {
        say(format_args!("warning: --slots is for a new configuration: {} stays as it is", file.display()));
    }
    let changed = read(old).is_ok_and(|old| adapted(&old, layout, slots) != new);
    if changed {
        let beside = file.with_added_extension("new");
        let (place, before, list) = (beside.clone(), fs::read_to_string(&beside).ok(), access.clone());
        steps.or(format!("{} is as it was", beside.display()), move || match &before {
            Some(text) => write(&place, text, &list),
            None => remove(&place),
        });
        steps.take(format!("write the new default beside it, as {}", beside.display()), || {
            write(&beside, &new, &access)
        })?;
    }
    Ok(())
}

/// Never half of it under its name: what is there is kept by later installations.
fn write(file: &Path, text: &str, access: &str) -> Result<(), ServiceError> {
    let part = tree::beside(file, "part");
    let written = fs::write(&part, text).map_err(at(&part, "written"));
    let written = written.and_then(|()| set_access(&part, access).map_err(at(&part, "given its access")));
    written.and_then(|()| tree::rename(&part, file)).inspect_err(|_| {
        // Nobody looks at it.
        let _ = fs::remove_file(&part);
    })
}

/// Sees that there is a default configuration, before anything is done.
pub(super) fn check(layout: &Layout, source: &Path) -> Result<(), ServiceError> {
    let default = layout.default_configuration(source);
    fs::metadata(&default).map(drop).map_err(at(&default, "read: the archive has to be unpacked as a whole"))
}

/// Removes a file if it is there.
pub(super) fn remove(file: &Path) -> Result<(), ServiceError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(file, "removed")(error)),
        _ => Ok(()),
    }
}
