//! What a run has shown, as text for people and as JSON for whoever compares runs.

use std::collections::BTreeMap;
use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cpu::Used;
use crate::find_max::Step;
use crate::ledger::Ledger;

/// Above this share of late sends the run says nothing about the server.
pub const LATE_RATIO_MAX: f64 = 0.01;

/// Below this much CPU time, ticks of 10 ms make the figure per request coarse.
const CPU_SECONDS_MIN: f64 = 2.0;

/// A run's report.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was asked for.
    pub run: Run,
    /// The measurement counts.
    pub valid: bool,
    /// Why it does not; empty when it does.
    pub invalid_because: Vec<String>,
    /// How the generator kept its schedule.
    pub sends: Sends,
    /// Requests answered as they should be.
    pub answered: u64,
    /// Of these, per second from the start to the last answer.
    pub answered_per_second: f64,
    /// From the intended send time to the whole answer.
    pub latency_ms: Percentiles,
    /// From the actual send time to the whole answer: leaves out the wait for a connection.
    pub service_ms: Percentiles,
    /// `latency_ms` by kind of request and of connection.
    pub latency_ms_by: BTreeMap<&'static str, Percentiles>,
    /// Responses by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without a proper answer, by why.
    pub errors: BTreeMap<&'static str, u64>,
    /// What the watched processes, and this one, spent.
    pub processes: Vec<Process>,
    /// Whether every answer is one row; absent when ClickHouse was not asked.
    pub ledger: Option<Ledger>,
    /// Why there is no ledger although one was asked for.
    pub ledger_error: Option<String>,
    /// How long rows take to be seen; absent when that was not asked for.
    pub freshness: Option<Freshness>,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is the option of its name")]
pub struct Run {
    pub url: String,
    pub rate: f64,
    pub duration_seconds: f64,
    pub arrivals: String,
    pub seed: u64,
    pub fresh_share: f64,
    pub connections: usize,
    pub threads: usize,
    pub recipients: u32,
    pub workspace: u32,
    /// As text, since JSON readers round numbers above 2^53.
    pub message_first: String,
    pub message_last: String,
}

/// How the generator kept its schedule.
#[derive(Debug, Clone, Serialize)]
pub struct Sends {
    /// Requests in the schedule.
    pub planned: u64,
    /// Requests that had to wait for a free connection; their wait is in the latency.
    pub held: u64,
    /// Others that left more than 1 ms after they were due: the generator's fault.
    pub late: u64,
    /// `late` over all that did not have to wait.
    pub late_ratio: f64,
    /// How late those left.
    pub lateness_ms: Percentiles,
}

/// A distribution, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(missing_docs, reason = "each field is the percentile of its name")]
pub struct Percentiles {
    pub count: u64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    #[serde(rename = "p99.9")]
    pub p99_9: f64,
    pub max: f64,
}

/// What a process spent during the run.
#[derive(Debug, Clone, Serialize)]
pub struct Process {
    /// Its name on the command line.
    pub name: String,
    /// It was gone at the end of the run, so nothing else is known of it.
    pub ended: bool,
    /// CPU time over answered requests, in microseconds; absent when nothing was answered.
    pub cpu_us_per_request: Option<f64>,
    /// CPU time of all its threads.
    pub cpu_seconds: f64,
    /// Too little CPU time for the kernel's 10 ms ticks: run longer before comparing.
    pub coarse: bool,
    /// Resident memory at the end.
    pub rss_bytes: u64,
}

/// How long rows take to be seen.
#[derive(Debug, Clone, Serialize)]
pub struct Freshness {
    /// From sending a request to a query that shows its row.
    pub visible_ms: Percentiles,
    /// How long one look takes: with the 20 ms between looks, how fine the above is.
    pub look_ms: Percentiles,
    /// Looks that ClickHouse did not answer.
    pub looks_failed: u64,
    /// Probes without a proper answer.
    pub failed: u64,
    /// Probes answered whose row never came.
    pub missing: u64,
}

/// What a search for the highest rate has shown.
#[derive(Debug, Clone, Serialize)]
pub struct SearchReport {
    /// The server.
    pub url: String,
    /// The bound on the 99th percentile.
    pub p99_ms: f64,
    /// Seconds per step.
    pub hold_seconds: f64,
    /// The highest rate that was held, in requests per second.
    pub rate_held: Option<f64>,
    /// Every rate that was tried.
    pub steps: Vec<Step>,
}

impl Percentiles {
    /// Of a histogram of microseconds.
    pub fn of(us: &Histogram<u64>) -> Percentiles {
        let ms = |quantile| us.value_at_quantile(quantile) as f64 / 1e3;
        Percentiles {
            count: us.len(),
            p50: ms(0.5),
            p90: ms(0.9),
            p99: ms(0.99),
            p99_9: ms(0.999),
            max: us.max() as f64 / 1e3,
        }
    }
}

impl Process {
    /// From what it had used before and after; `None` after when it has ended.
    pub fn new(name: &str, before: Used, after: Option<Used>, answered: u64) -> Process {
        let cpu_seconds = after.map_or(0.0, |after| after.cpu_seconds - before.cpu_seconds);
        let known = after.is_some() && answered > 0;
        Process {
            name: name.to_owned(),
            ended: after.is_none(),
            cpu_us_per_request: known.then(|| cpu_seconds * 1e6 / answered as f64),
            cpu_seconds,
            coarse: cpu_seconds < CPU_SECONDS_MIN,
            rss_bytes: after.map_or(0, |after| after.rss_bytes),
        }
    }
}

impl Report {
    /// Decides whether the measurement counts.
    pub fn judge(&mut self) {
        let mut because = Vec::new();
        if self.too_late() {
            because.push(format!(
                "{:.1} % of the requests left more than 1 ms late (1 % is the most): this machine cannot generate \
                 {} requests a second beside what else runs on it",
                self.sends.late_ratio * 100.0,
                self.run.rate
            ));
        }
        if self.answered == 0 {
            because.push("no request was answered".to_owned());
        }
        self.valid = because.is_empty();
        self.invalid_because = because;
    }

    /// The generator did not keep its schedule.
    pub fn too_late(&self) -> bool {
        self.sends.late_ratio > LATE_RATIO_MAX
    }

    /// The rows are as they should be, as far as they were looked at.
    pub fn rows_are_right(&self) -> bool {
        self.ledger_error.is_none()
            && self.ledger.is_none_or(|ledger| ledger.clean())
            && self.freshness.as_ref().is_none_or(|f| f.missing == 0)
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Percentiles { p50, p90, p99, p99_9, max, .. } = self;
        write!(f, "p50 {p50:.3}  p90 {p90:.3}  p99 {p99:.3}  p99.9 {p99_9:.3}  max {max:.3} ms")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { run, sends, .. } = self;
        writeln!(f, "target     {}", run.url)?;
        writeln!(
            f,
            "load       {}/s, {}, for {} s: {} requests, seed {}, {} of them on fresh connections",
            run.rate, run.arrivals, run.duration_seconds, sends.planned, run.seed, run.fresh_share
        )?;
        writeln!(f, "answered   {}, {:.1}/s", self.answered, self.answered_per_second)?;
        writeln!(f, "latency    {}  (from the intended send time)", self.latency_ms)?;
        for (name, percentiles) in &self.latency_ms_by {
            writeln!(f, "  {name:<8} {percentiles}  ({})", percentiles.count)?;
        }
        writeln!(f, "service    {}  (from the actual send time)", self.service_ms)?;
        writeln!(
            f,
            "generator  {} late by over 1 ms ({:.3} %), worst {:.3} ms; {} had to wait for a connection",
            sends.late,
            sends.late_ratio * 100.0,
            sends.lateness_ms.max,
            sends.held
        )?;
        writeln!(f, "statuses   {}", list(&self.statuses))?;
        writeln!(f, "errors     {}", list(&self.errors))?;
        for process in &self.processes {
            writeln!(f, "process    {process}")?;
        }
        if let Some(error) = &self.ledger_error {
            writeln!(f, "ledger     not known: {error}")?;
        }
        if let Some(l) = &self.ledger {
            writeln!(
                f,
                "ledger     {} answered, {} rows: {} missing, {} doubled, {} unexpected; {} of {} without an answer \
                 are stored",
                l.answered, l.rows, l.missing, l.doubled, l.unexpected, l.unknown_stored, l.unknown
            )?;
        }
        if let Some(fresh) = &self.freshness {
            writeln!(
                f,
                "freshness  {}  (request to visible row; {} probes seen, {} missing, {} failed; a look takes {:.1} ms, \
                 {} failed)",
                fresh.visible_ms,
                fresh.visible_ms.count,
                fresh.missing,
                fresh.failed,
                fresh.look_ms.p50,
                fresh.looks_failed
            )?;
        }
        match self.valid {
            true => writeln!(f, "valid      yes"),
            false => writeln!(f, "INVALID    {}", self.invalid_because.join("; ")),
        }
    }
}

/// One line.
impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ended {
            return write!(f, "{}: ended during the run", self.name);
        }
        let per_request = self.cpu_us_per_request.map_or("-".to_owned(), |us| format!("{us:.2}"));
        let note = if self.coarse { ", coarse: under 2 s of CPU time" } else { "" };
        let rss_mib = self.rss_bytes as f64 / f64::from(1 << 20);
        write!(
            f,
            "{}: {per_request} µs CPU per request ({:.2} s{note}), {rss_mib:.1} MiB resident",
            self.name, self.cpu_seconds
        )
    }
}

/// The sum only: the steps are shown as they end.
impl fmt::Display for SearchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rate_held {
            Some(rate) => writeln!(
                f,
                "held       {rate:.0}/s for {} s with p99 below {} ms, every request answered",
                self.hold_seconds, self.p99_ms
            ),
            None if self.steps.iter().any(|step| step.valid) => {
                writeln!(f, "held       no rate that was tried")
            }
            None => writeln!(f, "INVALID    this machine is too busy: no step could be sent on time"),
        }
    }
}

/// One line.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.0}/s  p99 {:>9.3} ms  ", self.rate, self.p99_ms)?;
        if self.not_held_because.is_empty() {
            write!(f, "held")
        } else {
            write!(f, "{}", self.not_held_because.join("; "))
        }
    }
}

fn list<K: fmt::Display>(counts: &BTreeMap<K, u64>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    let counts: Vec<String> = counts.iter().map(|(key, count)| format!("{key}: {count}")).collect();
    counts.join(", ")
}
