//! The log file: every line is one write to its end, and a file is put aside between two lines.
//!
//! - **Rotation by the program**: when the next line would make the file too large, or the file's first line is too old (it
//!   begins with its time, so a restart changes nothing), the file is renamed and a new one begun. If that fails, the old one
//!   is written on, and says so once.
//! - **Rotation by others**: lines go to the file that is open until [`Writer::reopen`], whatever its name is meanwhile.
//! - **A line that can't be written** (the disk is full) is counted; once lines can be written again one says how many are
//!   missing. Nothing waits for it.
//! - **A file or directory that is gone** is made anew: when the file is reopened, or within a second if the program rotates.

mod names;
mod open;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use self::{names::Names, open::OpenFile};
use super::{LogFormat, Rotation, RotationMode};
use crate::{health::waiting_for_disk, say::say};

/// How often it is looked whether the file is still there, and opening it is tried again.
const LOOK: Duration = Duration::from_secs(1);
/// How long a rotation that failed is not tried again.
const RETRY: Duration = Duration::from_mins(1);

/// Writes to the log file, from any thread.
#[derive(Clone, Debug)]
pub(super) struct Writer(Arc<Mutex<LogFile>>);

impl Writer {
    /// Opens a log file, which is made if it is missing, and its directory too. If there is only no room for that, it is
    /// tried again with the lines that come.
    pub(super) fn open(path: &Path, rotation: &Rotation, format: LogFormat) -> io::Result<Self> {
        LogFile::open(path, rotation, format, Box::new(SystemTime::now)).map(|file| Self(Arc::new(Mutex::new(file))))
    }

    /// Opens the file anew, by its name.
    pub(super) fn reopen(&self) {
        self.with(LogFile::reopen);
    }

    fn with<T>(&self, act: impl FnOnce(&mut LogFile) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl io::Write for Writer {
    /// Takes a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.with(|file| file.write(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Writer {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

type Clock = Box<dyn Fn() -> SystemTime + Send>;

struct LogFile {
    path: PathBuf,
    names: Names,
    rotation: Rotation,
    format: LogFormat,
    clock: Clock,
    file: Option<OpenFile>,
    /// When it was last looked whether the file is there.
    looked: SystemTime,
    /// Whether the file that is open is not the one that should be.
    astray: bool,
    /// Since when it can't be rotated.
    stuck: Option<SystemTime>,
    /// Whether an old file can't be removed.
    unremoved: bool,
    /// Lines that could not be written.
    lost: u64,
}

impl std::fmt::Debug for LogFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl LogFile {
    fn open(path: &Path, rotation: &Rotation, format: LogFormat, clock: Clock) -> io::Result<Self> {
        let looked = clock();
        let file = match OpenFile::open(path, looked) {
            Ok(file) => Some(file),
            Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                say(format_args!("the log file {} can't be opened yet: {error}; it is tried again", path.display()));
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            names: Names::new(path),
            path: path.to_owned(),
            rotation: rotation.clone(),
            format,
            clock,
            looked,
            astray: file.is_none(),
            file,
            stuck: None,
            unremoved: false,
            lost: 0,
        })
    }

    fn write(&mut self, line: &[u8]) {
        waiting_for_disk(|| self.write_now(line));
    }

    fn write_now(&mut self, line: &[u8]) {
        let now = (self.clock)();
        self.look(now);
        if self.rotation.mode == RotationMode::Internal && self.is_full(line.len(), now) {
            self.rotate(now);
        }
        if self.lost > 0 {
            let text = format!("{} lines could not be written and are missing here", self.lost);
            if self.append(&self.line(now, &text), now).is_err() {
                self.lost += 1;
                return;
            }
            self.lost = 0;
            say(format_args!("the log file {} can be written again", self.path.display()));
        }
        if let Err(error) = self.append(line, now) {
            self.lost += 1;
            let path = self.path.display();
            say(format_args!("the log file {path} can't be written: {error}; lines are left out until it can"));
        }
    }

    fn append(&mut self, line: &[u8], now: SystemTime) -> io::Result<()> {
        match &mut self.file {
            Some(file) => file.append(line, now),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "it is not open")),
        }
    }

    /// Looks every now and then whether the file is there and open.
    fn look(&mut self, now: SystemTime) {
        if !is_over(self.looked, now, LOOK) {
            return;
        }
        self.looked = now;
        let astray = match &self.file {
            None => true,
            // It was renamed by whoever rotates, who says when to open it anew.
            Some(_) if self.rotation.mode == RotationMode::External => self.astray,
            Some(file) => !file.is_at(&self.path),
        };
        if astray {
            self.reopen();
        }
    }

    /// Opens the file by its name. If that fails the one that is open is written on, and it is tried again.
    fn reopen(&mut self) {
        let now = (self.clock)();
        match OpenFile::open(&self.path, now) {
            Ok(file) => {
                self.file = Some(file);
                self.astray = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.astray, true) {
                    let path = self.path.display();
                    self.tell(now, &format!("the log file {path} can't be opened anew: {error}; it is tried again"));
                }
            }
        }
    }

    /// Whether a line of this length belongs into a new file.
    fn is_full(&mut self, length: usize, now: SystemTime) -> bool {
        let Some(file) = self.file.as_mut().filter(|file| file.length > 0) else { return false };
        let since = file.since.get_or_insert(now);
        if *since > now {
            // The clock was set back.
            *since = now;
        }
        file.length + length as u64 > self.rotation.size.0 || is_over(*since, now, self.rotation.age.0)
    }

    fn rotate(&mut self, now: SystemTime) {
        if self.stuck.is_some_and(|since| !is_over(since, now, RETRY)) {
            return;
        }
        match self.begin_new(now) {
            Ok(()) => {
                self.stuck = None;
                self.remove_old(now);
            }
            Err(error) => {
                if self.stuck.replace(now).is_none() {
                    let text = format!("this log file can't be rotated: {error}; it grows until that is possible");
                    self.tell(now, &text);
                }
            }
        }
    }

    fn begin_new(&mut self, now: SystemTime) -> io::Result<()> {
        if self.file.as_ref().is_some_and(|file| !file.is_at(&self.path)) {
            // Somebody was faster: this name is another file's, or nobody's.
            self.file = Some(OpenFile::open(&self.path, now)?);
            return Ok(());
        }
        let aside = self.names.next(now)?;
        std::fs::rename(&self.path, &aside)?;
        match OpenFile::open(&self.path, now) {
            Ok(file) => {
                self.file = Some(file);
                Ok(())
            }
            Err(error) => {
                // If this fails too, the next look finds that the name is nobody's.
                let _ = std::fs::rename(&aside, &self.path);
                Err(error)
            }
        }
    }

    fn remove_old(&mut self, now: SystemTime) {
        match self.names.remove_all_but(self.rotation.keep as usize) {
            Ok(()) => self.unremoved = false,
            Err(error) => {
                if !std::mem::replace(&mut self.unremoved, true) {
                    self.tell(now, &format!("old log files can't be removed: {error}; there will be more of them"));
                }
            }
        }
    }

    /// Says something about the log itself: in the file, or where the program's errors go.
    fn tell(&mut self, now: SystemTime, text: &str) {
        if self.append(&self.line(now, text), now).is_err() {
            say(text);
        }
    }

    /// A line as the others are.
    fn line(&self, now: SystemTime, text: &str) -> Vec<u8> {
        let time = humantime::format_rfc3339_micros(now.max(SystemTime::UNIX_EPOCH));
        let target = module_path!();
        match self.format {
            LogFormat::Text => format!("{time}  WARN {target}: {text}\n"),
            LogFormat::Json => {
                let time = time.to_string();
                format!("{}\n", json!({"timestamp": time, "level": "WARN", "message": text, "target": target}))
            }
        }
        .into_bytes()
    }
}

/// Whether so much time has passed. When the clock was set back nobody knows, and it counts as passed.
fn is_over(since: SystemTime, now: SystemTime, time: Duration) -> bool {
    now.duration_since(since).map_or(true, |passed| passed >= time)
}
