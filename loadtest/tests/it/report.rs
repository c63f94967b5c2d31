//! The report's shape: what scripts read must not change by accident.

use std::collections::BTreeMap;

use loadtest::account::Account;
use loadtest::cpu::Used;
use loadtest::find_max::Step;
use loadtest::ledger::Ledger;
use loadtest::parts::{Growth, Level, Parts, Tables};
use loadtest::report::{Freshness, Percentiles, Process, Report, Run, SearchReport, Sends};
use loadtest::tally::WarmUp;
use loadtest::timeline::{Interval, Point, Spread, Timeline};
use loadtest::watch::Sample;

const GOLDEN: &str = include_str!("report.json");

fn percentiles(count: u64) -> Percentiles {
    Percentiles { count, p50: 0.125, p90: 0.25, p99: 0.5, p99_9: 1.5, max: 3.0 }
}

fn used(cpu_seconds: f64, mib: u64) -> Used {
    Used { cpu_seconds, rss_bytes: mib << 20 }
}

fn report() -> Report {
    Report {
        run: Run {
            url: "http://127.0.0.1:8080".to_owned(),
            rate: 5_000.0,
            rate_peak: 5_000.0,
            shape: "steady",
            duration_seconds: 30.0,
            warm_up_seconds: 2.0,
            arrivals: "even".to_owned(),
            seed: 1,
            fresh_share: 0.2,
            bad_share: 0.01,
            head_share: 0.0,
            connections: 256,
            threads: 1,
            recipients: 10_000,
            workspace: 1,
            message_first: (1_u64 << 60).to_string(),
            message_last: ((1_u64 << 60) + 14).to_string(),
        },
        valid: false,
        invalid_because: Vec::new(),
        sends: Sends {
            planned: 150_000,
            held: 3,
            late: 30,
            late_ratio: 0.0002,
            lateness_ms: percentiles(149_997),
        },
        warm_up: WarmUp { answered: 10_000, failed: 1 },
        answered: 149_990,
        answered_per_second: 4_999.5,
        latency_ms: percentiles(149_990),
        service_ms: percentiles(149_990),
        latency_ms_by: BTreeMap::from([("open", percentiles(119_990)), ("kept", percentiles(120_000))]),
        statuses: BTreeMap::from([(200, 119_990), (302, 30_000)]),
        errors: BTreeMap::from([("closed", 10)]),
        processes: vec![
            Process::new("edge", used(2.0, 1), Some(used(3.5, 48)), 149_990),
            Process::new("gone", used(2.0, 1), None, 149_990),
        ],
        ledger: Some(Ledger {
            answered: 149_990,
            unknown: 10,
            unknown_stored: 4,
            rows: 149_994,
            ..Ledger::default()
        }),
        ledger_error: None,
        freshness: Some(Freshness {
            visible_ms: percentiles(150),
            look_ms: percentiles(900),
            looks_failed: 2,
            failed: 0,
            missing: 0,
        }),
        account: Some(Account { accepted: 150_100, stored: 150_090, duplicate: 3, dead: 2, dropped: 1 }),
        account_restarts: 0,
        parts: vec![Growth {
            table: "events".to_owned(),
            new_per_second: 2.0,
            active_at_start: 3,
            active_at_quarter: 4,
            active_at_half: 6,
            active_at_end: 5,
            active_max: 9,
            merging_max: 2,
            level: Some(Level { second_quarter: 5.5, last_quarter: 5.0, is_flat: true }),
        }],
        latency_curve: vec![Point { quantile: 0.0, ms: 0.05 }, Point { quantile: 0.9, ms: 0.25 }],
        service_curve: vec![Point { quantile: 0.0, ms: 0.05 }],
        timeline: Timeline {
            interval_seconds: 0.2,
            warm_up_seconds: 2.0,
            intervals: vec![Interval {
                at_seconds: 0.0,
                due: 1_000,
                answered: 999,
                failed: 1,
                latency_ms: Some(Spread { p50: 0.1, p99: 0.5, max: 1.5 }),
            }],
            samples: vec![Sample {
                at_seconds: 0.5,
                answered: 2_500,
                visible: Some(2_000),
                account: None,
                parts: Some(Tables::from([(
                    "events".to_owned(),
                    Parts { active: 6, blocks: 40, merging: 1 },
                )])),
            }],
        },
    }
}

#[test]
fn json_is_as_written_down() {
    let mut report = report();
    report.judge();
    assert_eq!(serde_json::to_string_pretty(&report).unwrap() + "\n", GOLDEN);
}

#[test]
fn the_text_says_the_same() {
    let mut report = report();
    report.judge();
    let text = report.to_string();
    for part in [
        "warm-up    2 s before: 10000 answered, 1 failed; not in the figures\n",
        "account    150100 accepted = 150090 stored + 3 duplicate + 2 dead + 1 dropped + 4 under way",
        "load       5000/s, even, for 30 s: 150000 requests, seed 1, 0.2 of them on fresh connections\n",
        "latency    p50 0.125  p90 0.250  p99 0.500  p99.9 1.500  max 3.000 ms  (from the intended send time)\n",
        "generator  30 late by over 1 ms (0.020 %), worst 3.000 ms; 3 had to wait for a connection\n",
        "statuses   200: 119990, 302: 30000\n",
        "errors     closed: 10  (not in the latencies)\n",
        "process    edge: 10.00 µs CPU per request (1.50 s, coarse: under 2 s of CPU time), 48.0 MiB resident\n",
        "process    gone: ended during the run\n",
        "a look takes 0.1 ms, 2 failed)\n",
        "0 missing, 0 doubled, 0 unexpected, 0 wrong; 4 of 10 without an answer are stored; 0 refused\n",
        "parts      events: 2.00 new per second; active 3 at the start, then 4, 6 and at the end 5, 9 at the most; \
         2 merges at the most; flat, medians 5.5 and 5\n",
        "           (flat: the median of active parts in the last quarter of the run is at most 1.25 times",
        "valid      yes\n",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}

#[test]
fn an_account_over_a_restart_claims_no_balance() {
    let mut report = report();
    report.account_restarts = 1;
    let text = report.to_string();
    assert!(text.contains("account    150100 accepted, 150090 stored, "), "{text}");
    assert!(text.contains("a program was started again") && !text.contains("under way"), "{text}");
}

#[test]
fn a_page_says_what_is_broken_and_escapes_it() {
    let mut report = report();
    report.run.url = "http://127.0.0.1/<b>".to_owned();
    report.ledger.as_mut().unwrap().wrong = 7;
    report.ledger.as_mut().unwrap().wrong_by_column.insert("target", 7);
    report.sends.late_ratio = 0.5;
    report.judge();
    let page = loadtest::html::page(&report);
    for part in ["127.0.0.1/&lt;b&gt;", ">broken<", ">invalid<", "<td>target</td><td>7</td>", "duplicate"] {
        assert!(page.contains(part), "no {part}");
    }
    assert!(!page.contains("<b>\n"));
    // Nothing measured at all is still a page.
    report.answered = 0;
    report.latency_curve.clear();
    report.service_curve.clear();
    report.timeline.intervals.clear();
    report.timeline.samples.clear();
    let page = loadtest::html::page(&report);
    assert!(page.contains("Not looked at: needs --clickhouse") && !page.contains("NaN"), "{page}");
}

#[test]
fn a_late_generator_makes_the_run_invalid() {
    let mut report = report();
    for (late_ratio, valid) in [(0.01, true), (0.0101, false)] {
        report.sends.late_ratio = late_ratio;
        report.judge();
        assert_eq!(report.valid, valid);
    }
    assert!(report.to_string().contains("INVALID    1.0 % of the requests left more than 1 ms late"));
    report.sends.late_ratio = 0.0;
    report.answered = 0;
    report.judge();
    assert_eq!(report.invalid_because, ["no request was answered"]);
}

#[test]
fn rows_decide_apart_from_validity() {
    let mut report = report();
    assert!(report.rows_are_right());
    report.freshness.as_mut().unwrap().missing = 1;
    assert!(!report.rows_are_right());
    report.freshness = None;
    report.ledger.as_mut().unwrap().doubled = 1;
    assert!(!report.rows_are_right());
    report.ledger = None;
    assert!(report.rows_are_right());
    report.ledger_error = Some("failed to query ClickHouse".to_owned());
    assert!(!report.rows_are_right());
    assert!(report.to_string().contains("ledger     not known: failed to query ClickHouse\n"));
}

#[test]
fn a_search_tells_each_step() {
    let because = vec!["p99 is not below 10 ms".to_owned(), "3 requests failed".to_owned()];
    let report = SearchReport {
        url: "http://127.0.0.1:8080".to_owned(),
        p99_ms: 10.0,
        hold_seconds: 5.0,
        rate_held: Some(2_000.0),
        steps: vec![
            Step { rate: 2_000.0, p99_ms: 0.5, valid: true, not_held_because: Vec::new() },
            Step { rate: 4_000.0, p99_ms: 20.5, valid: true, not_held_because: because },
        ],
    };
    let steps: Vec<String> = report.steps.iter().map(|step| step.to_string()).collect();
    assert_eq!(
        steps,
        [
            "     2000/s  p99     0.500 ms  held",
            "     4000/s  p99    20.500 ms  p99 is not below 10 ms; 3 requests failed",
        ]
    );
    let sum = "held       2000/s for 5 s with p99 below 10 ms, every request answered\n";
    assert_eq!(report.to_string(), sum);

    let late = Step { rate: 9.0, p99_ms: 1.0, valid: false, not_held_because: vec!["late".to_owned()] };
    let busy = SearchReport { rate_held: None, steps: vec![late], ..report };
    assert!(busy.to_string().starts_with("INVALID"));
}
