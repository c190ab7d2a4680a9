//! Many values in one run of bytes: payloads on their way in, outcomes' details on their way out.
//!
//! Each value is a varint header, `length << 1 | external`, followed by its bytes when `external` is 0. An external value
//! lies in a file of its own and is followed by that file's number as a varint. Varints are LEB128, at most 10 bytes.
//! A value's place is the place of its header, so one number finds a value of either form.

use bytes::{BufMut, Bytes, BytesMut};

/// A run of values. What comes from outside is checked by [`Values::check`] before it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    bytes: Bytes,
    count: u32,
}

/// One value of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The bytes themselves.
    Inline(Bytes),
    /// In a file of its own.
    External {
        /// The file's number.
        file: u64,
        /// Its length in bytes.
        length: u64,
    },
}

impl Value {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::External { length, .. } => *length,
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why a run of values from outside is refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ValuesError {
    /// The bytes end inside a value.
    #[error("the values end in the middle of value {index}")]
    Truncated {
        /// Which value, from 0.
        index: u32,
    },
    /// A value is larger than allowed.
    #[error("value {index} has {length} bytes; at most {limit} are allowed")]
    TooLong {
        /// Which value, from 0.
        index: u32,
        /// Its length.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// Not the announced number of values.
    #[error("{found} values were sent, {expected} announced")]
    WrongCount {
        /// As announced.
        expected: u32,
        /// As found.
        found: u32,
    },
    /// A peer named a file.
    #[error("value {index} names a file, which only the manager's own store may do")]
    External {
        /// Which value, from 0.
        index: u32,
    },
}

impl Values {
    /// Takes bytes that are known to hold `count` well-formed values (they were checked, or encoded here).
    pub fn trusted(bytes: Bytes, count: u32) -> Self {
        Self { bytes, count }
    }

    /// Checks bytes from outside: exactly `count` inline values of at most `limit` bytes each.
    pub fn check(bytes: Bytes, count: u32, limit: u64) -> Result<Self, ValuesError> {
        let mut rest = &bytes[..];
        let mut index = 0;
        while !rest.is_empty() {
            let (header, used) = read_varint(rest).ok_or(ValuesError::Truncated { index })?;
            if header & 1 == 1 {
                return Err(ValuesError::External { index });
            }
            let length = header >> 1;
            if length > limit {
                return Err(ValuesError::TooLong { index, length, limit });
            }
            rest = rest.get(used + length as usize..).ok_or(ValuesError::Truncated { index })?;
            index += 1;
        }
        if index != count {
            return Err(ValuesError::WrongCount { expected: count, found: index });
        }
        Ok(Self { bytes, count })
    }

    /// How many values there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The encoded bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Each value with the offset of its header in [`Values::bytes`].
    pub fn iter(&self) -> impl Iterator<Item = (usize, Value)> + '_ {
        let mut offset = 0;
        std::iter::from_fn(move || {
            let (value, used) = decode(&self.bytes, offset)?;
            let at = offset;
            offset += used;
            Some((at, value))
        })
    }

    /// The files of those values that lie in files of their own.
    pub fn external_files(&self) -> impl Iterator<Item = u64> + '_ {
        self.external().map(|(_, file, _)| file)
    }

    /// The values that lie in files of their own: the offset of each one's header, its file and its length in bytes.
    pub fn external(&self) -> impl Iterator<Item = (usize, u64, u64)> + '_ {
        let is_external = |offset: usize| self.bytes.get(offset).is_some_and(|header| header & 1 == 1);
        let external = self.layout().filter(move |(offset, _)| is_external(*offset));
        external.filter_map(|(offset, _)| match decode(&self.bytes, offset)?.0 {
            Value::External { file, length } => Some((offset, file, length)),
            Value::Inline(_) => None,
        })
    }

    /// The offset of each value's header and the value's length, without touching the values.
    pub fn layout(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let mut offset = 0;
        std::iter::from_fn(move || {
            let (length, used) = measure(self.bytes.get(offset..)?)?;
            let at = offset;
            offset += used;
            Some((at, length))
        })
    }

    /// The values from `first` on.
    #[must_use]
    pub fn skip(&self, first: u32) -> Self {
        if first == 0 {
            return self.clone();
        }
        let start = self.layout().nth(first as usize).map_or(self.bytes.len(), |(offset, _)| offset);
        Self { bytes: self.bytes.slice(start..), count: self.count.saturating_sub(first) }
    }
}

/// Builds a run of values.
#[derive(Debug, Default)]
pub struct ValuesBuilder {
    bytes: BytesMut,
    count: u32,
}

impl ValuesBuilder {
    /// Appends an inline value.
    pub fn push(&mut self, value: &[u8]) {
        write_varint(&mut self.bytes, (value.len() as u64) << 1);
        self.bytes.put_slice(value);
        self.count += 1;
    }

    /// Appends a value that lies in a file of its own.
    pub fn push_external(&mut self, file: u64, length: u64) {
        write_varint(&mut self.bytes, length << 1 | 1);
        write_varint(&mut self.bytes, file);
        self.count += 1;
    }

    /// Appends a value of either form.
    pub fn push_value(&mut self, value: &Value) {
        match value {
            Value::Inline(bytes) => self.push(bytes),
            Value::External { file, length } => self.push_external(*file, *length),
        }
    }

    /// How many values were pushed.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many bytes they take, encoded.
    pub fn encoded_len(&self) -> usize {
        self.bytes.len()
    }

    /// How many bytes they would take with one more.
    pub fn encoded_len_with(&self, value: &Value) -> usize {
        let length = match value {
            Value::Inline(bytes) => varint_len((bytes.len() as u64) << 1) + bytes.len(),
            Value::External { file, length } => varint_len(length << 1 | 1) + varint_len(*file),
        };
        self.bytes.len() + length
    }

    /// The run, leaving the builder empty.
    pub fn take(&mut self) -> Values {
        let values = Values { bytes: self.bytes.split().freeze(), count: self.count };
        self.count = 0;
        values
    }
}

/// The value whose header is at `offset`, and how many bytes header and value take; `None` if the bytes end in it.
pub fn decode(bytes: &Bytes, offset: usize) -> Option<(Value, usize)> {
    let (header, used) = read_varint(bytes.get(offset..)?)?;
    let start = offset + used;
    if header & 1 == 1 {
        let (file, more) = read_varint(bytes.get(start..)?)?;
        return Some((Value::External { file, length: header >> 1 }, used + more));
    }
    let length = usize::try_from(header >> 1).ok()?;
    let end = start.checked_add(length)?;
    (end <= bytes.len()).then(|| (Value::Inline(bytes.slice(start..end)), used + length))
}

/// The length of the value at the start of `bytes`, and how many bytes it takes with its header.
fn measure(bytes: &[u8]) -> Option<(u64, usize)> {
    let (header, used) = read_varint(bytes)?;
    let length = header >> 1;
    let rest = if header & 1 == 1 { read_varint(&bytes[used..])?.1 } else { length as usize };
    (used + rest <= bytes.len()).then_some((length, used + rest))
}

/// Appends `value` in LEB128.
pub fn write_varint(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// How many bytes [`write_varint`] appends.
fn varint_len(value: u64) -> usize {
    value.max(1).ilog2() as usize / 7 + 1
}

/// The LEB128 number at the start of `bytes`, and its length; `None` if it doesn't end, or exceeds 64 bits.
pub fn read_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_comes_back_with_its_offsets() {
        let mut builder = ValuesBuilder::default();
        builder.push(b"one");
        builder.push(b"");
        builder.push_external(7, 1 << 20);
        builder.push(&[9; 300]);
        let values = builder.take();
        let found: Vec<_> = values.iter().map(|(_, value)| value).collect();
        assert_eq!(found[0], Value::Inline(Bytes::from_static(b"one")));
        assert_eq!(found[2], Value::External { file: 7, length: 1 << 20 });
        assert_eq!(found.len(), 4);
        let layout: Vec<_> = values.layout().collect();
        assert_eq!(layout.iter().map(|(_, length)| *length).collect::<Vec<_>>(), [3, 0, 1 << 20, 300]);
        for ((offset, _), (at, value)) in layout.iter().zip(values.iter()) {
            assert_eq!(*offset, at);
            assert_eq!(decode(values.bytes(), *offset).unwrap().0, value);
        }
        assert_eq!(values.skip(3).iter().map(|(_, value)| value.len()).collect::<Vec<_>>(), [300]);
        assert_eq!(values.skip(9).count(), 0);
        assert_eq!((values.skip(0), values.skip(1).count()), (values.clone(), 3));
        assert_eq!(values.external_files().collect::<Vec<_>>(), [7]);
        assert_eq!(values.external().collect::<Vec<_>>(), [(5, 7, 1 << 20)]);
        assert_eq!(found.iter().map(Value::is_empty).collect::<Vec<_>>(), [false, true, false, false]);
        assert_eq!(Values::trusted(values.bytes().clone(), 4), values);
    }

    #[test]
    fn a_builder_knows_what_it_has_and_begins_anew_when_it_is_taken() {
        let mut builder = ValuesBuilder::default();
        for length in [0, 1, 63, 64, 5_000] {
            builder.push(&vec![1; length]);
        }
        assert_eq!(builder.encoded_len_with(&Value::External { file: 300, length: 64 }), 5_135 + 4);
        builder.push_external(1, 1);
        assert_eq!(builder.encoded_len_with(&Value::Inline(Bytes::from_static(&[0; 64]))), 5_137 + 66);
        // Headers of one byte up to 63 bytes, of two beyond; the external one has another for its file.
        assert_eq!((builder.count(), builder.encoded_len()), (6, 1 + 2 + 64 + 66 + 5_002 + 2));
        let values = builder.take();
        assert_eq!((values.count(), values.bytes().len()), (6, 5_137));
        assert_eq!((builder.count(), builder.encoded_len(), builder.take().count()), (0, 0, 0));
    }

    #[test]
    fn a_run_that_ends_inside_a_value_ends_before_it() {
        let mut builder = ValuesBuilder::default();
        builder.push(b"one");
        builder.push(b"three");
        builder.push_external(300, 1 << 20);
        let whole = builder.take();
        // Where each value ends.
        let ends = [4, 10, whole.bytes().len()];
        for length in 0..=whole.bytes().len() {
            let some = Values::trusted(whole.bytes().slice(..length), 3);
            let complete = ends.iter().filter(|end| **end <= length).count();
            assert_eq!(some.iter().count(), complete, "of {length} bytes");
            assert_eq!(some.layout().count(), complete, "of {length} bytes");
            assert_eq!(decode(some.bytes(), 4).is_some(), length >= 10, "of {length} bytes");
        }
    }

    #[test]
    fn values_from_outside_are_checked() {
        let check = |bytes: &[u8], count| Values::check(Bytes::copy_from_slice(bytes), count, 4);
        assert_eq!(check(&[2, 1, 0], 2).unwrap().count(), 2);
        assert_eq!(check(&[8, 1, 1, 1, 1], 1).unwrap().bytes().len(), 5, "4 bytes are allowed");
        assert_eq!(check(&[4, 1], 1), Err(ValuesError::Truncated { index: 0 }));
        assert_eq!(check(&[0x80], 1), Err(ValuesError::Truncated { index: 0 }));
        assert_eq!(check(&[10, 1, 1, 1, 1, 1], 1), Err(ValuesError::TooLong { index: 0, length: 5, limit: 4 }));
        assert_eq!(check(&[3, 1], 1), Err(ValuesError::External { index: 0 }));
        assert_eq!(check(&[0], 2), Err(ValuesError::WrongCount { expected: 2, found: 1 }));
        assert!(check(&[0xff; 11], 1).is_err());
    }

    #[test]
    fn varints_of_every_length_come_back() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut out = BytesMut::new();
                write_varint(&mut out, value);
                assert_eq!(read_varint(&out), Some((value, out.len())));
                assert_eq!(varint_len(value), out.len());
            }
        }
        assert_eq!(read_varint(&[0xff; 10]), None);
        let tenth = |byte| read_varint(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, byte]);
        assert_eq!((tenth(0), tenth(1), tenth(2)), (Some((0, 10)), Some((1 << 63, 10)), None));
    }
}
