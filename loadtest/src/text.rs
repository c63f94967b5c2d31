//! Reports as text.

use std::collections::BTreeMap;
use std::fmt;

use crate::account::Account;
use crate::find_max::Step;
use crate::parts::{Growth, LEVEL};
use crate::report::{Percentiles, Process, Report, SearchReport};

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
        if run.rate_peak > run.rate {
            writeln!(f, "shape      {}, {}/s at the peak", run.shape, run.rate_peak)?;
        }
        if run.bad_share + run.head_share > 0.0 {
            writeln!(
                f,
                "noise      {} of all with a bad token, {} of clicks and downloads are HEAD",
                run.bad_share, run.head_share
            )?;
        }
        if run.warm_up_seconds > 0.0 {
            writeln!(
                f,
                "warm-up    {} s before: {} answered, {} failed; not in the figures",
                run.warm_up_seconds, self.warm_up.answered, self.warm_up.failed
            )?;
        }
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
        let outside = if self.errors.is_empty() { "" } else { "  (not in the latencies)" };
        writeln!(f, "errors     {}{outside}", list(&self.errors))?;
        for process in &self.processes {
            writeln!(f, "process    {process}")?;
        }
        if let Some(error) = &self.ledger_error {
            writeln!(f, "ledger     not known: {error}")?;
        }
        if let Some(l) = &self.ledger {
            writeln!(
                f,
                "ledger     {} answered, {} rows: {} missing, {} doubled, {} unexpected, {} wrong{}; {} of {} without \
                 an answer are stored; {} refused",
                l.answered,
                l.rows,
                l.missing,
                l.doubled,
                l.unexpected,
                l.wrong,
                if l.wrong > 0 { format!(" ({})", list(&l.wrong_by_column)) } else { String::new() },
                l.unknown_stored,
                l.unknown,
                l.refused
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
        if let Some(a) = &self.account {
            let Account { accepted, stored, duplicate, dead, dropped } = a;
            match self.account_restarts {
                0 => writeln!(
                    f,
                    "account    {accepted} accepted = {stored} stored + {duplicate} duplicate + {dead} dead + {dropped} \
                     dropped + {} under way  (metrics, all traffic)",
                    a.under_way()
                )?,
                _ => writeln!(
                    f,
                    "account    {accepted} accepted, {stored} stored, {duplicate} duplicate, {dead} dead, {dropped} \
                     dropped  (metrics, all traffic; a program was started again: what it counted just before is lost)"
                )?,
            }
        }
        for growth in &self.parts {
            writeln!(f, "parts      {growth}")?;
        }
        if self.parts.iter().any(|growth| growth.level.is_some()) {
            writeln!(f, "           ({LEVEL})")?;
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

/// One line.
impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [start, quarter, half, end] =
            [self.active_at_start, self.active_at_quarter, self.active_at_half, self.active_at_end];
        write!(
            f,
            "{}: {:.2} new per second; active {start} at the start, then {quarter}, {half} and at the end {end}, \
             {} at the most; {} merges at the most; ",
            self.table, self.new_per_second, self.active_max, self.merging_max
        )?;
        let Some(level) = self.level else { return write!(f, "too few looks to judge") };
        let word = if level.is_flat { "flat" } else { "GROWING" };
        write!(f, "{word}, medians {} and {}", level.second_quarter, level.last_quarter)
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
