//! A run from its options to its report.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;

use crate::clickhouse::ClickHouse;
use crate::cpu::{self, Used};
use crate::crowd::Crowd;
use crate::find_max::{Search, Step, TRIES_MAX, Verdict};
use crate::freshness::{self, Seen};
use crate::ledger;
use crate::live::{self, Live};
use crate::mint::Mint;
use crate::mix::{self, KINDS};
use crate::options::RunOptions;
use crate::plan::{Plan, REQUESTS_MAX, Spec};
use crate::report::{Freshness, Percentiles, Process, Report, Run, SearchReport, Sends};
use crate::send::{self, Target};
use crate::tally::Tally;

/// Between the decision to start and the first request, so that every thread is there.
const LEAD: Duration = Duration::from_millis(100);

/// The name of the generator's own process in a report.
const SELF: &str = "loadtest";

/// Makes one run and reports it.
pub async fn run(options: &RunOptions) -> anyhow::Result<Report> {
    let (target, clickhouse) = (options.target()?, options.clickhouse()?);
    let (crowd, mint) = (Arc::new(Crowd::load()?), Mint::load(options)?);
    let spec = spec(options, options.rate, options.duration)?;
    let plan = Arc::new(Plan::new(spec, crowd.clone(), |hit| mint.path(hit))?);
    let probes = match options.freshness {
        None => Vec::new(),
        Some(per_second) => {
            let count = (per_second * options.duration) as u64;
            freshness::probes(&plan, &crowd, &target.host, count, |hit| mint.path(hit))?
        }
    };
    reach(&target, clickhouse.as_ref()).await?;

    let before = usage(options)?;
    let start = Instant::now() + LEAD;
    let load = send_in_background(&target, &plan, options.threads, start);
    let settle_max = Duration::from_millis(options.settle_ms);
    let (tally, seen) = match (&clickhouse, options.freshness) {
        (Some(clickhouse), Some(per_second)) => {
            let gap = Duration::from_secs_f64(1.0 / per_second);
            let seen = freshness::sample(&probes, gap, start, &target, &plan, clickhouse, settle_max);
            let (tally, seen) = tokio::join!(load, seen);
            (tally?, Some(seen))
        }
        _ => (load.await?, None),
    };
    let mut report = report(options, &plan, &tally, start);
    report.freshness = seen.as_ref().map(fresh);
    report.processes = spent(options, &before, tally.answers());
    if let Some(clickhouse) = &clickhouse {
        let settled = ledger::settle(clickhouse, &plan, tally.answers(), settle_max).await;
        // Only now are the processes behind the edge done with this run's events, and the check's own queries
        // are not on their account yet.
        report.processes = spent(options, &before, tally.answers());
        let checked = match settled {
            Ok(()) => ledger::check(clickhouse, &plan, &tally.outcomes).await,
            Err(error) => Err(error),
        };
        // What was measured is shown even when the database is gone.
        match checked {
            Ok(ledger) => report.ledger = Some(ledger),
            Err(error) => report.ledger_error = Some(format!("{error:#}")),
        }
    }
    report.judge();
    Ok(report)
}

/// Searches the highest rate that is held; `each` sees every step as it ends.
pub async fn find_max(options: &RunOptions, mut each: impl FnMut(&Step)) -> anyhow::Result<SearchReport> {
    let target = options.target()?;
    let (crowd, mint) = (Arc::new(Crowd::load()?), Mint::load(options)?);
    reach(&target, None).await?;
    let mut search = Search::from(options.rate);
    let mut steps = Vec::new();
    while let Some(rate) = search.next().filter(|rate| rate * options.hold <= REQUESTS_MAX as f64) {
        for try_left in (0..TRIES_MAX).rev() {
            let plan = Plan::new(spec(options, rate, options.hold)?, crowd.clone(), |hit| mint.path(hit))?;
            let step = step(options, &target, Arc::new(plan)).await?;
            each(&step);
            steps.push(step.clone());
            let verdict = match (step.valid, step.not_held_because.is_empty()) {
                (false, _) if try_left > 0 => continue,
                (false, _) => Verdict::Unmeasured,
                (true, true) => Verdict::Held,
                (true, false) => Verdict::NotHeld,
            };
            search.tried(verdict);
            break;
        }
    }
    Ok(SearchReport {
        url: options.url.clone(),
        p99_ms: options.p99_ms,
        hold_seconds: options.hold,
        rate_held: search.held(),
        steps,
    })
}

/// Holds one rate.
async fn step(options: &RunOptions, target: &Target, plan: Arc<Plan>) -> anyhow::Result<Step> {
    let start = Instant::now() + LEAD;
    let tally = send_in_background(target, &plan, options.threads, start).await?;
    let report = report(options, &plan, &tally, start);
    let failed: u64 = report.errors.values().sum();
    let mut because = Vec::new();
    if report.too_late() {
        because.push(format!("{:.1} % left late: not measured", report.sends.late_ratio * 100.0));
    }
    if report.latency_ms.p99 >= options.p99_ms {
        because.push(format!("p99 is not below {} ms", options.p99_ms));
    }
    if failed > 0 {
        because.push(format!("{failed} requests failed"));
    }
    let valid = !report.too_late();
    Ok(Step { rate: plan.spec().rate, p99_ms: report.latency_ms.p99, valid, not_held_because: because })
}

fn spec(options: &RunOptions, rate: f64, seconds: f64) -> anyhow::Result<Spec> {
    let now_ms =
        SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_millis();
    Ok(Spec {
        requests: ((rate * seconds).round() as usize).max(1),
        rate,
        arrivals: options.arrivals,
        seed: options.seed,
        mix: options.mix,
        fresh_share: options.fresh_share,
        recipients: options.recipients,
        workspace: options.workspace,
        // A millisecond has room for a run's 2^20 messages, so no two runs share one.
        message: options.message.unwrap_or((now_ms as u64) << 20),
    })
}

/// Fails early, with a clear reason, rather than after the load.
async fn reach(target: &Target, clickhouse: Option<&ClickHouse>) -> anyhow::Result<()> {
    let reached = tokio::time::timeout(target.timeout, tokio::net::TcpStream::connect(target.address)).await;
    reached
        .context("no answer in time")
        .and_then(|r| Ok(r?))
        .with_context(|| format!("failed to reach {}", target.address))?;
    if let Some(clickhouse) = clickhouse {
        clickhouse
            .query(&format!("SELECT workspace, message, recipient, kind FROM {} LIMIT 0", clickhouse.table()))
            .await?;
    }
    Ok(())
}

async fn send_in_background(
    target: &Target,
    plan: &Arc<Plan>,
    threads: usize,
    start: Instant,
) -> anyhow::Result<Tally> {
    let live = Arc::new(Live::default());
    let (target, plan, shown) = (target.clone(), plan.clone(), live.clone());
    let planned = plan.len();
    let sending = tokio::task::spawn_blocking(move || send::send(&target, &plan, threads, start, &live));
    tokio::select! {
        sent = sending => Ok(sent.context("the sending threads panicked")??),
        () = live::show(&shown, start, planned) => unreachable!("the display goes on until it is dropped"),
    }
}

/// The watched processes and this one.
fn watched(options: &RunOptions) -> impl Iterator<Item = (&str, u32)> {
    options.pid.iter().map(|w| (w.name.as_str(), w.pid)).chain([(SELF, std::process::id())])
}

fn usage(options: &RunOptions) -> anyhow::Result<Vec<Used>> {
    let used = |(name, pid)| cpu::used(pid).with_context(|| format!("failed to watch {name}"));
    watched(options).map(used).collect()
}

fn spent(options: &RunOptions, before: &[Used], answered: u64) -> Vec<Process> {
    let pairs = watched(options).zip(before);
    pairs.map(|((name, pid), before)| Process::new(name, *before, cpu::used(pid).ok(), answered)).collect()
}

fn report(options: &RunOptions, plan: &Plan, tally: &Tally, start: Instant) -> Report {
    let spec = plan.spec();
    let seconds = tally.last_answer.map_or(0.0, |last| last.saturating_duration_since(start).as_secs_f64());
    let mut by: std::collections::BTreeMap<_, _> =
        KINDS.iter().map(|kind| mix::name(*kind)).zip(&tally.by_kind).collect();
    by.extend([("fresh", &tally.fresh), ("kept", &tally.kept)]);
    Report {
        run: Run {
            url: options.url.clone(),
            rate: spec.rate,
            duration_seconds: spec.requests as f64 / spec.rate,
            arrivals: format!("{:?}", spec.arrivals).to_lowercase(),
            seed: spec.seed,
            fresh_share: spec.fresh_share,
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
            planned: plan.len() as u64,
            held: tally.held,
            late: tally.late,
            late_ratio: tally.late_ratio(),
            lateness_ms: Percentiles::of(&tally.lateness),
        },
        answered: tally.answers(),
        answered_per_second: if seconds > 0.0 { tally.answers() as f64 / seconds } else { 0.0 },
        latency_ms: Percentiles::of(&tally.latency),
        service_ms: Percentiles::of(&tally.service),
        latency_ms_by: by
            .into_iter()
            .filter(|(_, h)| !h.is_empty())
            .map(|(name, h)| (name, Percentiles::of(h)))
            .collect(),
        statuses: tally.statuses.clone(),
        errors: tally.failures.iter().map(|(why, count)| (why.as_str(), *count)).collect(),
        processes: Vec::new(),
        ledger: None,
        ledger_error: None,
        freshness: None,
    }
}

fn fresh(seen: &Seen) -> Freshness {
    Freshness {
        visible_ms: Percentiles::of(&seen.visible),
        look_ms: Percentiles::of(&seen.look),
        looks_failed: seen.looks_failed,
        failed: seen.failed,
        missing: seen.missing,
    }
}
