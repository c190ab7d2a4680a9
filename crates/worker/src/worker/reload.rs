//! Loading the configuration anew.

use std::{rc::Rc, sync::Arc};

use task_messenger_daemon::{
    logging::Logging,
    reload::{Asker, Hangups, Reloader},
};

use super::{Worker, link::Addresses};
use crate::{cli::set_level, config::WorkerConfig};

/// What it takes to load the configuration anew.
pub(crate) struct Reloading {
    pub(crate) reloader: Reloader<WorkerConfig>,
    pub(crate) hangups: Hangups,
    /// None where a program that links the worker logs in its own way.
    pub(crate) logging: Option<Rc<Logging>>,
    pub(crate) addresses: Addresses,
}

/// Waits until somebody asks for it. Cancel-safe.
pub(super) async fn hung_up(reloading: &mut Option<Reloading>) -> Option<Asker> {
    match reloading {
        Some(reloading) => reloading.hangups.next().await,
        None => std::future::pending().await,
    }
}

impl Worker {
    pub(super) fn reload(&mut self, asker: Option<Asker>) {
        let Some(reloading) = &mut self.reloading else { return };
        self.watching.service.reloading();
        let reloaded = reloading.reloader.reload();
        if let Ok(reloaded) = &reloaded {
            reloading.addresses.set(&reloaded.config.managers);
            set_level(reloading.logging.as_deref(), &reloaded.config);
            self.take_configuration(&reloaded.config);
        }
        if let Some(asker) = asker {
            asker.answer(reloaded.as_ref());
        }
        self.watching.service.ready();
    }

    fn take_configuration(&mut self, config: &WorkerConfig) {
        let output = config.limits.output.0 as usize;
        self.prefetch_most = config.prefetch.most;
        self.outbox_most = config.outbox.bytes.0;
        self.grace = config.shutdown.grace.0;
        self.kill_after = config.kill_after.0;
        self.runner = Arc::new(self.runner.with_limits(output, self.kill_after));
        self.pool.set_limits(config.slots as usize, output);
        if self.slots != config.slots || self.name != config.name {
            self.slots = config.slots;
            self.name.clone_from(&config.name);
            self.tasks.set_slots(config.slots);
            // The manager learns of it when a session begins. What runs goes on.
            self.reconnect();
        }
    }

    /// Where the manager is, for people.
    pub(super) fn addresses(&self) -> String {
        self.reloading.as_ref().map(|reloading| reloading.addresses.get().join(", ")).unwrap_or_default()
    }
}
