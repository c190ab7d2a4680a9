//! The programs under test in one: the first argument says which.

use std::process::ExitCode;

fn main() -> ExitCode {
    task_messenger_manager::cli::main_with(std::env::args_os().skip(1))
}
