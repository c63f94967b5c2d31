//! Breaking and mending. Each part that can be broken has a lane: a thread that takes its faults one after the other and
//! leaves the part well. Lanes run side by side, so faults of different parts meet.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use testkit::proxy;

use super::bench::{Bench, END_WAIT, TOPIC};
use super::load::{Flow, Load};
use super::plan::{BROKERS, Fault, Kind, Lane};
use super::{Stop, lock};

/// For brokers to have every copy in sync again.
const SYNC_WAIT: Duration = Duration::from_secs(180);
/// For a full journal, and for ClickHouse to answer again.
const WAIT: Duration = Duration::from_secs(120);
/// The smallest that a journal may be told to be.
const FULL_BYTES: u64 = 16 << 20;
/// What is shed is over once this much is: some of each kind of event.
const SHED_ENOUGH: u64 = 50;
/// The longest that the proxy holds a request, in milliseconds.
const DELAY_MS_MAX: u64 = 400;

/// What the lanes did.
#[derive(Debug, Default)]
pub struct Acted {
    /// Faults by kind.
    pub faults: BTreeMap<Kind, u64>,
    /// Events that an edge shed, by reason: counted before each end of a process whose journal was full.
    pub dropped: BTreeMap<String, u64>,
}

/// Injects all faults and returns when everything is well again.
///
/// # Errors
/// When a part does not come back, or a process does not end as it should.
pub fn inject(bench: &Bench, load: &Load, faults: &[Fault], stop: &Stop) -> anyhow::Result<Acted> {
    let start = Instant::now();
    let mut lanes: BTreeMap<Lane, Vec<Fault>> = BTreeMap::new();
    for fault in faults {
        lanes.entry(fault.lane()).or_default().push(*fault);
    }
    let mut all = Acted::default();
    std::thread::scope(|scope| {
        let lanes: Vec<_> = lanes
            .values()
            .map(|faults| {
                scope.spawn(move || {
                    let acted = lane(bench, load, faults, start, stop);
                    // The others need not go on when one part is lost.
                    acted.inspect_err(|_| stop.stop())
                })
            })
            .collect();
        // The first to fail is the reason of the others: theirs is that the drill is over.
        let mut failed = None;
        for lane in lanes {
            match lane.join().ok().context("a lane panicked")? {
                Ok(acted) => all.add(acted),
                Err(cause) if failed.is_none() || !is_over(&cause) => failed = Some(cause),
                Err(_) => {}
            }
        }
        failed.map_or(Ok(()), Err)
    })?;
    Ok(all)
}

fn is_over(cause: &anyhow::Error) -> bool {
    cause.root_cause().to_string().starts_with("the drill is over")
}

impl Acted {
    fn add(&mut self, other: Acted) {
        other.faults.into_iter().for_each(|(kind, count)| *self.faults.entry(kind).or_default() += count);
        other.dropped.into_iter().for_each(|(why, count)| *self.dropped.entry(why).or_default() += count);
    }
}

fn lane(bench: &Bench, load: &Load, faults: &[Fault], start: Instant, stop: &Stop) -> anyhow::Result<Acted> {
    let mut acted = Acted::default();
    for fault in faults {
        ensure!(
            !stop.wait(fault.at.saturating_sub(start.elapsed())),
            "the drill is over before all faults were injected"
        );
        let begun = Instant::now();
        let at = start.elapsed().as_secs_f64();
        let dropped = act(bench, load, fault, stop).with_context(|| fault.to_string())?;
        dropped.into_iter().for_each(|(why, count)| *acted.dropped.entry(why).or_default() += count);
        *acted.faults.entry(fault.kind).or_default() += 1;
        eprintln!("{at:7.1} s  {fault}, well after {:.1} s", begun.elapsed().as_secs_f64());
    }
    Ok(acted)
}

/// Injects one fault, mends it, and returns what was shed by an edge that is gone.
fn act(bench: &Bench, load: &Load, fault: &Fault, stop: &Stop) -> anyhow::Result<BTreeMap<String, u64>> {
    let index = fault.index;
    match fault.kind {
        Kind::KillEdge => {
            let mut edge = lock(&bench.edges[index]);
            edge.program.kill()?;
            stop.wait(fault.hold);
            *edge = bench.edge(index, &[])?;
        }
        Kind::KillConsumer => {
            let mut consumer = lock(&bench.consumers[index]);
            consumer.program.kill()?;
            stop.wait(fault.hold);
            *consumer = bench.consumer(index)?;
        }
        Kind::KillBroker => {
            let mut kafka = lock(&bench.kafka);
            kafka.kill(index)?;
            stop.wait(fault.hold);
            kafka.start_broker(index)?;
            drop(kafka);
            in_sync(bench, stop)?;
        }
        Kind::FreezeBroker => {
            lock(&bench.kafka).suspend(index)?;
            stop.wait(fault.hold);
            lock(&bench.kafka).resume(index)?;
            in_sync(bench, stop)?;
        }
        Kind::KillClickhouse => {
            let mut clickhouse = lock(&bench.clickhouse);
            clickhouse.kill()?;
            stop.wait(fault.hold);
            clickhouse.restart()?;
        }
        Kind::FreezeClickhouse => {
            lock(&bench.clickhouse).suspend()?;
            stop.wait(fault.hold);
            lock(&bench.clickhouse).resume()?;
            let answers =
                || lock(&bench.clickhouse).query("SELECT 1").map(drop).map_err(|cause| cause.to_string());
            bench.until("clickhouse to answer again", WAIT, stop, answers)?;
        }
        Kind::Rebalance => {
            let guest = bench.guest()?;
            stop.wait(fault.hold);
            guest.program.stop(END_WAIT)?;
        }
        Kind::Proxy => {
            let mut random = StdRng::seed_from_u64(fault.seed);
            let mut faults = vec![
                proxy::Fault::Reset,
                proxy::Fault::CutReply,
                proxy::Fault::DropReply,
                proxy::Fault::Delay(Duration::from_millis(random.random_range(1..DELAY_MS_MAX))),
                proxy::Fault::Blackhole,
            ];
            faults.shuffle(&mut random);
            faults.truncate(random.random_range(1..=3));
            let probability = random.random_range(0.2..1.0);
            // Whatever chance says, the first requests meet what this is about.
            faults.iter().for_each(|fault| bench.proxy.next(*fault, 1));
            bench.proxy.sometimes(&faults, probability, random.random());
            stop.wait(fault.hold);
            bench.proxy.heal();
        }
        Kind::FullDisk => return full_disk(bench, load, fault, stop),
    }
    Ok(BTreeMap::new())
}

/// Lets an edge that cannot ship fill the smallest journal there is, then gives it both back. Its restarts are clean and
/// without a request under way, so that what it counts as shed is exact.
fn full_disk(
    bench: &Bench,
    load: &Load,
    fault: &Fault,
    stop: &Stop,
) -> anyhow::Result<BTreeMap<String, u64>> {
    let (index, gate) = (fault.index, &load.gates[fault.index]);
    let mut edge = lock(&bench.edges[index]);
    let mut closed = bench.block_on(gate.close());
    edge.program.stop(END_WAIT)?;
    let full = format!("journal.bytes_max={FULL_BYTES}");
    *edge = bench.edge(index, &[&full, "kafka.brokers=127.0.0.1:1", "edge.ship_deadline_ms=100"])?;
    *closed = Flow::Heavy;
    drop(closed);
    bench.until("an edge to shed events", WAIT, stop, || {
        let page = bench.page(edge.admin).map_err(|cause| format!("{cause:#}"))?;
        let shed = page.sum("edge_dropped_events_total");
        if shed >= SHED_ENOUGH { Ok(()) } else { Err(format!("{shed} shed")) }
    })?;
    stop.wait(fault.hold);
    let mut closed = bench.block_on(gate.close());
    let dropped = bench.page(edge.admin)?.by("edge_dropped_events_total", "reason");
    edge.program.stop(END_WAIT)?;
    *edge = bench.edge(index, &[])?;
    *closed = Flow::Usual;
    Ok(dropped)
}

/// Waits until every partition has all its copies: the next broker may go only then.
fn in_sync(bench: &Bench, stop: &Stop) -> anyhow::Result<()> {
    bench.until("every copy to be in sync", SYNC_WAIT, stop, || {
        match lock(&bench.kafka).copies_in_sync(&[TOPIC, "__consumer_offsets"]) {
            Ok(copies) if copies >= BROKERS => Ok(()),
            Ok(copies) => Err(format!("a partition has {copies}")),
            Err(cause) => Err(cause.to_string()),
        }
    })
}
