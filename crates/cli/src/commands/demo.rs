//! `demo`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::demo;

const EXAMPLES: &str = "\
Starts a manager and workers on this machine in a temporary directory, has them compute the SHA-256 of every regular file
below a directory with the system's own tool, and calls every built-in skill. Half-way a worker and the manager are killed
(SIGKILL) and started again. Every answer is checked against a computation of the demo's own.

Examples:
  task-messenger demo
  task-messenger demo --workers 4 --dir /usr/share/doc

Exit codes: 0 everything was answered rightly; 2 something was not, or the demo could not run.";

/// The arguments.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// How many workers
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Where the files are
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub dir: PathBuf,
    /// Change one answer before it is checked, to see that the demo finds it
    #[arg(long, hide = true)]
    pub falsify: bool,
}

/// Runs the demo.
pub async fn run(arguments: &Arguments) -> Result<u8> {
    let options = demo::Options {
        workers: usize::from(arguments.workers),
        directory: arguments.dir.clone(),
        falsify: arguments.falsify,
    };
    demo::run(&options).await?;
    Ok(0)
}
