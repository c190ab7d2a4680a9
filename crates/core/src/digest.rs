//! A job's digest: what a client that starts again compares, to see whether its input is still the same.
//!
//! CRC-32C (RFC 3720, appendix B.4), over the encoded payloads in order; before a task whose template is not the one before
//! it, over the template's bytes too. A value over [`INLINE_LIMIT`] counts by its header alone, because the manager keeps its
//! bytes in a file of their own (and no others there).

use bytes::BytesMut;

use crate::values::{Value, Values, write_varint};

/// The longest value that is kept among others, in bytes: 256 KiB.
pub const INLINE_LIMIT: u64 = 256 * 1024;

/// Continues `digest` over more payloads.
pub fn append(digest: u32, payloads: &Values) -> u32 {
    if payloads.layout().all(|(_, length)| length <= INLINE_LIMIT) {
        return crc32c::crc32c_append(digest, payloads.bytes());
    }
    payloads.iter().fold(digest, |digest, (_, value)| append_value(digest, &value))
}

fn append_value(digest: u32, value: &Value) -> u32 {
    let mut header = BytesMut::new();
    write_varint(&mut header, value.len() << 1);
    let digest = crc32c::crc32c_append(digest, &header);
    match value {
        Value::Inline(bytes) if bytes.len() as u64 <= INLINE_LIMIT => crc32c::crc32c_append(digest, bytes),
        _ => digest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::ValuesBuilder;

    #[test]
    fn batches_and_external_values_make_no_difference() {
        let large = vec![3; INLINE_LIMIT as usize + 1];
        let mut whole = ValuesBuilder::default();
        for value in [&b"a"[..], b"bc", &large, b""] {
            whole.push(value);
        }
        let sent = append(0, &whole.take());

        let mut first = ValuesBuilder::default();
        first.push(b"a");
        let mut rest = ValuesBuilder::default();
        rest.push(b"bc");
        rest.push_external(9, large.len() as u64);
        rest.push(b"");
        assert_eq!(append(append(0, &first.take()), &rest.take()), sent);

        first.push(b"b");
        assert_ne!(append(0, &first.take()), sent);
    }

    #[test]
    fn the_bytes_of_a_value_count_up_to_256_kib() {
        let header = |length: usize| {
            let mut header = BytesMut::new();
            write_varint(&mut header, (length as u64) << 1);
            crc32c::crc32c(&header)
        };
        for length in [0, 1, 5_000, 256 * 1024, 256 * 1024 + 1, 300_000] {
            let bytes = vec![7; length];
            let mut values = ValuesBuilder::default();
            values.push(&bytes);
            let kept = if length <= 256 * 1024 { &bytes[..] } else { &[] };
            assert_eq!(append(0, &values.take()), crc32c::crc32c_append(header(length), kept), "{length} bytes");
        }
    }
}
