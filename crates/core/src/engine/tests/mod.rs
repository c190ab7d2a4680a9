//! The scheduler from outside: inputs in, effects out.

mod administration;
mod balance;
mod clients;
mod deaths;
mod environment;
mod history;
mod listings;
mod numbers;
mod recovery;
mod retention;
mod snapshots;
mod times;
mod work;
mod workers;
