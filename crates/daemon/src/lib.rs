//! What both daemons of TaskMessenger share: configuration, logging, directories, the local socket, signals, stopping.

pub mod account;
pub mod config;
pub mod directories;
pub mod exit;
pub mod generate;
pub mod health;
pub mod hooks;
pub mod http;
pub mod local;
pub mod logging;
pub mod metrics;
pub mod reload;
pub mod say;
pub mod seldom;
pub mod service;
pub mod shutdown;
pub mod signals;
#[cfg(any(windows, test))]
pub mod windows_service;
