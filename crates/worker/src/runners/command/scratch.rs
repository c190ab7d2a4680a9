//! Scratch directories: one a lease, gone with it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The directory that holds them.
#[derive(Debug)]
pub(super) struct Scratch {
    root: PathBuf,
}

impl Scratch {
    /// Makes the directory, and removes what is left in it from an earlier start.
    pub(super) fn sweep(root: &Path) -> io::Result<Self> {
        create_private(root).or_else(|error| if root.is_dir() { Ok(()) } else { Err(error) })?;
        for entry in fs::read_dir(root)? {
            remove_completely(&entry?.path());
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

fn create_private(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// A task may have made its own directories unwritable; what even then can't be removed is swept at the next start.
fn remove_completely(path: &Path) {
    let removed = |path: &Path| match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    let result = removed(path).or_else(|_| {
        make_writable(path);
        removed(path)
    });
    if let Err(error) = result {
        tracing::warn!(path = %path.display(), %error, "a task's scratch directory can't be removed");
    }
}

fn make_writable(path: &Path) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    if !metadata.is_dir() {
        return;
    }
    #[cfg(unix)]
    {
        let private: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        _ = fs::set_permissions(path, private);
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        #[cfg(windows)]
        if let Ok(metadata) = entry.metadata() {
            let mut permissions = metadata.permissions();
            permissions.set_readonly(false);
            _ = fs::set_permissions(entry.path(), permissions);
        }
        make_writable(&entry.path());
    }
}
