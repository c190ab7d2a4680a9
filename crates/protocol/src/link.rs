//! A link between a peer and the manager: an encrypted (or local) connection whose two sides know each other.
//!
//! The peer [`connect`]s, or greets over a stream that it already has ([`greet`]); the manager [`accept`]s up to the
//! peer's `Hello`, decides, and answers. From then on each side has a [`Reader`] and a [`Writer`] of its own, to be used
//! by one task or by two.

mod error;
mod manager;
mod peer;
#[cfg(test)]
mod tests;

use std::{
    marker::PhantomData,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, BufReader, ReadHalf, WriteHalf},
    net::TcpStream,
};

pub use error::LinkError;
pub use manager::{Arrival, accept, accept_local};
pub use peer::{Connected, connect, greet, hello};

use crate::{
    envelope::Envelope,
    frame::{FrameReader, FrameWriter},
    messages::{FromManager, FromPeer, Limits},
};

/// How long connecting, TLS and the greeting may take together, by default.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What TLS keeps encrypted before the connection takes it, so that a large write is one system call.
const TLS_BUFFER_BYTES: usize = 320 * 1024;

/// What is read from the connection at once: TLS by itself asks for 4 KiB.
const SOCKET_BUFFER_BYTES: usize = 64 * 1024;

/// A connection in both directions: TLS, a local socket, or memory in tests.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Any connection.
pub type Stream = Box<dyn Duplex>;

/// Receives messages.
pub struct Reader<E> {
    frames: FrameReader<ReadHalf<Stream>>,
    envelope: PhantomData<fn() -> E>,
}

/// What the manager reads from a peer.
pub type FromPeerReader = Reader<FromPeer>;
/// What a peer reads from the manager.
pub type FromManagerReader = Reader<FromManager>;

impl<E: Envelope> Reader<E> {
    /// From now on received bytes are added to `counter`: of messages, before encryption.
    pub fn count_into(&mut self, counter: Arc<AtomicU64>) {
        self.frames.count_into(counter);
    }

    /// When anything came last, be it a piece of a message.
    pub fn heard(&self) -> tokio::time::Instant {
        self.frames.heard()
    }

    /// The next message; `None` when the other side has closed the link. Messages that this version doesn't know are
    /// passed over.
    ///
    /// Cancel-safe: nothing that was received is lost.
    pub async fn next(&mut self) -> Result<Option<E::Body>, LinkError> {
        while let Some(bytes) = self.frames.next().await? {
            if let Some(body) = E::decode(bytes)?.open() {
                return Ok(Some(body));
            }
        }
        Ok(None)
    }

    /// The next message if it was already received, without waiting: the way to work in batches.
    pub fn try_next(&mut self) -> Result<Option<E::Body>, LinkError> {
        while let Some(bytes) = self.frames.try_next()? {
            if let Some(body) = E::decode(bytes)?.open() {
                return Ok(Some(body));
            }
        }
        Ok(None)
    }
}

/// Sends messages. Pushing encodes into a buffer; [`Writer::flush`] sends many at once.
pub struct Writer<E> {
    frames: FrameWriter<WriteHalf<Stream>>,
    envelope: PhantomData<fn(E)>,
}

/// What the manager writes to a peer.
pub type FromManagerWriter = Writer<FromManager>;
/// What a peer writes to the manager.
pub type FromPeerWriter = Writer<FromPeer>;

impl<E: Envelope> Writer<E> {
    /// From now on written bytes are added to `counter`: of messages, before encryption.
    pub fn count_into(&mut self, counter: Arc<AtomicU64>) {
        self.frames.count_into(counter);
    }

    /// Adds a message behind all others. One that is longer than the two sides agreed on is refused; the link goes on.
    pub fn push(&mut self, body: impl Into<E::Body>) -> Result<(), LinkError> {
        self.frames.push(&E::seal(body.into())).map_err(LinkError::from_push)
    }

    /// Adds a small message that overtakes large ones: it goes between their parts. For pings and pongs.
    pub fn push_urgent(&mut self, body: impl Into<E::Body>) -> Result<(), LinkError> {
        self.frames.push_urgent(&E::seal(body.into())).map_err(LinkError::from_push)
    }

    /// How many bytes wait to be sent, for bounding them.
    pub fn buffered(&self) -> usize {
        self.frames.buffered()
    }

    /// Whether all that was pushed has left; if not, [`Writer::flush`] has something to do although nothing may be buffered.
    pub fn is_flushed(&self) -> bool {
        self.frames.is_flushed()
    }

    /// Sends all that was pushed.
    ///
    /// Cancel-safe: what was not yet sent stays here for the next call.
    pub async fn flush(&mut self) -> Result<(), LinkError> {
        Ok(self.frames.flush().await?)
    }

    /// Sends all that was pushed and closes this direction.
    pub async fn close(&mut self) -> Result<(), LinkError> {
        Ok(self.frames.close().await?)
    }
}

impl<E> std::fmt::Debug for Reader<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl<E> std::fmt::Debug for Writer<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

/// Ends a link so that what was sent last arrives: closes this direction, then takes and forgets what the other side is
/// still sending until it closes too, all within `limit`. Closing with unread bytes would make the system throw away what
/// is under way to the other side.
pub async fn part<I: Envelope, O: Envelope>(reader: &mut Reader<I>, writer: &mut Writer<O>, limit: Duration) {
    let parting = async {
        writer.close().await?;
        while reader.frames.next().await?.is_some() {}
        Ok::<(), LinkError>(())
    };
    // It ends here in any case.
    let _ = tokio::time::timeout(limit, parting).await;
}

/// The two halves over a stream, each still with a stranger's limit.
fn halves<I, O>(stream: Stream) -> (Reader<I>, Writer<O>) {
    let (reader, writer) = tokio::io::split(stream);
    (
        Reader { frames: FrameReader::new(reader), envelope: PhantomData },
        Writer { frames: FrameWriter::new(writer), envelope: PhantomData },
    )
}

/// Both sides know each other: messages may be as long as the manager said.
fn set_limits<I, O>(reader: &mut Reader<I>, writer: &mut Writer<O>, limits: Option<&Limits>) {
    let bytes = limits.map_or(0, |limits| limits.message_bytes).max(crate::frame::STRANGER_BYTES);
    reader.frames.set_limit(bytes);
    writer.frames.set_limit(bytes);
}

fn buffered(stream: TcpStream) -> BufReader<TcpStream> {
    // Messages are gathered before they are written; nothing is gained by waiting for more. A failure shows later.
    let _ = stream.set_nodelay(true);
    BufReader::with_capacity(SOCKET_BUFFER_BYTES, stream)
}
