//! Being asked to stop.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::{io, sync::OnceLock};

use tokio::sync::watch;

#[cfg(unix)]
use self::unix::Signals;
#[cfg(windows)]
use self::windows::Signals;
use crate::exit;

/// Who asks for a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// SIGTERM, or the service control manager of Windows.
    Terminate,
    /// SIGINT: Ctrl-C, on Windows also Ctrl-Break.
    Interrupt,
    /// Windows, which ends the process in about five seconds whatever it does: its console is closed, or the system shuts
    /// down.
    Closing,
    /// The program itself.
    Program,
}

impl Cause {
    /// What a program that is asked a second time exits with.
    fn exit_code(self) -> u8 {
        match self {
            Self::Terminate | Self::Closing => exit::TERMINATED,
            Self::Interrupt => exit::INTERRUPTED,
            Self::Program => exit::FAILURE,
        }
    }
}

/// Tells when to stop. Every clone tells it.
#[derive(Clone, Debug)]
pub struct Shutdown {
    cause: watch::Receiver<Option<Cause>>,
}

/// Asks for a stop from within the program.
#[derive(Clone, Debug)]
pub struct Trigger {
    cause: watch::Sender<Option<Cause>>,
}

impl Trigger {
    /// Asks for a stop. A second time changes nothing, unless there is no time left now.
    pub fn request(&self, cause: Cause) {
        self.cause.send_if_modified(|current| {
            let is_news = current.is_none() || (cause == Cause::Closing && *current != Some(cause));
            if is_news {
                *current = Some(cause);
            }
            is_news
        });
    }
}

impl Shutdown {
    /// Listens for the system's signals from now on, on a thread of its own, so that a second signal ends the process at
    /// once (exit code 130 or 143) whatever the rest of it is doing.
    pub fn listen() -> io::Result<(Self, Trigger)> {
        let (shutdown, trigger) = OUTSIDE.get().cloned().unwrap_or_else(Self::manual);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let signals = {
            let _inside = runtime.enter();
            Signals::new()?
        };
        let own = trigger.clone();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(watch_signals(signals, own)))?;
        Ok((shutdown, trigger))
    }

    /// One that only the program itself triggers.
    pub fn manual() -> (Self, Trigger) {
        let (sender, receiver) = watch::channel(None);
        (Self { cause: receiver }, Trigger { cause: sender })
    }

    /// Waits until a stop is asked for, and says by whom. Cancel-safe; returns at once when it was asked for before.
    pub async fn requested(&mut self) -> Cause {
        self.requested_beyond(None).await
    }

    /// The same for whoever has heard of a stop already: waits until there is another cause, which is then
    /// [`Cause::Closing`].
    pub async fn requested_beyond(&mut self, heard: Option<Cause>) -> Cause {
        match self.cause.wait_for(|cause| cause.is_some() && *cause != heard).await {
            Ok(cause) => cause.unwrap_or(Cause::Program),
            // Nobody is left who could ask.
            Err(_) => std::future::pending().await,
        }
    }

    /// Whether a stop was asked for.
    pub fn is_requested(&self) -> bool {
        self.cause.borrow().is_some()
    }
}

/// What something outside of the program's own code triggers.
static OUTSIDE: OnceLock<(Shutdown, Trigger)> = OnceLock::new();

/// For whoever hears of a stop before the program listens, as the service control manager of Windows does: what
/// [`Shutdown::listen`] gives out from then on is triggered by it too.
pub fn from_outside() -> Trigger {
    OUTSIDE.get_or_init(Shutdown::manual).1.clone()
}

/// That there is little time left is no second request: it has the stop that is under way go faster.
async fn watch_signals(mut signals: Signals, trigger: Trigger) {
    trigger.request(signals.next().await);
    loop {
        match signals.next().await {
            Cause::Closing => trigger.request(Cause::Closing),
            second => end_process(second),
        }
    }
}

#[expect(clippy::exit, reason = "asked twice: nothing is to be waited for")]
fn end_process(cause: Cause) {
    std::process::exit(i32::from(cause.exit_code()));
}

#[cfg(test)]
mod tests;
