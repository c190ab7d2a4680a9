//! The manager's command line.

use std::{
    borrow::Cow,
    ffi::OsString,
    io::Write,
    path::PathBuf,
    process::ExitCode,
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use serde_json::{Value, json};
use task_messenger_core::record::Role;
use task_messenger_daemon::{
    account::become_owner_of,
    config::{ConfigDuration, ConfigError, ConfigOptions, Override, Sources, load, load_what_fits, redact},
    directories::{self, NoHome},
    exit,
    generate::{Generated, generate},
    http::HttpError,
    logging::LoggingError,
    reload::Changes,
    say::say,
    shutdown::Shutdown,
    signals::on_reopen,
};
#[cfg(windows)]
use task_messenger_daemon::{
    local::LocalError,
    windows_service::{self, ServiceCommand, ServiceError},
};
use task_messenger_protocol::{
    messages::{self, TokenSummary},
    tls::TlsError,
};

use crate::{
    config::Config,
    offline::{Request, Response, administer},
    run::run,
    state::{ArchiveRefused, StoreRefused, check_formats},
    store_commands::{self, StoreCommand, StoreCommandError},
};

const EXAMPLES: &str = "\
Examples:
  task-messenger-manager run
  task-messenger-manager token create --role worker --label rack-7 --expires 30d
  task-messenger-manager token create --role client --owner alice
  task-messenger-manager token revoke 3
  task-messenger-manager reload
  task-messenger-manager store check

Exit codes: 0 a clean stop; 1 unexpected, a restart helps; 78 the same start can never succeed (configuration, command
line, a store that is newer or damaged).";

#[derive(Debug, Parser)]
#[command(name = "task-messenger-manager", version, about = "Keeps the queue and hands tasks to workers", after_help = EXAMPLES)]
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
    /// config-manager.json if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the manager keeps everything
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the manager
    Run {
        /// Where to listen; may be repeated
        #[arg(long, value_name = "ADDRESS:PORT")]
        listen: Vec<String>,
    },
    /// Create, list and revoke tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Have the running manager load its configuration anew, and say which keys have another value now
    Reload,
    /// The Windows service of this machine's manager
    #[cfg(windows)]
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Look into the store of a manager that is stopped: check it, count what it holds, export it
    #[command(subcommand)]
    Store(StoreCommand),
    /// Print what packages carry beside this program
    #[command(hide = true)]
    Generate {
        #[arg(value_enum)]
        what: Generated,
    },
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Create a token and print it: the only time that it is shown
    Create {
        /// What it allows: enrolling workers, submitting work, or everything
        #[arg(long)]
        role: RoleName,
        /// What people call it
        #[arg(long, default_value = "", hide_default_value = true)]
        label: String,
        /// Whom it stands for: tokens of one owner see the same jobs [default: an owner of its own]
        #[arg(long, default_value = "", hide_default_value = true)]
        owner: String,
        /// For how long it lets anybody in, such as 30d (workers that enrolled stay) [default: for ever]
        #[arg(long, value_name = "DURATION")]
        expires: Option<ConfigDuration>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List all tokens
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token: it lets nobody in any more, and its sessions end
    Revoke {
        /// Its number, as `token list` shows
        id: u32,
        /// Remove the workers that joined with it too: they stop their tasks, which others run then
        #[arg(long)]
        with_workers: bool,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleName {
    Worker,
    Client,
    Admin,
}

impl From<RoleName> for Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::Worker => Self::Worker,
            RoleName::Client => Self::Client,
            RoleName::Admin => Self::Admin,
        }
    }
}

/// The command line names no command.
#[derive(Debug, thiserror::Error)]
#[error("nothing to do: `task-messenger-manager run` runs the manager, `--help` shows more")]
struct NothingToDo;

/// The program: parses the command line (the program's name first), does what it says, and prints what goes wrong.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::from(exit_code(arguments))
}

fn exit_code(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    exit::watch_panics();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            match redact(&error.to_string()) {
                // A token was typed where it doesn't belong.
                Cow::Owned(hidden) => say(hidden),
                // Nothing can be done if the terminal is gone.
                Cow::Borrowed(_) => _ = error.print(),
            }
            return if error.use_stderr() { exit::CONFIGURATION } else { exit::SUCCESS };
        }
    };
    #[cfg(windows)]
    if let Some(Command::Service(command)) = &cli.command {
        return service(command).unwrap_or_else(|error| {
            exit::report(&error, error.exit_code());
            error.exit_code()
        });
    }
    match execute(cli) {
        Ok(()) => exit::SUCCESS,
        Err(error) => {
            let code = code(&error);
            exit::report(error.as_ref(), code);
            code
        }
    }
}

#[cfg(windows)]
fn service(command: &ServiceCommand) -> Result<u8, ServiceError> {
    let mut file = directories::system_config();
    if let Some(file) = &mut file {
        file.push("config-manager.json");
    }
    let config: Config = load_what_fits(&Sources { default_file: file, ..Sources::of_process() }).unwrap_or_default();
    let of = windows_service::Of {
        component: "manager",
        instance: None,
        stop: crate::owner::LONGEST_STOP,
        state: config.state_directory.clone(),
        http: config.http.as_ref().filter(|http| http.tls.is_none()).map(|http| http.listen),
        run: |words| exit_code(words),
    };
    windows_service::execute(command, &of)
}

fn code(error: &anyhow::Error) -> u8 {
    let hopeless = error.chain().any(|cause| {
        cause.is::<ConfigError>()
            || cause.is::<NothingToDo>()
            || cause.is::<NoHome>()
            || cause.is::<TlsError>()
            || cause.downcast_ref::<HttpError>().is_some_and(HttpError::is_final)
            || cause.downcast_ref::<LoggingError>().is_some_and(LoggingError::is_final)
            || cause.downcast_ref::<StoreCommandError>().is_some_and(StoreCommandError::is_final)
            || cause.downcast_ref::<StoreRefused>().is_some_and(StoreRefused::is_final)
            || cause.downcast_ref::<ArchiveRefused>().is_some_and(ArchiveRefused::is_final)
    });
    if hopeless {
        return exit::CONFIGURATION;
    }
    #[cfg(windows)]
    if error.chain().any(|cause| matches!(cause.downcast_ref(), Some(LocalError::NotRunning { .. }))) {
        return windows_service::code_of_silence("manager", None);
    }
    exit::FAILURE
}

fn execute(cli: Cli) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if let Some(Command::Generate { what }) = cli.command {
        return Ok(out.write_all(&generate(Cli::command(), what)?)?);
    }
    let sources = sources(&cli);
    if matches!(cli.command, Some(Command::Reload)) && !cli.of_config.is_asked() {
        // Whether the new configuration can be used is the manager's to say: in its log and in /readyz too.
        return reload(&load_what_fits(&sources)?, &mut out);
    }
    let loaded = load::<Config>(&sources)?;
    if let Some(answer) = cli.of_config.answer(&loaded)? {
        return Ok(writeln!(out, "{answer}")?);
    }
    let config = loaded.config;
    if cli.command.is_some() || cli.of_config.checks_state() {
        become_owner_of(&config.state_directory()?, loaded.file.as_deref())
            .context("root can't become the state directory's owner")?;
    }
    if cli.of_config.checks_state() {
        check_formats(&config)?;
        return Ok(writeln!(out, "this program takes the configuration, and knows the formats of what is kept")?);
    }
    match cli.command {
        Some(Command::Run { .. }) => {
            let logging = Rc::new(config.log.init("task-messenger-manager").context("logging can't be set up")?);
            on_reopen(logging.reopener()).context("signals can't be listened to")?;
            let (shutdown, _) = Shutdown::listen()?;
            run(&config, sources, &logging, shutdown).inspect_err(|error| logging.failed(error.as_ref()))
        }
        Some(Command::Token(command)) => token(&config, command, &mut out),
        Some(Command::Store(command)) => store_commands::run(&config, &command, &mut out),
        #[cfg(windows)]
        Some(Command::Service(_)) => Ok(()),
        Some(Command::Generate { .. } | Command::Reload) | None => Err(NothingToDo.into()),
    }
}

/// Where the configuration comes from.
fn sources(cli: &Cli) -> Sources {
    let mut sources = Sources { file: cli.common.config.clone(), ..Sources::of_process() };
    sources.default_file = directories::config_file("manager");
    if let Some(directory) = &cli.common.state_dir {
        sources.flags.push(flag("--state-dir", "state_directory", json!(directory)));
    }
    if let Some(Command::Run { listen }) = &cli.command
        && !listen.is_empty()
    {
        sources.flags.push(flag("--listen", "listen", json!(listen)));
    }
    sources
}

fn flag(flag: &str, path: &str, value: Value) -> Override {
    Override { flag: flag.to_owned(), path: path.to_owned(), value }
}

fn token(config: &Config, command: TokenCommand, out: &mut impl Write) -> Result<()> {
    match command {
        TokenCommand::Create { role, label, owner, expires, json } => {
            let expires_in = expires.map(|duration| duration.0);
            let request = Request::Create { role: role.into(), label, owner, expires_in };
            if let Response::Created { text, token } = administer(config, &request)? {
                if json {
                    writeln!(out, "{}", json!({ "token": token, "text": text }))?;
                } else {
                    writeln!(out, "{text}")?;
                }
            }
        }
        TokenCommand::List { json } => {
            if let Response::Tokens(tokens) = administer(config, &Request::List)? {
                list(&tokens, json, out)?;
            }
        }
        TokenCommand::Revoke { id, with_workers } => {
            administer(config, &Request::Revoke { token: id, with_workers })?;
            writeln!(out, "token {id} is revoked")?;
        }
    }
    Ok(())
}

fn reload(config: &Config, out: &mut impl Write) -> Result<()> {
    let Response::Reloaded { changed, restart } = administer(config, &Request::Reload)? else { return Ok(()) };
    writeln!(out, "{}", Changes { changed, restart })?;
    Ok(())
}

fn list(tokens: &[TokenSummary], json: bool, out: &mut impl Write) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let state = |token: &TokenSummary| {
        if token.revoked {
            "revoked".to_owned()
        } else if token.expires_milliseconds == 0 {
            "valid".to_owned()
        } else if token.expires_milliseconds <= now {
            "expired".to_owned()
        } else {
            let rest = Duration::from_secs((token.expires_milliseconds - now) / 1_000);
            format!("valid for {}", ConfigDuration(rest))
        }
    };
    let role = |token: &TokenSummary| match token.role() {
        messages::Role::Worker => "worker",
        messages::Role::Client => "client",
        messages::Role::Admin => "admin",
        messages::Role::Unspecified => "unknown",
    };
    if json {
        let tokens: Vec<Value> = tokens
            .iter()
            .map(|token| {
                json!({
                    "id": token.token,
                    "role": role(token),
                    "label": token.label,
                    "owner": token.owner,
                    "created_milliseconds": token.created_milliseconds,
                    "expires_milliseconds": (token.expires_milliseconds > 0).then_some(token.expires_milliseconds),
                    "revoked": token.revoked,
                    "workers": token.workers,
                })
            })
            .collect();
        return Ok(writeln!(out, "{}", Value::from(tokens))?);
    }
    let mut rows = vec![["ID", "ROLE", "OWNER", "LABEL", "WORKERS", "STATE"].map(str::to_owned)];
    rows.extend(tokens.iter().map(|token| {
        let (owner, label) = (token.owner.clone(), token.label.clone());
        [token.token.to_string(), role(token).to_owned(), owner, label, token.workers.to_string(), state(token)]
    }));
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}
