//! The manager's side of a handshake.

use std::{sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{LinkError, Reader, Stream, TLS_BUFFER_BYTES, Writer, buffered, halves, set_limits};
use crate::{
    NEWEST_VERSION, OLDEST_VERSION,
    messages::{FromManager, FromPeer, Goodbye, Hello, Reason, Welcome, from_peer},
};

/// A peer that has said who it is, and waits for an answer: [`Arrival::welcome`] or [`Arrival::refuse`].
#[derive(Debug)]
pub struct Arrival {
    /// What the peer said.
    pub hello: Hello,
    reader: Reader<FromPeer>,
    writer: Writer<FromManager>,
    version: u32,
    limit: Duration,
}

/// Takes a connection from the network: TLS and the peer's `Hello`, both within `limit`. A peer that speaks no version
/// in common is told so; that is an error here too.
pub async fn accept(stream: TcpStream, config: &Arc<ServerConfig>, limit: Duration) -> Result<Arrival, LinkError> {
    let mut step = "the TLS handshake";
    let attempt = async {
        let acceptor = TlsAcceptor::from(Arc::clone(config));
        let mut stream = acceptor.accept(buffered(stream)).await.map_err(LinkError::from_io)?;
        stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER_BYTES));
        step = "the peer's `Hello`";
        receive_hello(Box::new(stream), limit).await
    };
    match tokio::time::timeout(limit, attempt).await {
        Ok(arrival) => arrival,
        Err(_) => Err(LinkError::TimedOut { what: step, limit }),
    }
}

/// Takes a connection that needs no encryption: the local socket.
pub async fn accept_local(stream: Stream, limit: Duration) -> Result<Arrival, LinkError> {
    match tokio::time::timeout(limit, receive_hello(stream, limit)).await {
        Ok(arrival) => arrival,
        Err(_) => Err(LinkError::TimedOut { what: "the peer's `Hello`", limit }),
    }
}

async fn receive_hello(stream: Stream, limit: Duration) -> Result<Arrival, LinkError> {
    let (mut reader, writer) = halves::<FromPeer, FromManager>(stream);
    let hello = match reader.next().await? {
        Some(from_peer::Message::Hello(hello)) => hello,
        Some(_) => return Err(LinkError::Unexpected { expected: "`Hello`" }),
        None => return Err(LinkError::Closed),
    };
    let version = hello.newest_version.min(NEWEST_VERSION);
    let (oldest, newest) = (hello.oldest_version, hello.newest_version);
    let arrival = Arrival { hello, reader, writer, version, limit };
    if version < oldest.max(OLDEST_VERSION) {
        let error = LinkError::Version { oldest, newest };
        let text =
            format!("this manager speaks protocol {OLDEST_VERSION} to {NEWEST_VERSION}, the peer {oldest} to {newest}");
        arrival.refuse(Reason::Version, &text).await?;
        return Err(error);
    }
    Ok(arrival)
}

impl Arrival {
    /// The version that both sides speak.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Lets the peer in. The version is filled in; messages may from now on be as long as `welcome.limits` says.
    pub async fn welcome(mut self, welcome: Welcome) -> Result<(Reader<FromPeer>, Writer<FromManager>), LinkError> {
        let limits = welcome.limits;
        self.writer.push(Welcome { version: self.version, ..welcome })?;
        self.send().await?;
        set_limits(&mut self.reader, &mut self.writer, limits.as_ref());
        Ok((self.reader, self.writer))
    }

    /// Sends the peer away, and says why. Returns when the peer has closed the connection, or after the limit.
    pub async fn refuse(mut self, reason: Reason, text: &str) -> Result<(), LinkError> {
        self.writer.push(Goodbye { reason: reason.into(), text: text.to_owned() })?;
        super::part(&mut self.reader, &mut self.writer, self.limit).await;
        Ok(())
    }

    async fn send(&mut self) -> Result<(), LinkError> {
        match tokio::time::timeout(self.limit, self.writer.flush()).await {
            Ok(sent) => sent,
            Err(_) => Err(LinkError::TimedOut { what: "answering the peer's `Hello`", limit: self.limit }),
        }
    }
}
