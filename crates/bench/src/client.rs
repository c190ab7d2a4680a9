//! A client's process, as seen from here.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
};

use crate::{
    fleet::Fleet,
    plan::{Alone, Event, Faults, Load, Plan, Streamed, Watched},
    process,
};

/// A client at work. It is killed when this is dropped.
pub(crate) struct ClientProcess {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl ClientProcess {
    /// Starts a client of this fleet's manager.
    pub(crate) async fn start(credential: &Path, workers: usize, load: Load) -> Result<Self> {
        let mut child = process::piped(["client"])?;
        let input = child.stdin.take().context("the client has no input")?;
        let output = child.stdout.take().context("the client has no output")?;
        let mut client = Self { _child: child, input, output: BufReader::new(output).lines() };
        client.say(&Plan { credential: credential.to_owned(), workers, load }).await?;
        Ok(client)
    }

    /// Waits until the first tasks are in the queue: how many a second came in.
    pub(crate) async fn queued(&mut self) -> Result<f64> {
        match self.hear().await? {
            Event::Queued { tasks_per_second } => Ok(tasks_per_second),
            other => anyhow::bail!("the client said {other:?} too early"),
        }
    }

    /// Lets it measure, and waits for its end.
    pub(crate) async fn measure(&mut self, fleet: &Fleet) -> Result<Streamed> {
        let workers = fleet.workers().iter().map(process::Daemon::id).collect::<Result<_>>()?;
        self.say(&Watched { manager: fleet.manager().id()?, workers }).await?;
        match self.hear().await? {
            Event::Streamed(streamed) => streamed.faults.check().map(|()| streamed),
            other => anyhow::bail!("the client said {other:?} instead of what it measured"),
        }
    }

    /// Waits for the end of tasks alone.
    pub(crate) async fn alone(&mut self) -> Result<Alone> {
        match self.hear().await? {
            Event::Alone(alone) => alone.faults.check().map(|()| alone),
            other => anyhow::bail!("the client said {other:?} instead of what it measured"),
        }
    }

    async fn say(&mut self, what: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        self.input.write_all(&line).await.context("the client takes nothing more")
    }

    async fn hear(&mut self) -> Result<Event> {
        let line = self.output.next_line().await?.context("the client ended early")?;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Faults {
    fn check(self) -> Result<()> {
        let Self { lost, doubled, wrong } = self;
        ensure!(self == Self::default(), "of the results {lost} were lost, {doubled} came twice, {wrong} were wrong");
        Ok(())
    }
}
