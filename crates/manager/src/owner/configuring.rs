//! Another configuration: whoever asks for it, and what the owner takes of it.

use task_messenger_core::ids::SessionNumber;
use task_messenger_daemon::reload::Changes;
use task_messenger_protocol::messages::{self, Code};

use super::Owner;
use crate::{config::Config, reload::Asker};

impl Owner {
    /// Somebody on this machine asks for the configuration to be loaded anew.
    pub(super) fn reload(&mut self, session: SessionNumber, request: u64) {
        if self.reloads.try_send(Asker { session, request }).is_err() {
            let text = "the configuration is being loaded anew already".to_owned();
            self.refuse(session, request, Code::FailedPrecondition, text);
        }
    }

    /// What came of that.
    pub(super) fn reloaded(&mut self, session: SessionNumber, request: u64, result: Result<Changes, String>) {
        match result {
            Ok(Changes { changed, restart }) => {
                self.answer(session, request, messages::Reloaded { request, changed, restart });
            }
            Err(text) => self.refuse(session, request, Code::InvalidArgument, text),
        }
    }

    /// Another configuration is in force.
    pub(super) fn configured(&mut self, config: &Config) {
        self.engine.set_limits(config.core_limits());
        self.past.archiving.set_bounds(config.bounds());
    }
}
