//! A Unix socket.

use std::{
    fs::{File, Permissions},
    io,
    os::{fd::AsRawFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
};

use task_messenger_protocol::link::Stream;
use tokio::net::{UnixListener, UnixStream};

use super::LocalError;

#[derive(Debug)]
pub(super) struct Listener {
    listener: UnixListener,
    path: PathBuf,
}

impl Listener {
    pub(super) async fn bind(directory: &Path, component: &'static str) -> Result<Self, LocalError> {
        let name = format!("{component}.sock");
        let path = directory.join(&name);
        let failed = |source| LocalError::Io { directory: directory.to_owned(), source };
        let address = Address::of(directory, &name).map_err(failed)?;
        match UnixStream::connect(&address.path).await {
            Ok(_) => return Err(LocalError::Taken { component, directory: directory.to_owned() }),
            // Nobody listens: its process is dead.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(&path).map_err(failed)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(&address.path).map_err(failed)?;
        let listener = Self { listener, path };
        std::fs::set_permissions(&listener.path, Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(listener)
    }

    pub(super) async fn accept(&mut self) -> io::Result<Stream> {
        let (stream, _) = self.listener.accept().await?;
        Ok(Box::new(stream))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // What stays is replaced at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

pub(super) async fn connect(directory: &Path, component: &str) -> io::Result<Stream> {
    let address = Address::of(directory, &format!("{component}.sock"))?;
    Ok(Box::new(UnixStream::connect(&address.path).await?))
}

/// A path to the socket that is short enough for the system.
struct Address {
    path: PathBuf,
    /// What a path through `/proc` goes by.
    _directory: Option<File>,
}

impl Address {
    fn of(directory: &Path, name: &str) -> io::Result<Self> {
        let path = directory.join(name);
        let Err(too_long) = std::os::unix::net::SocketAddr::from_pathname(&path) else {
            return Ok(Self { path, _directory: None });
        };
        if !cfg!(target_os = "linux") {
            return Err(io::Error::new(too_long.kind(), format!("{too_long}: choose a shorter state directory")));
        }
        let opened = File::open(directory)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd())).join(name);
        Ok(Self { path, _directory: Some(opened) })
    }
}
