//! The scheduler from outside: inputs in, effects out.

mod balance;
mod clients;
mod deaths;
mod environment;
mod listings;
mod recovery;
mod retention;
mod templates;
mod times;
mod work;
mod workers;
