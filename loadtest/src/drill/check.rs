//! What ClickHouse has in the end, held against every request that was sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::Context;
use event::Kind;
use store::{Config, Drift, Store};

use super::load::{Asked, Load, MESSAGE_REQUESTS, TARGET};
use super::sent::Bits;
use crate::clickhouse::{ClickHouse, Secret};

/// Numbers of one edge that are looked at together: what bounds the memory that ClickHouse needs for it.
const NUMBERS: u64 = 1_000_000;
/// Examples that are kept of each breach.
const EXAMPLES_MAX: usize = 10;
const DATABASE: &str = "mailbeacon";

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Rows.
    pub rows: u64,
    /// Different events, by the name that the edge gave them.
    pub events: u64,
    /// Answered requests without a row.
    pub missing: Count,
    /// Rows too many of a request.
    pub repeated: Count,
    /// Rows that say something else than what was asked for, or that nobody asked for.
    pub wrong: Count,
    /// Numbers that an edge gave, up to the last one of which it or a row knows, without a row.
    pub gaps: Count,
    /// Rows too many of an edge's number.
    pub named_twice: Count,
    /// Each view against a recount.
    pub drifts: Vec<Drift>,
}

/// How often, and the first of them.
#[derive(Debug, Default)]
pub struct Count {
    /// All of them.
    pub count: u64,
    /// Some of them, in words.
    pub examples: Vec<String>,
}

impl Count {
    fn add(&mut self, count: u64, example: impl FnOnce() -> String) {
        self.count += count;
        if count > 0 && self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example());
        }
    }
}

/// Reads all rows, a bounded part at a time. `journals` has the last number that each edge gave.
pub async fn check(address: SocketAddr, load: &Load, journals: &BTreeMap<u64, u64>) -> anyhow::Result<Found> {
    let clickhouse = clickhouse(address);
    let mut found = Found { rows: count(&clickhouse).await?, ..Found::default() };
    let stored = Bits::new(load.sent.capacity);
    let mut seen = 0;
    let end = load.sent.next.load(std::sync::atomic::Ordering::Relaxed).min(load.sent.capacity);
    for first in (0..end).step_by(MESSAGE_REQUESTS as usize) {
        let message = Asked::of(first).message;
        let sql = format!(
            "SELECT recipient, kind = 'click', link, if(link = 0, target = '', startsWith(target, concat('{TARGET}', toString(link), '?'))) \
             FROM {DATABASE}.events WHERE workspace = 1 AND message = {message}"
        );
        let rows = clickhouse.query(&sql).await?;
        for line in rows.lines() {
            seen += 1;
            found.row(line, message, &stored, load)?;
        }
        for number in first..end.min(first + MESSAGE_REQUESTS) {
            let missing = load.sent.answered.get(number) && !stored.get(number);
            found.missing.add(u64::from(missing), || format!("request {number}"));
        }
    }
    found.wrong.add(found.rows.saturating_sub(seen), || "rows of no message that was sent".to_owned());
    found.numbers(&clickhouse, journals).await?;
    let config = Config { url: format!("http://{address}"), database: DATABASE.into(), ..Config::default() };
    let store = Store::new(config).context("failed to set up the view comparison")?;
    found.drifts = store.view_drift().await.context("failed to compare the views with the events")?;
    Ok(found)
}

/// Rows by now.
pub async fn rows(address: SocketAddr) -> anyhow::Result<u64> {
    count(&clickhouse(address)).await
}

impl Found {
    fn row(&mut self, line: &str, message: u64, stored: &Bits, load: &Load) -> anyhow::Result<()> {
        let mut fields = line.split('\t').map(|field| field.parse::<u64>());
        let mut next = || fields.next().and_then(Result::ok).with_context(|| format!("row {line:?}"));
        let (recipient, click, link, target) = (next()?, next()?, next()?, next()?);
        let number = recipient.wrapping_sub(1);
        let asked = Asked::of(number);
        let right = asked.message == message
            && (asked.kind == Kind::Click) == (click == 1)
            && u64::from(asked.link) == link
            && target == 1
            && load.sent.begun.get(number);
        self.wrong.add(u64::from(!right), || format!("message {message}, request {number}: {line:?}"));
        if right {
            self.repeated.add(u64::from(stored.set(number)), || format!("request {number}"));
        }
        Ok(())
    }

    /// No number twice, and none left out.
    async fn numbers(
        &mut self,
        clickhouse: &ClickHouse,
        journals: &BTreeMap<u64, u64>,
    ) -> anyhow::Result<()> {
        let sql = format!("SELECT edge_id, max(seq) FROM {DATABASE}.events GROUP BY edge_id");
        let mut last = journals.clone();
        for line in clickhouse.query(&sql).await?.lines() {
            let (edge, seq) = line.split_once('\t').context("an edge without a number")?;
            let known = last.entry(edge.parse()?).or_default();
            *known = (*known).max(seq.parse()?);
        }
        for (edge, last) in last {
            for first in (1..=last).step_by(NUMBERS as usize) {
                let end = last.min(first + NUMBERS - 1);
                let of = format!(
                    "FROM {DATABASE}.events WHERE edge_id = {edge} AND seq BETWEEN {first} AND {end}"
                );
                let both = clickhouse.query(&format!("SELECT count(), uniqExact(seq) {of}")).await?;
                let (rows, different) = both.trim().split_once('\t').context("two numbers")?;
                let (rows, different): (u64, u64) = (rows.parse()?, different.parse()?);
                self.events += different;
                if rows > different {
                    let twice = format!(
                        "SELECT seq, groupArray((k_part, k_off)), groupUniqArray(recipient) {of} GROUP BY seq \
                         HAVING count() > 1 ORDER BY seq LIMIT 3"
                    );
                    let which = clickhouse.query(&twice).await?;
                    self.named_twice.add(rows - different, || format!("edge {edge:016x}: {}", which.trim()));
                }
                let gaps = end - first + 1 - different;
                if gaps > 0 {
                    let which = missing(clickhouse, &of, first, end).await?;
                    self.gaps.add(gaps, || format!("edge {edge:016x}: numbers {which}"));
                }
            }
        }
        Ok(())
    }
}

/// The first numbers from `first` to `end` that have no row.
async fn missing(clickhouse: &ClickHouse, of: &str, first: u64, end: u64) -> anyhow::Result<String> {
    let sql = format!(
        "SELECT number + {first} AS wanted FROM numbers({}) WHERE wanted NOT IN (SELECT seq {of}) LIMIT {EXAMPLES_MAX}",
        end - first + 1
    );
    Ok(clickhouse.query(&sql).await?.trim().replace('\n', ", "))
}

async fn count(clickhouse: &ClickHouse) -> anyhow::Result<u64> {
    let answer = clickhouse.query(&format!("SELECT count() FROM {DATABASE}.events")).await?;
    answer.trim().parse().with_context(|| format!("{answer:?} in place of a number"))
}

fn clickhouse(address: SocketAddr) -> ClickHouse {
    ClickHouse {
        address,
        database: DATABASE.into(),
        table: "events".into(),
        user: String::new(),
        password: Secret::default(),
    }
}
