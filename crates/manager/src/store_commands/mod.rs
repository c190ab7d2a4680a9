//! Commands on the store of a manager that is stopped. They change nothing in it.

mod check;
mod export;
mod format;
mod held;
mod progress;
mod stats;

use std::{io, io::Write, path::PathBuf};

use anyhow::Result;
use clap::Subcommand;
use task_messenger_store::archive::ArchiveError;

use crate::config::Config;

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Read everything in the store, and say what is damaged, missing or doesn't belong
    Check(check::Arguments),
    /// Count what the store holds, and say how much room it takes
    Stats(stats::Arguments),
    /// Write every task, with its payload and what it came to, as a JSON object a line
    Export(export::Arguments),
}

/// Why such a command can't do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreCommandError {
    #[error(
        "there is no store in {}: name the manager's state directory with --state-dir, or its configuration with --config",
        .directory.display()
    )]
    NoStore { directory: PathBuf },
    #[error(
        "a manager runs on the state directory {}, or another program holds its store: stop it first (while it runs, \
         `task-messenger status`, `list` and `results` tell what it holds)",
        .directory.display()
    )]
    Running { directory: PathBuf },
    #[error("the store in {} is damaged: {findings}; nothing in it was changed; what to do: {advice}", .directory.display())]
    Damaged { directory: PathBuf, findings: String, advice: &'static str },
    #[error("the archive can't be read; nothing was changed")]
    Archive {
        #[from]
        source: ArchiveError,
    },
}

impl StoreCommandError {
    /// Whether the same command can't succeed later either.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::NoStore { .. } | Self::Damaged { .. } => true,
            Self::Running { .. } => false,
            Self::Archive { source } => source.is_lasting(),
        }
    }
}

/// Does what a command says.
pub(crate) fn run(config: &Config, command: &StoreCommand, out: &mut impl Write) -> Result<()> {
    let done = match command {
        StoreCommand::Check(arguments) => check::run(config, arguments, out),
        StoreCommand::Stats(arguments) => stats::run(config, arguments, out),
        StoreCommand::Export(arguments) => export::run(config, arguments, out),
    };
    match done {
        // Whoever read it wants no more.
        Err(error) if is_closed(&error) => Ok(()),
        done => done,
    }
}

fn is_closed(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Writes names and what they are, one pair a line.
fn write_pairs(pairs: &[(&str, String)], out: &mut impl Write) -> io::Result<()> {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    pairs.iter().try_for_each(|(name, value)| writeln!(out, "{name:width$}  {value}"))
}
