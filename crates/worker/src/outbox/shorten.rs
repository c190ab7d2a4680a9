//! Outcomes that are longer than the manager takes.

use bytes::{Buf, Bytes};
use prost::Message;
use task_messenger_protocol::{
    messages::Outcome,
    values::{Value, Values, ValuesBuilder},
};

use super::Block;

/// What an outcome may take besides its outputs: numbers, and headers of fields.
const REST_BYTES: usize = 128;
/// The longest text that is left of one that is too long.
const TEXT_BYTES: usize = 512;

/// The block with every outcome at most `longest` bytes.
pub(super) fn shortened(block: Block, longest: u64) -> Block {
    let values = Values::trusted(block.outcomes.clone(), block.leases.len() as u32);
    if values.layout().all(|(_, length)| length <= longest) {
        return block;
    }
    let mut builder = ValuesBuilder::default();
    for (_, value) in values.iter() {
        match value {
            Value::Inline(bytes) if bytes.len() as u64 > longest => builder.push(&shorten(bytes, longest as usize)),
            other => builder.push_value(&other),
        }
    }
    Block { outcomes: builder.take().bytes().clone(), ..block }
}

fn shorten(bytes: Bytes, longest: usize) -> Vec<u8> {
    let mut outcome = Outcome::decode(bytes).unwrap_or_default();
    if outcome.text.len() > TEXT_BYTES {
        outcome.text.truncate(outcome.text.floor_char_boundary(TEXT_BYTES));
    }
    let room = longest.saturating_sub(REST_BYTES + outcome.text.len());
    // Each may have half, and what the other leaves of its half.
    let errors = outcome.errors.len().min((room / 2).max(room.saturating_sub(outcome.output.len())));
    let output = outcome.output.len().min(room - errors);
    outcome.output_dropped += keep_end(&mut outcome.output, output);
    outcome.errors_dropped += keep_end(&mut outcome.errors, errors);
    outcome.encode_to_vec()
}

/// Drops the front; how much.
fn keep_end(bytes: &mut Bytes, length: usize) -> u64 {
    let dropped = bytes.len() - length;
    bytes.advance(dropped);
    dropped as u64
}
