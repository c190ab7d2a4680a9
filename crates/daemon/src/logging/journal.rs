//! Logs to the system's journal (systemd-journald): natively, so that every field of an event is a field there (`TASK`, `JOB`,
//! `WORKER`, `LEASE`, `SESSION`, …), the level is its priority, and the time is the journal's own.
//!
//! What people see of an entry is its message, so that says the fields too. If the journal's socket can't be reached, lines
//! go to standard error, which is a pipe to the journal, with their priority in front and without a time.

#[cfg(target_os = "linux")]
mod native;

use std::{fmt, io};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    Layer as _,
    fmt::{FmtContext, FormatEvent, FormatFields, format},
    registry::LookupSpan,
};

use super::Output;

/// Whether this process writes to the journal.
#[cfg(target_os = "linux")]
pub(crate) fn is_here() -> bool {
    // Device and inode of the one of them that is, says systemd.exec(5).
    let Some(named) = std::env::var_os("JOURNAL_STREAM") else { return false };
    let is_named = |stream: rustix::io::Result<rustix::fs::Stat>| {
        stream.is_ok_and(|stream| named.to_str() == Some(&format!("{}:{}", stream.st_dev, stream.st_ino)))
    };
    is_named(rustix::fs::fstat(io::stderr())) || is_named(rustix::fs::fstat(io::stdout()))
}

/// Whether this process writes to the journal: there is none here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_here() -> bool {
    false
}

/// What writes to the journal.
pub(super) fn layer(program: &str) -> Output {
    #[cfg(target_os = "linux")]
    match native::layer(program) {
        Ok(layer) => return layer.boxed(),
        Err(error) => crate::say::say(format_args!(
            "<4>{program}: the journal's socket can't be reached: {error}; logs have no fields there"
        )),
    }
    let _ = program;
    prefixed(io::stderr).boxed()
}

fn prefixed<S, W>(writer: W) -> tracing_subscriber::fmt::Layer<S, format::DefaultFields, Prefixed, W>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> tracing_subscriber::fmt::MakeWriter<'writer> + 'static,
{
    tracing_subscriber::fmt::layer().with_ansi(false).event_format(Prefixed).with_writer(writer)
}

/// Lines that begin with their priority, as sd-daemon(3) has it.
struct Prefixed;

impl<S, F> FormatEvent<S, F> for Prefixed
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    F: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, F>,
        mut writer: format::Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        format().without_time().with_level(false).format_event(context, writer, event)
    }
}

#[cfg(test)]
#[test]
fn where_the_socket_cannot_be_reached_lines_have_a_priority_and_no_time() {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let lines = Lines::default();
    let own = lines.clone();
    let subscriber = tracing_subscriber::registry().with(prefixed(move || own.clone()));
    tracing::subscriber::with_default(subscriber, || {
        tracing::error!(target: "here", worker = 7, "one");
        tracing::warn!(target: "here", "two");
        tracing::info!(target: "here", "three");
        tracing::debug!(target: "here", "four");
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text, "<3>here: one worker=7\n<4>here: two\n<6>here: three\n<7>here: four\n");
}
