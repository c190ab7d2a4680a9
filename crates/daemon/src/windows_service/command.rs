//! The command line of `service`.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use task_messenger_protocol::template::MOST_SLOTS;

use super::{
    control::Services, error::ServiceError, install::install, layout::Layout, native, settings::StartupType,
    status::Status, uninstall::uninstall,
};
use crate::{
    exit,
    say::{say, tell},
};

const EXAMPLES: &str = "\
Examples:
  service install --dry-run
  service install --native --startup-type automatic
  service status --json
  service uninstall --purge

Exit codes: 0 done, or it runs; 1 something failed; 3 it does not run; 4 there is no such service; 78 wrong command line, or
it can't run with its configuration.";

/// How long a start may take: NSSM calls a service running after ten seconds.
const START: Duration = Duration::from_secs(90);

/// What is done with the service of this program.
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum ServiceCommand {
    /// Install it, or bring it up to what lies in this program's directory; nothing is started that did not run
    Install(Wanted),
    /// Remove it; configuration, state and logs stay
    Uninstall {
        /// Remove configuration, state and logs too
        #[arg(long)]
        purge: bool,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Start it
    Start,
    /// Stop it: a worker's tasks may finish first
    Stop,
    /// Stop it and start it
    Restart,
    /// Say how it is
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Run as the service: only the service control manager can start this
    #[command(hide = true)]
    Run,
}

/// What is to be installed.
#[derive(Clone, Debug, Args)]
pub struct Wanted {
    /// The nssm.exe that runs it [default: the one that is installed, else the one beside this program]
    #[arg(long, value_name = "FILE", conflicts_with = "native")]
    pub(super) nssm: Option<PathBuf>,
    /// The SHA-256 of another NSSM than the one that is known to work
    #[arg(long, value_name = "SHA-256", conflicts_with = "native")]
    pub(super) nssm_sha256: Option<String>,
    /// Run it directly under the service control manager, without NSSM
    #[arg(long)]
    pub(super) native: bool,
    /// The account that it runs as, without a password [default: its own, `NT SERVICE\NAME`, or the one that it has]
    #[arg(long)]
    pub(super) account: Option<String>,
    /// When it starts [default: delayed-automatic, or as it is]
    #[arg(long)]
    pub(super) startup_type: Option<StartupType>,
    /// How many tasks a worker runs at a time, for its new configuration
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_SLOTS)))]
    pub(super) slots: Option<u32>,
    /// A file with the token that a worker joins with
    #[arg(long, value_name = "FILE")]
    pub(super) join_token_file: Option<PathBuf>,
    /// Only say what would be done
    #[arg(long)]
    pub(super) dry_run: bool,
    /// It is a part of an installation that is under way
    #[arg(long, hide = true)]
    pub(super) part: bool,
}

/// Whose service it is.
pub struct Of {
    /// `manager` or `worker`.
    pub component: &'static str,
    /// Which of several.
    pub instance: Option<String>,
    /// How long a stop may take.
    pub stop: Duration,
    /// The state directory that the configuration names.
    pub state: Option<PathBuf>,
    /// Where the daemon answers HTTP without TLS.
    pub http: Option<SocketAddr>,
    /// The program's own `run`.
    pub run: fn(Vec<OsString>) -> u8,
}

/// What a program ends with that has found no daemon of its component to talk to: as a control script does (LSB), 4 if there is
/// no such service, else 3.
pub fn code_of_silence(component: &'static str, instance: Option<&str>) -> u8 {
    let found =
        || Services::look()?.find(&Layout::of_machine(component, instance).ok_or(ServiceError::NoPlaces)?.service());
    if matches!(found(), Ok(None)) { exit::NOT_INSTALLED } else { exit::NOT_RUNNING }
}

/// Does it; the exit code.
pub fn execute(command: &ServiceCommand, of: &Of) -> Result<u8, ServiceError> {
    let layout = Layout::of_machine(of.component, of.instance.as_deref()).ok_or(ServiceError::NoPlaces)?;
    match command {
        ServiceCommand::Install(wanted) => {
            if of.component != "worker" && (wanted.slots.is_some() || wanted.join_token_file.is_some()) {
                return Err(ServiceError::Refused("--slots and --join-token-file are for workers".to_owned()));
            }
            install(&layout, wanted, of.stop)?;
        }
        ServiceCommand::Uninstall { purge, dry_run } => {
            uninstall(&layout, *purge, *dry_run, of.stop)?;
            let elsewhere = of.state.as_ref().filter(|state| *purge && **state != layout.state() && state.exists());
            if let Some(state) = elsewhere {
                say(format_args!("{} is left: only what was installed is removed", state.display()));
            }
        }
        ServiceCommand::Start => {
            Services::look()?.start(&layout, START)?;
            tell(format_args!("{} runs", layout.service()));
        }
        ServiceCommand::Stop => {
            Services::look()?.stop(&layout, of.stop + START)?;
            tell(format_args!("{} has stopped", layout.service()));
        }
        ServiceCommand::Restart => {
            Services::look()?.stop(&layout, of.stop + START)?;
            Services::look()?.start(&layout, START)?;
            tell(format_args!("{} runs", layout.service()));
        }
        ServiceCommand::Status { json } => {
            let status = Status::ask(&layout, of.http)?;
            if *json {
                tell(serde_json::to_string(&status).unwrap_or_default());
            } else {
                tell(status.text());
            }
            return Ok(status.exit_code());
        }
        ServiceCommand::Run => {
            let run = of.run;
            let program: OsString = format!("task-messenger-{}", of.component).into();
            let words = vec![program, "run".into(), "--config".into(), layout.configuration().into_os_string()];
            native::run(&layout.service(), &layout.log_files()[1], move || run(words)).map_err(|error| {
                ServiceError::Refused(format!(
                    "only the service control manager of Windows can start this ({}): `service start` has it do so",
                    exit::chain(&error)
                ))
            })?;
        }
    }
    Ok(exit::SUCCESS)
}
