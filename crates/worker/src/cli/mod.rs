//! The worker's command line.

mod join;
mod place;
mod run;

use std::{
    borrow::Cow,
    ffi::OsString,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{Args, CommandFactory, Parser, Subcommand};
use serde_json::{Value, json};
use task_messenger_daemon::{
    account::become_owner_of,
    config::{ConfigError, ConfigOptions, Override, Sources, load, load_what_fits, redact},
    directories::{self, NoHome},
    exit,
    generate::{Generated, generate},
    reload::ask,
    say::{say, tell},
};
use task_messenger_protocol::template::MOST_SLOTS;

#[cfg(windows)]
use task_messenger_daemon::{
    local::LocalError,
    reload::AskError,
    windows_service::{self, ServiceCommand},
};

use self::place::Place;
pub(crate) use self::run::set_level;
#[cfg(windows)]
use crate::worker::longest_stop;
use crate::{
    config::WorkerConfig,
    runners::{command, skill::SkillRegistry},
};

const EXAMPLES: &str = "\
Examples:
  task-messenger-worker join          (asks for the token)
  task-messenger-worker join @token.txt --wait
  sudo task-messenger-worker join --instance gpu @token.txt
  task-messenger-worker run --slots 8
  task-messenger-worker reload

Exit codes: 0 a clean stop; 1 unexpected, a restart helps; 78 the same start can never succeed (configuration, command
line, not joined, revoked). Of join also: 64 wrong command line or token, 69 the manager can't be reached.";

#[derive(Debug, Parser)]
#[command(name = "task-messenger-worker", version, about = "Runs tasks that the manager hands out", after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    of_config: ConfigOptions,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct Common {
    /// The configuration file [default: `TASK_MESSENGER_CONFIG`, else the service's (for root) or the user's
    /// config-worker.json if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Which of several workers of this machine is meant: its configuration is config-worker-NAME.json
    #[arg(long, global = true, value_name = "NAME", value_parser = place::instance, conflicts_with = "config")]
    instance: Option<String>,
    /// Where the worker keeps everything
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the worker
    Run {
        /// How many tasks run at a time [default: the number of processors]
        #[arg(long)]
        slots: Option<u32>,
    },
    /// Have the running worker load its configuration anew, and say which keys have another value now
    Reload,
    /// Join a manager with a join token
    Join(Join),
    /// The Windows service of this worker
    #[cfg(windows)]
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Print what packages carry beside this program
    #[command(hide = true)]
    Generate {
        #[arg(value_enum)]
        what: Generated,
    },
}

#[derive(Debug, Args)]
struct Join {
    /// Where the token is: `-` for standard input, `@FILE` for a file [default: asks for it]
    #[arg(value_name = "-|@FILE")]
    source: Option<String>,
    /// Where the manager is, if not where the token says
    #[arg(long, value_name = "HOST:PORT")]
    manager: Option<String>,
    /// What people call the worker [default: the machine's name]
    #[arg(long)]
    name: Option<String>,
    /// Wait until the manager can be reached
    #[arg(long)]
    wait: bool,
    /// Join anew although this worker has joined already
    #[arg(long)]
    force: bool,
}

/// An error with the exit code that it ends the program with.
#[derive(Debug)]
struct Failure {
    code: u8,
    error: anyhow::Error,
}

/// Anything that says nothing else is unexpected: a restart may help.
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let code = if error.is::<ConfigError>() { exit::CONFIGURATION } else { exit::FAILURE };
        Self { code, error }
    }
}

impl Failure {
    fn new(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self { code, error: error.into() }
    }
}

/// The program with the built-in skills: parses the command line (the program's name first), does what it says, and prints
/// what goes wrong.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    main_with_skills(arguments, SkillRegistry::with_built_in())
}

/// The same program with other skills.
pub fn main_with_skills(arguments: impl IntoIterator<Item = OsString>, skills: SkillRegistry) -> ExitCode {
    ExitCode::from(exit_code(arguments, skills))
}

fn exit_code(arguments: impl IntoIterator<Item = OsString>, skills: SkillRegistry) -> u8 {
    exit::watch_panics();
    let arguments: Vec<_> = arguments.into_iter().collect();
    let joins = arguments.iter().any(|argument| argument == "join");
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            match redact(&error.to_string()) {
                // A token was typed where it doesn't belong.
                Cow::Owned(hidden) => say(hidden),
                // Nothing can be done if the terminal is gone.
                Cow::Borrowed(_) => _ = error.print(),
            }
            return match (error.use_stderr(), joins) {
                (false, _) => exit::SUCCESS,
                (true, true) => exit::USAGE,
                (true, false) => exit::CONFIGURATION,
            };
        }
    };
    match execute(cli, skills) {
        Ok(code) => code,
        Err(Failure { code, error }) => {
            exit::report(error.as_ref(), code);
            code
        }
    }
}

fn execute(cli: Cli, skills: SkillRegistry) -> Result<u8, Failure> {
    if let Some(Command::Generate { what }) = cli.command {
        std::io::stdout().write_all(&generate(Cli::command(), what)?)?;
        return Ok(exit::SUCCESS);
    }
    #[cfg(windows)]
    if let Some(Command::Service(command)) = &cli.command {
        return service(&cli, command);
    }
    let sources = sources(&cli).map_err(|error| Failure::new(exit::CONFIGURATION, error))?;
    if matches!(cli.command, Some(Command::Reload)) && !cli.of_config.is_asked() {
        // Whether the new configuration can be used is the worker's to say: in its log and in /readyz too.
        return reload(&sources, cli.common.instance.as_deref()).map(|()| exit::SUCCESS);
    }
    let loaded = load::<WorkerConfig>(&sources)?;
    if let Some(answer) = cli.of_config.answer(&loaded)? {
        tell(answer);
        return Ok(exit::SUCCESS);
    }
    let place = Place::of(loaded.file.as_deref());
    let config = loaded.config;
    if cli.of_config.checks_state() {
        become_owner(&config, loaded.file.as_deref())?;
        run::check_formats(&config)?;
        tell("this program takes the configuration, and knows the formats of what is kept");
        return Ok(exit::SUCCESS);
    }
    match cli.command {
        Some(Command::Run { .. }) => {
            become_owner(&config, loaded.file.as_deref())?;
            run::run(&config, sources, &place, skills)
        }
        Some(Command::Join(join)) => join::join(&config, &place, &join).map(|()| exit::SUCCESS),
        #[cfg(windows)]
        Some(Command::Service(_)) => Ok(exit::SUCCESS),
        Some(Command::Generate { .. } | Command::Reload) | None => {
            let text = "nothing to do: `task-messenger-worker run` runs the worker, `--help` shows more";
            Err(Failure::new(exit::CONFIGURATION, anyhow::anyhow!(text)))
        }
    }
}

fn become_owner(config: &WorkerConfig, file: Option<&Path>) -> anyhow::Result<()> {
    become_owner_of(&config.state_directory, file).context("root can't become the state directory's owner")
}

#[cfg(windows)]
fn service(cli: &Cli, command: &ServiceCommand) -> Result<u8, Failure> {
    let instance = cli.common.instance.clone();
    let mut file = directories::system_config();
    let name = instance.as_ref().map_or_else(|| "worker".to_owned(), |name| format!("worker-{name}"));
    if let Some(file) = &mut file {
        file.push(format!("config-{name}.json"));
    }
    let config: WorkerConfig =
        load_what_fits(&Sources { default_file: file, ..Sources::of_process() }).unwrap_or_default();
    let of = windows_service::Of {
        component: "worker",
        instance,
        stop: longest_stop(config.shutdown.grace.0, config.kill_after.0),
        state: Some(config.state_directory.clone()),
        http: config.http.as_ref().filter(|http| http.tls.is_none()).map(|http| http.listen),
        run: |words| exit_code(words, SkillRegistry::with_built_in()),
    };
    windows_service::execute(command, &of).map_err(|error| Failure::new(error.exit_code(), error))
}

fn reload(sources: &Sources, instance: Option<&str>) -> Result<(), Failure> {
    #[cfg(not(windows))]
    let _ = instance;
    let config: WorkerConfig = match load_what_fits(sources) {
        // Not even a configuration: there is no such worker.
        #[cfg(windows)]
        Err(error) if instance.is_some() => {
            let code = windows_service::code_of_silence("worker", instance);
            return Err(if code == exit::NOT_INSTALLED { Failure::new(code, error) } else { error.into() });
        }
        loaded => loaded?,
    };
    match block_on(ask(&config.state_directory, "worker"))? {
        Ok(changes) => tell(changes),
        #[cfg(windows)]
        Err(error @ AskError::Local(LocalError::NotRunning { .. })) => {
            return Err(Failure::new(windows_service::code_of_silence("worker", instance), error));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Where the configuration comes from.
fn sources(cli: &Cli) -> Result<Sources, NoHome> {
    let instance = cli.common.instance.as_ref().map(|name| directories::instance_file(&format!("worker-{name}")));
    let instance = instance.transpose()?;
    let mut sources = Sources { file: cli.common.config.clone().or(instance), ..Sources::of_process() };
    sources.default_file = directories::config_file("worker");
    let mut set = |flag: &str, path: &str, value: Value| {
        sources.flags.push(Override { flag: flag.to_owned(), path: path.to_owned(), value });
    };
    if let Some(directory) = &cli.common.state_dir {
        set("--state-dir", "state_directory", json!(directory));
    }
    match &cli.command {
        Some(Command::Run { slots: Some(slots) }) => set("--slots", "slots", json!(slots)),
        Some(Command::Join(join)) => {
            if let Some(name) = &join.name {
                set("--name", "name", json!(name));
            }
            if let Some(manager) = &join.manager {
                set("--manager", "managers", json!([manager]));
            }
        }
        _ => (),
    }
    Ok(sources)
}

/// How many threads may wait at once for what can't be waited for otherwise. They are made when they are needed, and the number
/// of slots may change while the worker runs.
const BLOCKING_THREADS: usize = command::THREADS * MOST_SLOTS as usize + 64;
/// How long the end may wait for those threads. One that reads what nobody closes never ends.
const LAST_THREADS: Duration = Duration::from_secs(1);

/// Does something on the runtime of everything here, which has one thread.
fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().max_blocking_threads(BLOCKING_THREADS).build()?;
    let done = runtime.block_on(future);
    runtime.shutdown_timeout(LAST_THREADS);
    Ok(done)
}

#[cfg(test)]
mod tests;
