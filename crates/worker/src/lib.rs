//! The worker: event loop, manager link, slots, runners, outbox.
//!
//! [`cli::main_with`] is the whole program. A program that brings skills of its own links this crate and calls
//! [`cli::main_with_skills`].

mod backoff;
pub mod cli;
pub mod config;
mod enrolment;
mod measure;
pub mod outbox;
pub mod runners;
mod tasks;
mod worker;

pub use worker::{Connector, Identity, Worker};
