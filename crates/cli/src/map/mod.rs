//! The parts of `map`: lines in, results out, and how far it is.

pub mod failures;
pub mod input;
pub mod order;
pub mod output;
pub mod progress;
