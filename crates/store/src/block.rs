//! A block: what one write to the journal carries, some records behind a header.
//!
//! The header takes 64 bytes; all numbers are little endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `TMJB` |
//! | 4 | 2 | format version, 1 |
//! | 6 | 2 | zero |
//! | 8 | 8 | epoch: goes up by at least one with every start on the store |
//! | 16 | 8 | segment in which the block lies |
//! | 24 | 4 | where in the segment, in units of 4 KiB |
//! | 28 | 4 | number of records |
//! | 32 | 8 | number of the first record (of an empty block: the next record's) |
//! | 40 | 8 | number of the last record of which it was known, when the block was made, that it is synced |
//! | 48 | 4 | length of the payload in bytes |
//! | 52 | 4 | checksum of the previous block (its field at 60); of a store's first block 0 |
//! | 56 | 4 | first four bytes of the store's id |
//! | 60 | 4 | CRC-32C of the header's first 60 bytes and the payload, begun with the store's seed |
//!
//! The payload follows: the records, one behind the other, as [`crate::codec`] describes them. Zeros fill the block up to a
//! multiple of 4 KiB. That each block carries the checksum of its predecessor makes the journal a chain: what an earlier
//! use of the segment, or an earlier tail, left behind can never be taken for a continuation. The seed is a random number
//! that only the store itself knows, so that a payload can't pretend to be a block.

use task_messenger_core::ids::RecordNumber;

use crate::buffer::ALIGNMENT;

/// Length of a header in bytes.
pub const HEADER_BYTES: usize = 64;

/// What blocks are padded to a multiple of, in bytes.
pub const BLOCK_UNIT: usize = ALIGNMENT;

/// The version of the format that this program writes, and the newest that it reads.
pub const FORMAT_VERSION: u16 = 1;

const MAGIC: [u8; 4] = *b"TMJB";
const STORE_AT: usize = 56;
const CHECKSUM_AT: usize = 60;

/// What a block's header says, but for the checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Goes up with every start on the store.
    pub epoch: u64,
    /// The segment in which the block lies.
    pub segment: u64,
    /// Where in the segment, in bytes; a multiple of [`BLOCK_UNIT`].
    pub offset: u64,
    /// The number of the first record, or of the next one if there is none.
    pub first: RecordNumber,
    /// How many records there are.
    pub count: u32,
    /// Through which record everything was known to be synced when the block was made.
    pub synced_through: RecordNumber,
    /// Length of the payload in bytes.
    pub payload_length: u32,
    /// The checksum of the previous block.
    pub previous_checksum: u32,
    /// The first four bytes of the store's id, by which another store's file is told from a damaged one.
    pub store: [u8; 4],
}

/// What the first bytes of a segment that is no block of this store seem to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// A block of a newer format.
    Newer {
        /// Its version.
        version: u16,
    },
    /// A block of the store with an id that begins so.
    Foreign {
        /// How it begins.
        store: [u8; 4],
    },
}

/// Whether `bytes`, from the beginning of a segment, are a block's that this program or this store didn't write. Only the
/// beginning of a segment can tell: elsewhere a payload may pretend to be a block.
pub(crate) fn stranger(bytes: &[u8], store: [u8; 4]) -> Option<Stranger> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    let version = u16::from_le_bytes(array(header, 4));
    let found = array(header, STORE_AT);
    if header[..4] != MAGIC {
        None
    } else if version > FORMAT_VERSION {
        Some(Stranger::Newer { version })
    } else {
        (found != store).then_some(Stranger::Foreign { store: found })
    }
}

impl Header {
    /// The header whose bytes these are, and its checksum; `None` if they are none, or say a place off the grid.
    ///
    /// A header is to be believed only when [`verify`] has seen the payload too.
    pub fn read(bytes: &[u8]) -> Option<(Self, u32)> {
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        if header[..4] != MAGIC || u16::from_le_bytes(array(header, 4)) != FORMAT_VERSION {
            return None;
        }
        let read = Self {
            epoch: u64::from_le_bytes(array(header, 8)),
            segment: u64::from_le_bytes(array(header, 16)),
            offset: u64::from(u32::from_le_bytes(array(header, 24))) * BLOCK_UNIT as u64,
            count: u32::from_le_bytes(array(header, 28)),
            first: RecordNumber(u64::from_le_bytes(array(header, 32))),
            synced_through: RecordNumber(u64::from_le_bytes(array(header, 40))),
            payload_length: u32::from_le_bytes(array(header, 48)),
            previous_checksum: u32::from_le_bytes(array(header, 52)),
            store: array(header, STORE_AT),
        };
        read.first.0.checked_add(u64::from(read.count))?;
        Some((read, u32::from_le_bytes(array(header, CHECKSUM_AT))))
    }

    /// Writes the header over the first bytes of `block`, whose payload must be complete, and says the checksum.
    ///
    /// # Panics
    /// If `block` is shorter than header and payload.
    pub fn write(&self, block: &mut [u8], seed: u32) -> u32 {
        let payload_end = HEADER_BYTES + self.payload_length as usize;
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(&MAGIC);
        header[4..6].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        header[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        header[16..24].copy_from_slice(&self.segment.to_le_bytes());
        header[24..28].copy_from_slice(&((self.offset / BLOCK_UNIT as u64) as u32).to_le_bytes());
        header[28..32].copy_from_slice(&self.count.to_le_bytes());
        header[32..40].copy_from_slice(&self.first.0.to_le_bytes());
        header[40..48].copy_from_slice(&self.synced_through.0.to_le_bytes());
        header[48..52].copy_from_slice(&self.payload_length.to_le_bytes());
        header[52..56].copy_from_slice(&self.previous_checksum.to_le_bytes());
        header[STORE_AT..CHECKSUM_AT].copy_from_slice(&self.store);
        let checksum = checksum(seed, &header, &block[HEADER_BYTES..payload_end]);
        header[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        block[..HEADER_BYTES].copy_from_slice(&header);
        checksum
    }

    /// The number of the last record up to the block's end.
    pub fn last(&self) -> RecordNumber {
        RecordNumber((self.first.0 + u64::from(self.count)).saturating_sub(1))
    }

    /// The block's length with header and padding, in bytes.
    pub fn block_length(&self) -> u64 {
        (HEADER_BYTES as u64 + u64::from(self.payload_length)).next_multiple_of(BLOCK_UNIT as u64)
    }
}

/// Whether `block`, which starts with `header` and `checksum` as read from it, is whole, unchanged, and of the store with this
/// seed.
pub fn verify(block: &[u8], header: &Header, checksum: u32, seed: u32) -> bool {
    let payload_end = HEADER_BYTES + header.payload_length as usize;
    match (block.first_chunk(), block.get(HEADER_BYTES..payload_end)) {
        (Some(head), Some(payload)) => self::checksum(seed, head, payload) == checksum,
        _ => false,
    }
}

fn checksum(seed: u32, header: &[u8; HEADER_BYTES], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &header[..CHECKSUM_AT]), payload)
}

fn array<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        epoch: 3,
        segment: 0x0102,
        offset: 5 * 4096,
        first: RecordNumber(77),
        count: 2,
        synced_through: RecordNumber(70),
        payload_length: 5,
        previous_checksum: 0xdead_beef,
        store: *b"\xa0\xa1\xa2\xa3",
    };

    fn block() -> (Vec<u8>, u32) {
        let mut block = vec![0; BLOCK_UNIT];
        block[HEADER_BYTES..HEADER_BYTES + 5].copy_from_slice(b"hello");
        let checksum = HEADER.write(&mut block, 0);
        (block, checksum)
    }

    #[test]
    fn a_header_has_the_bytes_that_the_format_says() {
        let (block, checksum) = block();
        let mut expected = b"TMJB\x01\0\0\0\x03\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0\x05\0\0\0\x02\0\0\0".to_vec();
        expected.extend_from_slice(b"\x4d\0\0\0\0\0\0\0\x46\0\0\0\0\0\0\0\x05\0\0\0\xef\xbe\xad\xde\xa0\xa1\xa2\xa3");
        assert_eq!(block[..60], expected);
        let mut covered = expected;
        covered.extend_from_slice(b"hello");
        assert_eq!(checksum, crc32c::crc32c(&covered));
        assert_eq!(block[60..64], checksum.to_le_bytes());
        assert_eq!(Header::read(&block), Some((HEADER, checksum)));
        assert_eq!(HEADER.last(), RecordNumber(78));
        assert_eq!(HEADER.block_length(), 4096);
        assert_eq!(HEADER.write(&mut block.clone(), 7), crc32c::crc32c_append(7, &covered));
        // The check value of CRC-32C, as in RFC 3720.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_block_of_another_store_or_a_newer_format_is_told_from_a_damaged_one() {
        let (mut block, _) = block();
        assert_eq!(stranger(&block, HEADER.store), None);
        assert_eq!(stranger(&[0; HEADER_BYTES], HEADER.store), None);
        assert_eq!(stranger(&block, [7; 4]), Some(Stranger::Foreign { store: HEADER.store }));
        block[40] ^= 1;
        assert_eq!(stranger(&block, HEADER.store), None);
        block[4] = 2;
        assert_eq!(stranger(&block, HEADER.store), Some(Stranger::Newer { version: 2 }));
        block[0] = b'X';
        assert_eq!(stranger(&block, [7; 4]), None);
    }

    #[test]
    fn every_flipped_bit_of_header_and_payload_is_noticed() {
        let (block, _) = block();
        let whole = |block: &[u8]| Header::read(block).is_some_and(|(header, sum)| verify(block, &header, sum, 0));
        assert!(whole(&block));
        assert!(!verify(&block, &HEADER, Header::read(&block).unwrap().1, 1), "another store's");
        for bit in 0..(HEADER_BYTES + 5) * 8 {
            let mut changed = block.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!whole(&changed), "bit {bit}");
        }
        for length in 0..HEADER_BYTES + 5 {
            assert!(!whole(&block[..length]), "{length} bytes");
        }
    }
}
