//! What is shipped for those who watch speaks of the metrics that there are: the page, the rules, the dashboard.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde_json::Value;

use super::{exposition::Exposition, metrics_named_in, read, scene};

/// Panels that show something.
pub(super) fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row")
}

/// All expressions in a part of a dashboard.
pub(super) fn queries(part: &Value) -> Vec<String> {
    match part {
        Value::Object(fields) => {
            let own = fields.get("expr").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(fields.values().flat_map(queries)).collect()
        }
        Value::Array(parts) => parts.iter().flat_map(queries).collect(),
        _ => Vec::new(),
    }
}

/// The page's table of a daemon's metrics.
fn table(exposition: &Exposition) -> String {
    let mut table = "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for (name, family) in &exposition.families {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let (kind, labels, help) = (&family.kind, labels.join(", "), &family.help);
        writeln!(table, "| `task_messenger_{name}` | {kind} | {labels} | {help} |").unwrap();
    }
    table
}

#[test]
fn the_page_has_every_metric_of_both_daemons_and_every_alert_and_no_other() {
    let (site, worker) = scene();
    let page = read("docs/MONITORING.md");
    let mut rows = 0;
    for (component, address) in [("manager", site.http()), ("worker", worker.http())] {
        let table = table(&Exposition::scrape(address));
        rows += table.lines().count() - 2;
        assert!(page.contains(&table), "docs/MONITORING.md has another table for the {component} than\n{table}");
    }
    assert_eq!(page.lines().filter(|line| line.starts_with("| `task_messenger_")).count(), rows, "and no other");

    let rules = read("extras/monitoring/alerts.yml");
    let alerts = |text: &str, begin: &str, end: &str| -> Vec<String> {
        let name = |line: &str| Some(line.trim().strip_prefix(begin)?.split(end).next()?.to_owned());
        text.lines().filter_map(name).collect()
    };
    let named = alerts(&rules, "- alert: ", " ");
    assert_eq!(
        alerts(&page, "| `TaskMessenger", "`").iter().map(|name| format!("TaskMessenger{name}")).collect::<Vec<_>>(),
        named
    );
    let tests = read("extras/monitoring/alerts-test.yml");
    for name in &named {
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "no test lets {name} fire");
    }
    for key in ["expr:", "for:", "severity:", "summary:", "description:"] {
        let count = rules.lines().filter(|line| line.trim_start().starts_with(key)).count();
        assert_eq!(count, named.len(), "every alert has {key}");
    }
}

#[test]
fn rules_and_dashboard_name_only_metrics_that_there_are() {
    let (site, worker) = scene();
    let (manager, worker) = (Exposition::scrape(site.http()), Exposition::scrape(worker.http()));
    let there: BTreeSet<&str> = manager.names().into_iter().chain(worker.names()).collect();
    for file in ["alerts.yml", "alerts-test.yml", "dashboard.json"] {
        let text = read(&format!("extras/monitoring/{file}"));
        let named: BTreeSet<&str> = metrics_named_in(&text).collect();
        let foreign: Vec<_> = named.difference(&there).collect();
        assert!(named.len() > 10 && foreign.is_empty(), "{file} names what there is not: {foreign:?}");
    }
    // And the dashboard shows all there is.
    let text = read("extras/monitoring/dashboard.json");
    let shown: BTreeSet<&str> = metrics_named_in(&text).collect();
    for (name, family) in manager.families.iter().chain(&worker.families) {
        let name = if family.kind == "histogram" { format!("{name}_bucket") } else { name.clone() };
        assert!(shown.contains(&name[..]), "the dashboard does not show {name}");
    }
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard: Value = serde_json::from_str(&read("extras/monitoring/dashboard.json")).unwrap();
    assert!(dashboard["schemaVersion"].as_u64() >= Some(38), "that of Grafana 10");
    let variables: Vec<_> =
        dashboard["templating"]["list"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(variables, ["datasource", "instance"]);
    let mut places = BTreeMap::new();
    let mut identities = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(identities.insert(panel["id"].as_u64().unwrap()), "{title} has another's number");
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(side("x") + side("w") <= 24, "{title} is too wide");
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                assert_eq!(places.insert((x, y), title), None, "{title} lies over another");
            }
        }
    }
    let mut titles = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        assert!(titles.insert(title), "there are two of {title}");
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title} says nothing");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty());
        for source in targets.iter().map(|target| &target["datasource"]).chain([&panel["datasource"]]) {
            assert_eq!(source["uid"], "${datasource}", "{title}");
        }
    }
    for query in queries(&dashboard) {
        assert!(query.contains("$instance") || query.contains("ALERTS"), "it ignores what was chosen: {query}");
    }
}
