//! The programs' directory: copied as a whole beside the old one, and then put in its place.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use task_messenger_protocol::patience::{FREE, patiently};

use super::{
    error::{ServiceError, at},
    layout::Layout,
    nssm_file::make_programs,
    undo::Steps,
};

/// What has to be in the tree that a program lies in.
const MARK: &str = "share";

/// The unpacked archive that this program lies in (`…\bin\PROGRAM.exe`).
///
/// # Errors
/// It lies somewhere else.
pub(super) fn of_this_program() -> Result<PathBuf, ServiceError> {
    let program = std::env::current_exe().map_err(at("this program's file", "found"))?;
    let tree = program.parent().and_then(Path::parent).filter(|tree| tree.join(MARK).is_dir());
    tree.map(Path::to_owned).ok_or_else(|| {
        ServiceError::Refused(format!(
            "{} is not in the bin directory of an archive that was unpacked as a whole",
            program.display()
        ))
    })
}

/// Whether two paths are the same directory.
pub(super) fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Whether all that is in one is in the other too, byte for byte, and nothing else is.
pub(super) fn has_same_content(one: &Path, other: &Path) -> bool {
    let same = || -> io::Result<bool> {
        let names = |directory: &Path| -> io::Result<BTreeMap<_, _>> {
            fs::read_dir(directory)?
                .map(|entry| entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?.is_dir()))))
                .collect()
        };
        let found = names(one)?;
        if found != names(other)? {
            return Ok(false);
        }
        for (name, is_directory) in found {
            let (one, other) = (one.join(&name), other.join(&name));
            let same = if is_directory { has_same_content(&one, &other) } else { fs::read(&one)? == fs::read(&other)? };
            if !same {
                return Ok(false);
            }
        }
        Ok(true)
    };
    // What can't be read is another.
    same().unwrap_or(false)
}

/// A directory beside another, for what comes or what was there.
pub(super) fn beside(tree: &Path, what: &str) -> PathBuf {
    tree.with_added_extension(what)
}

/// Copies a tree to a directory that must not be there.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), ServiceError> {
    fs::create_dir(to).map_err(at(to, "made"))?;
    for entry in fs::read_dir(from).map_err(at(from, "read"))? {
        let entry = entry.map_err(at(from, "read"))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(at(&source, "read"))?.is_dir() {
            copy(&source, &target)?;
        } else {
            fs::copy(&source, &target).map_err(at(&target, "written"))?;
        }
    }
    Ok(())
}

/// Removes a tree, or a file in its place, if it is there.
pub(super) fn remove(tree: &Path) -> Result<(), ServiceError> {
    let is_file = fs::symlink_metadata(tree).is_ok_and(|found| found.is_file());
    match patiently(FREE, || if is_file { fs::remove_file(tree) } else { fs::remove_dir_all(tree) }) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(tree, "removed")(error)),
        _ => Ok(()),
    }
}

/// Removes a directory if nothing is in it.
pub(super) fn remove_if_empty(directory: &Path) {
    // Most often something is.
    let _ = fs::remove_dir(directory);
}

/// Puts the tree that this program lies in, `source`, in place of the one that is there, if any; that one is kept beside it until
/// all is done.
pub(super) fn put(layout: &Layout, source: &Path, steps: &mut Steps) -> Result<Option<PathBuf>, ServiceError> {
    let (place, new, old) = (layout.tree(), beside(&layout.tree(), "new"), beside(&layout.tree(), "old"));
    steps.silently(|| {
        // What an installation that was killed has left.
        if old.is_dir() && !place.exists() {
            rename(&old, &place)?;
        }
        remove(&old)?;
        remove(&new)
    })?;
    let existed = place.is_dir();
    let (back, all) = ([place.clone(), new.clone(), old.clone()], layout.all_programs().to_owned());
    steps.or(format!("{} is as it was", place.display()), move || {
        let [place, new, old] = back;
        remove(&new)?;
        if old.is_dir() {
            remove(&place)?;
            return rename(&old, &place);
        }
        if !existed {
            remove(&place)?;
            remove_if_empty(&all);
        }
        Ok(())
    });
    steps.take(format!("copy {} to {}", source.display(), place.display()), || {
        make_programs(layout)?;
        copy(source, &new)?;
        if existed {
            rename(&place, &old)?;
        }
        rename(&new, &place)
    })?;
    Ok(existed.then_some(old))
}

/// Gives a directory another name.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), ServiceError> {
    patiently(FREE, || fs::rename(from, to)).map_err(at(from, "moved"))
}
