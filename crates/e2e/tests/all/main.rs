//! Tests with real processes on loopback: a manager, workers and clients as people start them, and what happens when they
//! are killed, cut off, lied to and filled up.
#![cfg(unix)]

mod access;
mod balance;
mod certificate;
mod commands;
mod configuration;
mod control;
mod demo;
mod disk;
mod harness;
mod health;
mod history;
mod hostile;
mod killers;
mod limits;
mod links;
mod logs;
mod lying_worker;
mod manager_ends;
mod map;
mod misbehaving;
mod monitoring;
mod power_cuts;
mod prefetch;
mod refused;
mod reload;
mod resume;
mod retention;
mod retries;
mod secrets;
mod status;
mod store_commands;
mod worker_ends;
