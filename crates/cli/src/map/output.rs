//! Results, written on a thread that may wait for whoever reads them.

use std::{
    fs,
    io::{self, BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use task_messenger_client::{ResultBatch, TaskResult};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    failures::Failures,
    order::{InOrder, Outputs},
    progress::Progress,
};
use crate::{failure::output_error, format};

/// What `--keep-order` keeps in memory, in bytes.
const ORDER_BYTES: usize = 64 * 1024 * 1024;

/// Batches of results that wait for being written.
const BATCHES_AHEAD: usize = 4;

/// Where results go.
#[derive(Debug)]
pub enum Destination {
    /// Outputs to standard output as tasks finish.
    AsFinished,
    /// Outputs to standard output in the order of the input.
    InOrder,
    /// Files of a directory: `INDEX.out`, `INDEX.err`, `INDEX.json`.
    Directory(PathBuf),
}

/// The writing thread: where to send results, and what comes of it.
#[derive(Debug)]
pub struct Output {
    /// Takes results, and waits while too many are unwritten. Dropping it ends the writing.
    pub results: mpsc::Sender<ResultBatch>,
    /// Ends when all is written, or at the first error.
    pub writing: JoinHandle<Result<Failures>>,
}

/// Starts writing.
pub fn start(destination: Destination, progress: Arc<Progress>) -> Result<Output> {
    if let Destination::Directory(directory) = &destination {
        fs::create_dir_all(directory).with_context(|| format!("{} can't be made", directory.display()))?;
    }
    let (results, batches) = mpsc::channel(BATCHES_AHEAD);
    let on_terminal = io::stdout().is_terminal();
    let mut writer = Writer {
        order: InOrder::new(ORDER_BYTES),
        stdout: BufWriter::new(io::stdout()),
        destination,
        failures: Failures::default(),
        on_terminal,
        progress,
    };
    let writing = tokio::task::spawn_blocking(move || writer.run(batches).map(|()| writer.failures));
    Ok(Output { results, writing })
}

struct Writer<W: Write> {
    destination: Destination,
    order: InOrder,
    stdout: W,
    on_terminal: bool,
    failures: Failures,
    progress: Arc<Progress>,
}

impl<W: Write> Writer<W> {
    fn run(&mut self, mut batches: mpsc::Receiver<ResultBatch>) -> Result<()> {
        while let Some(batch) = batches.blocking_recv() {
            let progress = Arc::clone(&self.progress);
            let touches_terminal = self.on_terminal || progress.is_bar() && batch_has_errors(&batch);
            let mut failed = 0;
            let mut write = || {
                for result in batch.iter() {
                    failed += u64::from(self.failures.note(&result));
                    self.write(batch.job().0, &result)?;
                }
                self.stdout.flush().map_err(output_error)
            };
            if touches_terminal { progress.suspend(write) } else { write() }?;
            progress.add(batch.len() as u64, failed);
        }
        Ok(())
    }

    fn write(&mut self, job: u64, result: &TaskResult) -> Result<()> {
        match &self.destination {
            Destination::AsFinished => {
                let outputs = Outputs::of(&result.outcome);
                self.print(&outputs)?;
            }
            Destination::InOrder => {
                let temporary = "a temporary file can't be used for outputs that wait for an earlier one";
                self.order.insert(result.index, &Outputs::of(&result.outcome)).context(temporary)?;
                while let Some(outputs) = self.order.take_next().context(temporary)? {
                    self.print(&outputs)?;
                }
            }
            Destination::Directory(directory) => write_files(directory, job, result)?,
        }
        Ok(())
    }

    fn print(&mut self, outputs: &Outputs) -> Result<()> {
        self.stdout.write_all(&outputs.output).map_err(output_error)?;
        if !outputs.errors.is_empty() {
            // What a task wrote to standard error comes behind what it wrote to standard output. Nobody has to read it.
            self.stdout.flush().map_err(output_error)?;
            let _ = io::stderr().lock().write_all(&outputs.errors);
        }
        Ok(())
    }
}

/// Whether something will be written to standard error, where the bar is.
fn batch_has_errors(batch: &ResultBatch) -> bool {
    batch.iter().any(|result| !result.outcome.errors.is_empty())
}

/// Each file at once or not at all, the one that describes the result last.
fn write_files(directory: &Path, job: u64, result: &TaskResult) -> Result<()> {
    let mut description = format::result_json(job, result).to_string();
    description.push('\n');
    let parts =
        [("out", &result.outcome.output[..]), ("err", &result.outcome.errors[..]), ("json", description.as_bytes())];
    for (extension, content) in parts {
        let path = directory.join(format!("{}.{extension}", result.index));
        write_file(directory, &path, content).with_context(|| format!("{} can't be written", path.display()))?;
    }
    Ok(())
}

fn write_file(directory: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".new-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(directory)?;
    file.write_all(content)?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use task_messenger_client::{Ending, Outcome, TaskState};

    use super::*;

    fn result(index: u32) -> TaskResult {
        let outcome =
            Outcome { ending: Ending::Exited.into(), output: format!("out {index}\n").into(), ..Outcome::default() };
        TaskResult { index, state: TaskState::Succeeded, attempts: 1, outcome }
    }

    fn writer(destination: Destination) -> Writer<Vec<u8>> {
        Writer {
            destination,
            order: InOrder::new(ORDER_BYTES),
            stdout: Vec::new(),
            on_terminal: false,
            failures: Failures::default(),
            progress: Arc::default(),
        }
    }

    #[test]
    fn outputs_come_as_they_finish_or_in_order() {
        for (destination, expected) in
            [(Destination::AsFinished, "out 2\nout 0\nout 1\n"), (Destination::InOrder, "out 0\nout 1\nout 2\n")]
        {
            let mut writer = writer(destination);
            for index in [2, 0, 1] {
                writer.write(7, &result(index)).unwrap();
            }
            assert_eq!(String::from_utf8(writer.stdout).unwrap(), expected);
        }
    }

    #[test]
    fn a_directory_gets_three_files_a_task_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = writer(Destination::Directory(directory.path().to_owned()));
        writer.write(7, &result(12)).unwrap();
        writer.write(7, &result(12)).unwrap();
        let mut names: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["12.err", "12.json", "12.out"]);
        assert_eq!(fs::read(directory.path().join("12.out")).unwrap(), b"out 12\n");
        let json = fs::read(directory.path().join("12.json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!((&json["task"], &json["state"], &json["code"]), (&"7.12".into(), &"succeeded".into(), &0.into()));
        assert!(writer.stdout.is_empty());
    }
}
