//! Being asked to stop.

use std::{io, sync::OnceLock};

use tokio::sync::watch;

use crate::exit;

/// Who asks for a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// SIGTERM, or Windows closing or shutting down.
    Terminate,
    /// SIGINT: Ctrl-C, on Windows also Ctrl-Break.
    Interrupt,
    /// The program itself.
    Program,
}

impl Cause {
    /// What a program that is asked a second time exits with.
    fn exit_code(self) -> u8 {
        match self {
            Self::Terminate => exit::TERMINATED,
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
    /// Asks for a stop; a second time changes nothing.
    pub fn request(&self, cause: Cause) {
        self.cause.send_if_modified(|current| {
            let first = current.is_none();
            current.get_or_insert(cause);
            first
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
        match self.cause.wait_for(Option::is_some).await {
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

async fn watch_signals(mut signals: Signals, trigger: Trigger) {
    let first = signals.next().await;
    trigger.request(first);
    let second = signals.next().await;
    end_process(second);
}

#[expect(clippy::exit, reason = "asked twice: nothing is to be waited for")]
fn end_process(cause: Cause) {
    std::process::exit(i32::from(cause.exit_code()));
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> Cause {
        tokio::select! {
            _ = self.terminate.recv() => Cause::Terminate,
            _ = self.interrupt.recv() => Cause::Interrupt,
        }
    }
}

#[cfg(windows)]
struct Signals {
    ctrl_c: tokio::signal::windows::CtrlC,
    ctrl_break: tokio::signal::windows::CtrlBreak,
    close: tokio::signal::windows::CtrlClose,
    shutdown: tokio::signal::windows::CtrlShutdown,
}

#[cfg(windows)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::windows;
        Ok(Self {
            ctrl_c: windows::ctrl_c()?,
            ctrl_break: windows::ctrl_break()?,
            close: windows::ctrl_close()?,
            shutdown: windows::ctrl_shutdown()?,
        })
    }

    async fn next(&mut self) -> Cause {
        tokio::select! {
            _ = self.ctrl_c.recv() => Cause::Interrupt,
            _ = self.ctrl_break.recv() => Cause::Interrupt,
            _ = self.close.recv() => Cause::Terminate,
            _ = self.shutdown.recv() => Cause::Terminate,
        }
    }
}

#[cfg(all(test, unix))]
mod tests;
