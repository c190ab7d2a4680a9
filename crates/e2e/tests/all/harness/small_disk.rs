//! A disk of its own and of a size of one's choosing, where no privilege is needed for one: a file system in memory, mounted
//! in a mount namespace that only its user's processes enter.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::skip;

/// A small disk. It is gone when this is dropped.
pub(crate) struct SmallDisk {
    /// Keeps the namespace.
    holder: Child,
    directory: PathBuf,
}

impl SmallDisk {
    /// A disk of so many MiB over a directory, which exists; `None`, loudly, where this machine lets nobody make one.
    pub(crate) fn mount(directory: &Path, mebibytes: u64) -> Option<Self> {
        let script = "mount -t tmpfs -o size=\"$1\",mode=700 small \"$2\" && echo mounted && exec sleep 3600";
        let size = format!("{mebibytes}m");
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", script, "sh", &size]).arg(directory);
        let holder = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let reason = match holder {
            Ok(mut holder) => {
                let mut line = String::new();
                BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
                if line == "mounted\n" {
                    return Some(Self { holder, directory: directory.to_owned() });
                }
                let _ = holder.kill();
                String::from_utf8_lossy(&holder.wait_with_output().unwrap().stderr).into_owned()
            }
            Err(error) => error.to_string(),
        };
        skip("a test with a disk of its own", &format!("none can be mounted here: {reason}"));
        None
    }

    /// What goes before a command so that it sees the disk.
    pub(crate) fn prefix(&self) -> Vec<String> {
        let holder = self.holder.id().to_string();
        ["nsenter", "--target", &holder, "--user", "--mount", "--preserve-credentials"].map(str::to_owned).to_vec()
    }

    /// How a path on the disk looks from here.
    pub(crate) fn view(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(path.strip_prefix("/").unwrap())
    }

    /// Takes all the room that is left, with a file.
    pub(crate) fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.ballast()).unwrap();
        // In large pieces as long as they fit, then to the last page.
        for piece in [vec![0; 1 << 20], vec![0; 4096]] {
            while file.write_all(&piece).is_ok() {}
        }
    }

    /// Gives back what [`SmallDisk::fill`] took.
    pub(crate) fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    /// How many bytes other files have there.
    pub(crate) fn length(&self, name: &str) -> u64 {
        std::fs::metadata(self.view(&self.directory.join(name))).map_or(0, |file| file.len())
    }

    fn ballast(&self) -> PathBuf {
        self.view(&self.directory.join("ballast"))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It may have ended, which is as good.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
