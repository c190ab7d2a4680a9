//! The key by which a client names a job that it submits in a stream.

use std::fmt;

use sha2::{Digest, Sha256};
use task_messenger_protocol::secret::random_bytes;

use crate::Error;

/// Names a job from its first task on, so that a repeated submit adds nothing. 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobKey(pub [u8; 16]);

impl JobKey {
    /// A fresh key.
    pub fn random() -> Result<Self, Error> {
        Ok(Self(random_bytes()?))
    }

    /// The key that a text stands for: the first half of its SHA-256.
    pub fn from_text(text: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let mut key = [0; 16];
        key.copy_from_slice(digest.first_chunk::<16>().unwrap_or(&[0; 16]));
        Self(key)
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
