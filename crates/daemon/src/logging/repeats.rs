//! Repeated warnings and errors are summed up: what one place in the program says more than [`MOST`] times within [`WINDOW`] is
//! counted instead, and the count told after that: with the next line of any kind, or when the program ends.
//!
//! A place counts, whatever it says: the memory for it is bounded, and no peer can flood the log by being wrong in many ways.

use std::{
    collections::HashMap,
    fmt::{self, Debug},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_core::{Callsite as _, Kind, callsite};
use tracing_subscriber::{Layer, layer::Context};

/// So often it is said within the window.
const MOST: u64 = 10;
/// The window begins with the first time.
const WINDOW: Duration = Duration::from_mins(1);
/// What is kept of a message.
const MESSAGE: usize = 200;
/// Nothing is to be told.
const NEVER: u64 = u64::MAX;
const TARGET: &str = module_path!();

/// What an event says of others.
const FIELDS: &[&str] = &["message", "repeated", "place"];

static WARNINGS: callsite::DefaultCallsite = callsite::DefaultCallsite::new(&WARNING);
static WARNING: Metadata<'static> = tracing_core::metadata! {
    name: "repeated",
    target: TARGET,
    level: Level::WARN,
    fields: FIELDS,
    callsite: &WARNINGS,
    kind: Kind::EVENT,
};
static ERRORS: callsite::DefaultCallsite = callsite::DefaultCallsite::new(&ERROR);
static ERROR: Metadata<'static> = tracing_core::metadata! {
    name: "repeated",
    target: TARGET,
    level: Level::ERROR,
    fields: FIELDS,
    callsite: &ERRORS,
    kind: Kind::EVENT,
};

/// Passes events on to where they are written, but for those that are summed up.
pub(super) struct Repeats<L> {
    output: L,
    counts: std::sync::Arc<Counts>,
}

impl<L> Repeats<L> {
    pub(super) fn new(output: L, counts: std::sync::Arc<Counts>) -> Self {
        Self { output, counts }
    }

    fn tell<S: Subscriber>(&self, summary: &Summary, context: Context<'_, S>)
    where
        L: Layer<S>,
    {
        let metadata = if summary.level == Level::ERROR { ERRORS.metadata() } else { WARNINGS.metadata() };
        let fields = metadata.fields();
        let (message, place) = (summary.to_string(), summary.place);
        let [Some(first), Some(second), Some(third)] = [0, 1, 2].map(|at| fields.iter().nth(at)) else { return };
        let values = [
            (&first, Some(&message as &dyn tracing::Value)),
            (&second, Some(&summary.repeated as &dyn tracing::Value)),
            (&third, Some(&place as &dyn tracing::Value)),
        ];
        // It has nothing to do with what goes on now.
        let values = fields.value_set(&values);
        self.output.on_event(&Event::new_child_of(None, metadata, &values), context);
    }
}

impl<S: Subscriber, L: Layer<S>> Layer<S> for Repeats<L> {
    fn on_layer(&mut self, subscriber: &mut S) {
        self.output.on_layer(subscriber);
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        self.output.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        self.output.on_record(id, values, context);
    }

    fn on_follows_from(&self, id: &span::Id, follows: &span::Id, context: Context<'_, S>) {
        self.output.on_follows_from(id, follows, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let now = self.counts.now();
        for summary in self.counts.take_due(now) {
            self.tell(&summary, context.clone());
        }
        if self.counts.admit(event, now) {
            self.output.on_event(event, context);
        }
    }

    fn on_enter(&self, id: &span::Id, context: Context<'_, S>) {
        self.output.on_enter(id, context);
    }

    fn on_exit(&self, id: &span::Id, context: Context<'_, S>) {
        self.output.on_exit(id, context);
    }

    fn on_close(&self, id: span::Id, context: Context<'_, S>) {
        self.output.on_close(id, context);
    }

    fn on_id_change(&self, old: &span::Id, new: &span::Id, context: Context<'_, S>) {
        self.output.on_id_change(old, new, context);
    }
}

/// How often each place has spoken.
pub(super) struct Counts {
    clock: Box<dyn Fn() -> Duration + Send + Sync>,
    /// When something is to be told, in milliseconds.
    due: AtomicU64,
    places: Mutex<HashMap<callsite::Identifier, Count>>,
}

struct Count {
    /// When the window began.
    since: Duration,
    spoken: u64,
    /// What is told, if it is summed up.
    summary: Summary,
}

/// What is told of a place.
struct Summary {
    level: Level,
    /// Where in the program.
    place: &'static str,
    message: String,
    repeated: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, repeated, .. } = self;
        write!(f, "said {repeated} times more within {} s: {message}", WINDOW.as_secs())
    }
}

impl Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counts").finish_non_exhaustive()
    }
}

impl Default for Counts {
    fn default() -> Self {
        let start = Instant::now();
        Self::with_clock(move || start.elapsed())
    }
}

impl Counts {
    fn with_clock(clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { clock: Box::new(clock), due: AtomicU64::new(NEVER), places: Mutex::default() }
    }

    fn now(&self) -> Duration {
        (self.clock)()
    }

    /// Whether an event is to be written; it is counted.
    fn admit(&self, event: &Event<'_>, now: Duration) -> bool {
        let metadata = event.metadata();
        // The most verbose level is the greatest.
        if *metadata.level() > Level::WARN || metadata.target() == TARGET {
            return true;
        }
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let count = places.entry(metadata.callsite()).or_insert_with(|| Count::new(metadata, now));
        if now >= count.since + WINDOW && count.spoken <= MOST {
            *count = Count::new(metadata, now);
        }
        count.spoken += 1;
        if count.spoken <= MOST {
            return true;
        }
        if count.spoken == MOST + 1 {
            event.record(&mut count.summary);
            self.due.fetch_min((count.since + WINDOW).as_millis() as u64, Ordering::Relaxed);
        }
        count.summary.repeated += 1;
        false
    }

    /// What is to be told by now.
    fn take_due(&self, now: Duration) -> Vec<Summary> {
        if (now.as_millis() as u64) < self.due.load(Ordering::Relaxed) {
            return Vec::new();
        }
        self.take(|count| now >= count.since + WINDOW)
    }

    fn take(&self, is_due: impl Fn(&Count) -> bool) -> Vec<Summary> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let due = places.extract_if(|_, count| count.spoken > MOST && is_due(count));
        let summaries = due.map(|(_, count)| count.summary).collect();
        let next = places.values().filter(|count| count.spoken > MOST).map(|count| count.since + WINDOW).min();
        // Rounded up, so that it is over by then.
        self.due.store(next.map_or(NEVER, |next| next.as_millis() as u64 + 1), Ordering::Relaxed);
        summaries
    }

    /// Tells everything that was not yet told, by way of the process's own logging.
    pub(super) fn tell_rest(&self) {
        for summary in self.take(|_| true) {
            let (repeated, place) = (summary.repeated, summary.place);
            if summary.level == Level::ERROR {
                tracing::error!(target: TARGET, repeated, place, "{summary}");
            } else {
                tracing::warn!(target: TARGET, repeated, place, "{summary}");
            }
        }
    }
}

impl Count {
    fn new(metadata: &'static Metadata<'static>, now: Duration) -> Self {
        let summary =
            Summary { level: *metadata.level(), place: metadata.target(), message: String::new(), repeated: 0 };
        Self { since: now, spoken: 0, summary }
    }
}

/// Takes the message of an event.
impl Visit for Summary {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}").chars().take(MESSAGE).collect();
        }
    }
}

#[cfg(test)]
mod tests;
