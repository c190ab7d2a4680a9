//! `join`: from a token to a credential.

use std::{fs, io::IsTerminal, path::Path};

use anyhow::{Context, anyhow};
use task_messenger_core::record::Role;
use task_messenger_daemon::{
    directories, exit,
    say::{say, tell},
};
use task_messenger_protocol::{
    credential::{CredentialError, WorkerCredential},
    private_file,
    token::{Token, read_text},
};

use super::{Failure, Join, block_on, place::Place};
use crate::{
    config::WorkerConfig,
    enrolment::{Enrolment, EnrolmentError},
};

/// Joins, and writes the worker's own credential.
pub(super) fn join(config: &WorkerConfig, place: &Place, join: &Join) -> Result<(), Failure> {
    let path = config.credential_path();
    match WorkerCredential::load(&path) {
        Err(error) if error.is_missing() => (),
        _ if join.force => (),
        Ok(credential) => {
            return Err(anyhow!(
                "this worker has joined already, as worker {} ({}). To join anew, as another worker, use --force",
                credential.worker,
                path.display()
            )
            .into());
        }
        Err(error) => return Err(unusable(error)),
    }
    let token = parse(&read(join.source.as_deref())?)?;
    // Of a service the state directory is made by the service manager, for the service's user.
    if path.starts_with(&config.state_directory) {
        prepare(config)?;
    }
    // Once the manager has enrolled it, the worker must be able to keep what it got.
    private_file::check_place(&path)?;
    let enrolment = Enrolment::new(token, &config.managers, &config.joining_name())?;
    let credential = block_on(async {
        if !join.wait {
            return enrolment.attempt().await;
        }
        enrolment.insist(|text| say(format_args!("waiting for the manager: {text}"))).await
    })?
    .map_err(refused)?;
    credential.save(&path)?;
    tell(format_args!(
        "joined as worker {} ({:?}); its credential is {}",
        credential.worker,
        config.joining_name(),
        path.display()
    ));
    tell(format_args!("start it with: {}", place.starting()));
    Ok(())
}

/// Reads the token of the configuration and enrols with it as soon as the manager can be reached.
pub(super) fn from_configuration(config: &WorkerConfig, file: &Path) -> Result<Enrolment, Failure> {
    let text = read_file(file)?;
    let token = parse(&text).map_err(|failure| Failure::new(exit::CONFIGURATION, failure.error))?;
    Ok(Enrolment::new(token, &config.managers, &config.joining_name())?)
}

/// A credential that is there but can't be used.
pub(super) fn unusable(error: CredentialError) -> Failure {
    Failure::new(exit::CONFIGURATION, anyhow::Error::from(error).context("the worker's credential can't be used"))
}

/// What an enrolment that failed ends with.
pub(super) fn refused(error: EnrolmentError) -> Failure {
    if error.is_final() {
        Failure::new(exit::CONFIGURATION, anyhow::Error::from(error).context("this token doesn't let the worker in"))
    } else if error.retry_can_help() {
        let text = "the worker has not joined (with --wait it tries until it can)";
        Failure::new(exit::UNAVAILABLE, anyhow::Error::from(error).context(text))
    } else {
        error.into()
    }
}

/// Makes the state directory.
pub(super) fn prepare(config: &WorkerConfig) -> Result<(), Failure> {
    let directory = &config.state_directory;
    directories::create_private(directory)
        .with_context(|| format!("the state directory {} can't be made", directory.display()))?;
    Ok(())
}

fn read(source: Option<&str>) -> Result<String, Failure> {
    match source {
        Some("-") => Ok(read_text(std::io::stdin()).context("standard input can't be read")?),
        Some(source) if source.starts_with('@') => read_file(Path::new(&source[1..])),
        Some(_) => {
            let text = "a token given as an argument can be seen by everyone on this machine, and stays in the shell's \
                        history: leave it out and paste it when asked, or use `-` (standard input) or `@FILE`";
            Err(Failure::new(exit::USAGE, anyhow!(text)))
        }
        None if std::io::stdin().is_terminal() => {
            Ok(rpassword::prompt_password("Join token (it is not shown): ").context("the terminal can't be read")?)
        }
        None => {
            let text = "there is no terminal to ask for the token: use `-` (standard input) or `@FILE`";
            Err(Failure::new(exit::USAGE, anyhow!(text)))
        }
    }
}

fn read_file(path: &Path) -> Result<String, Failure> {
    let text = fs::File::open(path).and_then(read_text);
    Ok(text.with_context(|| format!("the token can't be read from {}", path.display()))?)
}

fn parse(text: &str) -> Result<Token, Failure> {
    let token = Token::parse(text).and_then(|token| token.require(&[Role::Worker]).map(|()| token));
    token.map_err(|error| Failure::new(exit::USAGE, error))
}
