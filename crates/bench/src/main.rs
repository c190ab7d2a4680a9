//! The benchmarks. `--help` says how to use them; `end_to_end` and `store` say what is measured.
//!
//! This program is also each of the processes that are measured: it starts itself in the roles of [`role`].

mod check;
mod client;
mod echo;
mod end_to_end;
mod fleet;
mod load;
mod machine;
mod noop;
mod options;
mod plan;
mod print;
mod process;
mod record;
mod statistics;
mod store;
mod sync;
mod usage;

use std::{ffi::OsString, process::ExitCode};

use anyhow::Result;
use clap::Parser;

use crate::options::Cli;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next();
    if let Some(code) = role(std::env::args_os().skip(1)) {
        return code;
    }
    exit_code(Cli::parse_from(program.into_iter().chain(arguments)).run())
}

/// Runs one of the processes that are measured, if the arguments name one.
fn role(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    match arguments.next()?.to_str()? {
        "manager" => {
            let program = OsString::from("task-messenger-manager");
            Some(task_messenger_manager::cli::main_with(std::iter::once(program).chain(arguments)))
        }
        "worker" => Some(noop::work(arguments)),
        "client" => Some(load::run()),
        "echo" => Some(echo::serve()),
        _ => None,
    }
}

fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

fn exit_code(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
