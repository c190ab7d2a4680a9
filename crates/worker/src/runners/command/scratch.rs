//! Scratch directories: one a lease, gone with it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The directory that holds them.
#[derive(Clone, Debug)]
pub(super) struct Scratch {
    root: PathBuf,
}

impl Scratch {
    /// Makes the directory, and removes what is left in it from an earlier start.
    pub(super) fn sweep(root: &Path) -> io::Result<Self> {
        create_private(root).or_else(|error| if root.is_dir() { Ok(()) } else { Err(error) })?;
        // Removing makes directories of its own here.
        for entry in fs::read_dir(root)?.collect::<io::Result<Vec<_>>>()? {
            remove_completely(&entry.path());
        }
        Ok(Self { root: std::path::absolute(root)? })
    }

    /// Makes the lease's directory.
    pub(super) fn create(&self, lease: u64) -> io::Result<PathBuf> {
        let path = self.path(lease);
        create_private(&path)?;
        Ok(path)
    }

    /// Removes the lease's directory and all that is in it.
    pub(super) async fn remove(&self, lease: u64) {
        let path = self.path(lease);
        // Mostly it is empty; only a tree is worth another thread.
        match fs::remove_dir(&path) {
            Ok(()) => (),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            Err(_) => _ = tokio::task::spawn_blocking(move || remove_completely(&path)).await,
        }
    }

    fn path(&self, lease: u64) -> PathBuf {
        self.root.join(lease.to_string())
    }
}

#[cfg(unix)]
fn create_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(path)
}

/// The state directory's rights hold for what is in it.
#[cfg(windows)]
fn create_private(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

/// What even then can't be removed is swept at the next start.
fn remove_completely(path: &Path) {
    if let Err(error) = remove(path) {
        tracing::warn!(path = %path.display(), %error, "a task's scratch directory can't be removed");
    }
}

/// A task may have made its own directories unwritable, and nested them deeper than a path or a stack reaches: so each is made
/// writable, and what lies in it is moved up until everything lies in the first or second level.
#[cfg(unix)]
fn remove(path: &Path) -> io::Result<()> {
    let private: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o700);
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
#[cfg(unix)]
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

#[cfg(unix)]
fn is_directory(path: &Path) -> io::Result<bool> {
    Ok(fs::symlink_metadata(path)?.is_dir())
}

#[cfg(windows)]
fn remove(path: &Path) -> io::Result<()> {
    fs::remove_dir_all(path).or_else(|_| {
        make_writable(path);
        fs::remove_dir_all(path)
    })
}

#[cfg(windows)]
fn make_writable(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        let mut permissions = metadata.permissions();
        #[expect(clippy::permissions_set_readonly_false, reason = "Windows has no other right in it")]
        permissions.set_readonly(false);
        _ = fs::set_permissions(entry.path(), permissions);
        if metadata.is_dir() {
            make_writable(&entry.path());
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

    use super::*;

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
