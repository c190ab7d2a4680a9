//! Reading a configuration file: JSON with comments, and the places in it.

use serde_json::Value;

use super::{
    comments::blank_comments,
    places::{Places, Position, position_at},
    value::without_position,
};

/// What a file says, and where; or what is wrong with it, and where.
pub(super) fn parse(mut content: Vec<u8>) -> Result<(Value, Places), (Option<Position>, String)> {
    blank_comments(&mut content);
    let text = str::from_utf8(&content).map_err(|error| {
        let good = str::from_utf8(&content[..error.valid_up_to()]).unwrap_or_default();
        (Some(position_at(good, good.len())), "this is not UTF-8; save the file with that encoding".to_owned())
    })?;
    let read = || Ok((serde_json::from_str(text)?, Places::of(text)?));
    read().map_err(|error: serde_json::Error| {
        let position = (error.line() > 0).then(|| (error.line(), error.column().max(1)));
        (position, format!("this is not JSON: {}", without_position(&error)))
    })
}
