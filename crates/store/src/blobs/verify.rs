//! Reading a large value from its beginning to its end, only to see whether it is whole.

use std::io;

use super::{CHECKSUM_BYTES, DIRECTORY, ValueError, list, name, parse};
use crate::{
    blobs::BlobError,
    disk::{Access, Disk},
};

/// How much is read at once.
const PIECE_BYTES: usize = 1 << 20;

/// What is wrong with a large value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsound {
    /// It isn't what it should be.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// It can't be read.
    #[error("it can't be read at offset {offset}: {source}")]
    Io {
        /// Where.
        offset: u64,
        /// What went wrong.
        source: io::Error,
    },
}

/// The large values that are there, by their files' numbers, and how many other files are beside them.
pub(crate) fn names(disk: &dyn Disk) -> Result<(Vec<u64>, usize), BlobError> {
    let files = list(disk)?;
    let mut numbers: Vec<u64> = files.iter().filter_map(|file| parse(file)).collect();
    numbers.sort_unstable();
    let others = files.len() - numbers.len();
    Ok((numbers, others))
}

/// Reads a large value, and says its file's length in bytes. `length` is what a record says of it.
pub(crate) fn verify(disk: &dyn Disk, seed: u32, number: u64, length: Option<u64>) -> Result<u64, Unsound> {
    let file = name(number);
    let at = |offset| move |source| Unsound::Io { offset, source };
    let opened = match disk.open(&file, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ValueError::Missing { file, length: length.unwrap_or_default() }.into());
        }
        opened => opened.map_err(at(0))?,
    };
    let found = opened.length().map_err(at(0))?;
    if let Some(length) = length
        && found != length + CHECKSUM_BYTES as u64
    {
        let expected = length + CHECKSUM_BYTES as u64;
        return Err(ValueError::Length { file, expected, found, length }.into());
    }
    let end = found.saturating_sub(CHECKSUM_BYTES as u64);
    let mut checksum = crc32c::crc32c_append(seed, &number.to_le_bytes());
    let mut piece = vec![0; PIECE_BYTES.min(end as usize)];
    let mut offset = 0;
    while offset < end {
        let wanted = piece.len().min((end - offset) as usize);
        let read = opened.read_at(offset, &mut piece[..wanted]).map_err(at(offset))?;
        if read < wanted {
            return Err(at(offset)(io::ErrorKind::UnexpectedEof.into()));
        }
        checksum = crc32c::crc32c_append(checksum, &piece[..read]);
        offset += read as u64;
    }
    let mut announced = [0; CHECKSUM_BYTES];
    opened.read_at(end, &mut announced).map_err(at(end))?;
    let announced = u32::from_le_bytes(announced);
    if announced != checksum {
        return Err(ValueError::Checksum {
            file: format!("{DIRECTORY}/{number}"),
            offset: end,
            announced,
            found: checksum,
        }
        .into());
    }
    Ok(found)
}

impl Unsound {
    /// Where in the file, if it is not all of it.
    pub(crate) fn offset(&self) -> Option<u64> {
        match self {
            Self::Value(ValueError::Checksum { offset, .. }) | Self::Io { offset, .. } => Some(*offset),
            Self::Value(_) => None,
        }
    }
}
