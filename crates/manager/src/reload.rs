//! Loading the configuration anew, by a signal or because somebody on this machine asks.

use std::rc::Rc;

use task_messenger_core::ids::SessionNumber;
use task_messenger_daemon::{
    exit::chain,
    logging::Logging,
    reload::{Changes, Hangups, Reloader},
    service::Service,
};
use tokio::sync::mpsc;

use crate::{config::Config, doorkeeper::Doorkeeper, owner::Event, places::Places};

/// How many may ask at a time.
pub(crate) const ASKERS: usize = 16;

/// Somebody who asks for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(crate) session: SessionNumber,
    pub(crate) request: u64,
}

/// What takes a new configuration, besides the owner.
pub(crate) struct Takers {
    pub(crate) logging: Rc<Logging>,
    pub(crate) places: Places,
    pub(crate) doorkeeper: Doorkeeper,
    pub(crate) service: Service,
}

/// Loads the configuration anew whenever somebody asks, as long as there is an owner.
pub(crate) async fn serve(
    mut reloader: Reloader<Config>,
    mut hangups: Hangups,
    mut askers: mpsc::Receiver<Asker>,
    events: mpsc::Sender<Event>,
    takers: Takers,
) {
    loop {
        let asker = tokio::select! {
            _ = hangups.next() => None,
            Some(asker) = askers.recv() => Some(asker),
            () = events.closed() => return,
        };
        takers.service.reloading();
        let result = match reloader.reload() {
            Ok(reloaded) => {
                let changes = Changes::from(&reloaded);
                let config = reloaded.config;
                if let Err(error) = takers.logging.set_level(&config.log.level) {
                    tracing::error!(%error, "the log level can't be changed");
                }
                takers.places.set_limit(config.link.connections);
                takers.doorkeeper.set_limit(config.link.handshakes_per_address);
                // It fails when the owner has ended: then nothing matters any more.
                let _ = events.send(Event::Configured(Box::new(config))).await;
                Ok(changes)
            }
            Err(error) => Err(chain(&error)),
        };
        takers.service.ready();
        if let Some(Asker { session, request }) = asker {
            let _ = events.send(Event::Reloaded { session, request, result }).await;
        }
    }
}
