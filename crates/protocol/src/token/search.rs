//! Finding tokens where none should be: in configurations, in messages.

use std::{borrow::Cow, ops::Range};

/// What stands instead of a token.
const HIDDEN: &str = "***";

/// So many characters after its prefix make a text a token, or so much of one that it must not be shown: the rest of the
/// secret can't be guessed still.
const SHORTEST: usize = 24;

/// Whether a text has a token in it, or a large part of one. White space in it, as terminals add it, hides none.
pub fn contains_token(text: &str) -> bool {
    let text: String = text.chars().filter(|character| !character.is_whitespace()).collect();
    find(&text).is_some()
}

/// The text with `***` in the place of each token.
pub fn redact_tokens(text: &str) -> Cow<'_, str> {
    let mut redacted = Cow::Borrowed(text);
    while let Some(token) = find(&redacted) {
        redacted.to_mut().replace_range(token, HIDDEN);
    }
    redacted
}

/// The first token, of any version.
fn find(text: &str) -> Option<Range<usize>> {
    text.match_indices("tm").find_map(|(start, prefix)| {
        let rest = &text[start + prefix.len()..];
        let encoded = rest.trim_start_matches(|character: char| character.is_ascii_digit());
        let letter_and_body = encoded.strip_prefix(['w', 'c', 'a'])?.strip_prefix('_')?;
        let body =
            letter_and_body.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)).count();
        let has_version = encoded.len() < rest.len();
        let end = text.len() - letter_and_body.len() + body;
        (has_version && body >= SHORTEST).then_some(start..end)
    })
}
