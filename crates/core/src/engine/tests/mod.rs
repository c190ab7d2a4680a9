//! The scheduler from outside: inputs in, effects out.

mod administration;
mod archiving;
mod arrivals;
mod balance;
mod clients;
mod deaths;
mod environment;
mod follows;
mod history;
mod limits;
mod listings;
mod moving;
mod numbers;
mod questions;
mod random;
mod recovery;
mod retention;
mod snapshots;
mod templates;
mod times;
mod violations;
mod waking;
mod work;
mod workers;
