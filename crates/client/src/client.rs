//! The client itself.

use std::time::Duration;

use task_messenger_protocol::{credential::ClientCredential, messages::hello::Credential};
use tokio::sync::watch;

use crate::{
    ClientOptions, Connector, Error,
    link::{self, Stream},
    state::{Handle, Shared},
};

/// Whether there is a link to the manager.
#[derive(Clone, Debug)]
pub enum LinkStatus {
    /// There is.
    Up,
    /// It was cut, and is being made again.
    Down {
        /// What cut it, or why it isn't back yet.
        reason: String,
        /// How many attempts were made since.
        attempts: u32,
    },
    /// It will not come back.
    Ended(Error),
}

/// A client: one link to the manager, kept up by a task of its own until the last clone, and everything that was made with
/// it, is dropped. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Client {
    handle: Handle,
}

impl Client {
    /// Connects with what `login` has kept. An error here is that of the first attempt; later cuts are mended.
    pub async fn connect(credential: &ClientCredential) -> Result<Self, Error> {
        Self::connect_with(Connector::of_credential(credential, &ClientOptions::default()), ClientOptions::default())
            .await
    }

    /// Connects by a way of one's own.
    pub async fn connect_with(mut connector: Connector, options: ClientOptions) -> Result<Self, Error> {
        let connected = connector.connect().await?;
        let shared = Shared::new(&connected.welcome);
        let handle = Handle::new(std::sync::Arc::clone(&shared));
        // It ends when the last handle is dropped, and needs no answer: what goes wrong is told through the shared state.
        tokio::spawn(link::run(shared, connector, options, connected));
        Ok(Self { handle })
    }

    /// Greets the manager over a stream that is already there. When the stream ends, so does the client.
    pub async fn from_stream(stream: Stream, credential: Credential, options: ClientOptions) -> Result<Self, Error> {
        Self::connect_with(Connector::once(stream, credential, &options), options).await
    }

    /// Tells when the link is cut and when it is back.
    pub fn status_of_link(&self) -> watch::Receiver<LinkStatus> {
        self.handle.status()
    }

    /// The longest payload that the manager accepts, in bytes.
    pub fn payload_limit(&self) -> u64 {
        self.handle.with(|state| state.payload_limit())
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// How long a session must have lasted for the next wait to be a short one again.
pub(crate) const STEADY: Duration = Duration::from_secs(5);
