//! From the credential file to a client with a link.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::Args;
use task_messenger_client::{Client, ClientCredential, ClientOptions, Connector, LinkStatus};
use task_messenger_daemon::{directories, say::say};
use task_messenger_protocol::token::check_address;

use crate::failure::UsageError;

/// How long a command that only asks waits for a manager that went away.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the manager is told of this program.
const SOFTWARE: &str = concat!("task-messenger ", env!("CARGO_PKG_VERSION"));

/// Options of every command.
#[derive(Clone, Debug, Default, Args)]
pub struct SessionOptions {
    /// The file with the credential that `login` keeps [default: client.json in the user's configuration directory]
    #[arg(long, global = true, value_name = "FILE", env = "TASK_MESSENGER_CREDENTIAL", help_heading = "Connection")]
    pub credential: Option<PathBuf>,
    /// Where the manager is, instead of the addresses in the credential; may be repeated
    #[arg(long, global = true, value_name = "HOST:PORT", help_heading = "Connection")]
    pub manager: Vec<String>,
}

impl SessionOptions {
    /// Where the credential is kept.
    pub fn credential_path(&self) -> Result<PathBuf> {
        match &self.credential {
            Some(path) => Ok(path.clone()),
            None => Ok(directories::personal()
                .context("say where the credential is: `--credential FILE`")?
                .join("client.json")),
        }
    }

    /// The addresses to use instead of the credential's, checked; empty if none are given.
    pub fn addresses(&self) -> Result<&[String]> {
        for address in &self.manager {
            if let Err(problem) = check_address(address) {
                return Err(UsageError::plain(format!("--manager: {problem}")).into());
            }
        }
        Ok(&self.manager)
    }

    /// Connects for a question or two: a manager that goes away meanwhile is waited for, but not for ever.
    pub async fn connect(&self) -> Result<Client> {
        self.connect_with(ClientOptions { give_up_after: Some(PATIENCE), ..options() }).await
    }

    /// Connects for somebody who looks at what happens: a manager that went away is soon seen to be back. Whoever looks is
    /// told by [`Client::status_of_link`].
    pub async fn connect_to_watch(&self) -> Result<Client> {
        self.connect_with(ClientOptions { backoff_longest: Duration::from_secs(2), ..options() }).await
    }

    /// Connects for as long as it takes, and says when the link is cut and when it is back.
    pub async fn connect_for_long(&self) -> Result<Client> {
        let client = self.connect_with(ClientOptions { give_up_after: None, ..options() }).await?;
        let mut status = client.status_of_link();
        // It ends with the client, or with the program; whoever waits is told of a final error elsewhere.
        tokio::spawn(async move {
            let mut said = false;
            while status.changed().await.is_ok() {
                let now = status.borrow_and_update().clone();
                match now {
                    LinkStatus::Down { reason, attempts } if attempts > 0 && !said => {
                        say(format_args!("the manager is out of reach ({reason}); trying again, nothing is lost"));
                        said = true;
                    }
                    LinkStatus::Up if said => {
                        say("the manager is back");
                        said = false;
                    }
                    _ => {}
                }
            }
        });
        Ok(client)
    }

    async fn connect_with(&self, options: ClientOptions) -> Result<Client> {
        let mut credential = ClientCredential::load(&self.credential_path()?).context("not logged in")?;
        let addresses = self.addresses()?;
        if !addresses.is_empty() {
            credential.addresses = addresses.to_vec();
        }
        Ok(Client::connect_with(Connector::of_credential(&credential, &options), options).await?)
    }
}

/// Connects with a credential.
pub async fn connect(credential: &ClientCredential, give_up_after: Option<Duration>) -> Result<Client> {
    let options = ClientOptions { give_up_after, ..options() };
    Ok(Client::connect_with(Connector::of_credential(credential, &options), options).await?)
}

fn options() -> ClientOptions {
    ClientOptions { software: SOFTWARE.to_owned(), ..ClientOptions::default() }
}
