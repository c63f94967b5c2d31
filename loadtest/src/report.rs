//! What a run has shown: JSON for whoever compares runs; `text` and `html` write it for people.

use std::collections::BTreeMap;
use std::time::Instant;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::account::Account;
use crate::cpu::Used;
use crate::find_max::Step;
use crate::freshness::Seen;
use crate::ledger::Ledger;
use crate::mix::{self, KINDS};
use crate::options::RunOptions;
use crate::parts::{self, Growth};
use crate::plan::Plan;
use crate::tally::{Tally, WarmUp};
use crate::timeline::{Point, Timeline, curve};
use crate::watch::Sample;

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
    /// What came of the requests before, which no other figure counts but the ledger's.
    pub warm_up: WarmUp,
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
    /// What the programs' own metrics say became of events, all traffic, since the start; absent when they were not
    /// asked or did not answer.
    pub account: Option<Account>,
    /// How often a program was found to count from 0 again: what it counted shortly before is not in `account` then.
    pub account_restarts: u64,
    /// The parts of each table that was inserted into while requests were due; empty when ClickHouse was not asked.
    pub parts: Vec<Growth>,
    /// `latency_ms` by quantile.
    pub latency_curve: Vec<Point>,
    /// `service_ms` by quantile.
    pub service_curve: Vec<Point>,
    /// The run over time.
    pub timeline: Timeline,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is the option of its name")]
pub struct Run {
    pub url: String,
    pub rate: f64,
    /// The highest rate that the shape comes to.
    pub rate_peak: f64,
    pub shape: &'static str,
    pub duration_seconds: f64,
    pub warm_up_seconds: f64,
    pub arrivals: String,
    pub seed: u64,
    pub fresh_share: f64,
    pub bad_share: f64,
    pub head_share: f64,
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
    /// Measured requests in the schedule.
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
    /// Each with its name.
    pub fn named(&self) -> [(&'static str, f64); 5] {
        let Percentiles { p50, p90, p99, p99_9, max, .. } = *self;
        [("p50", p50), ("p90", p90), ("p99", p99), ("p99.9", p99_9), ("max", max)]
    }

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

impl Freshness {
    /// Of what the probes have shown.
    pub fn of(seen: &Seen) -> Freshness {
        Freshness {
            visible_ms: Percentiles::of(&seen.visible),
            look_ms: Percentiles::of(&seen.look),
            looks_failed: seen.looks_failed,
            failed: seen.failed,
            missing: seen.missing,
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

/// What a report is made from, beside what the processes spent and the rows show.
#[derive(Debug)]
pub struct Measured<'a> {
    /// What was asked for.
    pub options: &'a RunOptions,
    /// The requests.
    pub plan: &'a Plan,
    /// What came of them.
    pub tally: &'a Tally,
    /// When the first was due.
    pub start: Instant,
    /// What was seen behind the edge.
    pub samples: Vec<Sample>,
}

impl Report {
    /// Everything that the sending itself has shown. Not judged yet.
    pub fn new(measured: Measured<'_>) -> Report {
        let Measured { options, plan, tally, start, mut samples } = measured;
        let spec = plan.spec();
        let begin = start + plan.warm_up();
        let warm_up_seconds = plan.warm_up().as_secs_f64();
        let parts = parts::growth(&mut samples, warm_up_seconds, plan.due(plan.len() - 1).as_secs_f64());
        let seconds =
            tally.last_answer.map_or(0.0, |last| last.saturating_duration_since(begin).as_secs_f64());
        let mut by: BTreeMap<_, _> = KINDS.iter().map(|kind| mix::name(*kind)).zip(&tally.by_kind).collect();
        by.extend([("fresh", &tally.fresh), ("kept", &tally.kept)]);
        by.retain(|_, histogram| !histogram.is_empty());
        Report {
            run: Run {
                url: options.url.clone(),
                rate: spec.rate,
                rate_peak: (spec.rate * spec.shape.peak()).round(),
                shape: spec.shape.as_str(),
                duration_seconds: (spec.requests - spec.warm_up) as f64 / spec.rate,
                warm_up_seconds,
                arrivals: format!("{:?}", spec.arrivals).to_lowercase(),
                seed: spec.seed,
                fresh_share: spec.fresh_share,
                bad_share: spec.noise.bad_share,
                head_share: spec.noise.head_share,
                connections: options.connections,
                threads: options.threads,
                recipients: spec.recipients,
                workspace: spec.workspace,
                message_first: spec.message.to_string(),
                message_last: plan.message_last().to_string(),
            },
            valid: false,
            invalid_because: Vec::new(),
            sends: Sends {
                planned: (spec.requests - spec.warm_up) as u64,
                held: tally.held,
                late: tally.late,
                late_ratio: tally.late_ratio(),
                lateness_ms: Percentiles::of(&tally.lateness),
            },
            warm_up: tally.warm_up,
            answered: tally.answers(),
            answered_per_second: if seconds > 0.0 { tally.answers() as f64 / seconds } else { 0.0 },
            latency_ms: Percentiles::of(&tally.latency),
            service_ms: Percentiles::of(&tally.service),
            latency_ms_by: by.into_iter().map(|(name, us)| (name, Percentiles::of(us))).collect(),
            statuses: tally.statuses.clone(),
            errors: tally.failures.iter().map(|(why, count)| (why.as_str(), *count)).collect(),
            processes: Vec::new(),
            ledger: None,
            ledger_error: None,
            freshness: None,
            account: None,
            account_restarts: 0,
            parts,
            latency_curve: curve(&tally.latency),
            service_curve: curve(&tally.service),
            timeline: Timeline::new(&tally.series, warm_up_seconds, samples),
        }
    }

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
            && self.ledger.as_ref().is_none_or(Ledger::clean)
            && self.freshness.as_ref().is_none_or(|f| f.missing == 0)
    }
}
