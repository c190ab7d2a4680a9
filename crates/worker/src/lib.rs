//! The worker: event loop, manager link, slots, runners, outbox.

mod backoff;
pub mod config;
mod measure;
pub mod outbox;
pub mod runners;
mod tasks;
mod worker;

pub use worker::{Connector, Identity, Worker};
