//! The client's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    task_messenger_cli::main_with(std::env::args_os())
}
