//! The scheduler from outside: inputs in, effects out.

mod clients;
mod environment;
mod listings;
mod recovery;
mod retention;
mod workers;
