//! The command line of TaskMessenger: submit, map, wait, results, status, demo.

mod app;
pub mod arguments;
pub mod commands;
pub mod demo;
pub mod failure;
pub mod fleet;
pub mod format;
pub mod id;
pub mod local;
pub mod map;
pub mod printer;
pub mod session;
pub mod status;
pub mod task_options;
pub mod worker_names;
pub mod worker_view;

pub use app::main_with;
