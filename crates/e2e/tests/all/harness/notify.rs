//! The service manager's socket, as `sd_notify(3)` describes it.

use std::{
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::DEADLINE;

/// Takes what a daemon tells the service manager.
pub(crate) struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
    /// What came and was not taken.
    told: Vec<String>,
}

impl NotifySocket {
    pub(crate) fn bind(path: &Path) -> Self {
        Self { socket: UnixDatagram::bind(path).unwrap(), path: path.to_owned(), told: Vec::new() }
    }

    /// What the variable `NOTIFY_SOCKET` is to be.
    pub(crate) fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Waits until a line comes, or has come, that begins like this, and takes it.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, beginning: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(at) = self.told.iter().position(|line| line.starts_with(beginning)) {
                return self.told.remove(at);
            }
            assert!(Instant::now() < deadline, "{beginning} was not told; what was: {:?}", self.told);
            self.next(Duration::from_millis(100));
        }
    }

    /// Forgets what has come.
    pub(crate) fn forget(&mut self) {
        self.told.clear();
    }

    /// Whether nothing of this is told for so long.
    pub(crate) fn is_silent(&mut self, beginning: &str, duration: Duration) -> bool {
        let end = Instant::now() + duration;
        while let Some(rest) = end.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
            if self.next(rest).iter().any(|line| line.starts_with(beginning)) {
                return false;
            }
        }
        true
    }

    /// The lines of the next datagram, if one comes in time.
    fn next(&mut self, wait: Duration) -> Vec<String> {
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let mut buffer = [0; 4096];
        let Ok(length) = self.socket.recv(&mut buffer) else { return Vec::new() };
        let lines: Vec<String> = String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned).collect();
        self.told.extend(lines.iter().cloned());
        lines
    }
}
