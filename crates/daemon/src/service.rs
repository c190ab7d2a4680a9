//! The service manager's side: what it is told of the daemon by `sd_notify(3)`, and the watchdog.
//!
//! A thread of its own tells it. While the daemon is alive ([`Health::alive`]) the thread pings the watchdog; nothing remote
//! stops that. Where no service manager listens (`NOTIFY_SOCKET` is not set), nothing is told.

use std::{
    io,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use crate::health::Health;

/// How often it is looked at whether the daemon is alive.
const LOOK: Duration = Duration::from_secs(1);

/// Tells the service manager. Clones tell the same one.
#[derive(Clone)]
pub struct Service {
    words: Sender<Word>,
}

enum Word {
    Ready,
    Reloading,
    Stopping,
    Status(String),
    Extend(Duration),
}

impl Service {
    /// Starts the thread.
    pub fn start(health: Health) -> io::Result<Self> {
        let (words, heard) = mpsc::channel();
        thread::Builder::new().name("service".to_owned()).spawn(move || serve(&health, &heard))?;
        Ok(Self { words })
    }

    /// The daemon has started: its configuration is valid, its store is open, it listens, its loop runs. Also after a reload.
    pub fn ready(&self) {
        self.tell(Word::Ready);
    }

    /// The configuration is being loaded anew; [`Service::ready`] ends that.
    pub fn reloading(&self) {
        self.tell(Word::Reloading);
    }

    /// The daemon stops.
    pub fn stopping(&self) {
        self.tell(Word::Stopping);
    }

    /// How the daemon is, in one sentence for people.
    pub fn status(&self, text: impl Into<String>) {
        self.tell(Word::Status(text.into()));
    }

    /// Stopping (or starting) takes so much longer from now on, and that is as it should be.
    pub fn extend(&self, by: Duration) {
        self.tell(Word::Extend(by));
    }

    fn tell(&self, word: Word) {
        // The thread ends only with the process.
        let _ = self.words.send(word);
    }
}

fn serve(health: &Health, words: &Receiver<Word>) {
    let watchdog = system::watchdog();
    let pause = watchdog.map_or(LOOK, |limit| LOOK.min(limit / 3));
    let mut told = String::new();
    let mut looked: Option<Instant> = None;
    loop {
        if looked.is_none_or(|looked| looked.elapsed() >= pause) {
            looked = Some(Instant::now());
            if health.alive().ok && watchdog.is_some() {
                system::ping();
            }
        }
        let wait = pause.saturating_sub(looked.map(|looked| looked.elapsed()).unwrap_or_default());
        match words.recv_timeout(wait) {
            Ok(Word::Status(text)) if text == told => {}
            Ok(word) => {
                system::notify(&word);
                if let Word::Status(text) = word {
                    told = text;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::time::Duration;

    use sd_notify::{NotifyState, notify as send, watchdog_enabled};

    use super::Word;

    /// How often the service manager wants to be pinged, if it does.
    pub(super) fn watchdog() -> Option<Duration> {
        watchdog_enabled()
    }

    pub(super) fn ping() {
        tell(&[NotifyState::Watchdog]);
    }

    pub(super) fn notify(word: &Word) {
        match word {
            Word::Ready => tell(&[NotifyState::Ready]),
            Word::Reloading => match NotifyState::monotonic_usec_now() {
                Ok(now) => tell(&[NotifyState::Reloading, now]),
                Err(_) => tell(&[NotifyState::Reloading]),
            },
            Word::Stopping => tell(&[NotifyState::Stopping]),
            Word::Status(text) => tell(&[NotifyState::Status(text)]),
            Word::Extend(by) => {
                let microseconds = u32::try_from(by.as_micros()).unwrap_or(u32::MAX);
                tell(&[NotifyState::ExtendTimeoutUsec(microseconds)]);
            }
        }
    }

    fn tell(states: &[NotifyState<'_>]) {
        if let Err(error) = send(states) {
            tracing::debug!(%error, "the service manager can't be told something");
        }
    }
}

/// Windows is told if it started the program itself; its Event Log, once each, of any service.
#[cfg(windows)]
mod system {
    use std::{sync::Once, time::Duration};

    use super::Word;
    use crate::windows_service::{
        caught::forget_old,
        events::{Event, tell},
        native,
    };

    pub(super) fn watchdog() -> Option<Duration> {
        None
    }

    pub(super) fn ping() {}

    pub(super) fn notify(word: &Word) {
        static READY: Once = Once::new();
        static STOPPING: Once = Once::new();
        match word {
            // Said again after each reload.
            Word::Ready => READY.call_once(|| {
                native::ready();
                tell(Event::Started, concat!("version ", env!("CARGO_PKG_VERSION"), " is ready"));
                forget_old();
            }),
            Word::Stopping => {
                native::stopping();
                STOPPING.call_once(|| tell(Event::Stopping, "its log says why"));
            }
            Word::Extend(by) => native::takes_longer(*by),
            Word::Reloading | Word::Status(_) => {}
        }
    }
}

/// Elsewhere service managers learn of readiness by other ways.
#[cfg(not(any(windows, target_os = "linux")))]
mod system {
    use std::time::Duration;

    use super::Word;

    pub(super) fn watchdog() -> Option<Duration> {
        None
    }

    pub(super) fn ping() {}

    pub(super) fn notify(_word: &Word) {}
}
