//! Which faults, of what, when and for how long: all of it follows from the seed.

use std::time::Duration;

use clap::ValueEnum;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// How many of each are there to be broken.
pub const EDGES: usize = 2;
/// As [`EDGES`].
pub const CONSUMERS: usize = 2;
/// As [`EDGES`].
pub const BROKERS: usize = 3;

/// A kind of drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// An edge is killed and started again on its journal.
    Edge,
    /// A consumer is killed and started again.
    Consumer,
    /// A broker is killed or frozen.
    Broker,
    /// ClickHouse is killed or frozen.
    Clickhouse,
    /// A third consumer joins the group and leaves it.
    Rebalance,
    /// Requests to ClickHouse are reset, their replies cut or dropped.
    Proxy,
    /// The journal of an edge that cannot ship is full.
    FullDisk,
    /// All of them, also at the same time.
    Mixed,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `kill -9` of an edge.
    KillEdge,
    /// `kill -9` of a consumer.
    KillConsumer,
    /// `kill -9` of a broker.
    KillBroker,
    /// A broker stands still.
    FreezeBroker,
    /// `kill -9` of ClickHouse.
    KillClickhouse,
    /// ClickHouse stands still.
    FreezeClickhouse,
    /// A third consumer comes and goes.
    Rebalance,
    /// Requests to ClickHouse go wrong.
    Proxy,
    /// An edge's journal is full.
    FullDisk,
}

/// Kinds, how often each comes among a hundred of a mixed drill, and for how many milliseconds each holds. A broker
/// takes half a minute to be back in sync on a busy machine, so there is no time for more of those.
const MIX: [(Kind, u32, std::ops::Range<u64>); 9] = [
    (Kind::KillEdge, 20, 0..500),
    (Kind::KillConsumer, 20, 0..1_500),
    (Kind::KillBroker, 4, 0..2_000),
    (Kind::FreezeBroker, 6, 200..9_000),
    (Kind::KillClickhouse, 9, 0..1_000),
    (Kind::FreezeClickhouse, 9, 200..7_000),
    (Kind::Rebalance, 8, 500..4_000),
    (Kind::Proxy, 23, 500..3_000),
    (Kind::FullDisk, 1, 0..300),
];

impl Scenario {
    fn kinds(self) -> &'static [Kind] {
        match self {
            Scenario::Edge => &[Kind::KillEdge],
            Scenario::Consumer => &[Kind::KillConsumer],
            Scenario::Broker => &[Kind::KillBroker, Kind::FreezeBroker],
            Scenario::Clickhouse => &[Kind::KillClickhouse, Kind::FreezeClickhouse],
            Scenario::Rebalance => &[Kind::Rebalance],
            Scenario::Proxy => &[Kind::Proxy],
            Scenario::FullDisk => &[Kind::FullDisk],
            Scenario::Mixed => const { &MIXED },
        }
    }
}

const MIXED: [Kind; MIX.len()] = {
    let mut kinds = [Kind::KillEdge; MIX.len()];
    let mut index = 0;
    while index < MIX.len() {
        kinds[index] = MIX[index].0;
        index += 1;
    }
    kinds
};

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// When it is due, after the first request. It comes later when what it breaks is still broken.
    pub at: Duration,
    /// What happens.
    pub kind: Kind,
    /// To which of several.
    pub index: usize,
    /// How long it stays so.
    pub hold: Duration,
    /// For whatever else is left to chance.
    pub seed: u64,
}

/// What breaks one fault at a time. Different ones break at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is the part of its name")]
pub enum Lane {
    Edge(usize),
    Consumer(usize),
    ThirdConsumer,
    Brokers,
    Clickhouse,
    Proxy,
}

impl Fault {
    /// What it breaks.
    pub fn lane(&self) -> Lane {
        match self.kind {
            Kind::KillEdge | Kind::FullDisk => Lane::Edge(self.index),
            Kind::KillConsumer => Lane::Consumer(self.index),
            Kind::KillBroker | Kind::FreezeBroker => Lane::Brokers,
            Kind::KillClickhouse | Kind::FreezeClickhouse => Lane::Clickhouse,
            Kind::Rebalance => Lane::ThirdConsumer,
            Kind::Proxy => Lane::Proxy,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hold_ms = self.hold.as_millis();
        match self.kind {
            Kind::KillEdge => write!(f, "edge {} killed", self.index),
            Kind::KillConsumer => write!(f, "consumer {} killed", self.index),
            Kind::KillBroker => write!(f, "broker {} killed for {hold_ms} ms and its start", self.index),
            Kind::FreezeBroker => write!(f, "broker {} frozen for {hold_ms} ms", self.index),
            Kind::KillClickhouse => write!(f, "clickhouse killed for {hold_ms} ms and its start"),
            Kind::FreezeClickhouse => write!(f, "clickhouse frozen for {hold_ms} ms"),
            Kind::Rebalance => write!(f, "a third consumer for {hold_ms} ms"),
            Kind::Proxy => write!(f, "requests to clickhouse go wrong for {hold_ms} ms"),
            Kind::FullDisk => write!(f, "edge {} fills its journal", self.index),
        }
    }
}

/// `count` faults, evenly over `duration`. Each kind of the scenario comes once before any comes twice, so that a short
/// drill has all of them.
pub fn plan(scenario: Scenario, seed: u64, count: usize, duration: Duration) -> Vec<Fault> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut kinds = scenario.kinds().to_vec();
    kinds.shuffle(&mut random);
    let weight =
        |kind: Kind| MIX.iter().find(|(known, ..)| *known == kind).map_or(1, |(_, weight, _)| *weight);
    let all: u32 = kinds.iter().map(|kind| weight(*kind)).sum();
    let faults = (0..count).map(|number| {
        let kind = kinds.get(number).copied().unwrap_or_else(|| {
            let mut left = random.random_range(0..all);
            let chosen = kinds.iter().find(|kind| {
                let chosen = left < weight(**kind);
                left = left.saturating_sub(weight(**kind));
                chosen
            });
            *chosen.unwrap_or(&kinds[0])
        });
        let of = match kind {
            Kind::KillEdge | Kind::FullDisk => EDGES,
            Kind::KillConsumer => CONSUMERS,
            Kind::KillBroker | Kind::FreezeBroker => BROKERS,
            _ => 1,
        };
        let hold_ms = MIX.iter().find(|(known, ..)| *known == kind).map_or(0..1, |(.., hold)| hold.clone());
        Fault {
            at: duration.mul_f64((number as f64 + 0.5) / count as f64),
            kind,
            index: random.random_range(0..of),
            hold: Duration::from_millis(random.random_range(hold_ms)),
            seed: random.random(),
        }
    });
    faults.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_seed_gives_the_same_plan_and_another_another() {
        let plan = |seed| plan(Scenario::Mixed, seed, 50, MINUTE);
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1), plan(2));
    }

    #[test]
    fn a_short_drill_has_every_kind_and_a_scenario_only_its_own() {
        for seed in 0..20 {
            let kinds: BTreeSet<Kind> =
                plan(Scenario::Mixed, seed, 15, MINUTE).iter().map(|fault| fault.kind).collect();
            assert_eq!(kinds.len(), MIX.len());
        }
        for scenario in Scenario::value_variants() {
            let faults = plan(*scenario, 3, 200, MINUTE);
            assert!(faults.iter().all(|fault| scenario.kinds().contains(&fault.kind)));
            assert!(faults.windows(2).all(|pair| pair[0].at < pair[1].at));
            assert!(faults.iter().all(|fault| fault.at < MINUTE));
        }
    }

    #[test]
    fn kinds_come_as_often_as_they_should() {
        let faults = plan(Scenario::Mixed, 5, 10_000, MINUTE);
        assert_eq!(MIX.iter().map(|(_, weight, _)| weight).sum::<u32>(), 100);
        for (kind, weight, _) in MIX {
            let count = faults.iter().filter(|fault| fault.kind == kind).count() as f64;
            let expected = f64::from(weight) * 100.0;
            assert!((expected * 0.7..expected * 1.3 + 20.0).contains(&count), "{kind:?}: {count}");
        }
    }
}
