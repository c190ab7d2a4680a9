//! The whole of TaskMessenger in one deterministic world: the real scheduler and the real journal over a simulated disk, with
//! simulated workers, clients, links and clocks, in which everything that can go wrong does, as a seed decides.
//!
//! A run first lets things go wrong, then makes everything whole, and demands that all work ends. While it runs, everything
//! that leaves the manager is held against what was told before and against a second, plain reading of the records.

mod administrator;
mod admission;
mod archiving;
mod client;
mod counting;
mod manager;
mod model;
mod network;
mod newcomers;
mod pursuit;
mod random;
mod recovery;
mod reference;
mod run;
mod scenario;
mod script;
mod shrinking;
mod stage;
mod telling;
mod totals;
mod waiting;
mod worker;
mod world;

pub use run::{Report, Setup, run, run_many};
pub use stage::Violation;
pub use totals::Totals;
