use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing_subscriber::{fmt, layer::SubscriberExt};

use super::*;

#[derive(Clone, Default)]
struct Log {
    text: Arc<Mutex<Vec<u8>>>,
    seconds: Arc<AtomicU64>,
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Runs with a log of its own.
    fn run(act: impl FnOnce(&Self, &Counts)) {
        let log = Self::default();
        let seconds = log.seconds.clone();
        let counts = Arc::new(Counts::with_clock(move || Duration::from_secs(seconds.load(Ordering::Relaxed))));
        let writer = log.clone();
        let output = fmt::layer().with_ansi(false).without_time().with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(Repeats::new(output, counts.clone()));
        tracing::subscriber::with_default(subscriber, || act(&log, &counts));
    }

    /// What was written since this was asked last.
    fn take(&self) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut *self.text.lock().unwrap())).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn wait(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }
}

fn warn(number: u64) {
    tracing::warn!(target: "here", number, "the disk is on fire");
}

#[test]
fn a_warning_that_is_repeated_is_counted_and_the_count_told_with_the_next_line_after_the_window() {
    Log::run(|log, _| {
        (0..10).for_each(warn);
        assert_eq!(log.take().len(), 10);
        log.wait(59);
        (10..133).for_each(warn);
        // Others are not held up by that.
        tracing::error!(target: "here", "another");
        assert_eq!(log.take(), ["ERROR here: another"]);
        log.wait(1);
        tracing::info!(target: "here", "good news");
        let told = "said 123 times more within 60 s: the disk is on fire repeated=123 place=\"here\"";
        assert_eq!(log.take(), [&format!(" WARN {TARGET}: {told}"), " INFO here: good news"]);
        // A new window begins.
        warn(7);
        assert_eq!(log.take(), [" WARN here: the disk is on fire number=7"]);
    });
}

#[test]
fn what_is_rare_or_no_warning_is_never_counted_together() {
    Log::run(|log, _| {
        for number in 0..50 {
            warn(number);
            log.wait(7);
        }
        for _ in 0..100 {
            tracing::info!("it goes on");
        }
        assert_eq!(log.take().len(), 150);
    });
}

#[test]
fn what_was_not_yet_told_is_told_at_the_end() {
    Log::run(|log, counts| {
        (0..12).for_each(warn);
        for _ in 0..11 {
            tracing::error!(target: "there", "it is over");
        }
        log.take();
        counts.tell_rest();
        let mut told = log.take();
        told.sort();
        assert_eq!(told.len(), 2);
        assert!(told[0].starts_with(" WARN") && told[0].contains("said 2 times more"), "{told:?}");
        assert!(told[1].starts_with("ERROR") && told[1].contains("it is over repeated=1"), "{told:?}");
        counts.tell_rest();
        assert!(log.take().is_empty());
    });
}
