//! What goes over a link of TaskMessenger: messages, frames, handshake, tokens, TLS.
//!
//! [`messages`] is the contract (`proto/task_messenger.proto`), [`frame`] cuts a stream of bytes into messages, [`link`]
//! is what peers and the manager use: an authenticated connection in two halves. [`token`] and [`credential`] are what
//! people paste and what peers keep. Nothing in here logs, and nothing keeps a secret where `Debug` would show it.

pub mod credential;
mod envelope;
pub mod frame;
mod hex;
pub mod link;
pub mod messages;
pub mod patience;
pub mod private_file;
pub mod secret;
pub mod template;
pub mod tls;
pub mod token;
#[cfg(any(windows, test))]
pub mod windows_access;

pub use envelope::Envelope;
pub use task_messenger_core::{digest, ids, values};

/// The oldest version of the protocol that this program speaks.
pub const OLDEST_VERSION: u32 = 1;

/// The newest version of the protocol that this program speaks.
pub const NEWEST_VERSION: u32 = 1;
