//! Reading frames.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::Instant,
};

use super::{FrameError, HEADER_BYTES, Kind, PART_BYTES, STRANGER_BYTES};

/// How much is asked of the stream at least, once the peer is known.
const READ_BYTES: usize = 64 * 1024;

/// Reads messages out of a stream.
///
/// A message that came whole is a slice of the buffer that was read into: whoever keeps a small one for long copies it.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
    limit: u64,
    /// The parts so far of a message that came in parts.
    parts: Option<BytesMut>,
    heard: Instant,
    /// Counts what is received.
    counter: Arc<AtomicU64>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads from `stream`. Until [`FrameReader::set_limit`] is called, messages may have [`STRANGER_BYTES`].
    pub fn new(stream: R) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            limit: STRANGER_BYTES,
            parts: None,
            heard: Instant::now(),
            counter: Arc::default(),
        }
    }

    /// From now on messages may have `limit` bytes.
    pub fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// From now on received bytes are added to `counter`.
    pub fn count_into(&mut self, counter: Arc<AtomicU64>) {
        self.counter = counter;
    }

    /// When anything came last, be it a piece of a message: over a slow link a large one takes its time.
    pub fn heard(&self) -> Instant {
        self.heard
    }

    /// The next message's bytes; `None` when the stream has ended between messages.
    ///
    /// Cancel-safe: what was received stays here for the next call.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            if let Some(message) = self.try_next()? {
                return Ok(Some(message));
            }
            self.make_room();
            let received = self.stream.read_buf(&mut self.buffer).await?;
            self.heard = Instant::now();
            self.counter.fetch_add(received as u64, Ordering::Relaxed);
            if received == 0 {
                return if self.buffer.is_empty() && self.parts.is_none() {
                    Ok(None)
                } else {
                    Err(FrameError::Truncated)
                };
            }
        }
    }

    /// The next message if it was already received, without waiting or reading: the way to work in batches.
    pub fn try_next(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            let Some(body_length) = self.body_length()? else { return Ok(None) };
            let Some(kind) = self.buffer.get(4).copied() else { return Ok(None) };
            if self.buffer.len() < HEADER_BYTES + body_length {
                return Ok(None);
            }
            self.buffer.advance(HEADER_BYTES);
            let body = self.buffer.split_to(body_length);
            match kind {
                kind if kind == Kind::Whole as u8 => return Ok(Some(body.freeze())),
                kind if kind == Kind::Part as u8 => self.parts.get_or_insert_default().extend_from_slice(&body),
                kind if kind == Kind::LastPart as u8 => {
                    let Some(mut parts) = self.parts.take() else {
                        return Err(FrameError::Malformed { what: "a last part without a first" });
                    };
                    parts.extend_from_slice(&body);
                    return Ok(Some(parts.freeze()));
                }
                _ => return Err(FrameError::Malformed { what: "of an unknown kind" }),
            }
        }
    }

    /// The length of the body of the frame at the start of the buffer, checked before anything is allocated for it.
    fn body_length(&self) -> Result<Option<usize>, FrameError> {
        let Some(length) = self.buffer.first_chunk() else { return Ok(None) };
        let Some(body) = u32::from_be_bytes(*length).checked_sub(1) else {
            return Err(FrameError::Malformed { what: "without a kind" });
        };
        let frame_limit = self.limit.min(PART_BYTES as u64);
        if u64::from(body) > frame_limit {
            return Err(FrameError::TooLong { length: u64::from(body), limit: frame_limit });
        }
        // Parts add up; a whole message that passes between them doesn't count.
        if let (Some(parts), Some(kind)) = (&self.parts, self.buffer.get(4))
            && *kind != Kind::Whole as u8
        {
            let length = parts.len() as u64 + u64::from(body);
            if length > self.limit {
                return Err(FrameError::TooLong { length, limit: self.limit });
            }
        }
        Ok(Some(body as usize))
    }

    /// How much memory is held.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.buffer.capacity() + self.parts.as_ref().map_or(0, BytesMut::capacity)
    }

    /// Makes room for the rest of a frame that has begun, and for as many more as are likely to be there.
    fn make_room(&mut self) {
        let rest = match self.body_length() {
            Ok(Some(body)) => (HEADER_BYTES + body).saturating_sub(self.buffer.len()),
            _ => HEADER_BYTES,
        };
        let free = self.buffer.capacity() - self.buffer.len();
        // A stranger gets no more memory than its one message can take.
        let usual = self.limit.min(READ_BYTES as u64) as usize + HEADER_BYTES;
        if free < rest.max(usual / 4) {
            self.buffer.reserve(rest.max(usual));
        }
    }
}
