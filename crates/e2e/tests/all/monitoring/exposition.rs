//! The text of `/metrics`, in either form, read strictly.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use crate::harness::{get_with, wait_until};

/// What all names begin with.
const PREFIX: &str = "task_messenger_";

/// All metrics of a daemon at one moment. Names stand here without what they all begin with.
pub(super) struct Exposition {
    pub(super) families: BTreeMap<String, Family>,
    /// By name and labels, as written.
    values: BTreeMap<String, f64>,
}

/// Metrics of one name.
#[derive(Default)]
pub(super) struct Family {
    pub(super) kind: String,
    pub(super) help: String,
    /// Labels but for `le`.
    pub(super) labels: BTreeSet<String>,
}

impl Exposition {
    /// Asks for the older form.
    #[track_caller]
    pub(super) fn scrape(address: SocketAddr) -> Self {
        let (head, body) = get_with(address, "/metrics", "");
        assert!(head.contains(" 200 ") && head.contains("text/plain; version=0.0.4"), "{head}\n{body}");
        Self::parse(&body, false)
    }

    /// Asks for OpenMetrics, as Prometheus does.
    #[track_caller]
    pub(super) fn scrape_open(address: SocketAddr) -> Self {
        let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5\r\n";
        let (head, body) = get_with(address, "/metrics", accept);
        assert!(head.contains(" 200 ") && head.contains("application/openmetrics-text; version=1.0.0"), "{head}");
        Self::parse(body.strip_suffix("# EOF\n").unwrap_or_else(|| panic!("it does not end: {body}")), true)
    }

    #[track_caller]
    fn parse(text: &str, open: bool) -> Self {
        let (mut families, mut values) = (BTreeMap::<String, Family>::new(), BTreeMap::new());
        let mut current = String::new();
        let own = |name: &str| name.strip_prefix(PREFIX).unwrap_or_else(|| panic!("a foreign name: {name}")).to_owned();
        assert!(text.ends_with('\n'), "the last line is cut off");
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let words: Vec<&str> = comment.splitn(3, ' ').collect();
                let [what, name, rest] = words[..] else { panic!("not of the format: {line}") };
                let name = own(name);
                if name != current {
                    assert!(!families.contains_key(&name), "{name} stands in two places");
                    current.clone_from(&name);
                }
                let family = families.entry(name).or_default();
                let field = match what {
                    "HELP" => &mut family.help,
                    "TYPE" => &mut family.kind,
                    _ => panic!("not of the format: {line}"),
                };
                assert!(field.is_empty() && !rest.is_empty(), "{line}");
                rest.clone_into(field);
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not of the format: {line}"));
            let family = families.get_mut(&current).unwrap_or_else(|| panic!("it belongs nowhere: {line}"));
            let name = own(series.split('{').next().unwrap());
            assert!(suffixes(&family.kind, open).iter().any(|suffix| name == format!("{current}{suffix}")), "{line}");
            let labels = read_labels(series);
            family.labels.extend(labels.into_iter().filter(|label| label != "le"));
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
            assert!(value >= 0.0, "{line}");
            assert!(values.insert(own(&normal(series)), value).is_none(), "it stands there twice: {line}");
        }
        let exposition = Self { families, values };
        for (name, family) in &exposition.families {
            assert!(!family.kind.is_empty() && !family.help.is_empty(), "{name} has no type or no meaning");
            if family.kind == "histogram" {
                exposition.check_histogram(name);
            }
        }
        exposition
    }

    /// Buckets are cumulative, and the last one holds all.
    fn check_histogram(&self, name: &str) {
        let prefix = format!("{name}_bucket{{le=\"");
        let bucket = |(series, count): (&String, &f64)| {
            let bound = series.strip_prefix(&prefix)?.strip_suffix("\"}")?;
            Some((bound.parse::<f64>().unwrap(), *count))
        };
        let mut buckets: Vec<(f64, f64)> = self.values.iter().filter_map(bucket).collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        assert!(buckets.is_sorted_by(|one, other| one.0 < other.0 && one.1 <= other.1), "{name}: {buckets:?}");
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, self.value(&format!("{name}_count")))), "{name}");
        assert!(self.value(&format!("{name}_sum")).is_finite());
    }

    /// The value of what is written like this.
    #[track_caller]
    pub(super) fn value(&self, series: &str) -> f64 {
        let known = || self.values.keys().map(String::as_str).collect::<Vec<_>>().join("\n");
        *self.values.get(series).unwrap_or_else(|| panic!("there is no {series}, but\n{}", known()))
    }

    /// Everything that has a value.
    pub(super) fn series(&self) -> BTreeSet<&str> {
        self.values.keys().map(String::as_str).collect()
    }

    /// The names of everything that has a value.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.values.keys().map(|series| series.split('{').next().unwrap()).collect()
    }

    /// Waits until a daemon says exactly this.
    #[track_caller]
    pub(super) fn wait_for(address: SocketAddr, wanted: &[(&str, f64)]) -> Self {
        let (mut found, mut told) = (Self::scrape(address), Vec::new());
        wait_until("the metrics say what was done, as told above", || {
            found = Self::scrape(address);
            let differ = wanted.iter().filter(|(series, value)| found.value(series) != *value);
            let differ: Vec<String> =
                differ.map(|(series, value)| format!("{series} is {}, not {value}", found.value(series))).collect();
            if differ != told {
                println!("{}", differ.join("; "));
                told.clone_from(&differ);
            }
            differ.is_empty()
        });
        found
    }
}

/// What is added to a family's name in its values' names.
fn suffixes(kind: &str, open: bool) -> &'static [&'static str] {
    match kind {
        // The older form says the whole name in its head already.
        "counter" if open => &["_total"],
        "counter" | "gauge" => &[""],
        "histogram" => &["_bucket", "_count", "_sum"],
        _ => panic!("there is no type {kind} here"),
    }
}

/// The same with a bucket's bound as the older form writes it: there 1 is `1`, and `1.0` in OpenMetrics.
fn normal(series: &str) -> String {
    let (begin, bound) = series.split_once("{le=\"").unwrap_or((series, ""));
    let bound = bound.strip_suffix("\"}").and_then(|bound| bound.parse::<f64>().ok()).filter(|bound| bound.is_finite());
    bound.map_or_else(|| series.to_owned(), |bound| format!("{begin}{{le=\"{bound}\"}}"))
}

/// The names of the labels of `NAME{LABEL="VALUE",…}`, whose values have nothing in them that is escaped.
fn read_labels(series: &str) -> Vec<String> {
    let Some((_, labels)) = series.split_once('{') else { return Vec::new() };
    let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("it is not closed: {series}"));
    let read = |label: &str| {
        let (name, value) = label.split_once('=').unwrap_or_else(|| panic!("no label: {series}"));
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        assert!(value.is_some_and(|value| !value.contains(['"', '\\', '{', '}'])), "{series}");
        name.to_owned()
    };
    labels.split(',').map(read).collect()
}
