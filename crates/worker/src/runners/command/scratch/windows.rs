//! What a task has made of its directory, on Windows.

use std::{fs, io, path::Path};

use windows::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION};

/// The state directory's rights hold for what is in it.
pub(super) fn create_private(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

/// Whether a process uses what is to be removed. One that is at its end still has its current directory.
pub(super) fn is_in_use(error: &io::Error) -> bool {
    [ERROR_SHARING_VIOLATION, ERROR_ACCESS_DENIED]
        .map(|code| Some(code.0.cast_signed()))
        .contains(&error.raw_os_error())
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_dir_all(path).or_else(|_| {
        make_writable(path);
        fs::remove_dir_all(path)
    })
}

/// Directories may be nested deeper than a stack reaches.
fn make_writable(path: &Path) {
    let mut directories = vec![path.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            // Of the entry itself, not of what a link leads to.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_symlink() {
                continue;
            }
            let mut permissions = metadata.permissions();
            #[expect(clippy::permissions_set_readonly_false, reason = "Windows has no other right in it")]
            permissions.set_readonly(false);
            _ = fs::set_permissions(entry.path(), permissions);
            if metadata.is_dir() {
                directories.push(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        process::{Command, Stdio},
        thread,
    };

    use super::{super::Scratch, *};

    fn make_readonly(path: &Path) {
        let mut permissions = fs::metadata(path).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(path, permissions).unwrap();
    }

    #[tokio::test]
    async fn whatever_a_task_makes_of_its_directory_is_removed() {
        let state = tempfile::tempdir().unwrap();
        let scratch = Scratch::sweep(&state.path().join("scratch")).unwrap();
        let path = scratch.create(1).unwrap();
        fs::write(path.join("file"), "").unwrap();
        make_readonly(&path.join("file"));
        // More than the smallest stack of a thread bears, one call each.
        let mut deep = path.clone();
        for _ in 0..300 {
            deep.push("d");
            fs::create_dir(&deep).unwrap();
        }
        make_readonly(&deep);
        let small = thread::Builder::new().stack_size(64 << 10).spawn(move || make_writable(&path)).unwrap();
        small.join().unwrap();
        scratch.remove(1).await;
        assert_eq!(fs::read_dir(state.path().join("scratch")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_directory_that_is_in_use_is_removed_when_it_no_longer_is() {
        let state = tempfile::tempdir().unwrap();
        let scratch = Scratch::sweep(&state.path().join("scratch")).unwrap();
        let path = scratch.create(1).unwrap();
        let file = path.join("file");
        let mut process =
            Command::new("cmd").current_dir(&path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // It has its current directory once it says something.
        process.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let begun = remove(&path).unwrap_err();
        assert!(is_in_use(&begun), "{begun}");
        fs::write(&file, "").unwrap();
        let ending = thread::spawn(move || {
            while file.exists() {
                thread::yield_now();
            }
            process.kill().unwrap();
            process.wait().unwrap();
        });
        scratch.remove(1).await;
        ending.join().unwrap();
        assert_eq!(fs::read_dir(state.path().join("scratch")).unwrap().count(), 0);
    }
}
