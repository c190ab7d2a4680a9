//! What a task has made of its directory, on Unix.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

pub(super) fn create_private(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

/// Nothing is kept by being in use.
pub(super) fn is_in_use(_error: &io::Error) -> bool {
    false
}

/// A task may have made its own directories unwritable, and nested them deeper than a path or a stack reaches: so each is made
/// writable, and what lies in it is moved up until everything lies in the first or second level.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let private: fs::Permissions = PermissionsExt::from_mode(0o700);
    if !is_directory(path)? {
        return fs::remove_file(path);
    }
    fs::set_permissions(path, private.clone())?;
    let waiting = create_beside(path)?;
    let mut moved = 0_u64;
    let mut empty = |directory: &Path| {
        for entry in fs::read_dir(directory)? {
            let entry = entry?.path();
            if !is_directory(&entry)? {
                fs::remove_file(&entry)?;
            } else if fs::remove_dir(&entry).is_err() {
                fs::set_permissions(&entry, private.clone())?;
                fs::rename(&entry, waiting.join(moved.to_string()))?;
                moved += 1;
            }
        }
        fs::remove_dir(directory)
    };
    empty(path)?;
    loop {
        let mut is_empty = true;
        for entry in fs::read_dir(&waiting)? {
            is_empty = false;
            empty(&entry?.path())?;
        }
        if is_empty {
            return fs::remove_dir(&waiting);
        }
    }
}

/// Makes a directory that is on the same file system.
fn create_beside(path: &Path) -> io::Result<PathBuf> {
    let mut number = 0_u64;
    loop {
        let beside = path.with_added_extension(format!("{number}.removing"));
        match create_private(&beside) {
            Ok(()) => return Ok(beside),
            // Left by one that was interrupted.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

fn is_directory(path: &Path) -> io::Result<bool> {
    Ok(fs::symlink_metadata(path)?.is_dir())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

    use super::{super::Scratch, *};

    #[tokio::test]
    async fn whatever_a_task_makes_of_its_directory_is_removed_and_nothing_outside() {
        let state = tempfile::tempdir().unwrap();
        let outside = state.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "").unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o500)).unwrap();
        let root = state.path().join("scratch");
        let scratch = Scratch::sweep(&root).unwrap();
        let make = |lease, depth| {
            let path = scratch.create(lease).unwrap();
            symlink(&outside, path.join("link")).unwrap();
            let longest = "n".repeat(255);
            fs::create_dir_all(path.join(&longest).join(&longest)).unwrap();
            fs::write(path.join(&longest).join("0"), "").unwrap();
            for name in ["a", "b"] {
                fs::create_dir_all(path.join("wide").join(name).join("0")).unwrap();
            }
            fs::set_permissions(path.join("wide/a"), fs::Permissions::from_mode(0o0)).unwrap();
            // Deeper than a path can say, and than a stack may bear.
            let mut directory = openat(CWD, &path, OFlags::DIRECTORY, Mode::empty()).unwrap();
            for _ in 0..depth {
                mkdirat(&directory, "d", Mode::RWXU).unwrap();
                directory = openat(&directory, "d", OFlags::DIRECTORY, Mode::empty()).unwrap();
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(0o500)).unwrap();
        };
        make(1, 2_200);
        scratch.remove(1).await;
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
        assert!(outside.join("file").exists());
        assert_eq!(fs::metadata(&outside).unwrap().permissions().mode() & 0o777, 0o500);

        // Removing may be interrupted: the next start goes on.
        make(2, 10);
        fs::rename(root.join("2"), root.join("2.0.removing")).unwrap();
        make(2, 10);
        Scratch::sweep(&root).unwrap();
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    }
}
