//! The program under test: the command line, which contains both daemons.

use std::process::ExitCode;

fn main() -> ExitCode {
    task_messenger_cli::main_with(std::env::args_os())
}
