//! A named pipe.

use std::{
    io,
    os::windows::io::AsHandle,
    path::Path,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use task_messenger_protocol::{
    link::Stream,
    windows_access::{access, maker, may_serve, owner as owner_of, owner_of_pipe, private_pipe, user, with_access},
};
use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeClient, NamedPipeServer, ServerOptions};

use super::LocalError;

/// What Windows says when every instance of a pipe is taken: the next one is about to be made.
const ERROR_PIPE_BUSY: i32 = 231;

/// How long to wait for an instance.
const BUSY_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Listener {
    name: String,
    /// The instance that the next connection takes.
    next: NamedPipeServer,
}

impl Listener {
    #[expect(clippy::unused_async, reason = "the same as on Unix")]
    pub(super) async fn bind(directory: &Path, component: &'static str) -> Result<Self, LocalError> {
        let failed = |source: io::Error| {
            let directory = directory.to_owned();
            // Windows refuses access to a second first instance.
            if source.kind() == io::ErrorKind::PermissionDenied {
                LocalError::Taken { component, directory }
            } else {
                LocalError::Io { directory, source }
            }
        };
        let name = pipe_name(directory, component).map_err(failed)?;
        let next = create(&name, true).map_err(failed)?;
        Ok(Self { name, next })
    }

    pub(super) async fn accept(&mut self) -> io::Result<Stream> {
        self.next.connect().await?;
        let following = create(&self.name, false)?;
        Ok(Box::new(std::mem::replace(&mut self.next, following)))
    }
}

/// A pipe that nobody else may open, also not only to read: that would take its next instance.
fn create(name: &str, first: bool) -> io::Result<NamedPipeServer> {
    with_access(&private_pipe(&user()?), |attributes| {
        let mut options = ServerOptions::new();
        options.first_pipe_instance(first).reject_remote_clients(true);
        #[expect(unsafe_code, reason = "the system's own way to say who may")]
        // SAFETY: they are valid SECURITY_ATTRIBUTES for as long as this call takes.
        unsafe {
            options.create_with_security_attributes_raw(name, attributes)
        }
    })
}

pub(super) async fn connect(directory: &Path, component: &str) -> io::Result<Stream> {
    let name = pipe_name(directory, component)?;
    let pipe = open(&name).await?;
    // Whoever comes first gets the name, and it can be known: nobody is told anything before it is clear who listens.
    let owner = owner_of_pipe(pipe.as_handle())?;
    // What this user's own processes make need not be the user's: administrators' is their group's.
    let is_own = owner == maker()? || owner == owner_of(directory)?;
    if !is_own && !may_serve(&owner, &access(directory)?, &user()?) {
        let text = format!("somebody else listens in the {component}'s place ({owner}, at {name})");
        return Err(io::Error::other(text));
    }
    Ok(Box::new(pipe))
}

async fn open(name: &str) -> io::Result<NamedPipeClient> {
    let start = Instant::now();
    loop {
        match ClientOptions::new().open(name) {
            Err(error) if error.raw_os_error() == Some(ERROR_PIPE_BUSY) && start.elapsed() < BUSY_LIMIT => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            opened => return opened,
        }
    }
}

/// One name for a directory, however it is written.
fn pipe_name(directory: &Path, component: &str) -> io::Result<String> {
    let path = directory.canonicalize()?.to_string_lossy().to_lowercase();
    let hash = Sha256::digest(path).iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    Ok(format!(r"\\.\pipe\task-messenger-{component}-{hash:032x}"))
}
