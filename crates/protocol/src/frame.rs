//! Frames: a stream of bytes cut into messages.
//!
//! A frame is a big-endian u32 (the length of what follows), a byte that says what it is, and a body of at most
//! [`PART_BYTES`]. A message that fits is one frame; a larger one is cut into parts, the last one marked, between which
//! whole messages may pass, so that a ping doesn't wait for a hundred megabytes. One message at a time is in parts.

mod reader;
mod writer;

pub use reader::FrameReader;
pub use writer::FrameWriter;

/// The longest body of a frame: a message over this goes in parts. 256 KiB.
pub const PART_BYTES: usize = 256 * 1024;

/// The longest message before the peer is known. 16 KiB.
pub const STRANGER_BYTES: u64 = 16 * 1024;

/// What precedes a body: the length and what it is.
const HEADER_BYTES: usize = 5;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    /// A whole message.
    Whole = 0,
    /// A part of a message that goes on.
    Part = 1,
    /// The last part of a message.
    LastPart = 2,
}

/// Why a stream can't be read or written as frames. After an error it is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A message is longer than allowed; nothing was allocated for it.
    #[error("a message of {length} bytes or more; at most {limit} are allowed here")]
    TooLong {
        /// Its length, as far as is known.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// The bytes are no frame.
    #[error("what arrived is not a frame ({what})")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// The stream ended in the middle of a frame or a message.
    #[error("the connection ended in the middle of a message")]
    Truncated,
    /// The stream failed.
    #[error("the connection failed")]
    Io(#[from] std::io::Error),
}

#[cfg(test)]
mod tests;
