//! Secrets of 256 bits.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use task_messenger_core::record::SecretHash;

/// A secret of 256 random bits. `Debug` shows nothing of it, and comparing takes the same time whatever is in it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(#[serde(with = "crate::hex::serde")] [u8; 32]);

/// The system gave no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system gave no random numbers: {0}")]
pub struct NoRandomness(getrandom::Error);

impl Secret {
    /// A fresh secret.
    pub fn random() -> Result<Self, NoRandomness> {
        random_bytes().map(Self)
    }

    /// A secret that came from elsewhere; `None` unless it has 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The secret itself, to be sent to whom it is meant for.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// What the manager keeps of it: its SHA-256.
    pub fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.0).into())
    }
}

/// Bytes from the system's generator, for job keys, incarnations and store numbers.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nothing_and_hashes_to_sha_256() {
        let secret = Secret::from_slice(&[7; 32]).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(
            crate::hex::encode(&secret.hash().0),
            "4bb06f8e4e3a7715d201d573d0aa423762e55dabd61a2c02278fa56cc6d294e0"
        );
        assert_eq!(Secret::from_slice(&[7; 31]), None);
        assert_ne!(Secret::random().unwrap(), Secret::random().unwrap());
    }
}
