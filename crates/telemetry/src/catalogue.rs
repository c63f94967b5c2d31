//! The catalogue of metrics: each program keeps a table where it defines them.

use std::collections::BTreeSet;

/// Labels per metric at the most: every one multiplies the series.
const LABELS_MAX: usize = 3;

/// Words that may not end a name in the place of a base unit.
const UNITS_REFUSED: &[&str] = &[
    "ms",
    "us",
    "ns",
    "millis",
    "milliseconds",
    "microseconds",
    "minutes",
    "hours",
    "kb",
    "mb",
    "kib",
    "mib",
    "percent",
];

/// Labels whose values nobody can list in advance, or which name a person.
const LABELS_REFUSED: &[&str] = &[
    "address",
    "agent",
    "email",
    "host",
    "id",
    "ip",
    "le",
    "link",
    "message",
    "path",
    "quantile",
    "recipient",
    "target",
    "token",
    "url",
    "user_agent",
];

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets, chosen by the unit that ends the name.
    Histogram,
}

/// One documented metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// `<program>_<noun>_<unit>`, and `_total` for a counter. A thing that is counted is its own unit:
    /// `edge_requests_total`, `edge_dropped_events_total`.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What it says, for whoever reads a dashboard at night.
    pub help: &'static str,
    /// The labels, each with a closed set of values.
    pub labels: &'static [&'static str],
}

impl Metric {
    /// A counter.
    pub const fn counter(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Metric {
        Metric { name, kind: Kind::Counter, help, labels }
    }

    /// A gauge.
    pub const fn gauge(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Metric {
        Metric { name, kind: Kind::Gauge, help, labels }
    }

    /// A histogram.
    pub const fn histogram(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Metric {
        Metric { name, kind: Kind::Histogram, help, labels }
    }
}

/// Gives each metric its help text, and shows the counters without labels as zero from the start, so that an
/// alert on a first increment sees one. Call it after [`metrics`](crate::metrics).
pub fn describe(table: &[Metric]) {
    for metric in table {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
        if metric.kind == Kind::Counter && metric.labels.is_empty() {
            metrics::counter!(metric.name).absolute(0);
        }
    }
}

/// Holds a program's table to the grammar; every breach is listed. For each program's tests:
/// `assert_eq!(telemetry::grammar("edge", edge::METRICS), Vec::<String>::new())`.
pub fn grammar(program: &str, table: &[Metric]) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut seen = BTreeSet::new();
    for metric in table {
        let mut breach = |what: &str| breaches.push(format!("{}: {what}", metric.name));
        if !seen.insert(metric.name) {
            breach("is listed twice");
        }
        for what in name_breaches(program, metric) {
            breach(&what);
        }
        if metric.help.trim().is_empty() {
            breach("has no help");
        }
        if metric.labels.len() > LABELS_MAX {
            breach(&format!("has more than {LABELS_MAX} labels"));
        }
        for label in metric.labels {
            if !words(label) {
                breach(&format!("label `{label}` is not lower-case words"));
            }
            if LABELS_REFUSED.contains(label) {
                breach(&format!("label `{label}` has no closed set of values"));
            }
        }
    }
    breaches
}

fn name_breaches(program: &str, metric: &Metric) -> Vec<String> {
    let mut breaches = Vec::new();
    if !words(metric.name) {
        breaches.push("is not lower-case words joined by one `_`".to_owned());
    }
    let Some(rest) = metric.name.strip_prefix(program).and_then(|rest| rest.strip_prefix('_')) else {
        breaches.push(format!("does not start with `{program}_`"));
        return breaches;
    };
    let (noun, total) = match rest.strip_suffix("_total") {
        Some(noun) => (noun, true),
        None => (rest, false),
    };
    if total != (metric.kind == Kind::Counter) {
        breaches.push("`_total` ends a counter's name and no other".to_owned());
    }
    // Every unit is a plural (`seconds`, `bytes`, `events`) but for the ratio of two.
    let unit = noun.rsplit('_').next().unwrap_or_default();
    if UNITS_REFUSED.contains(&unit) || !(unit.ends_with('s') || unit == "ratio") {
        breaches.push(format!(
            "`{unit}` is not a base unit (seconds, bytes, ratio) nor a plural of what is counted"
        ));
    }
    if matches!(unit, "seconds" | "bytes" | "ratio") && noun == unit {
        breaches.push("names a unit, but of what".to_owned());
    }
    breaches
}

/// The names in a rendered page that no table documents, apart from `process_*`. For tests that have driven a
/// whole program.
pub fn undocumented(page: &str, tables: &[&[Metric]]) -> Vec<String> {
    let known: BTreeSet<&str> =
        tables.iter().flat_map(|table| table.iter()).map(|metric| metric.name).collect();
    let shown = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let unknown: BTreeSet<&str> =
        shown.filter(|name| !known.contains(name) && !name.starts_with("process_")).collect();
    unknown.into_iter().map(str::to_owned).collect()
}

fn words(name: &str) -> bool {
    let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.split('_').all(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn metric(name: &'static str, kind: Kind, labels: &'static [&'static str]) -> Metric {
        Metric { name, kind, help: "Says something.", labels }
    }

    #[test]
    fn good_names() {
        let table = [
            metric("edge_requests_total", Kind::Counter, &["kind", "outcome"]),
            metric("edge_dropped_events_total", Kind::Counter, &["reason"]),
            metric("edge_connections", Kind::Gauge, &[]),
            metric("edge_journal_used_ratio", Kind::Gauge, &[]),
            metric("edge_answer_seconds", Kind::Histogram, &[]),
            metric("edge_sent_bytes_total", Kind::Counter, &[]),
        ];
        assert_eq!(grammar("edge", &table), Vec::<String>::new());
    }

    #[test]
    fn each_breach_is_named() {
        for (bad, expected) in [
            (metric("consumer_rows_total", Kind::Counter, &[]), "does not start with `edge_`"),
            (metric("edge_requests", Kind::Counter, &[]), "`_total` ends"),
            (metric("edge_connections_total", Kind::Gauge, &[]), "`_total` ends"),
            (metric("edge_answer_ms", Kind::Histogram, &[]), "`ms` is not a base unit"),
            (metric("edge_events_dropped_total", Kind::Counter, &[]), "`dropped` is not"),
            (metric("edge_bytes_total", Kind::Counter, &[]), "of what"),
            (metric("edge_Requests_total", Kind::Counter, &[]), "lower-case"),
            (metric("edge__requests_total", Kind::Counter, &[]), "lower-case"),
            (metric("edge_requests_total", Kind::Counter, &["recipient"]), "no closed set"),
            (metric("edge_requests_total", Kind::Counter, &["Kind"]), "lower-case words"),
            (metric("edge_requests_total", Kind::Counter, &["a", "b", "c", "d"]), "more than 3"),
            (Metric { help: " ", ..metric("edge_requests_total", Kind::Counter, &[]) }, "no help"),
        ] {
            let breaches = grammar("edge", &[bad]);
            assert!(breaches.iter().any(|b| b.contains(expected)), "{}: {breaches:?}", bad.name);
        }
        let twice = [metric("edge_requests_total", Kind::Counter, &[]); 2];
        assert_eq!(grammar("edge", &twice), ["edge_requests_total: is listed twice"]);
    }

    #[test]
    fn undocumented_names_are_found() {
        let page = "# TYPE edge_requests_total counter\nedge_requests_total 1\n# TYPE edge_new_things gauge\n\
                    # TYPE process_open_fds gauge\n";
        let table = [metric("edge_requests_total", Kind::Counter, &[])];
        assert_eq!(undocumented(page, &[&table]), ["edge_new_things"]);
    }
}
