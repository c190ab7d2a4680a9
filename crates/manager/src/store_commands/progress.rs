//! How far a long look at a store is: a bar on a terminal, otherwise a line every few seconds.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use task_messenger_daemon::say::say;

/// How often there is a plain line.
const LINE: Duration = Duration::from_secs(5);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Bytes,
    Tasks,
}

/// Shows progress on standard error.
pub(super) struct Progress {
    unit: Unit,
    bar: Option<ProgressBar>,
    started: Instant,
    said: Instant,
}

impl Progress {
    /// `beside_output` says whether what is asked for goes to the same terminal meanwhile: then there is no bar.
    pub(super) fn new(unit: Unit, beside_output: bool) -> Self {
        let bar = (std::io::stderr().is_terminal() && !beside_output).then(|| {
            let template = match unit {
                Unit::Bytes => "{bar:32} {bytes}/{total_bytes}, {eta} left",
                Unit::Tasks => "{bar:32} {human_pos}/{human_len} tasks, {eta} left",
            };
            let bar = ProgressBar::new(0);
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        let started = Instant::now();
        Self { unit, bar, started, said: started }
    }

    pub(super) fn set(&mut self, done: u64, total: u64) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(total);
                bar.set_position(done);
            }
            None if self.said.elapsed() >= LINE => {
                self.said = Instant::now();
                let seconds = self.started.elapsed().as_secs();
                say(match self.unit {
                    Unit::Bytes => format!("{} of {} MiB read in {seconds} s", done >> 20, total >> 20),
                    Unit::Tasks => format!("{done} of {total} tasks in {seconds} s"),
                });
            }
            None => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
