//! What must survive: records' bytes, journal, recovery, and a simulated disk for tests.
//!
//! A store is a directory: `store.json` says what it is ([`identity`]), `journal/` holds the records in segments
//! ([`journal`]), `snapshots/` what they say up to one of them ([`snapshot`]), `values/` the large values ([`blobs`]), `reserve` is room that is kept ([`room`]), `archive.sqlite` holds
//! finished tasks ([`archive`]). Everything but the archive reaches the files through [`disk::Disk`], so that the same code
//! runs on a [`disk::FileDisk`] and, in tests, on a [`disk::SimulatedDisk`] that loses power at will.
//!
//! What always holds: a record that was said to be durable is found again, and what is found is a prefix of what was
//! appended. A store that cannot promise this (damage, a missing file, a newer format) is refused and left as it is.

pub mod archive;
pub mod blobs;
pub mod block;
mod buffer;
pub mod check;
pub mod codec;
pub mod disk;
pub mod identity;
pub mod journal;
pub mod lock;
pub mod room;
pub mod snapshot;
pub mod thread;

pub use journal::{Durability, Options, Store, open};
