//! The outbox's file: a header, then blocks that are only appended.
//!
//! A block is its length and CRC-32C (each a little-endian u32), then the block itself as protobuf. The first block that is
//! cut off or damaged is the end: it was being written when the power went, and nobody was told that it is safe.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use bytes::{Buf, Bytes};
use prost::Message;

use super::Block;
use crate::runners::TaskName;

const MAGIC: &[u8; 8] = b"TMOUTBX1";
/// What every version's begins with.
const NAME: &[u8] = b"TMOUTBX";
/// The magic, the store, and the worker's number.
const HEADER_BYTES: usize = 8 + 16 + 4;

/// It holds outcomes that only a newer version can read.
#[derive(Debug, thiserror::Error)]
#[error("{path} was written by a newer version, and may hold outcomes that the manager has not got: start that version", path = .path.display())]
pub(crate) struct NewerOutbox {
    path: PathBuf,
}

/// Whether this program can read the outbox at `path`, if there is one. Nothing is changed.
pub(crate) fn check_format(path: &Path) -> io::Result<()> {
    let mut begin = Vec::new();
    match File::open(path) {
        Ok(file) => _ = file.take(MAGIC.len() as u64).read_to_end(&mut begin)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    refuse_newer(path, &begin)
}

fn refuse_newer(path: &Path, content: &[u8]) -> io::Result<()> {
    if content.starts_with(NAME) && !content.starts_with(MAGIC) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, NewerOutbox { path: path.to_owned() }));
    }
    Ok(())
}

/// The file, made when something is first written to it.
#[derive(Debug)]
pub(super) struct OutboxFile {
    path: PathBuf,
    header: [u8; HEADER_BYTES],
    open: Option<File>,
    /// Up to where it holds whole blocks.
    length: u64,
}

/// A block as it is stored.
#[derive(Clone, PartialEq, Message)]
struct Stored {
    #[prost(uint64, repeated, tag = "1")]
    leases: Vec<u64>,
    #[prost(uint64, repeated, tag = "2")]
    jobs: Vec<u64>,
    #[prost(uint32, repeated, tag = "3")]
    indexes: Vec<u32>,
    #[prost(bytes = "bytes", tag = "4")]
    statuses: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    outcomes: Bytes,
}

impl OutboxFile {
    /// The file at `path` and the blocks in it. One of another store or worker counts as empty; one of a newer version is
    /// refused ([`NewerOutbox`]).
    pub(super) fn open(path: &Path, store: [u8; 16], worker: u32) -> io::Result<(Self, Vec<Block>)> {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(MAGIC);
        header[8..24].copy_from_slice(&store);
        header[24..].copy_from_slice(&worker.to_le_bytes());
        let mut file = Self { path: path.to_owned(), header, open: None, length: 0 };
        let mut content = Vec::new();
        match File::open(path) {
            Ok(mut open) => _ = open.read_to_end(&mut content)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((file, Vec::new())),
            Err(error) => return Err(error),
        }
        if content.is_empty() {
            return Ok((file, Vec::new()));
        }
        let content = Bytes::from(content);
        refuse_newer(path, &content)?;
        if !content.starts_with(&header) {
            tracing::warn!(path = %path.display(), "the outbox is of another store or worker, and is emptied");
            file.clear()?;
            return Ok((file, Vec::new()));
        }
        let mut rest = content.slice(HEADER_BYTES..);
        let blocks: Vec<_> = std::iter::from_fn(|| read_block(&mut rest)).collect();
        if !rest.is_empty() {
            tracing::warn!(path = %path.display(), bytes = rest.len(), "the outbox ends in a block that was not complete");
        }
        file.length = (content.len() - rest.len()) as u64;
        Ok((file, blocks))
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Adds blocks behind the others and syncs.
    pub(super) fn append<'a>(&mut self, blocks: impl Iterator<Item = &'a Block>) -> io::Result<()> {
        let mut bytes = if self.length == 0 { self.header.to_vec() } else { Vec::new() };
        let mut any = false;
        for block in blocks {
            write_block(&mut bytes, block);
            any = true;
        }
        if !any {
            return Ok(());
        }
        let length = self.length;
        let file = self.file()?;
        // After a write that failed half-way, this one begins where that one did.
        file.set_len(length)?;
        file.seek(SeekFrom::Start(length))?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Empties it.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.length = 0;
        self.file()?.set_len(0)
    }

    fn file(&mut self) -> io::Result<&mut File> {
        if self.open.is_none() {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            self.open = Some(options.open(&self.path)?);
        }
        self.open.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn write_block(bytes: &mut Vec<u8>, block: &Block) {
    let stored = Stored {
        leases: block.leases.clone(),
        jobs: block.tasks.iter().map(|task| task.job).collect(),
        indexes: block.tasks.iter().map(|task| task.index).collect(),
        statuses: Bytes::copy_from_slice(&block.statuses),
        outcomes: block.outcomes.clone(),
    };
    let encoded = stored.encode_to_vec();
    bytes.extend_from_slice(&(encoded.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&encoded).to_le_bytes());
    bytes.extend_from_slice(&encoded);
}

/// The next block; `None` if what is left is not a whole one.
fn read_block(rest: &mut Bytes) -> Option<Block> {
    let mut ahead = rest.clone();
    let length = ahead.try_get_u32_le().ok()? as usize;
    let check = ahead.try_get_u32_le().ok()?;
    if length > ahead.len() {
        return None;
    }
    let encoded = ahead.split_to(length);
    if crc32c::crc32c(&encoded) != check {
        return None;
    }
    let Stored { leases, jobs, indexes, statuses, outcomes } = Stored::decode(encoded).ok()?;
    if [jobs.len(), indexes.len(), statuses.len()] != [leases.len(); 3] {
        return None;
    }
    let tasks = jobs.into_iter().zip(indexes).map(|(job, index)| TaskName { job, index }).collect();
    *rest = ahead;
    Some(Block { leases, tasks, statuses: statuses.into(), outcomes })
}
