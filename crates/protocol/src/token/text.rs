//! Reading a token's text from wherever a person has put it.

use std::io::{self, Read};

/// More is not read of what should be a token, in bytes.
const LONGEST: u64 = 64 << 10;

/// Reads a text in UTF-8, with or without its mark, or in UTF-16 with it, as Windows PowerShell's `>` writes files.
///
/// # Errors
/// Those of the reader; and `InvalidData` for what is neither.
pub fn read_text(reader: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    reader.take(LONGEST).read_to_end(&mut bytes)?;
    text_of(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is no text in UTF-8 or UTF-16"))
}

fn text_of(bytes: &[u8]) -> Option<String> {
    let wide = |bytes: &[u8], number: fn([u8; 2]) -> u16| {
        let pairs = bytes.chunks_exact(2);
        let units: Vec<u16> = pairs.clone().map(|pair| number([pair[0], pair[1]])).collect();
        String::from_utf16(&units).ok().filter(|_| pairs.remainder().is_empty())
    };
    match bytes {
        [0xFF, 0xFE, text @ ..] => wide(text, u16::from_le_bytes),
        [0xFE, 0xFF, text @ ..] => wide(text, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, text @ ..] | text => String::from_utf8(text.to_vec()).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_as_it_was_written_on_whatever_system() {
        let utf16: Vec<u16> = "tm1w_ä\r\n".encode_utf16().collect();
        let little: Vec<u8> = [0xFEFF].iter().chain(&utf16).flat_map(|unit: &u16| unit.to_le_bytes()).collect();
        let big: Vec<u8> = [0xFEFF].iter().chain(&utf16).flat_map(|unit: &u16| unit.to_be_bytes()).collect();
        for bytes in ["tm1w_ä\r\n".as_bytes(), "\u{feff}tm1w_ä\r\n".as_bytes(), &little, &big] {
            assert_eq!(read_text(bytes).unwrap(), "tm1w_ä\r\n", "{bytes:?}");
        }
        for bytes in [&b"\xff\xfea"[..], b"\xff\xfe\x00\xd8", b"tm1w_\xe4"] {
            assert_eq!(read_text(bytes).unwrap_err().kind(), io::ErrorKind::InvalidData, "{bytes:?}");
        }
    }
}
