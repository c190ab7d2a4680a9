//! The manager: event loop, sessions of workers and clients, local administration.
//!
//! [`run::run`] opens the state directory, binds, and lets one task own the state (`owner`). Connections are
//! served by sessions (`session`), which decode, pass on and write.

mod addresses;
pub mod cli;
pub mod config;
mod convert;
mod disk;
mod doorkeeper;
mod listen;
mod observation;
pub mod offline;
mod owner;
mod places;
mod reload;
pub mod run;
mod session;
pub mod state;
mod store_commands;
mod templates;
mod tokens;
mod watch;
