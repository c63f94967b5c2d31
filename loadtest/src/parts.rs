//! Whether ClickHouse's merges keep up: the parts of each table over a run.
//!
//! Every insert, and every view that it fills, makes a part; merges make one of many. Where inserts come faster than
//! merges, parts pile up, queries slow down and at last inserts are refused.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::Serialize;

use crate::clickhouse::ClickHouse;
use crate::watch::Sample;

/// Tables at one look.
pub type Tables = BTreeMap<String, Parts>;

/// A table at one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Parts {
    /// Parts that a query would read.
    pub active: u64,
    /// The block numbers given out so far. An insert takes one for each partition that it has rows of, a merge none.
    pub blocks: u64,
    /// Merges under way.
    pub merging: u64,
}

/// A table over a run, from the end of the warm-up until the last request was due.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Growth {
    /// Its name.
    pub table: String,
    /// Parts that inserts made, in the mean.
    pub new_per_second: f64,
    /// Active parts at the start, ...
    pub active_at_start: u64,
    /// ...a quarter later, ...
    pub active_at_quarter: u64,
    /// ...at half of the time, ...
    pub active_at_half: u64,
    /// ...and at the end.
    pub active_at_end: u64,
    /// The most active parts that a look has shown.
    pub active_max: u64,
    /// The most merges at a time that a look has shown.
    pub merging_max: u64,
    /// Whether active parts became more; absent when there were too few looks to say.
    pub level: Option<Level>,
}

/// What [`LEVEL`] says, of the run's quarters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Level {
    /// The median of active parts in the second quarter.
    pub second_quarter: f64,
    /// The median in the last.
    pub last_quarter: f64,
    /// The last is no higher, as far as [`LEVEL`] goes.
    pub is_flat: bool,
}

/// How a table is judged, for whoever reads a report.
pub const LEVEL: &str = "flat: the median of active parts in the last quarter of the run is at most 1.25 times that \
                         in the second and 2 more; 5 looks in each quarter at least";
const FLAT_RATIO: f64 = 1.25;
/// Parts come and go by whole ones: of few, one is a large share.
const FLAT_PARTS: f64 = 2.0;
const LOOKS_MIN: usize = 5;

/// Looks at all tables that have parts. No log of the engine's need be on for it.
pub async fn look(clickhouse: &ClickHouse) -> anyhow::Result<Tables> {
    // A replicated table numbers the blocks of each partition, any other table those of all.
    let answer = clickhouse
        .query(
            "SELECT table, sum(active), if(startsWith(any(engine), 'Replicated'), sum(block), max(block)), any(merging) \
             FROM (SELECT table, any(engine) AS engine, countIf(active) AS active, max(max_block_number) AS block \
             FROM system.parts WHERE database = currentDatabase() GROUP BY table, partition_id) AS parts \
             LEFT JOIN (SELECT table, count() AS merging FROM system.merges WHERE database = currentDatabase() \
             GROUP BY table) AS merges USING (table) GROUP BY table",
        )
        .await?;
    answer.lines().map(|line| parse(line).with_context(|| format!("{line:?} is no table's parts"))).collect()
}

fn parse(line: &str) -> Option<(String, Parts)> {
    let mut fields = line.split('\t');
    let table = fields.next()?.to_owned();
    let mut number = || fields.next()?.parse().ok();
    Some((table, Parts { active: number()?, blocks: number()?, merging: number()? }))
}

/// What the looks between `from` and `to` seconds say of each table that was inserted into meanwhile. Other tables
/// are taken out of the samples.
pub fn growth(samples: &mut [Sample], from: f64, to: f64) -> Vec<Growth> {
    let within: Vec<(f64, &Tables)> = samples
        .iter()
        .filter(|sample| (from..=to).contains(&sample.at_seconds))
        .filter_map(|sample| Some((sample.at_seconds, sample.parts.as_ref()?)))
        .collect();
    let names = within.last().map_or(Vec::new(), |(_, tables)| tables.keys().cloned().collect());
    let grown: Vec<Growth> =
        names.into_iter().filter_map(|name| Growth::of(name, &within, from, to)).collect();
    for tables in samples.iter_mut().filter_map(|sample| sample.parts.as_mut()) {
        tables.retain(|name, _| grown.iter().any(|growth| growth.table == *name));
    }
    grown
}

impl Growth {
    fn of(table: String, looks: &[(f64, &Tables)], from: f64, to: f64) -> Option<Growth> {
        // Before the first insert a table has no parts.
        let none = Parts { active: 0, blocks: 0, merging: 0 };
        let looks: Vec<(f64, Parts)> =
            looks.iter().map(|(at, tables)| (*at, tables.get(&table).copied().unwrap_or(none))).collect();
        let ((begun, first), (ended, last)) = (looks.first()?, looks.last()?);
        let made = last.blocks.saturating_sub(first.blocks);
        if made == 0 {
            return None;
        }
        let at = |share: f64| from + (to - from) * share;
        let nearest = |at: f64| {
            looks
                .iter()
                .min_by(|(a, _), (b, _)| (a - at).abs().total_cmp(&(b - at).abs()))
                .map(|(_, p)| p.active)
        };
        let median = |from: f64, to: f64| {
            let mut active: Vec<u64> =
                looks.iter().filter(|(at, _)| (from..=to).contains(at)).map(|(_, p)| p.active).collect();
            active.sort_unstable();
            let (low, high) =
                (active.get(active.len().saturating_sub(1) / 2)?, active.get(active.len() / 2)?);
            (active.len() >= LOOKS_MIN).then_some((low + high) as f64 / 2.0)
        };
        let quarters = median(at(0.25), at(0.5)).zip(median(at(0.75), to));
        Some(Growth {
            table,
            new_per_second: made as f64 / (ended - begun),
            active_at_start: first.active,
            active_at_quarter: nearest(at(0.25))?,
            active_at_half: nearest(at(0.5))?,
            active_at_end: last.active,
            active_max: looks.iter().map(|(_, parts)| parts.active).max()?,
            merging_max: looks.iter().map(|(_, parts)| parts.merging).max()?,
            level: quarters.map(|(second_quarter, last_quarter)| Level {
                second_quarter,
                last_quarter,
                is_flat: last_quarter <= second_quarter * FLAT_RATIO + FLAT_PARTS,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(active: impl Fn(u64) -> u64) -> Vec<Sample> {
        let sample = |at: u64| {
            let of = |active, blocks| Parts { active, blocks, merging: at % 3 };
            let tables = [("events", of(active(at), 10 + 2 * at)), ("still", of(1, 7))];
            let parts = Some(tables.map(|(name, parts)| (name.to_owned(), parts)).into());
            Sample { at_seconds: at as f64, answered: 0, visible: None, account: None, parts }
        };
        (0..60).map(sample).collect()
    }

    #[test]
    fn a_table_without_inserts_is_left_out() {
        let mut samples = samples(|at| 5 + at % 2);
        let grown = growth(&mut samples, 10.0, 50.0);
        let expected = Growth {
            table: "events".to_owned(),
            new_per_second: 2.0,
            active_at_start: 5,
            active_at_quarter: 5,
            active_at_half: 5,
            active_at_end: 5,
            active_max: 6,
            merging_max: 2,
            level: Some(Level { second_quarter: 5.0, last_quarter: 5.0, is_flat: true }),
        };
        assert_eq!(grown, [expected]);
        assert!(samples.iter().all(|sample| sample.parts.as_ref().unwrap().len() == 1));
        assert_eq!(growth(&mut samples, 60.0, 90.0), []);
    }

    #[test]
    fn parts_that_pile_up_are_told() {
        let level =
            |active: fn(u64) -> u64| growth(&mut samples(active), 0.0, 59.0)[0].level.unwrap().is_flat;
        assert!(level(|_| 9));
        assert!(level(|at| if at < 40 { 3 } else { 5 }), "two more of few");
        assert!(!level(|at| 3 + at), "one more each second");
        assert!(level(|at| 60 - at));
        // Three looks in each quarter.
        assert_eq!(growth(&mut samples(|_| 1), 0.0, 12.0)[0].level, None);
    }

    #[test]
    fn lines_are_read() {
        let parts = Parts { active: 3, blocks: 20, merging: 1 };
        assert_eq!(parse("events\t3\t20\t1"), Some(("events".to_owned(), parts)));
        assert_eq!(parse("events\t3\t20"), None);
    }
}
