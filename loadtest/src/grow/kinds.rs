//! What grows, and by which figures one sees what that does.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::backlog::{self, Backlog};
use super::options::{GrowOptions, Only, Size};
use super::pixels::{Broker, Edge, Pixels};
use super::versions;
use crate::compare::bench::Bench;
use crate::compare::consumers::ClickHouse;
use crate::compare::feed::{Feed, Packed};
use crate::compare::group::Group;
use crate::compare::ours;
use crate::compare::served::Requests;
use crate::compare::side::Side;
use crate::crowd::Crowd;
use crate::mint::Mint;

/// Connections where their number does not grow: enough that every worker has some.
const CONNECTIONS: usize = 256;
/// Events in a message of a backlog: about what an edge packs at some thousands a second.
const PER_MESSAGE: usize = 100;

/// A broker that is frozen for longer than its session of 6 s finds its partitions without a leader when it goes on, and
/// librdkafka 2.12.1 may then never send to them again: https://github.com/confluentinc/librdkafka/issues/5430
const AWAY_SECONDS_MAX: f64 = 4.0;

/// Something that grows.
pub struct Kind {
    one: Only,
    name: &'static str,
    does: &'static str,
    unit: &'static str,
    /// What of every turn is shown.
    pub figures: &'static [&'static str],
    /// The figure, the variant and what that may be at the most of the first one's.
    pub bar: Option<(&'static str, &'static str, f64)>,
}

const KINDS: [Kind; 4] = [
    Kind {
        one: Only::Cores,
        name: "cores",
        does: "pixels, their events in Kafka, by an edge with so many workers on as many cores",
        unit: "pixel",
        figures: &["cpu_us", "memory_mib", "p50_ms", "p99_ms"],
        bar: None,
    },
    Kind {
        one: Only::Connections,
        name: "connections",
        does: "the same by one worker over so many open connections, each in its turn",
        unit: "pixel",
        figures: &["cpu_us", "memory_mib", "p50_ms", "p99_ms"],
        bar: None,
    },
    Kind {
        one: Only::Partitions,
        name: "partitions",
        does: "enriched events in all views, worked off a topic of so many partitions",
        unit: "event",
        figures: backlog::FIGURES,
        bar: None,
    },
    Kind {
        one: Only::Away,
        name: "away",
        does: "pixels of one worker with Kafka there, and frozen meanwhile",
        unit: "pixel",
        figures: &["p50_ms", "p99_ms", "p99.9_ms"],
        bar: Some(("p99.9_ms", FROZEN, 1.1)),
    },
];

const FROZEN: &str = "frozen";

/// Everything that was asked for.
pub struct Started {
    /// The kinds with their variants.
    pub groups: Vec<Group>,
    /// What runs.
    pub versions: Vec<String>,
}

/// The kind of this name.
pub fn of(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// Starts all that is asked for.
///
/// # Errors
/// When a part does not come up.
pub fn start(options: &GrowOptions, bench: &Rc<Bench>, mint: &Mint) -> anyhow::Result<Started> {
    let (size, crowd) = (options.size(bench.machine.cores), Arc::new(Crowd::load()?));
    let mut versions = vec![ours::version(bench)?];
    versions.extend(bench.kafka.pid(0).and_then(versions::kafka));
    let requests = Requests { rate: size.rate, seconds: size.seconds, mix: "open=1", fresh: false };
    let plan = Arc::new(requests.plan(crowd.clone(), mint)?);
    let away = Requests { seconds: size.seconds.min(AWAY_SECONDS_MAX), ..requests };
    let away = Arc::new(away.plan(crowd.clone(), mint)?);
    // One that takes what waits before any that answers: ClickHouse looks at the cores only once.
    let mut backlogs = None;
    if options.wants(Only::Partitions) {
        let clickhouse = Rc::new(ClickHouse::start(bench)?);
        versions.push(clickhouse.version.clone());
        backlogs = Some(all_partitions(bench, &clickhouse, &crowd, &size)?);
    }
    let mut groups = Vec::new();
    for kind in KINDS.iter().filter(|kind| options.wants(kind.one)) {
        let plan = if kind.one == Only::Away { &away } else { &plan };
        let pixels = |edge: &Rc<Edge>, name: String, connections, broker| {
            Box::new(Pixels::new(bench, edge, plan, (name, connections, broker))) as Box<dyn Side>
        };
        let edge = |name: String, workers| anyhow::Ok(Rc::new(Edge::start(bench, &name, workers)?));
        let sides = match kind.one {
            Only::Cores => size
                .cores
                .iter()
                .map(|&cores| {
                    let edge = edge(format!("cores-{cores}"), cores)?;
                    Ok(pixels(&edge, counted(cores, "core"), CONNECTIONS, Broker::Up))
                })
                .collect::<anyhow::Result<_>>()?,
            // Each has an edge of its own: memory that was had once does not all come back.
            Only::Connections => size
                .connections
                .iter()
                .map(|&count| {
                    let edge = edge(format!("connections-{count}"), 1)?;
                    Ok(pixels(&edge, counted(count, "connection"), count, Broker::Up))
                })
                .collect::<anyhow::Result<_>>()?,
            Only::Partitions => backlogs.take().unwrap_or_default(),
            Only::Away => {
                let edge = edge("away".to_owned(), 1)?;
                let up = pixels(&edge, "up".to_owned(), CONNECTIONS, Broker::Up);
                vec![up, pixels(&edge, FROZEN.to_owned(), CONNECTIONS, Broker::Frozen)]
            }
        };
        groups.push(Group {
            name: kind.name,
            does: kind.does,
            unit: kind.unit,
            sides,
            missing: BTreeMap::new(),
            bars: Vec::new(),
            kept: Vec::new(),
            starved: Vec::new(),
        });
    }
    Ok(Started { groups, versions })
}

fn all_partitions(
    bench: &Rc<Bench>,
    clickhouse: &Rc<ClickHouse>,
    crowd: &Crowd,
    size: &Size,
) -> anyhow::Result<Vec<Box<dyn Side>>> {
    let one = |partitions: &u32| {
        let packed = Packed { per_message: PER_MESSAGE, partitions: *partitions };
        let feed = Feed::new(&format!("partitions{partitions}"), crowd, size.events, packed)?;
        let name = counted(*partitions as usize, "partition");
        Ok(Box::new(Backlog::new(bench, clickhouse, feed, name)?) as Box<dyn Side>)
    };
    size.partitions.iter().map(one).collect()
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
