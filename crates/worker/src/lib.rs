//! The worker: event loop, manager link, slots, runners, outbox.

pub mod runners;
