//! How far the demo is: a bar on a terminal, plain lines elsewhere.

use std::{
    cell::Cell,
    io::IsTerminal,
    time::{Duration, Instant},
};
use task_messenger_daemon::say::say;

use indicatif::{ProgressBar, ProgressStyle};

/// How often there is a plain line.
const LINE: Duration = Duration::from_secs(5);

/// Shows progress on standard error.
pub(super) struct Progress {
    total: u64,
    started: Instant,
    bar: Option<ProgressBar>,
    said: Cell<Instant>,
}

impl Progress {
    pub(super) fn new(total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:32} {pos}/{len} tasks, {per_sec}, {eta} left");
            let bar = ProgressBar::new(total);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        let started = Instant::now();
        Self { total, started, bar, said: Cell::new(started) }
    }

    pub(super) fn set(&self, done: u64) {
        match &self.bar {
            Some(bar) => bar.set_position(done),
            None if self.said.get().elapsed() >= LINE && done > 0 => {
                self.said.set(Instant::now());
                let seconds = self.started.elapsed().as_secs_f64();
                let rate = done as f64 / seconds;
                let left = self.total.saturating_sub(done) as f64 / rate;
                say(format_args!("{done}/{} tasks, {rate:.0}/s, {left:.0} s left", self.total));
            }
            None => {}
        }
    }

    pub(super) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => say(text),
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
