//! Holds the database to what was answered: one row each, no more.

use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use tokio::time::Instant;

use crate::clickhouse::ClickHouse;
use crate::mix;
use crate::plan::Plan;
use crate::tally::Outcome;

/// How often the rows are counted while they still come in.
const COUNT_EVERY: Duration = Duration::from_millis(250);

/// How long the count must stand still before it is believed: a second copy would come with a later batch.
const STILL_FOR: Duration = Duration::from_secs(3);

/// Rows asked for in one query, at about 50 bytes each.
const ROWS_PER_QUERY: usize = 200_000;

/// The sum at the end of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Requests answered as they should be: each must be one row.
    pub answered: u64,
    /// Requests that may have arrived but have no proper answer: each may be one row.
    pub unknown: u64,
    /// Of those, the ones that are.
    pub unknown_stored: u64,
    /// Rows of this run.
    pub rows: u64,
    /// Answered, but no row.
    pub missing: u64,
    /// Rows beyond the first of a request.
    pub doubled: u64,
    /// Rows of no request, of one that never left, or of another kind than was asked for.
    pub unexpected: u64,
}

impl Ledger {
    /// Nothing lost, nothing twice, nothing out of nowhere.
    pub fn clean(&self) -> bool {
        self.missing == 0 && self.doubled == 0 && self.unexpected == 0
    }
}

/// Rows with one mark and kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows<'a> {
    /// The message.
    pub message: u64,
    /// The recipient.
    pub recipient: u64,
    /// The kind's name.
    pub kind: &'a str,
    /// How many there are.
    pub count: u64,
}

/// Builds the ledger up from groups of rows, in any order.
#[derive(Debug)]
pub struct Audit<'a> {
    plan: &'a Plan,
    outcomes: &'a [Outcome],
    seen: Vec<bool>,
    ledger: Ledger,
}

impl<'a> Audit<'a> {
    /// Nothing seen yet.
    pub fn new(plan: &'a Plan, outcomes: &'a [Outcome]) -> Audit<'a> {
        let count = |what| outcomes.iter().filter(|outcome| **outcome == what).count() as u64;
        let (answered, unknown) = (count(Outcome::Answered), count(Outcome::Unknown));
        let ledger = Ledger { answered, unknown, ..Ledger::default() };
        Audit { plan, outcomes, seen: vec![false; outcomes.len()], ledger }
    }

    /// Takes the rows of one mark and kind into account.
    pub fn rows(&mut self, rows: Rows<'_>) {
        self.ledger.rows += rows.count;
        let index = self.plan.index_of(rows.message, rows.recipient);
        let Some(index) = index.filter(|i| mix::name(self.plan.hit(*i).kind) == rows.kind) else {
            self.ledger.unexpected += rows.count;
            return;
        };
        if self.outcomes[index] == Outcome::Unsent {
            self.ledger.unexpected += rows.count;
            return;
        }
        let first = u64::from(!self.seen[index]);
        self.ledger.doubled += rows.count - first.min(rows.count);
        if first == 1 && self.outcomes[index] == Outcome::Unknown {
            self.ledger.unknown_stored += 1;
        }
        self.seen[index] = true;
    }

    /// The sum, when all rows have been seen.
    pub fn ledger(mut self) -> Ledger {
        let unseen =
            self.outcomes.iter().zip(&self.seen).filter(|(o, seen)| **o == Outcome::Answered && !**seen);
        self.ledger.missing = unseen.count() as u64;
        self.ledger
    }
}

/// Returns when at least `answered` rows are there and their number stands still, or the time is over; the
/// audit says what that means. A database that is away is asked again until then.
pub async fn settle(
    clickhouse: &ClickHouse,
    plan: &Plan,
    answered: u64,
    settle_max: Duration,
) -> anyhow::Result<()> {
    let sql = format!(
        "SELECT count() FROM {} WHERE workspace = {} AND message BETWEEN {} AND {}",
        clickhouse.table(),
        plan.spec().workspace,
        plan.spec().message,
        plan.message_last()
    );
    let end = Instant::now() + settle_max;
    let mut standing: Option<(u64, Instant)> = None;
    loop {
        let answer = clickhouse.query(&sql).await;
        let now = Instant::now();
        let text = match answer {
            Ok(text) => text,
            Err(error) if now >= end => return Err(error),
            Err(_) => {
                standing = None;
                tokio::time::sleep(COUNT_EVERY).await;
                continue;
            }
        };
        let count: u64 =
            text.trim().parse().with_context(|| format!("expected a count, got `{}`", text.trim()))?;
        match standing {
            Some((before, since)) if before == count => {
                if count >= answered && now - since >= STILL_FOR {
                    return Ok(());
                }
            }
            _ => standing = Some((count, now)),
        }
        if now >= end {
            return Ok(());
        }
        tokio::time::sleep(COUNT_EVERY).await;
    }
}

/// Holds the rows that are there to the outcomes; [`settle`] comes first.
pub async fn check(clickhouse: &ClickHouse, plan: &Plan, outcomes: &[Outcome]) -> anyhow::Result<Ledger> {
    let mut audit = Audit::new(plan, outcomes);
    let (table, workspace) = (clickhouse.table(), plan.spec().workspace);
    let messages_per_query = (ROWS_PER_QUERY / plan.spec().recipients as usize).max(1) as u64;
    let (mut first, last) = (plan.spec().message, plan.message_last());
    while first <= last {
        let to = last.min(first + messages_per_query - 1);
        let sql = format!(
            "SELECT message, recipient, toString(kind), count() FROM {table} \
             WHERE workspace = {workspace} AND message BETWEEN {first} AND {to} GROUP BY ALL"
        );
        for line in clickhouse.query(&sql).await?.lines() {
            audit.rows(parse(line).with_context(|| format!("expected four columns, got `{line}`"))?);
        }
        first = to + 1;
    }
    Ok(audit.ledger())
}

fn parse(line: &str) -> Option<Rows<'_>> {
    let mut columns = line.split('\t');
    let mut next = || columns.next();
    Some(Rows {
        message: next()?.parse().ok()?,
        recipient: next()?.parse().ok()?,
        kind: next()?,
        count: next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::crowd::Crowd;
    use crate::plan::Spec;
    use crate::schedule::Arrivals;

    fn plan() -> Plan {
        let spec = Spec {
            requests: 6,
            rate: 10.0,
            arrivals: Arrivals::Even,
            seed: 1,
            mix: "open=1".parse().unwrap(),
            fresh_share: 0.0,
            recipients: 4,
            workspace: 1,
            message: 100,
        };
        Plan::new(spec, Arc::new(Crowd::load().unwrap()), |_| Ok("/".to_owned())).unwrap()
    }

    fn rows(plan: &Plan, index: usize, count: u64) -> Rows<'static> {
        let hit = plan.hit(index);
        Rows { message: hit.message, recipient: hit.recipient, kind: "open", count }
    }

    #[test]
    fn a_clean_run() {
        let plan = plan();
        let outcomes = [
            Outcome::Answered,
            Outcome::Answered,
            Outcome::Unknown,
            Outcome::Unknown,
            Outcome::Unsent,
            Outcome::Answered,
        ];
        let mut audit = Audit::new(&plan, &outcomes);
        for index in [5, 0, 2, 1] {
            audit.rows(rows(&plan, index, 1));
        }
        let ledger = audit.ledger();
        assert!(ledger.clean());
        assert_eq!(
            ledger,
            Ledger { answered: 3, unknown: 2, unknown_stored: 1, rows: 4, ..Ledger::default() }
        );
    }

    #[test]
    fn every_breach_is_counted() {
        let plan = plan();
        let outcomes = [
            Outcome::Answered,
            Outcome::Answered,
            Outcome::Unknown,
            Outcome::Answered,
            Outcome::Unsent,
            Outcome::Answered,
        ];
        let mut audit = Audit::new(&plan, &outcomes);
        audit.rows(rows(&plan, 0, 3)); // twice too often
        audit.rows(rows(&plan, 2, 1)); // in two groups: once too often
        audit.rows(rows(&plan, 2, 1));
        audit.rows(rows(&plan, 4, 1)); // never left
        audit.rows(Rows { kind: "click", ..rows(&plan, 3, 1) }); // another kind, so its own row is missing
        audit.rows(Rows { recipient: 9, ..rows(&plan, 3, 2) }); // of nobody
        audit.rows(rows(&plan, 5, 1));
        let ledger = audit.ledger();
        assert!(!ledger.clean());
        let expected = Ledger {
            answered: 4,
            unknown: 1,
            unknown_stored: 1,
            rows: 10,
            missing: 2,
            doubled: 3,
            unexpected: 4,
        };
        assert_eq!(ledger, expected);
    }

    #[test]
    fn lines() {
        assert_eq!(parse("7\t8\topen\t1"), Some(Rows { message: 7, recipient: 8, kind: "open", count: 1 }));
        assert_eq!(parse("7\t8\topen"), None);
    }
}
