//! From the command line to an exit code.

use std::{ffi::OsString, io::Write, process::ExitCode};

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use task_messenger_daemon::generate::generate;

use crate::{
    arguments::{Cli, Command},
    commands, failure,
};

/// Runs the program with these arguments, the first of which is its own name.
///
/// It contains both daemons: with `manager` or `worker` in front, the rest is their command line, but for `worker remove`,
/// which asks the manager.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let daemon = match arguments.get(1).and_then(|argument| argument.to_str()) {
        Some("manager") => Some(task_messenger_manager::cli::main_with as fn(Vec<OsString>) -> ExitCode),
        Some("worker") if arguments.get(2).is_none_or(|argument| argument != "remove") => {
            Some(task_messenger_worker::cli::main_with as fn(Vec<OsString>) -> ExitCode)
        }
        _ => None,
    };
    if let Some(daemon) = daemon {
        arguments.remove(1);
        return daemon(arguments);
    }
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Whoever doesn't read the help or the error doesn't need it.
            let _ = error.print();
            let code = match error.use_stderr() {
                false => 0,
                true if submits_and_waits(&arguments) => commands::submit::CLIENT_FAILED,
                true => task_messenger_client::ExitCode::Usage as u8,
            };
            return ExitCode::from(code);
        }
    };
    ExitCode::from(run(&cli).unwrap_or_else(|error| {
        failure::report(&error);
        failure::exit_code(&error)
    }))
}

/// Whether every exit code but one may be the program's that is submitted.
fn submits_and_waits(arguments: &[OsString]) -> bool {
    let own = || arguments.iter().skip(1).take_while(|argument| *argument != "--");
    own().any(|argument| argument == "submit") && own().any(|argument| argument == "--wait")
}

fn run(cli: &Cli) -> Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("threads can't be had")?;
    let result = runtime.block_on(dispatch(cli));
    // A thread that still waits for standard input, or for a reader of the output, ends with the process.
    runtime.shutdown_background();
    result
}

async fn dispatch(cli: &Cli) -> Result<u8> {
    let session = &cli.session;
    match &cli.command {
        Command::Login(arguments) => commands::login::run(arguments, session).await,
        Command::Submit(arguments) => commands::submit::run(arguments, session).await,
        Command::Map(arguments) => commands::map::run(arguments, session).await,
        Command::Skill(arguments) => commands::skill::run(arguments, session).await,
        Command::List(arguments) => commands::list::run(arguments, session).await,
        Command::Show(arguments) => commands::show::run(arguments, session).await,
        Command::Result(arguments) => commands::result::run(arguments, session).await,
        Command::Results(arguments) => commands::results::run(arguments, session).await,
        Command::Wait(arguments) => commands::wait::run(arguments, session).await,
        Command::Cancel(arguments) => commands::cancel::run(arguments, session).await,
        Command::Retry(arguments) => commands::retry::run(arguments, session).await,
        Command::Purge(arguments) => commands::purge::run(arguments, session).await,
        Command::Status(arguments) => commands::status::run(arguments, session).await,
        Command::Workers(arguments) => commands::workers::run(arguments, session).await,
        Command::Drain(arguments) => commands::drain::drain(arguments, session).await,
        Command::Pause(arguments) => commands::drain::pause(arguments, session).await,
        Command::Resume(arguments) => commands::drain::resume(arguments, session).await,
        Command::Worker(arguments) => commands::worker::run(arguments, session).await,
        Command::Token(arguments) => commands::token::run(arguments, session).await,
        Command::Demo(arguments) => commands::demo::run(arguments).await,
        Command::Local(arguments) => commands::local::run(arguments, session).await,
        Command::Generate { what } => {
            std::io::stdout().write_all(&generate(Cli::command(), *what)?)?;
            Ok(0)
        }
    }
}
