//! How far a job is: a bar on a terminal, otherwise a line every ten seconds.

use std::{
    io::IsTerminal,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::format;

/// Between two lines.
pub const EVERY: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct Progress {
    began: Instant,
    bar: Option<ProgressBar>,
    total: AtomicU64,
    /// Whether all of the input has been read.
    complete: AtomicBool,
    done: AtomicU64,
    failed: AtomicU64,
}

impl Progress {
    /// Nothing is done yet.
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            let template = "{wide_bar} {human_pos}/{human_len}{msg} {per_sec}, {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        Self {
            began: Instant::now(),
            bar,
            total: AtomicU64::new(0),
            complete: AtomicBool::new(false),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Whether there is a bar, so that no lines are wanted.
    pub fn is_bar(&self) -> bool {
        self.bar.is_some()
    }

    /// How many tasks there are so far, and whether that is all.
    pub fn set_total(&self, total: u64, complete: bool) {
        self.total.store(total, Ordering::Relaxed);
        self.complete.store(complete, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.set_length(total);
        }
    }

    /// So many more are done, of which some failed.
    pub fn add(&self, done: u64, failed: u64) {
        self.done.fetch_add(done, Ordering::Relaxed);
        let failed = self.failed.fetch_add(failed, Ordering::Relaxed) + failed;
        if let Some(bar) = &self.bar {
            bar.inc(done);
            if failed > 0 {
                bar.set_message(format!(", {failed} failed,"));
            }
        }
    }

    /// Does something that may write to the terminal, with the bar out of the way.
    pub fn suspend<T>(&self, action: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(action),
            None => action(),
        }
    }

    /// The bar goes.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// A line that says how far it is.
    pub fn line(&self) -> String {
        let (total, done) = (self.total.load(Ordering::Relaxed), self.done.load(Ordering::Relaxed));
        line(
            total,
            self.complete.load(Ordering::Relaxed),
            done,
            self.failed.load(Ordering::Relaxed),
            self.began.elapsed(),
        )
    }

    /// A line that says what it came to.
    pub fn summary(&self) -> String {
        let (done, failed) = (self.done.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        let time = format::duration(self.began.elapsed());
        format!("{done} tasks: {} succeeded, {failed} did not; {time}", done - failed)
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

fn line(total: u64, complete: bool, done: u64, failed: u64, elapsed: Duration) -> String {
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    let left = if complete && done > 0 {
        let left = Duration::from_secs_f64((total.saturating_sub(done)) as f64 / rate);
        format!(", {} left", format::duration(left))
    } else {
        String::new()
    };
    let more = if complete { "" } else { " or more" };
    format!("{done} of {total}{more} done, {failed} failed, {rate:.1}/s{left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_known() {
        let seconds = Duration::from_secs;
        assert_eq!(line(100, true, 25, 1, seconds(10)), "25 of 100 done, 1 failed, 2.5/s, 30 s left");
        assert_eq!(line(100, false, 25, 0, seconds(10)), "25 of 100 or more done, 0 failed, 2.5/s");
        assert_eq!(line(0, false, 0, 0, seconds(0)), "0 of 0 or more done, 0 failed, 0.0/s");
    }
}
