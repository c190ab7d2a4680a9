//! The command line of TaskMessenger: submit, map, wait, results, status, demo.

pub mod demo;
pub mod fleet;
pub mod local;
