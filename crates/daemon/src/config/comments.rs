//! Comments in a configuration file.

/// Replaces comments (`// …` and `/* … */`, outside texts) and a byte order mark by as many spaces, so that every place
/// keeps its line and its column.
///
/// A comment without an end stays, as the error that it is.
pub(super) fn blank_comments(text: &mut [u8]) {
    if text.starts_with(b"\xEF\xBB\xBF") {
        text[..3].fill(b' ');
    }
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let length = match rest {
            [b'"', ..] => length_of_text(rest),
            [b'/', b'/', ..] => {
                let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                blank(&mut text[at..at + length]);
                length
            }
            [b'/', b'*', ..] => {
                let Some(inner) = rest[2..].windows(2).position(|bytes| bytes == b"*/") else { return };
                blank(&mut text[at..at + inner + 4]);
                inner + 4
            }
            _ => 1,
        };
        at += length;
    }
}

/// How long a text with its quotes is.
fn length_of_text(rest: &[u8]) -> usize {
    let mut escaped = true;
    for (index, byte) in rest.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return index + 1,
            _ => (),
        }
    }
    rest.len()
}

/// Line ends stay, so that lines keep their numbers.
fn blank(comment: &mut [u8]) {
    for byte in comment.iter_mut().filter(|byte| !matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_become_spaces_and_texts_stay() {
        for (before, after) in [
            ("{} // end", "{}       "),
            ("{ // \"a\"\n\"b\": 1}", "{       \n\"b\": 1}"),
            ("/* a\r\n * b */{}", "    \r\n       {}"),
            ("/**/1/***/", "    1     "),
            (r#"{"a//b": "/* c */"}"#, r#"{"a//b": "/* c */"}"#),
            (r#"["\"//", "\\"//x"#, r#"["\"//", "\\"   "#),
            ("\u{feff}{}", "   {}"),
            // Not comments, and so errors of the parser.
            ("/*/", "/*/"),
            ("1 / 2", "1 / 2"),
            ("\"// no end", "\"// no end"),
            ("/", "/"),
            ("", ""),
        ] {
            let mut text = before.as_bytes().to_vec();
            blank_comments(&mut text);
            assert_eq!(String::from_utf8_lossy(&text), after, "{before}");
        }
    }
}
