//! Tests with real processes on loopback: a manager, workers and clients as people start them, and what happens when they
//! are killed, cut off, lied to and filled up.
#![cfg(unix)]

mod harness;
mod hostile;
mod links;
mod manager_ends;
mod worker_ends;
