//! Metrics as Prometheus reads them.
//!
//! A daemon gathers everything into a [`Sample`] when it is asked, and nothing before. Names begin with `task_messenger_`,
//! and units are last; labels have few values, known beforehand.

pub(crate) mod process;

use std::{fmt::Error, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet, prometheus_text, text},
    metrics::MetricType,
    registry::Registry,
};

/// What a sample in the form of OpenMetrics 1.0 is called.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The same in the older form of Prometheus.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What all names begin with.
const PREFIX: &str = "task_messenger";

/// Labels of a value.
type Labels = Vec<(&'static str, String)>;

/// All metrics at one moment.
#[derive(Debug, Default)]
pub struct Sample {
    families: Vec<Family>,
}

#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Counter(Vec<(Labels, f64)>),
    Gauge(Vec<(Labels, f64)>),
    Histogram { buckets: Vec<(f64, u64)>, count: u64, sum: f64 },
}

impl Sample {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Something that only goes up; `_total` is added to the name.
    pub fn counter(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.counters(name, help, [(Vec::new(), value as f64)]);
    }

    /// Such a sum of seconds.
    pub fn seconds_counter(&mut self, name: &'static str, help: &'static str, value: Duration) {
        self.counters(name, help, [(Vec::new(), value.as_secs_f64())]);
    }

    /// The same by one label.
    pub fn counters_by(
        &mut self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: impl IntoIterator<Item = (&'static str, u64)>,
    ) {
        self.counters(
            name,
            help,
            values.into_iter().map(|(value, count)| (vec![(label, value.to_owned())], count as f64)),
        );
    }

    fn counters(&mut self, name: &'static str, help: &'static str, values: impl IntoIterator<Item = (Labels, f64)>) {
        self.families.push(Family { name, help, values: Values::Counter(values.into_iter().collect()) });
    }

    /// Something that goes up and down.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, value: f64) {
        self.families.push(Family { name, help, values: Values::Gauge(vec![(Vec::new(), value)]) });
    }

    /// The same by one label.
    pub fn gauges_by(
        &mut self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: impl IntoIterator<Item = (&'static str, f64)>,
    ) {
        let values = values.into_iter().map(|(value, number)| (vec![(label, value.to_owned())], number)).collect();
        self.families.push(Family { name, help, values: Values::Gauge(values) });
    }

    /// What is always 1, and says something by its labels.
    pub fn information(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: impl IntoIterator<Item = (&'static str, String)>,
    ) {
        let values = Values::Gauge(vec![(labels.into_iter().collect(), 1.0)]);
        self.families.push(Family { name, help, values });
    }

    /// Durations: each bucket's upper bound in seconds with how many are in it alone, the last bound infinite, and all of
    /// them together in seconds.
    pub fn histogram(
        &mut self,
        name: &'static str,
        help: &'static str,
        buckets: impl IntoIterator<Item = (f64, u64)>,
        sum: f64,
    ) {
        let buckets: Vec<_> = buckets.into_iter().collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        self.families.push(Family { name, help, values: Values::Histogram { buckets, count, sum } });
    }

    /// The sample as text, as OpenMetrics or in the older form.
    pub fn encode(self, open: bool) -> Result<String, String> {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(self));
        let mut encoded = String::new();
        let result =
            if open { text::encode(&mut encoded, &registry) } else { prometheus_text::encode(&mut encoded, &registry) };
        match result {
            Ok(()) => Ok(encoded),
            Err(Error) => Err("the metrics can't be written".to_owned()),
        }
    }
}

impl Collector for Sample {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        for Family { name, help, values } in &self.families {
            match values {
                Values::Counter(values) => {
                    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
                    for (labels, value) in values {
                        family.encode_family(labels)?.encode_counter::<NoLabelSet, _, f64>(value, None)?;
                    }
                }
                Values::Gauge(values) => {
                    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                    for (labels, value) in values {
                        family.encode_family(labels)?.encode_gauge(value)?;
                    }
                }
                Values::Histogram { buckets, count, sum } => {
                    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
                    family.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)?;
                }
            }
        }
        Ok(())
    }
}
