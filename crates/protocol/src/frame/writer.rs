//! Writing frames.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{FrameError, HEADER_BYTES, Kind, PART_BYTES, STRANGER_BYTES};

/// A buffer that grew beyond this is given back once it is empty.
const KEPT_BYTES: usize = 1024 * 1024;

/// Writes messages into a stream.
///
/// Pushing only encodes; [`FrameWriter::flush`] writes, many messages at once. [`FrameWriter::buffered`] is for bounding
/// what waits.
#[derive(Debug)]
pub struct FrameWriter<W> {
    stream: W,
    limit: u64,
    /// Frames that are written next.
    buffer: BytesMut,
    /// What follows once the buffer is empty: begins with the large message that is under way.
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Whether something was pushed that the stream may still hold back: encryption has buffers of its own.
    unflushed: bool,
    /// Counts what is written.
    counter: Arc<AtomicU64>,
}

/// What waits behind a large message.
#[derive(Debug)]
enum Waiting {
    /// A large message, or what is left of it.
    Large(Bytes),
    /// Small messages in frames.
    Frames(BytesMut),
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// Writes to `stream`. Until [`FrameWriter::set_limit`] is called, messages may have [`STRANGER_BYTES`].
    pub fn new(stream: W) -> Self {
        Self {
            stream,
            limit: STRANGER_BYTES,
            buffer: BytesMut::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            unflushed: false,
            counter: Arc::default(),
        }
    }

    /// From now on written bytes are added to `counter`.
    pub fn count_into(&mut self, counter: Arc<AtomicU64>) {
        self.counter = counter;
    }

    /// From now on messages may have `limit` bytes.
    pub fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Adds a message behind all others. One over the limit is refused and leaves the writer as it was.
    pub fn push(&mut self, message: &impl prost::Message) -> Result<(), FrameError> {
        let length = self.checked_length(message)?;
        self.unflushed = true;
        if length > PART_BYTES {
            let mut encoded = BytesMut::with_capacity(length);
            message.encode_raw(&mut encoded);
            self.waiting.push_back(Waiting::Large(encoded.freeze()));
            self.waiting_bytes += length;
        } else if self.waiting.is_empty() {
            append(&mut self.buffer, length, message);
        } else {
            if !matches!(self.waiting.back(), Some(Waiting::Frames(_))) {
                self.waiting.push_back(Waiting::Frames(BytesMut::new()));
            }
            if let Some(Waiting::Frames(frames)) = self.waiting.back_mut() {
                append(frames, length, message);
                self.waiting_bytes += HEADER_BYTES + length;
            }
        }
        Ok(())
    }

    /// Adds a small message that overtakes large ones: it goes between their parts.
    pub fn push_urgent(&mut self, message: &impl prost::Message) -> Result<(), FrameError> {
        let length = self.checked_length(message)?;
        if length > PART_BYTES {
            return Err(FrameError::TooLong { length: length as u64, limit: PART_BYTES as u64 });
        }
        self.unflushed = true;
        append(&mut self.buffer, length, message);
        Ok(())
    }

    /// How many bytes wait to be written.
    pub fn buffered(&self) -> usize {
        self.buffer.len() + self.waiting_bytes
    }

    /// Whether all that was pushed has left. With nothing buffered here the stream may still hold some of it, until
    /// [`FrameWriter::flush`] has returned.
    pub fn is_flushed(&self) -> bool {
        !self.unflushed
    }

    /// Writes all that was pushed.
    ///
    /// Cancel-safe: what was not yet written stays here for the next call.
    pub async fn flush(&mut self) -> Result<(), FrameError> {
        loop {
            while !self.buffer.is_empty() {
                let written = self.stream.write_buf(&mut self.buffer).await?;
                self.counter.fetch_add(written as u64, Ordering::Relaxed);
                if written == 0 {
                    return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into());
                }
            }
            if !self.refill() {
                break;
            }
        }
        if self.buffer.capacity() > KEPT_BYTES {
            self.buffer = BytesMut::new();
        }
        self.stream.flush().await?;
        self.unflushed = false;
        Ok(())
    }

    /// Writes all that was pushed and says that nothing follows.
    pub async fn close(&mut self) -> Result<(), FrameError> {
        self.flush().await?;
        Ok(self.stream.shutdown().await?)
    }

    /// What was written to.
    #[cfg(test)]
    pub(super) fn into_stream(self) -> W {
        self.stream
    }

    fn checked_length(&self, message: &impl prost::Message) -> Result<usize, FrameError> {
        let length = message.encoded_len();
        if length as u64 > self.limit {
            return Err(FrameError::TooLong { length: length as u64, limit: self.limit });
        }
        Ok(length)
    }

    /// Moves what comes next into the empty buffer: one part of a large message, or the small ones behind it.
    fn refill(&mut self) -> bool {
        match self.waiting.front_mut() {
            None => return false,
            Some(Waiting::Large(rest)) => {
                let part = rest.split_to(rest.len().min(PART_BYTES));
                let kind = if rest.is_empty() { Kind::LastPart } else { Kind::Part };
                if kind == Kind::LastPart {
                    self.waiting.pop_front();
                }
                self.waiting_bytes -= part.len();
                put_header(&mut self.buffer, kind, part.len());
                self.buffer.put(part);
            }
            Some(Waiting::Frames(frames)) => {
                self.waiting_bytes -= frames.len();
                self.buffer = std::mem::take(frames);
                self.waiting.pop_front();
            }
        }
        true
    }
}

fn append(buffer: &mut BytesMut, length: usize, message: &impl prost::Message) {
    buffer.reserve(HEADER_BYTES + length);
    put_header(buffer, Kind::Whole, length);
    message.encode_raw(buffer);
}

fn put_header(buffer: &mut BytesMut, kind: Kind, length: usize) {
    // At most `PART_BYTES`.
    buffer.put_u32(length as u32 + 1);
    buffer.put_u8(kind as u8);
}
