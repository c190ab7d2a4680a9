//! `local`: a manager and workers on this machine, kept up until they are told to stop.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use task_messenger_client::ClientCredential;
use task_messenger_daemon::{
    directories,
    say::{say, tell},
    shutdown::Shutdown,
};

use crate::fleet::Fleet;

/// How often it is looked whether every process still runs.
const LOOK: Duration = Duration::from_secs(1);

/// What `local` is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many workers.
    pub workers: usize,
    /// Slots of each worker; by default the number of processors, shared among the workers.
    pub slots: Option<u32>,
    /// Where everything lies; by default below the user's state directory.
    pub directory: Option<PathBuf>,
    /// The credential file that the client commands read by default.
    pub credential: PathBuf,
}

/// Starts everything and stays until Ctrl-C or SIGTERM.
pub async fn run(options: &Options) -> Result<()> {
    let directory = match &options.directory {
        Some(directory) => directory.clone(),
        None => directories::state("local")?,
    };
    directories::create_private(&directory).with_context(|| format!("{} can't be made", directory.display()))?;
    let (mut shutdown, _trigger) = Shutdown::listen()?;
    let slots = options.slots.or_else(|| {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        u32::try_from(processors.div_ceil(options.workers.max(1))).ok()
    });
    let mut fleet = tokio::select! {
        fleet = Fleet::start(&directory, options.workers, slots) => fleet?,
        // What had been started ends with it.
        _ = shutdown.requested() => return Ok(()),
    };
    tell(format_args!(
        "a manager and {} workers are running; state and logs: {}",
        options.workers,
        directory.display()
    ));
    tell(log_in(fleet.credential(), &fleet.credential_file(), &options.credential)?);
    tell("Ctrl-C stops them; what is queued goes on at the next start");
    let mut looks = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            _ = shutdown.requested() => break,
            _ = looks.tick() => {
                for name in fleet.keep_up()? {
                    say(format_args!("{name} had ended and was started again; its log: {}", directory.join(format!("{name}.log")).display()));
                }
            }
        }
    }
    tell("stopping");
    fleet.stop().await
}

/// Logs the client in, unless it is logged in to another manager; says how to use it.
fn log_in(credential: &ClientCredential, own: &Path, default: &Path) -> Result<String> {
    let use_it = "try: task-messenger submit --wait -- echo hello";
    match ClientCredential::load(default) {
        Ok(known) if known == *credential => Ok(use_it.to_owned()),
        Err(error) if error.is_missing() => {
            if let Some(parent) = default.parent() {
                directories::create_private(parent)?;
            }
            credential.save(default)?;
            Ok(use_it.to_owned())
        }
        Ok(_) | Err(_) => Ok(format!(
            "{} belongs to another manager and was left alone; for this one:\n  \
             export TASK_MESSENGER_CREDENTIAL={}\n  {use_it}",
            default.display(),
            own.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use task_messenger_core::record::Role;
    use task_messenger_protocol::{
        secret::Secret,
        tls::{Fingerprint, Trust},
        token::Token,
    };

    use super::*;

    fn credential(number: u32) -> ClientCredential {
        ClientCredential::from_token(&Token {
            role: Role::Client,
            number,
            secret: Secret::random().unwrap(),
            trust: Trust::Pin(Fingerprint([7; 32])),
            addresses: vec!["127.0.0.1:1".to_owned()],
        })
    }

    #[test]
    fn the_client_is_logged_in_unless_it_is_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let default = directory.path().join("config/client.json");
        let (one, other) = (credential(1), credential(2));
        let own = directory.path().join("own.json");
        assert!(log_in(&one, &own, &default).unwrap().starts_with("try"));
        assert_eq!(ClientCredential::load(&default).unwrap(), one);
        assert!(log_in(&one, &own, &default).unwrap().starts_with("try"));
        let text = log_in(&other, &own, &default).unwrap();
        assert!(text.contains("TASK_MESSENGER_CREDENTIAL") && text.contains("own.json"));
        assert_eq!(ClientCredential::load(&default).unwrap(), one);
    }
}
