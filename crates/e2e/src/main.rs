//! The programs under test in one: `manager …` and `worker …` are the daemons, everything else is the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    let main_with = match arguments.get(1).and_then(|first| first.to_str()) {
        Some("manager") => task_messenger_manager::cli::main_with,
        Some("worker") => task_messenger_worker::cli::main_with,
        _ => return task_messenger_cli::main_with(arguments),
    };
    arguments.remove(0);
    main_with(arguments)
}
