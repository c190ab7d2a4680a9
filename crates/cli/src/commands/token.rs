//! `token`: who may connect. For administrators, from anywhere.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::Cell;
use serde_json::{Value, json};
use task_messenger_client::{Client, Role, TokenSummary};

use crate::{
    format,
    printer::{Printer, number},
    session::SessionOptions,
};

const EXAMPLES: &str = "\
Examples:
  task-messenger token create --role worker --label rack-7 --expires 30d
  task-messenger token create --role client --owner alice
  task-messenger token list
  task-messenger token revoke 3

They need an administrator's token. On the manager's own machine `task-messenger-manager token …` does the same without.
A token is shown once, when it is made. --json prints one object, of `list` one array.";

/// The arguments of `token`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    command: TokenCommand,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token and print it
    Create(CreateArguments),
    /// List the tokens
    List,
    /// Let nobody in with a token any more
    Revoke {
        /// The token's number, as `token list` shows it
        token: u32,
        /// Remove the workers that joined with it too: they stop their tasks, which others run then
        #[arg(long)]
        with_workers: bool,
    },
}

#[derive(Debug, Args)]
struct CreateArguments {
    /// What it allows
    #[arg(long)]
    role: RoleName,
    /// What it is for, for people
    #[arg(long, default_value = "", hide_default_value = true)]
    label: String,
    /// Whom it stands for [default: a new owner, named like the token]
    #[arg(long, default_value = "", hide_default_value = true)]
    owner: String,
    /// It lets nobody new in after this time, such as 30d [default: never]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    expires: Option<Duration>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleName {
    /// Workers join with it
    Worker,
    /// Submit, follow, ask
    Client,
    /// All that, and administer
    Admin,
}

/// Does it.
pub async fn run(arguments: &Arguments, session: &SessionOptions) -> Result<u8> {
    let client = session.connect().await?;
    let printer = Printer::new(arguments.json);
    match &arguments.command {
        TokenCommand::Create(create) => make(&client, create, printer).await?,
        TokenCommand::List => list(&client.tokens().await?, printer)?,
        TokenCommand::Revoke { token, with_workers } => {
            client.revoke_token(*token, *with_workers).await?;
            if printer.json() {
                printer.document(&json!({ "revoked": token }))?;
            } else {
                printer.line(&format!("token {token} lets nobody in any more"))?;
            }
        }
    }
    Ok(0)
}

async fn make(client: &Client, create: &CreateArguments, printer: Printer) -> Result<()> {
    let role = match create.role {
        RoleName::Worker => Role::Worker,
        RoleName::Client => Role::Client,
        RoleName::Admin => Role::Admin,
    };
    let created = client.create_token(role, &create.label, create.expires, &create.owner).await?;
    if printer.json() {
        return printer.document(&json!({ "token": created.token, "text": created.text }));
    }
    printer.line(&created.text)
}

fn list(tokens: &[TokenSummary], printer: Printer) -> Result<()> {
    if printer.json() {
        let documents = tokens.iter().map(|token| {
            json!({
                "token": token.token,
                "role": token.role().to_string(),
                "label": token.label,
                "owner": token.owner,
                "created": format::time_json(token.created_milliseconds),
                "expires": format::time_json(token.expires_milliseconds),
                "revoked": token.revoked,
                "workers": token.workers,
            })
        });
        return printer.document(&documents.collect::<Value>());
    }
    let rows = tokens.iter().map(|token| {
        vec![
            number(token.token),
            Cell::new(token.role()),
            Cell::new(&token.label),
            Cell::new(&token.owner),
            Cell::new(format::time(token.created_milliseconds)),
            Cell::new(if token.revoked { "revoked".to_owned() } else { format::time(token.expires_milliseconds) }),
            number(token.workers),
        ]
    });
    printer.table(&["TOKEN", "ROLE", "LABEL", "OWNER", "CREATED", "EXPIRES", "WORKERS"], rows.collect(), "no tokens")
}
