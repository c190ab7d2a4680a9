//! The scheduler of TaskMessenger as a pure state machine: no clock, no files, no network.
//!
//! [`engine::Engine`] is told what happened ([`input::Input`]), writes down what it decides ([`record::Record`]) and says
//! what is to be done ([`effect::Effect`]). [`state::State`] is what the records say.

pub mod access;
pub mod archived;
pub mod digest;
pub mod effect;
pub mod engine;
pub mod idempotency;
pub mod ids;
pub mod image;
pub mod input;
pub mod job;
pub mod labels;
pub mod limits;
pub mod meter;
pub mod query;
pub mod ready;
pub mod record;
pub mod state;
pub mod task;
pub mod template;
pub mod templates;
pub mod time;
pub mod values;
