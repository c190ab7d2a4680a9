//! `string-reversal`.

use serde::{Deserialize, Serialize};

use super::{Skill, SkillError, answer, parse};
use crate::runners::skill::SkillContext;

/// `{"text": "abc"}` → `{"text": "cba"}`.
///
/// What is reversed are the Unicode scalar values: a letter and its combining marks change their order, so that reversing
/// twice always gives the text that was sent.
#[derive(Clone, Copy, Debug)]
pub struct StringReversal;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Text {
    text: String,
}

impl Skill for StringReversal {
    fn name(&self) -> &'static str {
        "string-reversal"
    }

    fn run(&self, input: &[u8], _context: &SkillContext) -> Result<Vec<u8>, SkillError> {
        let Text { text } = parse(input)?;
        answer(&Text { text: text.chars().rev().collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::call, *};

    #[test]
    fn characters_come_back_in_reverse() {
        assert_eq!(call(&StringReversal, r#"{"text":"abc äöü 🦀"}"#).unwrap(), r#"{"text":"🦀 üöä cba"}"#);
        assert_eq!(call(&StringReversal, r#"{"text":""}"#).unwrap(), r#"{"text":""}"#);
        assert!(call(&StringReversal, r#"{"texts":"abc"}"#).unwrap_err().contains("unknown field `texts`"));
        assert!(call(&StringReversal, "abc").unwrap_err().contains("line 1"));
    }
}
