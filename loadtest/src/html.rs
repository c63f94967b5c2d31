//! A report as one HTML page: everything in it, nothing fetched, no scripts.

mod parts;

use std::fmt::{self, Write};

use crate::plot::{Axis, Line, Plot, Scale, escape, number};
use crate::report::{Percentiles, Report};
use crate::timeline::{Interval, Point};
use crate::watch::Sample;

/// Of every page.
pub(crate) const CSS: &str = include_str!("report.css");

/// The page.
pub fn page(report: &Report) -> String {
    let mut out = String::new();
    write_page(&mut out, report).expect("writing to a String does not fail");
    out
}

fn write_page(out: &mut String, report: &Report) -> fmt::Result {
    let run = &report.run;
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Load test: {url}, {rate}/s</title>\n<style>\n{CSS}</style>\n</head>\n<body>\n\
         <h1>Load test of {url}</h1>\n<p class=\"soft\">",
        url = escape(&run.url),
        rate = number(run.rate)
    )?;
    match run.shape {
        "steady" => write!(out, "{} requests a second", number(run.rate))?,
        shape => write!(
            out,
            "{shape}: {} requests a second in the mean, {} at the peak",
            number(run.rate),
            number(run.rate_peak)
        )?,
    }
    write!(out, " for {} s", number(run.duration_seconds))?;
    if run.warm_up_seconds > 0.0 {
        write!(out, ", after {} s of warm-up", number(run.warm_up_seconds))?;
    }
    out.push_str("</p>\n");
    tiles(out, report)?;
    for reason in &report.invalid_because {
        writeln!(out, "<p class=\"bad\">Invalid: {}.</p>", escape(reason))?;
    }

    section(
        out,
        "Latency by percentile",
        "How long the slowest of ten, a hundred, a thousand requests took. From when a request was due counts the \
         wait of those that a slow server kept from being sent; from when it was sent is what most tools show.",
    )?;
    percentiles(out, report)?;
    latency_table(out, report)?;

    section(
        out,
        "Latency over time",
        "Of the requests due in each interval, from when they were due to their whole answer.",
    )?;
    latency(out, report);

    section(
        out,
        "Throughput over time",
        "Requests due, proper answers, and requests due that never got one.",
    )?;
    throughput(out, report);

    section(
        out,
        "Lag over time",
        "Requests answered whose rows ClickHouse does not show yet: what is in the journal, in Kafka and in batches.",
    )?;
    match report.timeline.samples.iter().any(|sample| sample.visible.is_some()) {
        false => writeln!(out, "<p class=\"soft\">Not looked at: needs --clickhouse.</p>")?,
        true => lag(out, report),
    }

    section(
        out,
        "Ledger over time",
        "Every answered request must become one row. The counts go on until the rows stand still.",
    )?;
    match report.timeline.samples[..] {
        [] => writeln!(out, "<p class=\"soft\">Not looked at: needs --clickhouse or --metrics.</p>")?,
        _ => ledger(out, report),
    }
    ledger_table(out, report)?;

    parts::section(out, report)?;

    section(out, "All figures", "")?;
    writeln!(out, "<pre>{}</pre>\n</body>\n</html>", escape(&report.to_string()))
}

fn section(out: &mut String, title: &str, about: &str) -> fmt::Result {
    writeln!(out, "<h2>{title}</h2>\n<p class=\"soft\">{about}</p>")
}

fn tiles(out: &mut String, report: &Report) -> fmt::Result {
    let failed: u64 = report.errors.values().sum();
    let mut tiles = vec![
        ("", number(report.answered as f64), format!("answered, {}/s", number(report.answered_per_second))),
        (
            if failed > 0 { "bad" } else { "" },
            number(failed as f64),
            "without a proper answer, in no latency".to_owned(),
        ),
        ("", format!("{} ms", number(report.latency_ms.p50)), "median latency".to_owned()),
        ("", format!("{} ms", number(report.latency_ms.p99)), "99th percentile".to_owned()),
        ("", format!("{} ms", number(report.latency_ms.p99_9)), "99.9th percentile".to_owned()),
    ];
    if let Some(freshness) = &report.freshness {
        let p99 = format!("{} ms", number(freshness.visible_ms.p99));
        tiles.push(("", p99, "request to visible row, p99".to_owned()));
    }
    tiles.push(match (&report.ledger, &report.ledger_error) {
        (Some(ledger), _) if ledger.clean() => {
            ("good", "clean".to_owned(), "ledger: every answer one right row".to_owned())
        }
        (Some(_), _) => ("bad", "broken".to_owned(), "ledger: see below".to_owned()),
        (None, Some(_)) => ("bad", "not known".to_owned(), "ledger".to_owned()),
        (None, None) => ("", "not checked".to_owned(), "ledger".to_owned()),
    });
    tiles.push(match report.valid {
        true => ("good", "valid".to_owned(), "sent on time".to_owned()),
        false => ("bad", "invalid".to_owned(), "says nothing of the server".to_owned()),
    });
    out.push_str("<div class=\"tiles\">\n");
    for (class, figure, about) in tiles {
        writeln!(out, "<div><b class=\"{class}\">{figure}</b><span>{about}</span></div>")?;
    }
    out.push_str("</div>\n");
    Ok(())
}

fn percentiles(out: &mut String, report: &Report) -> fmt::Result {
    // Nines: 0.9 is 1, 0.99 is 2.
    let nines = |point: &Point| (-(1.0 - point.quantile).log10(), point.ms);
    let curves =
        [("from when it was due", &report.latency_curve), ("from when it was sent", &report.service_curve)];
    let ms = curves.iter().flat_map(|(_, curve)| curve.iter().map(|point| point.ms));
    let last = report.latency_curve.last().map_or(1.0, |point| nines(point).0.max(1.0));
    let tick = |n: u32| (f64::from(n), if n == 0 { "0 %".to_owned() } else { percent(n) });
    let x = Axis {
        label: "percentile of requests",
        from: 0.0,
        to: last,
        scale: Scale::Linear,
        ticks: (0..=last as u32).map(tick).chain([(0.301, "50 %".to_owned())]).collect(),
    };
    let lines = curves
        .iter()
        .map(|(name, curve)| Line { name: (*name).to_owned(), points: curve.iter().map(nines).collect() });
    let plot = Plot { x, y: Axis::log("latency, ms", ms.clone()), lines: lines.collect(), shaded: None };
    out.push_str(&plot.svg(&format!("latency by percentile: {}", report.latency_ms)));
    Ok(())
}

/// 1 is 90 %, 3 is 99.9 %.
fn percent(nines: u32) -> String {
    let tail = "9".repeat(nines.saturating_sub(2) as usize);
    match nines {
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        _ => format!("99.{tail} %"),
    }
}

fn latency_table(out: &mut String, report: &Report) -> fmt::Result {
    out.push_str("<div class=\"scroll\"><table>\n<tr><th>latency, ms</th><th>requests</th>");
    for (name, _) in report.latency_ms.named() {
        write!(out, "<th>{name}</th>")?;
    }
    out.push_str("</tr>\n");
    let mut row = |name: &str, percentiles: &Percentiles| -> fmt::Result {
        write!(out, "<tr><td>{name}</td><td>{}</td>", number(percentiles.count as f64))?;
        for (_, ms) in percentiles.named() {
            write!(out, "<td>{ms:.3}</td>")?;
        }
        out.push_str("</tr>\n");
        Ok(())
    };
    row("all, from when due", &report.latency_ms)?;
    row("all, from when sent", &report.service_ms)?;
    for (name, percentiles) in &report.latency_ms_by {
        let name = match *name {
            "fresh" => "on a new connection",
            "kept" => "on a kept connection",
            kind => kind,
        };
        row(name, percentiles)?;
    }
    out.push_str("</table></div>\n");
    Ok(())
}

/// A plot from the start until `to`.
fn over_time(report: &Report, to: f64, y: Axis, lines: Vec<Line>, described: &str) -> String {
    let warm_up = report.timeline.warm_up_seconds;
    let shaded = (warm_up > 0.0).then_some((0.0, warm_up, "warm-up"));
    Plot { x: Axis::linear_to("seconds since the start", to), y, lines, shaded }.svg(described)
}

/// When the last answer came.
fn sent(report: &Report) -> f64 {
    report.timeline.intervals.len() as f64 * report.timeline.interval_seconds
}

/// When the last look behind the edge was.
fn looked(report: &Report) -> f64 {
    report.timeline.samples.last().map_or(0.0, |sample| sample.at_seconds)
}

/// The middle of an interval.
fn middle(report: &Report, interval: &Interval) -> f64 {
    interval.at_seconds + report.timeline.interval_seconds / 2.0
}

fn latency(out: &mut String, report: &Report) {
    let spreads: Vec<_> = report
        .timeline
        .intervals
        .iter()
        .filter_map(|interval| Some((middle(report, interval), interval.latency_ms?)))
        .collect();
    let ms = spreads.iter().flat_map(|(_, spread)| [spread.p50, spread.max]);
    let y = Axis::log("latency, ms", ms.clone());
    let line = |name: &str, of: fn(&crate::timeline::Spread) -> f64| Line {
        name: name.to_owned(),
        points: spreads.iter().map(|(at, spread)| (*at, of(spread))).collect(),
    };
    let lines =
        vec![line("median", |s| s.p50), line("99th percentile", |s| s.p99), line("slowest", |s| s.max)];
    out.push_str(&over_time(
        report,
        sent(report),
        y,
        lines,
        "median, 99th percentile and slowest latency over time",
    ));
}

fn throughput(out: &mut String, report: &Report) {
    let timeline = &report.timeline;
    let line = |name: &str, of: fn(&Interval) -> u64| Line {
        name: name.to_owned(),
        points: timeline
            .intervals
            .iter()
            .map(|interval| (middle(report, interval), of(interval) as f64 / timeline.interval_seconds))
            .collect(),
    };
    let mut lines = vec![line("offered", |i| i.due), line("answered", |i| i.answered)];
    if timeline.intervals.iter().any(|interval| interval.failed > 0) {
        lines.push(line("failed", |i| i.failed));
    }
    let high = lines.iter().map(|line| highest(&line.points)).fold(0.0, f64::max);
    let y = Axis::linear("requests per second", high);
    out.push_str(&over_time(report, sent(report), y, lines, "requests offered and answered over time"));
}

fn lag(out: &mut String, report: &Report) {
    let lag = |s: &Sample| s.visible.map_or(f64::NAN, |visible| s.answered.saturating_sub(visible) as f64);
    let points: Vec<_> =
        report.timeline.samples.iter().map(|sample| (sample.at_seconds, lag(sample))).collect();
    let high = highest(&points);
    let lines = vec![Line { name: format!("answered, not visible: {} at most", number(high)), points }];
    let y = Axis::linear("events", high);
    out.push_str(&over_time(report, looked(report), y, lines, "events answered and not visible over time"));
}

fn ledger(out: &mut String, report: &Report) {
    let samples = &report.timeline.samples;
    let line = |name: &str, of: fn(&Sample) -> Option<u64>| {
        let last = samples.iter().rev().find_map(of)?;
        let point = |sample: &Sample| (sample.at_seconds, of(sample).map_or(f64::NAN, |count| count as f64));
        Some(Line {
            name: format!("{name} {}", number(last as f64)),
            points: samples.iter().map(point).collect(),
        })
    };
    // Never both in one line: they do not count the same.
    let stored: fn(&Sample) -> Option<u64> = match samples.iter().any(|sample| sample.visible.is_some()) {
        true => |s| s.visible,
        false => |s| Some(s.account?.stored),
    };
    let lines: Vec<Line> = [
        line("answered", |s| Some(s.answered)),
        line("stored", stored),
        line("duplicate", |s| Some(s.account?.duplicate)),
        line("dead", |s| Some(s.account?.dead)),
        line("dropped", |s| Some(s.account?.dropped)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let high = lines.iter().map(|line| highest(&line.points)).fold(0.0, f64::max);
    let y = Axis::linear("events", high);
    out.push_str(&over_time(report, looked(report), y, lines, "the ledger over time"));
    if report.account.is_none() {
        out.push_str(
            "<p class=\"soft\">Duplicate, dead and dropped events are known to the programs' metrics: add \
             --metrics.</p>\n",
        );
    }
}

/// What is not a number does not count.
fn highest(points: &[(f64, f64)]) -> f64 {
    points.iter().map(|point| point.1).fold(0.0, f64::max)
}

fn ledger_table(out: &mut String, report: &Report) -> fmt::Result {
    if let Some(error) = &report.ledger_error {
        writeln!(out, "<p class=\"bad\">The ledger is not known: {}.</p>", escape(error))?;
    }
    let Some(ledger) = &report.ledger else { return Ok(()) };
    let mut rows = vec![
        (false, "answered requests that must be a row", ledger.answered),
        (false, "rows of this run", ledger.rows),
        (ledger.missing > 0, "answered, but no row", ledger.missing),
        (ledger.doubled > 0, "rows beyond the first of a request", ledger.doubled),
        (ledger.unexpected > 0, "rows of no request, of one never sent or of a bad token", ledger.unexpected),
        (ledger.wrong > 0, "rows that say something else than was sent", ledger.wrong),
        (false, "requests with a bad token, answered without a row", ledger.refused),
        (false, "requests without an answer", ledger.unknown),
        (false, "of these, stored", ledger.unknown_stored),
    ];
    rows.extend(ledger.wrong_by_column.iter().map(|(column, count)| (true, *column, *count)));
    out.push_str("<div class=\"scroll\"><table>\n<tr><th>at the end</th><th>events</th></tr>\n");
    for (bad, what, count) in rows {
        let class = if bad { "bad" } else { "" };
        writeln!(out, "<tr class=\"{class}\"><td>{what}</td><td>{}</td></tr>", number(count as f64))?;
    }
    out.push_str("</table></div>\n");
    Ok(())
}
