//! What a program writes, of which the last part is kept.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How much is read at a time.
const CHUNK: usize = 16 << 10;

/// The last bytes of a stream, and how many came before them. Takes no more memory than its limit and a chunk.
#[derive(Debug)]
pub(super) struct Tail {
    bytes: VecDeque<u8>,
    limit: usize,
    dropped: u64,
}

impl Tail {
    /// Keeps up to `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { bytes: VecDeque::new(), limit, dropped: 0 }
    }

    /// Reads until the stream ends; an error ends it too. What was read before stays when the future is dropped.
    pub(super) async fn read(&mut self, stream: Option<impl AsyncRead + Unpin>) {
        let Some(mut stream) = stream else { return };
        let mut chunk = BytesMut::new();
        loop {
            chunk.clear();
            chunk.reserve(CHUNK);
            match stream.read_buf(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(_) => self.push(&chunk),
            }
        }
    }

    fn push(&mut self, chunk: &[u8]) {
        let over = (self.bytes.len() + chunk.len()).saturating_sub(self.limit);
        let old = over.min(self.bytes.len());
        self.bytes.drain(..old);
        self.bytes.extend(&chunk[over - old..]);
        self.dropped += over as u64;
    }

    /// What was kept, and how many bytes were dropped before it.
    pub(super) fn take(self) -> (Bytes, u64) {
        (Vec::from(self.bytes).into(), self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_kept_and_the_rest_counted() {
        for chunk in [1, 3, 7, 10, 11, 50, 100] {
            let written: Vec<u8> = (0..100).collect();
            let mut tail = Tail::new(10);
            for chunk in written.chunks(chunk) {
                tail.push(chunk);
                assert!(tail.bytes.len() <= 10);
            }
            assert_eq!(tail.take(), (Bytes::copy_from_slice(&written[90..]), 90), "in chunks of {chunk}");
        }
        let mut short = Tail::new(10);
        short.push(b"abc");
        assert_eq!(short.take(), (Bytes::from_static(b"abc"), 0));
    }
}
