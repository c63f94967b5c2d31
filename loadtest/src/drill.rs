//! The drill: real processes are killed and frozen under load, and afterwards every answered request must be in
//! ClickHouse exactly once.
//!
//! Three brokers, a ClickHouse, two edges and two consumers, all of one machine. Requests name themselves (each is of a
//! recipient of its own) and are never sent twice: one that was answered is stored once, one that was not is stored once
//! or not at all.

pub mod act;
pub mod bench;
pub mod check;
pub mod load;
pub mod options;
pub mod plan;
pub mod report;
pub mod sent;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::runtime::Runtime;

use self::act::Acted;
use self::bench::Bench;
use self::load::{Gate, Load};
use self::options::DrillOptions;
use self::plan::Fault;
use self::report::Report;

/// What may be sent while the last faults take longer than planned, in times of what was asked for.
const CAPACITY_TIMES: u64 = 4;
/// What may be sent besides to fill a journal: several times what the smallest one holds.
const CAPACITY_FULL: u64 = 100_000;
/// How long nothing may move before the drill stops waiting for what is on its way.
const STILL_MAX: Duration = Duration::from_secs(60);
/// The longest wait for what is on its way, as long as it moves.
const DRAIN_MAX: Duration = Duration::from_secs(3_600);
const DRAIN_POLL: Duration = Duration::from_millis(500);

/// Drills, says what it came to, and keeps the data when it did not go well.
///
/// # Errors
/// When the drill could not be made or a part did not come back.
pub fn run(options: &DrillOptions) -> anyhow::Result<ExitCode> {
    options.check()?;
    let program = options.scratch.program()?;
    let dir = options.scratch.folder("drill", &options.scenario.to_string())?;
    let drilled = drill(options, &program, &dir);
    let well = drilled.as_ref().is_ok_and(Report::is_well);
    options.scratch.leave(&dir, well)?;
    let report = drilled?;
    eprintln!("{report}");
    if options.json {
        println!("{}", serde_json::to_string(&report).context("failed to write the report as JSON")?);
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn drill(options: &DrillOptions, program: &Path, dir: &Path) -> anyhow::Result<Report> {
    let size = options.size();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("failed to start a runtime")?;
    let stop = Arc::new(Stop::default());
    let begun = Instant::now();
    eprintln!("starting three brokers, clickhouse, two edges and two consumers in {}", dir.display());
    let bench = Bench::start(dir, program, runtime.handle())?;
    eprintln!("all up after {:.1} s", begun.elapsed().as_secs_f64());

    let faults =
        plan::plan(options.scenario, options.seed, size.faults, Duration::from_secs_f64(size.duration));
    let full = faults.iter().filter(|fault| fault.kind == plan::Kind::FullDisk).count() as u64;
    let capacity = size.events * CAPACITY_TIMES + full * CAPACITY_FULL;
    let gates = bench.listen.iter().map(|address| Gate::new(*address)).collect();
    let load = Arc::new(Load::new(&bench.keys(), gates, options.rate(), size.events, capacity)?);
    let over = Stop::default();
    let report = std::thread::scope(|scope| {
        let keeper = scope.spawn(|| bench.keep_clickhouse(&over));
        let drilled = under_load(options.seed, &runtime, &bench, &load, &faults, &stop);
        over.stop();
        let restarts = keeper.join().ok().context("the thread that keeps clickhouse panicked")??;
        drilled.map(|report| Report { clickhouse_restarts: restarts, ..report })
    })?;
    if !report.is_well() {
        let ledger = dir.join("ledger.json");
        let said = bench.ledger()?;
        fs::write(&ledger, said).with_context(|| format!("failed to write {}", ledger.display()))?;
        eprintln!("what journal, kafka and clickhouse know is in {}", ledger.display());
    }
    let checked = begun.elapsed();
    drop(bench);
    eprintln!(
        "checked after {:.1} s, all ended after {:.1} s",
        checked.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    );
    Ok(report)
}

/// Breaks and mends everything while requests come in, then waits until nothing is on its way, and checks.
fn under_load(
    seed: u64,
    runtime: &Runtime,
    bench: &Bench,
    load: &Arc<Load>,
    faults: &[Fault],
    stop: &Arc<Stop>,
) -> anyhow::Result<Report> {
    let sending = runtime.spawn(send(Arc::clone(load), Arc::clone(stop)));
    let acted = act::inject(bench, load, faults, stop);
    load.enough();
    // One that failed is why the faults ended, too.
    if acted.is_ok() || sending.is_finished() {
        runtime.block_on(sending).context("the sending task panicked")??;
    }
    let acted = acted?;
    eprintln!("everything is mended, {} requests sent", load.sent.begun.count());
    let (journals, dead_lettered) = drain(bench, &acted, stop)?;
    let found = runtime.block_on(check::check(clickhouse(bench)?, load, &journals))?;
    Ok(Report::new(seed, load, &acted, &found, &journals, dead_lettered))
}

async fn send(load: Arc<Load>, stop: Arc<Stop>) -> anyhow::Result<()> {
    load.run().await.inspect_err(|_| stop.stop())
}

fn clickhouse(bench: &Bench) -> anyhow::Result<std::net::SocketAddr> {
    let host = bench.clickhouse_url.strip_prefix("http://").unwrap_or(&bench.clickhouse_url);
    host.parse().with_context(|| format!("no address in {}", bench.clickhouse_url))
}

/// Waits until nothing is on its way any more. Returns the last number that each edge gave, and how many messages were
/// dead-lettered. When nothing moves for long, what is missing is for the check to say.
fn drain(bench: &Bench, acted: &Acted, stop: &Stop) -> anyhow::Result<(BTreeMap<u64, u64>, u64)> {
    let address = clickhouse(bench)?;
    let (begun, mut moved, mut before) = (Instant::now(), Instant::now(), None);
    loop {
        bench.check()?;
        let (mut journals, mut shipping, mut writing) = (BTreeMap::new(), 0, 0);
        for admin in bench.admins() {
            let page = bench.page(admin)?;
            for (edge, last) in page.by("edge_journal_events", "edge") {
                let edge = u64::from_str_radix(&edge, 16).with_context(|| format!("edge {edge:?}"))?;
                journals.insert(edge, last);
            }
            shipping += page.sum("edge_inflight_events");
            writing += page.sum("consumer_inflight_events");
        }
        let inflight = shipping + writing;
        // ClickHouse may have ended by itself a moment ago.
        let rows = match bench.block_on(check::rows(address)) {
            Ok(rows) => rows,
            Err(_) if moved.elapsed() < STILL_MAX => {
                ensure!(!stop.wait(DRAIN_POLL), "the drill is over before all was stored");
                continue;
            }
            Err(cause) => return Err(cause),
        };
        let numbered: u64 = journals.values().sum();
        let shed = acted.dropped.get("disk").copied().unwrap_or(0);
        let now = (rows, inflight);
        if before != Some(now) {
            eprintln!("{rows} of {numbered} stored, {inflight} on their way");
            (before, moved) = (Some(now), Instant::now());
        }
        let still = moved.elapsed() >= STILL_MAX || begun.elapsed() >= DRAIN_MAX;
        if inflight == 0 && (rows + shed >= numbered || still) {
            let (waiting, dead_lettered) = kafka_holds(bench)?;
            if waiting == 0 || still {
                return Ok((journals, dead_lettered));
            }
            eprintln!("{waiting} messages wait in kafka");
        }
        if still {
            let kafka = match lock(&bench.kafka).copies_in_sync(&[bench::TOPIC]) {
                Ok(copies) => format!("kafka has {copies} copies of each partition in sync"),
                Err(cause) => cause.to_string(),
            };
            bail!(
                "nothing moves: of {numbered} events {rows} are stored, {shipping} are in the journals and {writing} with \
                 the consumers; {kafka}"
            );
        }
        ensure!(!stop.wait(DRAIN_POLL), "the drill is over before all was stored");
    }
}

/// Messages that wait for the consumers, and those that were dead-lettered.
fn kafka_holds(bench: &Bench) -> anyhow::Result<(u64, u64)> {
    let said = bench.ledger()?;
    // An object, and behind it what it said on standard error.
    let ledger =
        serde_json::Deserializer::from_str(said.trim_start()).into_iter::<serde_json::Value>().next();
    let ledger =
        ledger.context("the ledger said nothing")?.with_context(|| format!("the ledger said {said}"))?;
    let partitions =
        ledger["waiting"]["partitions"].as_array().context("kafka could not be asked what waits")?;
    let waiting = partitions.iter().map(|partition| {
        let offset = |name: &str| partition[name].as_u64().unwrap_or_default();
        offset("end").saturating_sub(offset("committed"))
    });
    Ok((waiting.sum(), ledger["dead_letters"].as_u64().context("the dead letters could not be counted")?))
}

/// Ends all waits of a drill that is over before its time.
#[derive(Debug, Default)]
pub struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Ends them.
    pub fn stop(&self) {
        *lock(&self.stopped) = true;
        self.changed.notify_all();
    }

    /// Waits so long, or until the drill is over: true then.
    pub fn wait(&self, bound: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(lock(&self.stopped), bound, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What a panic elsewhere left is looked at all the same: the drill is about to end with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
