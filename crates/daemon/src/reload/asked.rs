//! Asking a daemon, at its local socket, to load its configuration anew: one line there, one line back, as JSON.

use std::{fmt, io, path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use task_messenger_protocol::link::Stream;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::Reloaded;
use crate::{
    config::ConfigError,
    exit::chain,
    local::{LocalError, LocalListener, connect_local},
};

/// How many may ask at a time.
const ASKERS: usize = 16;
/// How long one may take to ask, and to be answered.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long after an error the next one is waited for.
const PAUSE: Duration = Duration::from_millis(100);
/// Neither line is longer.
const LONGEST: u64 = 1 << 20;

const REQUEST: &str = "reload";

/// The keys that have other values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// From now on.
    pub changed: Vec<String>,
    /// From the next start on.
    pub restart: Vec<String>,
}

/// For people, a line each.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changed = self.changed.join(", ");
        write!(f, "changed: {}", if changed.is_empty() { "nothing" } else { &changed })?;
        if self.restart.is_empty() {
            return Ok(());
        }
        write!(f, "\nchanged at the next restart: {}", self.restart.join(", "))
    }
}

impl<T> From<&Reloaded<T>> for Changes {
    fn from(reloaded: &Reloaded<T>) -> Self {
        Self { changed: reloaded.changed.clone(), restart: reloaded.restart.clone() }
    }
}

/// Somebody who has asked, and waits for the answer.
#[derive(Debug)]
pub struct Asker(oneshot::Sender<Answer>);

impl Asker {
    /// Says what came of it.
    pub fn answer<T>(self, result: Result<&Reloaded<T>, &ConfigError>) {
        // Who has gone needs no answer.
        let _ = self.0.send(result.map(Changes::from).map_err(|error| chain(error)));
    }
}

type Answer = Result<Changes, String>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The daemon can't be reached.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// It has gone, or answers something else.
    #[error("the {component} did not answer")]
    Answer {
        /// Which.
        component: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The new configuration can't be used.
    #[error("the {component} keeps its configuration: {text}")]
    Refused {
        /// Which.
        component: &'static str,
        /// Why.
        text: String,
    },
}

/// Asks the daemon that runs on a state directory.
pub async fn ask(state_directory: &Path, component: &'static str) -> Result<Changes, AskError> {
    let stream = connect_local(state_directory, component).await?;
    let exchange = async {
        let mut stream = BufReader::new(stream.take(LONGEST));
        stream.get_mut().get_mut().write_all(format!("{REQUEST}\n").as_bytes()).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        Ok(serde_json::from_str::<Answer>(&line)?)
    };
    let answer = timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let answer = answer.map_err(|source| AskError::Answer { component, source })?;
    answer.map_err(|text| AskError::Refused { component, text })
}

/// Lets people ask. It ends with the receiver.
pub(super) fn serve(mut listener: LocalListener) -> mpsc::Receiver<Asker> {
    let (askers, asked) = mpsc::channel(ASKERS);
    tokio::spawn(async move {
        let mut served = JoinSet::new();
        loop {
            while served.len() >= ASKERS {
                served.join_next().await;
            }
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(stream) => _ = served.spawn(timeout(PATIENCE, serve_one(stream, askers.clone()))),
                    Err(error) => {
                        tracing::debug!(%error, "nobody can ask for a reload just now");
                        sleep(PAUSE).await;
                    }
                },
                Some(_) = served.join_next() => {}
                () = askers.closed() => return,
            }
        }
    });
    asked
}

async fn serve_one(stream: Stream, askers: mpsc::Sender<Asker>) -> io::Result<()> {
    let mut stream = BufReader::new(stream.take(LONGEST));
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    if line.trim_end() != REQUEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let (answer, answered) = oneshot::channel();
    askers.send(Asker(answer)).await.map_err(io::Error::other)?;
    let answer = answered.await.map_err(io::Error::other)?;
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    let stream = stream.get_mut().get_mut();
    stream.write_all(&line).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reload::Hangups;

    #[tokio::test]
    async fn who_asks_learns_what_came_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let nobody = ask(directory, "worker").await;
        assert!(
            matches!(nobody, Err(AskError::Local(LocalError::NotRunning { component: "worker", .. }))),
            "{nobody:?}"
        );
        let local = LocalListener::bind(directory, "worker").await.unwrap();
        let mut hangups = Hangups::listen(Some(local)).unwrap();

        // Who says something else is not heard, nor is who says nothing.
        let silent = connect_local(directory, "worker").await.unwrap();
        connect_local(directory, "worker").await.unwrap().write_all(b"stop\n").await.unwrap();

        let reloaded = Reloaded { config: (), changed: vec!["slots".to_owned()], restart: vec!["http".to_owned()] };
        let answered = async { hangups.next().await.unwrap().answer(Ok(&reloaded)) };
        let (changes, ()) = tokio::join!(ask(directory, "worker"), answered);
        let changes = changes.unwrap();
        assert_eq!(changes.to_string(), "changed: slots\nchanged at the next restart: http");
        drop(silent);

        let path = "/x.json".into();
        let error = ConfigError::Read { path, source: io::ErrorKind::NotFound.into() };
        let answered = async { hangups.next().await.unwrap().answer::<()>(Err(&error)) };
        let (refused, ()) = tokio::join!(ask(directory, "worker"), answered);
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.starts_with("the worker keeps its configuration: ") && refused.contains("/x.json"),
            "{refused}"
        );
    }
}
