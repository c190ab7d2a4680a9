//! The journal against a reference model: the list of the records that were appended.

mod chain;
mod damage;
mod durability;
mod full;
mod model;
mod reading;
mod snapshots;

use std::sync::Arc;

use super::{Durability, Options};
use crate::disk::{Disk, SimulatedDisk};

fn options(durability: Durability) -> Options {
    Options { segment_bytes: 64 << 10, cache_bytes: 32 << 10, durability, reserve_bytes: Some(0) }
}

fn shared(disk: &SimulatedDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}
