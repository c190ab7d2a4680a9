//! The peer's side of a handshake.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{HANDSHAKE_TIMEOUT, LinkError, Reader, Stream, TLS_BUFFER_BYTES, Writer, buffered, halves, set_limits};
use crate::{
    NEWEST_VERSION, OLDEST_VERSION,
    messages::{FromManager, FromPeer, Hello, Reason, Welcome, from_manager, hello::Credential},
    tls::Trust,
};

/// A peer's link.
#[derive(Debug)]
pub struct Connected {
    /// What the manager sends.
    pub reader: Reader<FromManager>,
    /// What the manager gets.
    pub writer: Writer<FromPeer>,
    /// What the manager said of itself, its limits among it.
    pub welcome: Welcome,
    /// Which address led here; empty for a stream that was already there.
    pub address: String,
}

/// The first message of a link: `software` is the program with its version, `store` empty when it isn't known.
pub fn hello(software: &str, store: &[u8], credential: Credential) -> Hello {
    Hello {
        oldest_version: OLDEST_VERSION,
        newest_version: NEWEST_VERSION,
        software: software.to_owned(),
        store: Bytes::copy_from_slice(store),
        credential: Some(credential),
    }
}

/// Connects to the manager at the first of its addresses that leads to it. Each may take [`HANDSHAKE_TIMEOUT`].
pub async fn connect(addresses: &[String], trust: &Trust, hello: &Hello) -> Result<Connected, LinkError> {
    let (config, name) = trust.client_config()?;
    let mut attempts = Vec::new();
    for address in addresses {
        match connect_one(address, &config, &name, hello, HANDSHAKE_TIMEOUT).await {
            Ok(connected) => return Ok(connected),
            // All addresses are of one manager: what it says of this peer holds at each.
            Err(error @ LinkError::Goodbye { reason: Reason::Unauthenticated | Reason::Version, .. }) => {
                return Err(error);
            }
            Err(error) => attempts.push((address.clone(), error)),
        }
    }
    match attempts.pop() {
        None => Err(LinkError::NoAddress),
        Some((_, error)) if attempts.is_empty() => Err(error),
        Some(last) => {
            attempts.push(last);
            Err(LinkError::Addresses { attempts })
        }
    }
}

async fn connect_one(
    address: &str,
    config: &Arc<ClientConfig>,
    name: &ServerName<'static>,
    hello: &Hello,
    limit: Duration,
) -> Result<Connected, LinkError> {
    // Names the step that was under way when the time was up.
    let mut step = "connecting";
    let attempt = async {
        let unreachable = |cause| LinkError::Unreachable { address: address.to_owned(), cause };
        let stream = TcpStream::connect(address).await.map_err(unreachable)?;
        step = "the TLS handshake";
        let connector = TlsConnector::from(Arc::clone(config));
        let mut stream = connector.connect(name.clone(), buffered(stream)).await.map_err(LinkError::from_io)?;
        stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER_BYTES));
        step = "the manager's answer";
        greet_over(Box::new(stream), hello).await
    };
    match tokio::time::timeout(limit, attempt).await {
        Ok(connected) => Ok(Connected { address: address.to_owned(), ..connected? }),
        Err(_) => Err(LinkError::TimedOut { what: step, limit }),
    }
}

/// Greets the manager over a stream that is already there, such as its local socket.
pub async fn greet(stream: Stream, hello: &Hello) -> Result<Connected, LinkError> {
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, greet_over(stream, hello)).await {
        Ok(connected) => connected,
        Err(_) => Err(LinkError::TimedOut { what: "the manager's answer", limit: HANDSHAKE_TIMEOUT }),
    }
}

async fn greet_over(stream: Stream, hello: &Hello) -> Result<Connected, LinkError> {
    let (mut reader, mut writer) = halves::<FromManager, FromPeer>(stream);
    writer.push(hello.clone())?;
    writer.flush().await?;
    let welcome = match reader.next().await? {
        Some(from_manager::Message::Welcome(welcome)) => welcome,
        Some(from_manager::Message::Goodbye(goodbye)) => {
            return Err(LinkError::Goodbye { reason: goodbye.reason(), text: goodbye.text });
        }
        Some(_) => return Err(LinkError::Unexpected { expected: "`Welcome` or `Goodbye`" }),
        None => return Err(LinkError::Closed),
    };
    if !(hello.oldest_version..=hello.newest_version).contains(&welcome.version) {
        return Err(LinkError::Version { oldest: welcome.version, newest: welcome.version });
    }
    if !hello.store.is_empty() && hello.store != welcome.store {
        return Err(LinkError::OtherStore);
    }
    set_limits(&mut reader, &mut writer, welcome.limits.as_ref());
    Ok(Connected { reader, writer, welcome, address: String::new() })
}
