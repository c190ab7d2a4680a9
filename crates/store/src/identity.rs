//! What a store is: its format, its id, the size of its segments, what its checksums begin with. Kept in `store.json`, written
//! once when it is made.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The file's name.
pub const IDENTITY_FILE: &str = "store.json";

/// The version of the store's format that this program writes, and the newest that it opens.
pub const STORE_FORMAT: u32 = 1;

/// A store's name: 128 random bits, made with it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(pub [u8; 16]);

impl StoreId {
    /// What blocks carry of it.
    pub(crate) fn tag(self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.0;
        [a, b, c, d]
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreId({self})")
    }
}

/// The text is no store's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no store id: 32 hexadecimal digits are expected")]
pub struct ParseStoreIdError {
    text: String,
}

impl FromStr for StoreId {
    type Err = ParseStoreIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| digits);
        number.map(|number| Self(number.to_be_bytes())).ok_or_else(|| ParseStoreIdError { text: text.to_owned() })
    }
}

/// The contents of `store.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: StoreId,
    pub(crate) segment_bytes: u64,
    /// What checksums begin with. Random, and told to nobody.
    pub(crate) checksum_seed: u32,
}

/// Why a `store.json` is refused.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It isn't what a store writes there.
    #[error("it does not describe a store")]
    Syntax {
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// It was made by a newer program.
    #[error("the store's format is {found}; this program knows formats up to {supported}")]
    Newer {
        /// As found.
        found: u32,
        /// The newest that can be opened.
        supported: u32,
    },
    /// The id is none.
    #[error("its id is no store id")]
    Id {
        /// Why not.
        #[source]
        source: ParseStoreIdError,
    },
    /// The size of the segments can't be.
    #[error("segments of {segment_bytes} bytes are not possible")]
    SegmentBytes {
        /// As found.
        segment_bytes: u64,
    },
}

/// What every version's file has.
#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    id: String,
    segment_bytes: u64,
    checksum_seed: u32,
}

impl Identity {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, IdentityError> {
        let AnyFormat { format } = serde_json::from_slice(bytes).map_err(|source| IdentityError::Syntax { source })?;
        if format > STORE_FORMAT {
            return Err(IdentityError::Newer { found: format, supported: STORE_FORMAT });
        }
        let file: File = serde_json::from_slice(bytes).map_err(|source| IdentityError::Syntax { source })?;
        let id = file.id.parse().map_err(|source| IdentityError::Id { source })?;
        if !is_possible(file.segment_bytes) {
            return Err(IdentityError::SegmentBytes { segment_bytes: file.segment_bytes });
        }
        Ok(Self { id, segment_bytes: file.segment_bytes, checksum_seed: file.checksum_seed })
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let Self { id, segment_bytes, checksum_seed } = self;
        format!(
            "{{\n  \"format\": {STORE_FORMAT},\n  \"id\": \"{id}\",\n  \"segment_bytes\": {segment_bytes},\n  \
             \"checksum_seed\": {checksum_seed}\n}}\n"
        )
        .into_bytes()
    }
}

/// Whether segments can have this size: whole blocks, at least 64 KiB, at most 1 TiB.
pub(crate) fn is_possible(segment_bytes: u64) -> bool {
    segment_bytes.is_multiple_of(crate::block::BLOCK_UNIT as u64) && (1 << 16..=1 << 40).contains(&segment_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_everything_else_is_refused() {
        let identity = Identity { id: StoreId([0xab; 16]), segment_bytes: 1 << 26, checksum_seed: 77 };
        let text = String::from_utf8(identity.write()).unwrap();
        assert_eq!(Identity::read(text.as_bytes()).unwrap(), identity);
        let refused = |from: &str, to: &str| Identity::read(text.replace(from, to).as_bytes()).unwrap_err();
        assert!(matches!(refused("\"format\": 1", "\"format\": 2"), IdentityError::Newer { found: 2, .. }));
        assert!(matches!(refused("format\": 1,", "format\": 9, \"more\": 0,"), IdentityError::Newer { found: 9, .. }));
        assert!(matches!(refused("\"format\": 1,", "\"format\": 1, \"more\": 0,"), IdentityError::Syntax { .. }));
        // A sign and 31 digits, too few digits, and what is none.
        for (from, to) in [("\"abab", "\"+bab"), ("abab\"", "\""), ("\"abab", "\"xbab")] {
            assert!(matches!(refused(from, to), IdentityError::Id { .. }), "{to}");
        }
        assert!(matches!(refused("67108864", "4096"), IdentityError::SegmentBytes { segment_bytes: 4096 }));
        assert!(matches!(refused("67108864", "67108865"), IdentityError::SegmentBytes { .. }));
        assert!(matches!(Identity::read(b""), Err(IdentityError::Syntax { .. })));
    }
}
