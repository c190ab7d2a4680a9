//! The command line.

use clap::{Parser, Subcommand};
use task_messenger_daemon::generate::Generated;

use crate::{
    commands::{
        cancel, demo, drain, list, local, login, map, purge, result, results, retry, show, skill, status, submit,
        token, wait, worker, workers,
    },
    session::SessionOptions,
};

const EXAMPLES: &str = "\
Examples:
  task-messenger demo
  task-messenger login
  task-messenger submit --wait -- uname -a
  ls *.log | task-messenger map --send -- grep -c ERROR
  task-messenger list
  task-messenger results 12 --follow
  task-messenger cancel 12

Exit codes: 0 all went well; 1 a task did not succeed; 2 the request could not be carried out; 64 the command line is wrong;
69 the manager is unavailable; 70 a mistake in TaskMessenger; 78 the credential or configuration can't be used;
130 interrupted. `submit --wait` has the program's own.";

/// Submit work to a fleet of machines, and get the results.
#[derive(Debug, Parser)]
#[command(name = "task-messenger", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    /// Options of every command
    #[command(flatten)]
    pub session: SessionOptions,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Log in: keep a token for the other commands
    Login(login::Arguments),
    /// Submit one program; print its task's name, or wait for it
    Submit(submit::Arguments),
    /// Run a program once for every line of the input
    Map(map::Arguments),
    /// Call a skill of the workers with JSON
    Skill(skill::Arguments),
    /// List jobs, or the tasks of a job
    List(list::Arguments),
    /// Show a job or a task
    Show(show::Arguments),
    /// Print what a task came to
    Result(result::Arguments),
    /// Print what the tasks of a job came to, as they end
    Results(results::Arguments),
    /// Wait until a job or a task is at its end
    Wait(wait::Arguments),
    /// End tasks and jobs
    Cancel(cancel::Arguments),
    /// Run again what failed, expired or was cancelled
    Retry(retry::Arguments),
    /// Forget jobs that have been over for a while
    Purge(purge::Arguments),
    /// Show how the manager is: its queue, its store, its workers
    Status(status::Arguments),
    /// List the workers
    Workers(workers::Arguments),
    /// Let workers finish what they run and get nothing new
    Drain(drain::DrainArguments),
    /// Give workers nothing for now
    Pause(drain::PauseArguments),
    /// Give workers tasks again
    Resume(drain::ResumeArguments),
    /// Remove workers
    Worker(worker::Arguments),
    /// Make, list and revoke tokens
    Token(token::Arguments),
    /// See all of it work on this machine, with everything checked
    Demo(demo::Arguments),
    /// Run a manager and workers on this machine
    Local(local::Arguments),
    /// Print what packages carry beside this program
    #[command(hide = true)]
    Generate {
        /// What it is
        #[arg(value_enum)]
        what: Generated,
    },
}
