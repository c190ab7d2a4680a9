//! The system's table of processes, as `/proc` shows it.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open, pidfd_send_signal},
};

/// The line of `/proc/PID/limits` with the mark.
const MARK_LINE: &str = "Max file locks";

/// A process as it was when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: u32,
    pub(super) parent: u32,
    pub(super) group: u32,
    /// When it was started, in the kernel's ticks: a later process with the same number has another.
    pub(super) start: u64,
    /// It has ended, and its parent has not reaped it.
    pub(super) ended: bool,
}

impl Entry {
    /// `None` when there is no such process.
    pub(super) fn of(id: u32) -> Option<Self> {
        let text = fs::read(format!("/proc/{id}/stat")).ok()?;
        // The name stands in parentheses and may contain anything.
        let end = text.iter().rposition(|byte| *byte == b')')?;
        let mut fields = str::from_utf8(text.get(end + 1..)?).ok()?.split_ascii_whitespace();
        let ended = matches!(fields.next()?, "Z" | "X");
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let start = fields.nth(16)?.parse().ok()?;
        Some(Self { id, parent, group, start, ended })
    }

    /// Sends a signal to this process, never to a later one with its number.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), Errno> {
        let id = Pid::from_raw(self.id.cast_signed()).ok_or(Errno::SRCH)?;
        let descriptor = pidfd_open(id, PidfdFlags::empty());
        if Self::of(self.id).is_none_or(|now| now.start != self.start) {
            return Err(Errno::SRCH);
        }
        match descriptor {
            Ok(descriptor) => pidfd_send_signal(descriptor, signal),
            Err(Errno::SRCH) => Err(Errno::SRCH),
            // A kernel without process descriptors, or none to be had.
            Err(_) => kill_process(id, signal),
        }
    }
}

/// Whether `/proc` shows the processes that this one sees.
pub(super) fn is_visible() -> bool {
    let own = getpid().as_raw_nonzero().to_string();
    fs::read_link("/proc/self").is_ok_and(|link| link.as_os_str() == own.as_str()) && own_mark().is_some()
}

/// Whether this process ignores a signal.
pub(super) fn ignores(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    ignored >> (signal.as_raw() - 1) & 1 == 1
}

/// All processes.
pub(super) fn all() -> Vec<Entry> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Entry::of(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// The children of this process's first thread, which are those that it has adopted, and others.
#[derive(Debug)]
pub(super) struct Children {
    /// Read again and again. Not every kernel has it.
    list: Option<File>,
}

impl Children {
    pub(super) fn open() -> Self {
        let own = getpid().as_raw_nonzero();
        Self { list: File::open(format!("/proc/self/task/{own}/children")).ok() }
    }

    /// Their numbers.
    pub(super) fn read(&self) -> Vec<u32> {
        let text = self.list.as_ref().and_then(|list| read_from_start(list).ok());
        if let Some(text) = text {
            return text.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect();
        }
        let own = getpid().as_raw_nonzero().get().cast_unsigned();
        all().into_iter().filter(|entry| entry.parent == own).map(|entry| entry.id).collect()
    }
}

fn read_from_start(file: &File) -> io::Result<String> {
    let mut bytes = vec![0; 4096];
    let mut length = 0;
    loop {
        match file.read_at(&mut bytes[length..], length as u64)? {
            0 => break,
            count => length += count,
        }
        if length == bytes.len() {
            bytes.resize(2 * length, 0);
        }
    }
    bytes.truncate(length);
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// The mark that a process carries. It keeps it after its end, until it is reaped.
pub(super) fn mark(id: u32) -> Option<u64> {
    parse_mark(&fs::read_to_string(format!("/proc/{id}/limits")).ok()?)?.parse().ok()
}

fn own_mark() -> Option<String> {
    parse_mark(&fs::read_to_string("/proc/self/limits").ok()?).map(str::to_owned)
}

fn parse_mark(limits: &str) -> Option<&str> {
    limits.lines().find_map(|line| line.strip_prefix(MARK_LINE))?.split_ascii_whitespace().next()
}

/// These and their descendants among `entries`, parents first.
pub(super) fn with_descendants(entries: &[Entry], is_root: impl Fn(&Entry) -> bool) -> Vec<Entry> {
    let mut children: HashMap<u32, Vec<&Entry>> = HashMap::new();
    for entry in entries {
        children.entry(entry.parent).or_default().push(entry);
    }
    let mut found: Vec<Entry> = entries.iter().filter(|entry| is_root(entry)).copied().collect();
    let mut next = 0;
    while let Some(id) = found.get(next).map(|entry| entry.id) {
        // A root may be the descendant of another.
        let below = children.remove(&id).unwrap_or_default();
        found.extend(below.into_iter().filter(|entry| !is_root(entry)));
        next += 1;
    }
    found
}
