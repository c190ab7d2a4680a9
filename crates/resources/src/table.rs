//! A message table, as it lies in a program (winnt.h: `MESSAGE_RESOURCE_DATA`, `MESSAGE_RESOURCE_BLOCK`,
//! `MESSAGE_RESOURCE_ENTRY`).

/// The text is UTF-16.
const UNICODE: u16 = 1;

/// The table of some numbers, in ascending order, and their texts. Each number is a block of its own: they are few.
pub(crate) fn message_table(messages: &[(u32, &str)]) -> Vec<u8> {
    assert!(messages.is_sorted_by(|one, other| one.0 < other.0), "Windows looks for a number by halving");
    let head = 4 + messages.len() * 12;
    let (mut blocks, mut entries) = (Vec::new(), Vec::new());
    for (number, text) in messages {
        for value in [*number, *number, (head + entries.len()) as u32] {
            blocks.extend(value.to_le_bytes());
        }
        entries.extend(entry(text));
    }
    [&(messages.len() as u32).to_le_bytes()[..], &blocks, &entries].concat()
}

/// Its length in bytes and what it is encoded as, then the text with its end, filled up to four bytes.
fn entry(text: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let length = 4 + bytes.len() as u16;
    [&length.to_le_bytes()[..], &UNICODE.to_le_bytes(), &bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_windows_reads_it() {
        let table = message_table(&[(1, "a"), (0xC000_0010, "%1")]);
        let words: Vec<u32> = table.chunks(4).map(|four| u32::from_le_bytes(four.try_into().unwrap())).collect();
        assert_eq!(words[..7], [2, 1, 1, 28, 0xC000_0010, 0xC000_0010, 36]);
        assert_eq!(table[28..36], [8, 0, 1, 0, b'a', 0, 0, 0]);
        assert_eq!(table[36..], [12, 0, 1, 0, b'%', 0, b'1', 0, 0, 0, 0, 0]);
    }

    #[test]
    fn every_event_has_a_text_with_a_place_for_what_happened() {
        message_table(&crate::messages::MESSAGES);
        assert!(crate::messages::MESSAGES.iter().all(|(_, text)| text.contains("%1") && text.ends_with("\r\n")));
    }
}
