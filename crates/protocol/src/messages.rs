//! The messages, as generated from `proto/task_messenger.proto`, which documents them.
//!
//! Fields of bytes are [`bytes::Bytes`] that share the memory of the frame they came in: what keeps a small one for long
//! copies it, so that it doesn't keep the whole frame.

pub use generated::*;

#[expect(missing_docs, clippy::pedantic, reason = "generated; the .proto file is the documentation")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/task_messenger.rs"));
}
