//! `local`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::{local, session::SessionOptions};

const EXAMPLES: &str = "\
The client commands are logged in to it, unless they are logged in elsewhere already: then it is said how to use it.

Examples:
  task-messenger local
  task-messenger local --workers 1 --slots 8 --state-dir ./fleet";

/// The arguments.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// How many workers
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: u16,
    /// How many tasks each worker runs at a time [default: the processors, shared among the workers]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub slots: Option<u32>,
    /// Where everything is kept [default: `local` in the user's state directory]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

/// Runs a manager and workers until told to stop.
pub async fn run(arguments: &Arguments, session: &SessionOptions) -> Result<u8> {
    let options = local::Options {
        workers: usize::from(arguments.workers),
        slots: arguments.slots,
        directory: arguments.state_dir.clone(),
        credential: session.credential_path()?,
    };
    local::run(&options).await?;
    Ok(0)
}
