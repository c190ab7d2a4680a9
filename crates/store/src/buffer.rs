//! Bytes that start at a multiple of 4 KiB in memory, as unbuffered writes want them.

/// What blocks, their places in memory and their places in a file are multiples of.
pub(crate) const ALIGNMENT: usize = 4096;

/// A growing buffer whose first byte lies at a multiple of [`ALIGNMENT`].
#[derive(Debug)]
pub(crate) struct AlignedBuffer {
    /// Filler up to the first aligned byte, then the contents. Never grown beyond its capacity, so that it stays in place.
    bytes: Vec<u8>,
    start: usize,
}

impl AlignedBuffer {
    /// An empty buffer with room for `capacity` bytes.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let mut bytes: Vec<u8> = Vec::with_capacity(capacity + ALIGNMENT);
        let address = bytes.as_ptr().addr();
        let start = address.next_multiple_of(ALIGNMENT) - address;
        bytes.resize(start, 0);
        Self { bytes, start }
    }

    /// A buffer of `length` zeros.
    pub(crate) fn zeros(length: usize) -> Self {
        let mut buffer = Self::with_capacity(length);
        buffer.pad_to(length);
        buffer
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// How many bytes fit in for certain, wherever in memory the buffer lies: the same in every run.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity() - ALIGNMENT
    }

    /// Appends, moving to a larger buffer (at least twice as large) when there is no room.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends zeros up to `length` bytes in all.
    pub(crate) fn pad_to(&mut self, length: usize) {
        self.reserve(length.saturating_sub(self.len()));
        self.bytes.resize(self.start + length.max(self.len()), 0);
    }

    pub(crate) fn reserve(&mut self, additional: usize) {
        let needed = self.len() + additional;
        if needed > self.capacity() {
            let mut larger = Self::with_capacity(needed.max(2 * self.capacity()).next_multiple_of(ALIGNMENT));
            larger.bytes.extend_from_slice(self.as_ref());
            *self = larger;
        }
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl AsMut<[u8]> for AlignedBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_stays_aligned_and_keeps_its_contents_while_it_grows() {
        let mut buffer = AlignedBuffer::with_capacity(10);
        let mut expected = Vec::new();
        for round in 0..200_u8 {
            let piece = vec![round; 97];
            buffer.extend(&piece);
            expected.extend_from_slice(&piece);
            assert_eq!(buffer.as_ref().as_ptr().addr() % ALIGNMENT, 0);
        }
        let padded = expected.len().next_multiple_of(ALIGNMENT);
        buffer.pad_to(padded);
        expected.resize(padded, 0);
        assert_eq!(buffer.as_ref(), expected);
        let shared = bytes::Bytes::from_owner(buffer);
        assert_eq!(shared.as_ptr().addr() % ALIGNMENT, 0);
    }
}
