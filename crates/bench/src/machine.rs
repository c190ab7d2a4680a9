//! What the figures were measured on.

use std::path::Path;

use serde::Serialize;

/// A machine; what can't be told is empty or absent.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// System and architecture.
    pub(crate) system: String,
    /// The kernel's version.
    pub(crate) kernel: String,
    /// The model of the processor.
    pub(crate) processor: String,
    /// Threads that run at a time.
    pub(crate) cores: usize,
    /// Memory in MiB.
    pub(crate) memory_mebibytes: Option<u64>,
    /// The file system of the state directories.
    pub(crate) file_system: String,
    /// Processes that wanted to run during the last minute, before the measurement.
    pub(crate) load_before: Option<f64>,
    /// The same, behind it.
    pub(crate) load_after: Option<f64>,
}

impl Machine {
    /// This machine, of which `directory` is written to.
    pub(crate) fn here(directory: &Path) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let processor = field(&read("/proc/cpuinfo"), "model name");
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        Self {
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            processor,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mebibytes: memory
                .split(' ')
                .next()
                .and_then(|kibibytes| kibibytes.parse().ok())
                .map(|kib: u64| kib / 1024),
            file_system: file_system(&read("/proc/self/mounts"), directory),
            load_before: load(),
            load_after: None,
        }
    }

    /// Notes how busy the machine is now.
    pub(crate) fn finish(&mut self) {
        self.load_after = load();
    }

    /// Whether what is written stays in memory, so that nothing that was measured is durable.
    pub(crate) fn keeps_files_in_memory(&self) -> bool {
        matches!(self.file_system.as_str(), "tmpfs" | "ramfs")
    }
}

fn field(text: &str, name: &str) -> String {
    let line = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name);
    line.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// The kind of file system that a directory lies on: the innermost mount, and of several at one place the last.
fn file_system(mounts: &str, directory: &Path) -> String {
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let mut found = (0, String::new());
    for line in mounts.lines() {
        let mut words = line.split(' ');
        let (Some(_), Some(place), Some(kind)) = (words.next(), words.next(), words.next()) else { continue };
        let depth = Path::new(place).components().count();
        if directory.starts_with(place) && depth >= found.0 {
            found = (depth, kind.to_owned());
        }
    }
    found.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_says_the_file_system() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /not-there tmpfs rw 0 0\n/dev/b /not-there/disk xfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/not-there/disk/x")), "xfs");
        assert_eq!(file_system(mounts, Path::new("/not-there/disks")), "tmpfs");
        assert_eq!(file_system(mounts, Path::new("/other")), "ext4");
        assert_eq!(field("a b\t: c d\nx: y\n", "a b"), "c d");
    }
}
