//! `run`: the worker itself.

use std::{
    fs::{File, TryLockError},
    io::{self, ErrorKind},
    path::Path,
    rc::Rc,
    sync::Arc,
};

use anyhow::{Context, anyhow};
use task_messenger_daemon::{
    config::Sources,
    exit,
    http::Bound,
    local::LocalListener,
    logging::{Logging, LoggingError},
    reload::{Hangups, Reloader},
    shutdown::Shutdown,
    signals::on_reopen,
};
use task_messenger_protocol::{
    credential::WorkerCredential,
    link,
    private_file::{self, PrivateFileError},
};

use super::{
    Failure, block_on, join,
    place::{Place, handed_credential},
};
use crate::{
    config::WorkerConfig,
    enrolment::{Enrolment, SOFTWARE},
    outbox::{self, NewerOutbox, OUTBOX},
    runners::{
        command,
        skill::{SkillRegistry, keep_panics_private},
    },
    worker::{Addresses, Connector, Identity, Reloading, Watch, Worker},
};

/// Runs until a stop is asked for; the exit code.
pub(super) fn run(
    config: &WorkerConfig,
    sources: Sources,
    place: &Place,
    skills: SkillRegistry,
) -> Result<u8, Failure> {
    let logging = match config.log.init("task-messenger-worker") {
        Ok(logging) => {
            keep_panics_private();
            Some(Rc::new(logging))
        }
        // A program that links the worker may log in its own way.
        Err(LoggingError::Twice(_)) => None,
        Err(error) => {
            return Err(Failure::new(if error.is_final() { exit::CONFIGURATION } else { exit::FAILURE }, error));
        }
    };
    let reopen = logging.as_ref().map(|logging| logging.reopener());
    on_reopen(move || reopen.iter().for_each(|reopen| reopen())).context("signals can't be listened to")?;
    work(config, sources, place, logging.clone(), skills).inspect_err(|failure| {
        if let Some(logging) = &logging {
            logging.failed(failure.error.as_ref());
        }
    })
}

fn work(
    config: &WorkerConfig,
    sources: Sources,
    place: &Place,
    logging: Option<Rc<Logging>>,
    skills: SkillRegistry,
) -> Result<u8, Failure> {
    join::prepare(config)?;
    let _lock = lock(config)?;
    command::end_leftovers(&config.state_directory);
    let (mut shutdown, _trigger) = Shutdown::listen().context("signals can't be listened to")?;
    let mut watch = Watch::start().context("the service manager's thread can't be started")?;
    if let Some(http) = &config.http {
        Bound::bind(http)
            .and_then(|bound| bound.serve(None, watch.health.clone(), watch.metrics()))
            .map_err(|error| Failure::new(if error.is_final() { exit::CONFIGURATION } else { exit::FAILURE }, error))?;
    }
    let mut reloader = Reloader::new(sources, config.clone(), &watch.health);
    let mut config = config.clone();
    block_on(async {
        let local = LocalListener::bind(&config.state_directory, "worker").await?;
        let mut hangups = Hangups::listen(Some(local)).context("signals can't be listened to")?;
        let mut enrolment = None;
        let credential = loop {
            tokio::select! {
                credential = credential(&config, place, &watch, &mut enrolment) => break credential?,
                _ = shutdown.requested() => return Ok(exit::SUCCESS),
                asker = hangups.next() => {
                    watch.service.reloading();
                    let reloaded = reloader.reload();
                    if let Some(asker) = asker {
                        asker.answer(reloaded.as_ref());
                    }
                    if let Ok(reloaded) = reloaded {
                        set_level(logging.as_deref(), &reloaded.config);
                        config = reloaded.config;
                    }
                }
            }
        };
        let identity = Identity { store: credential.store, worker: credential.worker };
        tracing::info!(worker = identity.worker, slots = config.slots, "{SOFTWARE} runs");
        let addresses = Addresses::new(credential.addresses.clone(), &config.managers);
        watch.reload_by(Reloading { reloader, hangups, logging, addresses: addresses.clone() });
        let service = watch.service.clone();
        let worker = Worker::new(&config, identity, connector(addresses, credential), skills, shutdown, watch)
            .map_err(|error| unusable_state(&config, error))?;
        // With or without a manager: no outage of something remote is a failed start.
        service.ready();
        Ok(worker.run().await)
    })?
}

/// Whether this program knows the formats of what is in the state directory.
pub(super) fn check_formats(config: &WorkerConfig) -> Result<(), Failure> {
    outbox::check_format(&config.state_directory.join(OUTBOX)).map_err(|error| unusable_state(config, error))
}

fn unusable_state(config: &WorkerConfig, error: io::Error) -> Failure {
    let is_newer = error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<NewerOutbox>);
    let text = format!("the state directory {} can't be used", config.state_directory.display());
    let code = if is_newer { exit::CONFIGURATION } else { exit::FAILURE };
    Failure::new(code, anyhow::Error::from(error).context(text))
}

/// Logs as a configuration says that was loaded anew.
pub(crate) fn set_level(logging: Option<&Logging>, config: &WorkerConfig) {
    if let Some(Err(error)) = logging.map(|logging| logging.set_level(&config.log.level)) {
        tracing::error!(%error, "the log level can't be changed");
    }
}

/// One worker a state directory: held as long as the file is open.
fn lock(config: &WorkerConfig) -> Result<File, Failure> {
    let path = config.state_directory.join("worker.lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("{} can't be opened", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let directory = config.state_directory.display();
            Err(anyhow!("another worker runs with the state directory {directory}: give each its own (--state-dir)")
                .into())
        }
        Err(TryLockError::Error(error)) => {
            Err(anyhow::Error::from(error).context(format!("{} can't be locked", path.display())).into())
        }
    }
}

/// The worker's credential; enrols if there is none and the configuration says how. An enrolment that was begun goes on.
async fn credential(
    config: &WorkerConfig,
    place: &Place,
    watch: &Watch,
    enrolment: &mut Option<Enrolment>,
) -> Result<WorkerCredential, Failure> {
    let path = handed_credential().unwrap_or_else(|| config.credential_path());
    match WorkerCredential::load(&path) {
        Ok(credential) => return Ok(credential),
        Err(error) if error.is_missing() => (),
        Err(error) => return Err(join::unusable(error)),
    }
    let Some(file) = &config.join_token_file else {
        let text = format!(
            "this worker has not joined (there is no {}): make a token on the manager's machine with `task-messenger-manager \
             token create --role worker`, and give it to `{}`",
            path.display(),
            place.joining()
        );
        return Err(Failure::new(exit::CONFIGURATION, anyhow!(text)));
    };
    let enrolment = if let Some(begun) = enrolment {
        begun.with(&config.managers, &config.joining_name())
    } else {
        check_place(&path, place)?;
        enrolment.insert(join::from_configuration(config, file)?)
    };
    watch.service.ready();
    let credential = enrolment
        .insist(|error| {
            watch.service.status(format!("waiting to join: {error}"));
            tracing::warn!(error, "the worker can't join yet; trying again until it can");
        })
        .await
        .map_err(join::refused)?;
    credential.save(&path)?;
    tracing::info!(worker = credential.worker, "joined");
    Ok(credential)
}

/// Sees that the credential can be kept, before there is one.
fn check_place(path: &Path, place: &Place) -> Result<(), Failure> {
    let Err(error) = private_file::check_place(path) else { return Ok(()) };
    let PrivateFileError::Write { source, .. } = &error else { return Err(error.into()) };
    if !matches!(source.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::NotFound) {
        return Err(error.into());
    }
    let advice = format!(
        "the worker may not write its credential there: let `{}` do it, or have `credential_file` lie below its state directory",
        place.joining()
    );
    Err(Failure::new(exit::CONFIGURATION, anyhow::Error::from(error).context(advice)))
}

fn connector(addresses: Addresses, credential: WorkerCredential) -> Connector {
    let hello = credential.hello(SOFTWARE);
    let shared = Arc::new((credential.trust, hello));
    Box::new(move || {
        let (shared, addresses) = (Arc::clone(&shared), addresses.get());
        Box::pin(async move { link::connect(&addresses, &shared.0, &shared.1).await })
    })
}
