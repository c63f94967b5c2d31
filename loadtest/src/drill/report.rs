//! What a drill came to.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use store::Drift;

use super::act::Acted;
use super::check::Found;
use super::load::Load;

/// The outcome, as `--json` shows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Of the plan.
    pub seed: u64,
    /// Requests sent.
    pub events: u64,
    /// Faults injected.
    pub faults: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// Events that edges took, recorded or shed.
    pub accepted: u64,
    /// Different events in ClickHouse.
    pub stored: u64,
    /// Answered, or numbered by an edge, and nowhere.
    pub lost: u64,
    /// Rows too many.
    pub duplicated: u64,
    /// Messages that the consumers kept aside.
    pub dead_lettered: u64,
    /// Events that edges shed, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Rows on either side of a view's comparison without an equal on the other.
    pub view_drift: u64,
    /// Answers and rows that do not say what was asked for.
    pub wrong: u64,
    /// How often ClickHouse ended by itself and was started again.
    pub clickhouse_restarts: u64,
    /// Faults by kind.
    #[serde(skip)]
    pub kinds: Vec<String>,
    /// In words, the first of each breach.
    #[serde(skip)]
    pub examples: Vec<String>,
}

/// What an edge shed before it gave a number: the others have one.
const WITHOUT_NUMBER: [&str; 3] = ["full", "behind", "too_large"];

impl Report {
    /// By the rules of the law. `journals` has the last number that each edge gave.
    pub fn new(
        seed: u64,
        load: &Load,
        acted: &Acted,
        found: &Found,
        journals: &BTreeMap<u64, u64>,
        dead_lettered: u64,
    ) -> Report {
        let dropped = acted.dropped.clone();
        let shed: u64 = dropped.values().sum();
        let unnumbered: u64 = WITHOUT_NUMBER.iter().filter_map(|reason| dropped.get(*reason)).sum();
        // Two looks at the same: by request, and by the number that the edge gave.
        let lost = missing(found.missing.count, shed + dead_lettered)
            .max(missing(found.gaps.count, shed - unnumbered + dead_lettered));
        let mut examples = Vec::new();
        let looks = [
            ("twice", &found.repeated),
            ("twice", &found.named_twice),
            ("wrong", &found.wrong),
            ("without a row", &found.missing),
            ("without a row", &found.gaps),
        ];
        // What is missing and explained needs no example.
        let looks = &looks[..if lost > 0 { 5 } else { 3 }];
        for (what, count) in looks {
            examples.extend(count.examples.iter().map(|example| format!("{what}: {example}")));
        }
        for Drift { view, keys, differing } in found.drifts.iter().filter(|drift| drift.differing > 0) {
            examples.push(format!(
                "view {view}: {differing} of its {keys} keys and those that it should have differ"
            ));
        }
        Report {
            seed,
            events: load.sent.begun.count(),
            faults: acted.faults.values().sum(),
            answered: load.sent.answered.count(),
            accepted: journals.values().sum::<u64>() + unnumbered,
            stored: found.events,
            lost,
            duplicated: found.repeated.count.max(found.named_twice.count),
            dead_lettered,
            dropped,
            view_drift: found.drifts.iter().map(|drift| drift.differing).sum(),
            wrong: found.wrong.count + load.sent.wrong.load(std::sync::atomic::Ordering::Relaxed),
            clickhouse_restarts: 0,
            kinds: acted.faults.iter().map(|(kind, count)| format!("{count} {kind:?}")).collect(),
            examples,
        }
    }

    /// Nothing is lost, twice, wrong or different.
    pub fn is_well(&self) -> bool {
        [self.lost, self.duplicated, self.view_drift, self.wrong] == [0; 4]
    }
}

/// What is not explained.
fn missing(missing: u64, explained: u64) -> u64 {
    missing.saturating_sub(explained)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { seed, events, faults, answered, accepted, stored, .. } = self;
        writeln!(f, "seed {seed}: {faults} faults ({}) over {events} requests", self.kinds.join(", "))?;
        writeln!(f, "{answered} were answered, {accepted} accepted, {stored} stored")?;
        let dropped: Vec<String> = self
            .dropped
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(why, count)| format!("{count} {why}"))
            .collect();
        let dropped = if dropped.is_empty() { "0".to_owned() } else { dropped.join(", ") };
        writeln!(f, "dead-lettered {}, dropped {dropped}", self.dead_lettered)?;
        if self.clickhouse_restarts > 0 {
            writeln!(
                f,
                "clickhouse ended by itself {} times and was started again",
                self.clickhouse_restarts
            )?;
        }
        for example in &self.examples {
            writeln!(f, "{example}")?;
        }
        write!(
            f,
            "lost {}, duplicated {}, view drift {}, wrong {}",
            self.lost, self.duplicated, self.view_drift, self.wrong
        )
    }
}
