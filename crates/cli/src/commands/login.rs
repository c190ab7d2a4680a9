//! `login`: keeps a client's or administrator's token for the other commands.

use std::{io::IsTerminal, time::Duration};

use anyhow::{Context, Result};
use clap::Args;
use task_messenger_client::ClientCredential;
use task_messenger_core::record::Role;
use task_messenger_daemon::directories;
use task_messenger_protocol::token::{Token, read_text};

use crate::{
    failure::UsageError,
    printer::Printer,
    session::{self, SessionOptions},
};

const EXAMPLES: &str = "\
Examples:
  task-messenger login                 asks for the token, without showing it
  task-messenger login @client.token   reads it from a file
  printenv TOKEN | task-messenger login -

The token comes from `task-messenger-manager token create --role client`, or `--role admin`.";

/// How long the check may take when the link is cut in the middle of it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The arguments of `login`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Where the token is: `-` for standard input, `@FILE` for a file; by default it is asked for
    #[arg(value_name = "-|@FILE")]
    source: Option<String>,
}

/// Reads the token, tries it, and keeps it.
pub async fn run(arguments: &Arguments, session: &SessionOptions) -> Result<u8> {
    let token = Token::parse(&read_token(arguments.source.as_deref())?)
        .and_then(|token| token.require(&[Role::Client, Role::Admin]).map(|()| token))
        .map_err(|error| UsageError::new(error.to_string(), "copy the whole token, as `token create` printed it"))?;
    let path = session.credential_path()?;
    let mut credential = ClientCredential::from_token(&token);
    let addresses = session.addresses()?;
    if !addresses.is_empty() {
        credential.addresses = addresses.to_vec();
    }
    let client = session::connect(&credential, Some(PATIENCE)).await.context("nothing was kept")?;
    let status = client.status().await.context("nothing was kept")?;
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        directories::create_private(directory).with_context(|| format!("{} can't be made", directory.display()))?;
    }
    credential.save(&path)?;
    Printer::new(false).line(&format!(
        "logged in to {} at {}; the credential is kept in {}",
        if status.software.is_empty() { "the manager" } else { &status.software },
        credential.addresses.join(", "),
        path.display()
    ))?;
    Ok(0)
}

fn read_token(source: Option<&str>) -> Result<String> {
    match source {
        None if std::io::stdin().is_terminal() => {
            rpassword::prompt_password("token: ").context("the token can't be read from the terminal")
        }
        None | Some("-") => read_text(std::io::stdin()).context("standard input can't be read"),
        Some(source) => {
            let Some(path) = source.strip_prefix('@') else {
                return Err(UsageError::new(
                    "a token is not given as an argument: others on this machine could see it, and the shell remembers it",
                    "`task-messenger login` asks for it; `-` reads it from standard input, `@FILE` from a file",
                )
                .into());
            };
            std::fs::File::open(path).and_then(read_text).with_context(|| format!("{path} can't be read"))
        }
    }
}
