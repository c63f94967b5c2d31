//! A run from its options to its report.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use tokio::sync::Mutex;

use crate::account::Meter;
use crate::clickhouse::ClickHouse;
use crate::cpu::{self, Used};
use crate::crowd::Crowd;
use crate::find_max::{Search, Step, TRIES_MAX, Verdict};
use crate::freshness::{self, Probe, Seen};
use crate::ledger::{self, COLUMNS};
use crate::live::{self, Live};
use crate::mint::Mint;
use crate::options::RunOptions;
use crate::plan::{Plan, REQUESTS_MAX, Spec};
use crate::report::{Freshness, Measured, Process, Report, SearchReport};
use crate::send::{self, Target};
use crate::tally::{Outcome, Tally};
use crate::watch::Watch;

/// Between the decision to start and the first request, so that every thread is there.
const LEAD: Duration = Duration::from_millis(100);

/// The name of the generator's own process in a report.
const SELF: &str = "loadtest";

/// A run that was made.
#[derive(Debug)]
pub struct Ran {
    /// What it has shown.
    pub report: Report,
    /// What was sent.
    pub plan: Arc<Plan>,
    /// When the first request was due.
    pub start: Instant,
}

/// Makes one run and reports it.
pub async fn run(options: &RunOptions) -> anyhow::Result<Ran> {
    let (target, clickhouse) = (options.target()?, options.clickhouse()?);
    let (crowd, mint) = (Arc::new(Crowd::load()?), Mint::load(options)?);
    let spec = spec(options, options.rate, options.duration)?;
    let plan = Arc::new(Plan::new(spec, crowd.clone(), |hit| mint.path(hit))?);
    let probes = (options.freshness.unwrap_or(0.0) * options.duration) as u64;
    let probes = freshness::probes(&plan, &crowd, &target.host, probes, |hit| mint.path(hit))?;
    reach(&target, clickhouse.as_ref()).await?;
    let meter = Mutex::new(Meter::start(options.pages()?).await?);

    let start = Instant::now() + LEAD;
    let live = Arc::new(Live::default());
    let meter = (!meter.lock().await.is_empty()).then_some(&meter);
    let every = Duration::from_millis(options.watch_ms);
    let watch = Watch { every, clickhouse: clickhouse.as_ref(), meter };
    let samples = RefCell::default();
    let sending = Sending {
        options,
        target: &target,
        clickhouse: clickhouse.as_ref(),
        plan: &plan,
        probes: &probes,
        start,
        live: &live,
    };
    let sent = tokio::select! {
        sent = sending.run() => sent?,
        () = watch.look(&live, start, &plan, &samples), if watch.sees() => {
            unreachable!("the watch goes on until it is dropped")
        }
    };

    let Sent { tally, seen, processes, settled } = sent;
    let samples = samples.into_inner();
    let mut report = Report::new(Measured { options, plan: &plan, tally: &tally, start, samples });
    report.freshness = seen.as_ref().map(Freshness::of);
    report.processes = processes;
    if let Some(meter) = meter {
        let mut meter = meter.lock().await;
        report.account = meter.read().await.ok();
        report.account_restarts = meter.restarts;
    }
    if let Some(clickhouse) = &clickhouse {
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
    Ok(Ran { report, plan, start })
}

/// A run from its first request until its rows stand still.
struct Sending<'a> {
    options: &'a RunOptions,
    target: &'a Target,
    clickhouse: Option<&'a ClickHouse>,
    plan: &'a Arc<Plan>,
    probes: &'a [Probe],
    start: Instant,
    live: &'a Arc<Live>,
}

/// What it has shown.
struct Sent {
    tally: Tally,
    seen: Option<Seen>,
    processes: Vec<Process>,
    /// An error when the database could not be asked in time.
    settled: anyhow::Result<()>,
}

impl Sending<'_> {
    async fn run(&self) -> anyhow::Result<Sent> {
        let Sending { options, target, plan, start, .. } = *self;
        let measured_from = start + plan.warm_up();
        let settle_max = Duration::from_millis(options.settle_ms);
        let load = send_in_background(target, plan, options.threads, start, self.live);
        let usage_before = async {
            tokio::time::sleep_until(measured_from.into()).await;
            usage(options)
        };
        let probing = async {
            let (clickhouse, per_second) = (self.clickhouse?, options.freshness?);
            let gap = Duration::from_secs_f64(1.0 / per_second);
            let seen =
                freshness::sample(self.probes, gap, measured_from, target, plan, clickhouse, settle_max);
            Some(seen.await)
        };
        let (tally, before, seen) = tokio::join!(load, usage_before, probing);
        let (tally, before) = (tally?, before?);
        let mut processes = spent(options, &before, tally.answers());
        let mut settled = Ok(());
        if let Some(clickhouse) = self.clickhouse {
            live::say("waiting until the rows are there and stand still");
            let rows = tally.outcomes.iter().filter(|outcome| **outcome == Outcome::Answered).count();
            settled = ledger::settle(clickhouse, plan, rows as u64, settle_max).await;
            // Only now are the processes behind the edge done with this run's events, and the check's own queries
            // are not on their account yet.
            processes = spent(options, &before, tally.answers());
        }
        Ok(Sent { tally, seen, processes, settled })
    }
}

/// Searches the highest rate that is held; `each` sees every step as it ends.
pub async fn find_max(options: &RunOptions, mut each: impl FnMut(&Step)) -> anyhow::Result<SearchReport> {
    let target = options.target()?;
    let (crowd, mint) = (Arc::new(Crowd::load()?), Mint::load(options)?);
    reach(&target, None).await?;
    let mut search = Search::from(options.rate);
    let mut steps = Vec::new();
    while let Some(rate) =
        search.next().filter(|rate| rate * (options.warm_up + options.hold) <= REQUESTS_MAX as f64)
    {
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
    let tally = send_in_background(target, &plan, options.threads, start, &Arc::default()).await?;
    let report = Report::new(Measured { options, plan: &plan, tally: &tally, start, samples: Vec::new() });
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
    let warm_up = (rate * options.warm_up).round() as usize;
    Ok(Spec {
        requests: warm_up + ((rate * seconds).round() as usize).max(1),
        warm_up,
        rate,
        shape: options.shape,
        arrivals: options.arrivals,
        seed: options.seed,
        mix: options.mix,
        noise: options.noise(),
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
            .query(&format!(
                "SELECT workspace, message, recipient, {COLUMNS} FROM {} LIMIT 0",
                clickhouse.table()
            ))
            .await?;
    }
    Ok(())
}

async fn send_in_background(
    target: &Target,
    plan: &Arc<Plan>,
    threads: usize,
    start: Instant,
    live: &Arc<Live>,
) -> anyhow::Result<Tally> {
    let (target, plan, shown) = (target.clone(), plan.clone(), live);
    let (planned, live) = (plan.len(), live.clone());
    let sending = tokio::task::spawn_blocking(move || send::send(&target, &plan, threads, start, &live));
    tokio::select! {
        sent = sending => Ok(sent.context("the sending threads panicked")??),
        () = live::show(shown, start, planned) => unreachable!("the display goes on until it is dropped"),
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
