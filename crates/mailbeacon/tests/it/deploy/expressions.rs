//! Alerts and dashboard: every metric, label and value in their expressions exists, and every metric is shown.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use telemetry::{Kind, Metric};

use super::{default_of, text, yaml};

const FUNCTIONS: [&str; 11] = [
    "absent",
    "changes",
    "count",
    "histogram_quantile",
    "increase",
    "max",
    "predict_linear",
    "rate",
    "sum",
    "time",
    "vector",
];
const GROUPINGS: [&str; 2] = ["by", "on"];
const OPERATORS: [&str; 4] = ["and", "offset", "or", "unless"];
/// What Prometheus adds to every series.
const ADDED: [&str; 2] = ["job", "instance"];

/// Every metric there is, with its labels.
fn known() -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut known = BTreeMap::from([("up".to_owned(), BTreeSet::from(ADDED))]);
    for Metric { name, kind, labels, .. } in edge::METRICS.iter().chain(consumer::METRICS) {
        let labels: BTreeSet<&str> = labels.iter().copied().chain(ADDED).collect();
        if *kind == Kind::Histogram {
            known.insert(format!("{name}_sum"), labels.clone());
            known.insert(format!("{name}_count"), labels.clone());
            known.insert(format!("{name}_bucket"), labels.into_iter().chain(["le"]).collect());
        } else {
            known.insert((*name).to_owned(), labels);
        }
    }
    let page = telemetry::metrics().unwrap().render();
    let process = page.lines().filter_map(|line| line.strip_prefix("# TYPE process_")?.split(' ').next());
    known.extend(process.map(|name| (format!("process_{name}"), BTreeSet::from(ADDED))));
    known
}

/// What an expression reads: metrics with the conditions on their labels, and the labels that it groups by.
#[derive(Debug, Default, PartialEq)]
struct Reads {
    metrics: Vec<(String, Vec<(String, String)>)>,
    groups: Vec<String>,
}

/// Reads as much of PromQL as is used here.
fn reads(expression: &str) -> Reads {
    let mut reads = Reads::default();
    let mut rest = expression;
    let until = |text: &str, end: char| text.find(end).unwrap_or_else(|| panic!("{expression}: no {end}"));
    while let Some(first) = rest.chars().next() {
        if first == '[' {
            rest = &rest[until(rest, ']') + 1..];
        } else if first.is_ascii_digit() {
            // A number or a duration.
            rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
        } else if first.is_ascii_alphabetic() {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
            let (name, after) = rest.split_at(rest.find(|c| !word(c)).unwrap_or(rest.len()));
            rest = after.trim_start();
            if GROUPINGS.contains(&name) {
                let labels = &rest[1..until(rest, ')')];
                reads.groups.extend(labels.split(',').map(|label| label.trim().to_owned()));
                rest = &rest[until(rest, ')') + 1..];
            } else if !FUNCTIONS.contains(&name) && !OPERATORS.contains(&name) {
                let mut conditions = Vec::new();
                if let Some(inside) = rest.strip_prefix('{') {
                    for condition in inside[..until(inside, '}')].split(',') {
                        let (label, value) = condition.split_once('=').unwrap();
                        let value = value.trim_start_matches('~').trim_matches('"');
                        conditions.push((label.to_owned(), value.to_owned()));
                    }
                    rest = &inside[until(inside, '}') + 1..];
                }
                reads.metrics.push((name.to_owned(), conditions));
            }
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    reads
}

#[test]
fn an_expression_is_understood() {
    let expression =
        r#"sum by (le, kind) (rate(a_total{job="x",reply=~"p|q"}[5m])) / b > 0.5 * 1e3 or vector(0)"#;
    let condition = |label: &str, value: &str| (label.to_owned(), value.to_owned());
    let wanted = Reads {
        metrics: vec![
            ("a_total".to_owned(), vec![condition("job", "x"), condition("reply", "p|q")]),
            ("b".to_owned(), vec![]),
        ],
        groups: vec!["le".to_owned(), "kind".to_owned()],
    };
    assert_eq!(reads(expression), wanted);
}

/// Holds an expression to the metrics, labels and label values that exist. Returns the metrics in it.
fn check(at: &str, expression: &str, known: &BTreeMap<String, BTreeSet<&'static str>>) -> BTreeSet<String> {
    assert_eq!(expression.matches('(').count(), expression.matches(')').count(), "{at}: {expression}");
    let Reads { metrics, groups } = reads(expression);
    assert!(!metrics.is_empty(), "{at} reads nothing: {expression}");
    let mut labels: BTreeSet<&str> = BTreeSet::new();
    for (name, conditions) in &metrics {
        let of_this = known.get(name).unwrap_or_else(|| panic!("{at}: there is no metric {name}"));
        labels.extend(of_this.iter().copied());
        for (label, value) in conditions {
            assert!(of_this.contains(label.as_str()), "{at}: {name} has no label {label}");
            for value in value.split('|') {
                assert!(label != "reply" || replies().contains(&value), "{at}: there is no {label} {value}");
                assert!(
                    label != "job" || value.ends_with(".+") || jobs().contains(value),
                    "{at}: no job {value}"
                );
            }
        }
    }
    for group in groups {
        assert!(labels.contains(group.as_str()), "{at}: nothing in it has a label {group}");
    }
    metrics.into_iter().map(|(name, _)| name).collect()
}

fn replies() -> Vec<&'static str> {
    edge::answer::Reply::ALL.map(edge::answer::Reply::as_str).to_vec()
}

fn jobs() -> BTreeSet<String> {
    let prometheus = yaml("prometheus.yml");
    let jobs = prometheus["scrape_configs"].as_sequence().unwrap().iter();
    jobs.map(|job| job["job_name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn alerts_are_about_what_is_counted() {
    let known = known();
    // Numbers in the alerts that repeat a setting's default.
    let repeated = [
        ("edge_journal_used_bytes", "journal.bytes_max"),
        ("edge_open_connections", "edge.connections_max"),
        ("consumer_owned_partitions", "kafka.partitions"),
    ]
    .map(|(metric, setting)| (metric, default_of(setting).to_string()));
    let mut names = BTreeSet::new();
    for group in yaml("alerts.yml")["groups"].as_sequence().unwrap() {
        for rule in group["rules"].as_sequence().unwrap() {
            let name = rule["alert"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} stands there twice");
            let expression = rule["expr"].as_str().unwrap();
            let metrics = check(name, expression, &known);
            for (metric, number) in &repeated {
                let names_it = expression.split(|c: char| !c.is_ascii_digit()).any(|word| word == number);
                assert!(!metrics.contains(*metric) || names_it, "{name}: {number} is the default");
            }
            assert!(
                ["critical", "warning"].contains(&rule["labels"]["severity"].as_str().unwrap()),
                "{name}"
            );
            for text in ["summary", "description"] {
                assert!(!rule["annotations"][text].as_str().unwrap().is_empty(), "{name}");
            }
        }
    }
}

/// What `mailbeacon ledger` compares with ClickHouse, event by event: numbers of events and no counts of them, and the
/// difference of the two.
const OF_THE_LEDGER: [&str; 3] = ["edge_journal_events", "edge_delivered_events", "edge_inflight_events"];

#[test]
fn the_dashboard_shows_all_that_is_counted() {
    let known = known();
    let dashboard: Json = serde_json::from_str(&text("grafana/dashboards/mailbeacon.json")).unwrap();
    let source = yaml("grafana/provisioning/datasources/prometheus.yml");
    let source = source["datasources"][0]["uid"].as_str();
    let (mut shown, mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64()), "{title}: its id is another panel's");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24, "{title} is too wide");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} covers another panel");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(!panel["description"].as_str().unwrap().is_empty(), "{title}");
        assert!(!panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap().is_empty(), "{title}");
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"].as_str(), source, "{title}");
            shown.append(&mut check(title, target["expr"].as_str().unwrap(), &known));
        }
    }
    let needless = |name: &str| name == "up" || OF_THE_LEDGER.contains(&name);
    let hidden: Vec<&String> =
        known.keys().filter(|name| !needless(name) && !shown.contains(*name)).collect();
    assert!(hidden.is_empty(), "no panel shows {hidden:?}");
}
