//! Entries with fields, by the journal's own protocol.

use std::{
    fmt::{Debug, Write},
    io,
};

use tracing::{
    Event, Subscriber,
    field::{Field, Value, Visit},
    span,
};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// The most fields of an event whose message is made to say them.
const FIELDS: usize = 32;

/// Entries for the journal, if its socket can be reached.
pub(super) fn layer<S>(program: &str) -> io::Result<impl Layer<S> + Send + Sync + use<S>>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let priorities = PriorityMappings {
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
        ..PriorityMappings::new()
    };
    let layer = tracing_journald::layer()?
        .with_field_prefix(None)
        .with_syslog_identifier(program.to_owned())
        .with_priority_mappings(priorities);
    Ok(Spoken(layer))
}

/// Passes events on with a message that says their fields, and those of the spans that they are in.
struct Spoken<L>(L);

/// What the messages in a span say of it.
struct SpanText(String);

impl<S, L> Layer<S> for Spoken<L>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    L: Layer<S>,
{
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut text = Text::default();
            attributes.record(&mut text);
            span.extensions_mut().replace(SpanText(text.fields));
        }
        self.0.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(SpanText(said)) = span.extensions_mut().get_mut()
        {
            let mut text = Text::default();
            values.record(&mut text);
            said.push_str(&text.fields);
        }
        self.0.on_record(id, values, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let Some((first, _)) = text.values.first().filter(|_| text.values.len() <= FIELDS) else {
            return self.0.on_event(event, context);
        };
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(SpanText(said)) = span.extensions().get() {
                text.fields.push_str(said);
            }
        }
        let message = format!("{}{}", text.message, text.fields);
        let mut values: [(&Field, Option<&dyn Value>); FIELDS] = [(first, None); FIELDS];
        for (at, (field, value)) in values.iter_mut().zip(&text.values) {
            *at = (field, Some(if field.name() == "message" { &message } else { value }));
        }
        let metadata = event.metadata();
        self.0.on_event(&Event::new(metadata, &metadata.fields().value_set(&values)), context);
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
    values: Vec<(Field, String)>,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.to_owned(), &format!("{value:?}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        self.take(field, text.clone(), &text);
    }
}

impl Text {
    fn take(&mut self, field: &Field, value: String, said: &str) {
        if field.name() == "message" {
            self.message.clone_from(&value);
        } else if !field.name().starts_with("log.") {
            // (Those say where a library that logs by other means does.) Writing to a String cannot fail.
            let _ = write!(self.fields, " {}={said}", field.name());
        }
        self.values.push((field.clone(), value));
    }
}
