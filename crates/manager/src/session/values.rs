//! Values on their way between a link and the store: large ones become files, and all are read back from their places.

use std::{error::Error, io, time::Duration};

use bytes::Bytes;
use task_messenger_core::{
    digest::INLINE_LIMIT,
    ids::{Place, SessionNumber},
    values::{Value, Values, ValuesBuilder},
};
use task_messenger_store::{
    blobs::{BlobError, Blobs},
    journal::ReadError,
};
use tracing::{info, warn};

use super::{SessionError, Shared};
use crate::owner::Event;

/// How often outcomes that found no room are tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// Errors of the system that pass by themselves: no descriptor is free, or (on Windows) another program has the file open
/// for a moment.
const PASSING: &[i32] = if cfg!(windows) { &[4, 32, 33] } else { &[23, 24] };

/// A file that was written and that nobody knows of yet. It is removed if nobody ever does.
struct Written {
    blobs: Blobs,
    file: Option<u64>,
}

impl Written {
    fn keep(mut self) {
        self.file = None;
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if let Some(file) = self.file {
            // If it can't be removed, the next start does it.
            let _ = self.blobs.remove(file);
        }
    }
}

impl Shared {
    /// Puts payloads that are too large to lie among others into files of their own, which are durable before this returns.
    /// The inner error says that there is no room.
    pub(super) async fn externalise_payloads(&self, values: Values) -> Result<Result<Values, String>, SessionError> {
        let bytes = large_bytes(&values);
        if bytes == 0 {
            return Ok(Ok(values));
        }
        if let Err(text) = self.disk.take(bytes) {
            return Ok(Err(text));
        }
        let mut written = Vec::new();
        let mut builder = ValuesBuilder::default();
        for (_, value) in values.iter() {
            match self.write_if_large(value, false).await? {
                Ok(Stored::Inline(value)) => builder.push_value(&value),
                Ok(Stored::File { file, length }) => {
                    builder.push_external(file.file.unwrap_or_default(), length);
                    written.push(file);
                }
                Err(_) => return Ok(Err(self.disk.no_room())),
            }
        }
        written.into_iter().for_each(Written::keep);
        Ok(Ok(builder.take()))
    }

    /// The same for outcomes. Where there is no room for them, not even in the reserve, they wait for it here, and the
    /// worker keeps them: nothing more is read from it meanwhile, and its leases go on.
    pub(super) async fn externalise_outcomes(
        &self,
        values: Values,
        session: SessionNumber,
    ) -> Result<Values, SessionError> {
        let files = large_bytes(&values);
        let journal = (values.bytes().len() as u64).saturating_sub(files);
        let mut waited = false;
        while !self.disk.room().take_for_outcomes(journal, files) {
            self.wait_for_room(session, &mut waited).await?;
        }
        if files == 0 {
            return Ok(values);
        }
        let mut written = Vec::new();
        let mut builder = ValuesBuilder::default();
        for (_, value) in values.iter() {
            loop {
                match self.write_if_large(value.clone(), true).await? {
                    Ok(Stored::Inline(value)) => builder.push_value(&value),
                    Ok(Stored::File { file, length }) => {
                        builder.push_external(file.file.unwrap_or_default(), length);
                        written.push(file);
                    }
                    Err(_) => {
                        self.wait_for_room(session, &mut waited).await?;
                        continue;
                    }
                }
                break;
            }
        }
        written.into_iter().for_each(Written::keep);
        if waited {
            info!("the outcomes that waited are taken");
        }
        Ok(builder.take())
    }

    async fn wait_for_room(&self, session: SessionNumber, waited: &mut bool) -> Result<(), SessionError> {
        if !std::mem::replace(waited, true) {
            warn!("outcomes of a worker wait: the disk is full, and what is left of the reserve does not do for them");
        }
        tokio::time::sleep(AGAIN).await;
        // It is not the worker who is silent.
        self.events.send(Event::Heard(session)).await.map_err(|_| SessionError::Stopping)
    }

    /// The inner error is that of a full disk.
    async fn write_if_large(
        &self,
        value: Value,
        within_reserve: bool,
    ) -> Result<Result<Stored, BlobError>, SessionError> {
        let bytes = match value {
            Value::Inline(bytes) if bytes.len() as u64 > INLINE_LIMIT => bytes,
            other => return Ok(Ok(Stored::Inline(other))),
        };
        let blobs = self.blobs.clone();
        // What is written when the session has ended meanwhile is removed by itself.
        let written = tokio::task::spawn_blocking(move || {
            let file = if within_reserve { blobs.write_within_reserve(&bytes) } else { blobs.write(&bytes) };
            let length = bytes.len() as u64;
            file.map(|file| Stored::File { file: Written { blobs, file: Some(file) }, length })
        });
        match written.await {
            Ok(Ok(stored)) => Ok(Ok(stored)),
            Ok(Err(error)) if error.is_full() => Ok(Err(error)),
            Ok(Err(error)) => Err(self.failed(is_passing(&error.source), error).await),
            Err(error) => Err(SessionError::Store(Box::new(error))),
        }
    }

    /// The values at these places: usually all in memory, otherwise read beside the event loop.
    pub(super) async fn look_up(&self, places: &[Place]) -> Result<Vec<Value>, SessionError> {
        if let Some(values) = self.reader.all_cached(places) {
            return Ok(values);
        }
        let reader = self.reader.clone();
        let places = places.to_vec();
        let read = tokio::task::spawn_blocking(move || {
            let mut values = Vec::with_capacity(places.len());
            reader.read_many(&places, &mut values).map(|()| values)
        });
        match read.await {
            Ok(Ok(values)) => Ok(values),
            Ok(Err(error)) => {
                let passing = matches!(&error, ReadError::Io { source, .. } if is_passing(source));
                Err(self.failed(passing, error).await)
            }
            Err(error) => Err(SessionError::Store(Box::new(error))),
        }
    }

    /// A value's bytes.
    pub(super) async fn load(&self, value: Value) -> Result<Bytes, SessionError> {
        let file = match value {
            Value::Inline(bytes) => return Ok(bytes),
            Value::External { file, .. } => file,
        };
        let blobs = self.blobs.clone();
        match tokio::task::spawn_blocking(move || blobs.read(file)).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(self.failed(is_passing(&error.source), error).await),
            Err(error) => Err(SessionError::Store(Box::new(error))),
        }
    }

    /// The store failed. Unless that passes by itself, every session would come upon it again and again: the owner ends.
    async fn failed(&self, passing: bool, error: impl Error + Send + Sync + 'static) -> SessionError {
        if passing {
            return SessionError::Store(Box::new(error));
        }
        // The owner is gone only when the manager ends anyway.
        let _ = self.events.send(Event::StoreFailed(Box::new(error))).await;
        SessionError::Stopping
    }
}

/// A value as it goes into a record.
enum Stored {
    Inline(Value),
    File { file: Written, length: u64 },
}

fn is_passing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::OutOfMemory || error.raw_os_error().is_some_and(|code| PASSING.contains(&code))
}

fn large_bytes(values: &Values) -> u64 {
    values.layout().map(|(_, length)| length).filter(|length| *length > INLINE_LIMIT).sum()
}
