//! The scheduler from outside: inputs in, effects out.

mod clients;
mod deaths;
mod environment;
mod listings;
mod recovery;
mod retention;
mod workers;
