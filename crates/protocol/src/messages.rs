//! The messages, as generated from `proto/task_messenger.proto`, which documents them.
//!
//! Fields of bytes are [`bytes::Bytes`] that share the memory of the frame they came in: what keeps a small one for long
//! copies it, so that it doesn't keep the whole frame.

use std::fmt;

pub use generated::*;
use task_messenger_core::record;

#[expect(missing_docs, clippy::pedantic, reason = "generated; the .proto file is the documentation")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/task_messenger.rs"));
}

impl Role {
    /// The role as the core knows it; `None` if unspecified.
    pub fn known(self) -> Option<record::Role> {
        match self {
            Self::Unspecified => None,
            Self::Worker => Some(record::Role::Worker),
            Self::Client => Some(record::Role::Client),
            Self::Admin => Some(record::Role::Admin),
        }
    }
}

impl From<record::Role> for Role {
    fn from(role: record::Role) -> Self {
        match role {
            record::Role::Worker => Self::Worker,
            record::Role::Client => Self::Client,
            record::Role::Admin => Self::Admin,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unspecified",
            Self::Worker => "worker",
            Self::Client => "client",
            Self::Admin => "admin",
        })
    }
}
