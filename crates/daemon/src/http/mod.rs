//! The HTTP side of a daemon: `/healthz`, `/readyz`, `/metrics`.
//!
//! It has a thread and a runtime of its own, so that nothing that comes here delays anything else, and it answers when all
//! else stands still. Everything is bounded: connections, the head's size and time, the body, the time of an answer.

mod config;
mod host;
mod routes;
mod serve;
#[cfg(test)]
mod tests;

use std::{io, net::SocketAddr, sync::Arc, thread};

use task_messenger_protocol::tls::{Identity, TlsError};
use tokio::net::TcpListener;
use tracing::{info, warn};

pub use self::{
    config::{HttpCertificate, HttpConfig, HttpTls},
    routes::{Gathering, Metrics},
};
use crate::health::Health;

/// Why the HTTP side does not work.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address can't be listened on.
    #[error("HTTP can't listen on {address} (`http.listen`; `\"http\": null` switches it off)")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate can't be used.
    #[error("the certificate for HTTP (`http.tls`) can't be used")]
    Certificate(#[from] TlsError),
    /// `"own"` is wanted of a daemon that has no certificate.
    #[error("there is no certificate of this daemon's own for HTTP (`http.tls`)")]
    NoOwnCertificate,
    /// The thread can't be started.
    #[error("the thread for HTTP can't be started")]
    Thread(#[source] io::Error),
}

impl HttpError {
    /// Whether the same start can never succeed.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Certificate(_) | Self::NoOwnCertificate)
    }
}

/// An address that is listened on already, while nothing is answered yet.
pub struct Bound {
    listener: std::net::TcpListener,
    config: HttpConfig,
}

impl Bound {
    /// Listens. Whoever finds the port taken has touched nothing.
    pub fn bind(config: &HttpConfig) -> Result<Self, HttpError> {
        let error = |source| HttpError::Bind { address: config.listen, source };
        let listener = std::net::TcpListener::bind(config.listen).map_err(error)?;
        listener.set_nonblocking(true).map_err(error)?;
        Ok(Self { listener, config: config.clone() })
    }

    /// Whether [`Bound::serve`] needs the daemon's own certificate.
    pub fn wants_own_certificate(&self) -> bool {
        self.config.tls == Some(HttpTls::Own)
    }

    /// Where it listens: the port is the one that the system gave, if any was asked for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers from now on, until the process ends. `own` is the certificate that [`HttpTls::Own`] stands for.
    pub fn serve(self, own: Option<&Identity>, health: Health, metrics: Metrics) -> Result<(), HttpError> {
        let Self { listener, config } = self;
        let tls = match (&config.tls, own) {
            (None, _) => None,
            (Some(HttpTls::Own), None) => return Err(HttpError::NoOwnCertificate),
            (Some(HttpTls::Files(files)), _) => Some(Identity::load(&files.chain, &files.key)?.server_config()?),
            (Some(HttpTls::Own), Some(own)) => Some(own.server_config()?),
        };
        if config.is_open() {
            warn!(listen = %config.listen, "HTTP is open to others, without encryption (`http.insecure`)");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(HttpError::Thread)?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener).map_err(HttpError::Thread)?
        };
        if let Ok(address) = listener.local_addr() {
            info!(%address, encrypted = tls.is_some(), "HTTP is answered");
        }
        let router = routes::router(health, metrics, &Arc::from(config.hosts.clone()), config.timeout.0);
        thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || runtime.block_on(serve::serve(listener, &config, tls, router)))
            .map_err(HttpError::Thread)?;
        Ok(())
    }
}
