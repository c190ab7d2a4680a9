//! What both daemons of TaskMessenger share: configuration, logging, directories, the local socket, signals, stopping.

pub mod config;
pub mod directories;
pub mod exit;
pub mod local;
pub mod logging;
pub mod say;
pub mod seldom;
pub mod shutdown;
pub mod signals;
