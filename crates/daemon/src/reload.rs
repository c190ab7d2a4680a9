//! Loading the configuration anew while the daemon runs.
//!
//! Everything is checked before anything of it is taken. What can't change while the daemon runs is named, and stays as it
//! is until the next start. A configuration that can't be used leaves the one before in force, and is shown by the log and by
//! `/readyz` until a good one is loaded.

mod asked;

use serde_json::Value;
use tokio::sync::mpsc;

pub use self::asked::{AskError, Asker, Changes, ask};
use crate::{
    config::{ConfigError, Configuration, Sources, changes, load},
    exit::chain,
    health::{Condition, Health},
    local::LocalListener,
};

/// The configuration in force, and where it comes from.
pub struct Reloader<T> {
    sources: Sources,
    current: T,
    shown: Condition,
}

/// A configuration that was loaded anew.
#[derive(Clone, Debug)]
pub struct Reloaded<T> {
    /// What is in force from now on: the new values of what can change, and the old ones of all else.
    pub config: T,
    /// The keys that have a new value now.
    pub changed: Vec<String>,
    /// The keys that get theirs at the next start.
    pub restart: Vec<String>,
}

impl<T: Configuration + Clone> Reloader<T> {
    /// `current` is what was loaded from these sources at the start.
    pub fn new(sources: Sources, current: T, health: &Health) -> Self {
        let advice = "correct it (--check-config says all that is wrong), and reload";
        let shown = health.wish("configuration", advice, "as loaded at the start");
        Self { sources, current, shown }
    }

    /// Loads the configuration anew, and says so in the log.
    pub fn reload(&mut self) -> Result<Reloaded<T>, ConfigError> {
        let loaded = match load::<T>(&self.sources) {
            Ok(loaded) => self.merge(&loaded.config),
            Err(error) => {
                let text = chain(&error);
                tracing::error!(error = text, "the new configuration can't be used: the one before stays in force");
                #[cfg(windows)]
                crate::windows_service::events::tell(crate::windows_service::events::Event::Configuration, &text);
                self.shown.set(false, text);
                return Err(error);
            }
        };
        let Reloaded { config, changed, restart } = &loaded;
        self.current = config.clone();
        tracing::info!(changed = changed.join(", "), "the configuration was loaded anew");
        if restart.is_empty() {
            self.shown.set(true, "as loaded last");
        } else {
            let restart = restart.join(", ");
            tracing::warn!(restart, "these keys have new values that are taken only at a restart");
            self.shown.set(true, format!("as loaded last; a restart is needed for {restart}"));
        }
        Ok(loaded)
    }

    fn merge(&self, new: &T) -> Reloaded<T> {
        let (changed, mut restart): (Vec<String>, Vec<String>) =
            changes(&self.current, new).into_iter().partition(|path| self.current.takes(new, path));
        // What was read from JSON can be written as JSON.
        let mut merged = serde_json::to_value(&self.current).unwrap_or_default();
        let new = serde_json::to_value(new).unwrap_or_default();
        for path in &changed {
            let pointer = format!("/{}", path.replace('.', "/"));
            let value = new.pointer(&pointer).cloned().unwrap_or(Value::Null);
            if let Some(place) = merged.pointer_mut(&pointer) {
                *place = value;
            }
        }
        match serde_json::from_value::<T>(merged) {
            Ok(config) if config.problems().is_empty() => Reloaded { config, changed, restart },
            // The new values fit each other, but not those that stay until a restart.
            _ => {
                restart.splice(0..0, changed);
                Reloaded { config: self.current.clone(), changed: Vec::new(), restart }
            }
        }
    }
}

/// Hears when somebody asks for the configuration to be loaded anew: by a signal (SIGHUP; without this it would end the
/// process), or at the local socket.
pub struct Hangups {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
    askers: Option<mpsc::Receiver<Asker>>,
}

impl Hangups {
    /// Listens from now on, also at a local socket if there is one for that; needs a runtime.
    pub fn listen(local: Option<LocalListener>) -> std::io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?,
            askers: local.map(asked::serve),
        })
    }

    /// Waits for the next one, who may want to know what came of it. Cancel-safe.
    pub async fn next(&mut self) -> Option<Asker> {
        tokio::select! {
            () = signal(#[cfg(unix)] &mut self.signal) => None,
            asker = asker(&mut self.askers) => Some(asker),
        }
    }
}

/// Where there is no such signal, there never is one.
async fn signal(#[cfg(unix)] signal: &mut tokio::signal::unix::Signal) {
    #[cfg(unix)]
    if signal.recv().await.is_some() {
        return;
    }
    std::future::pending::<()>().await;
}

async fn asker(askers: &mut Option<mpsc::Receiver<Asker>>) -> Asker {
    if let Some(askers) = askers
        && let Some(asker) = askers.recv().await
    {
        return asker;
    }
    std::future::pending().await
}
