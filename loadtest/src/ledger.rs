//! Holds the database to what was answered: one row each, which says what was asked, and no more.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use event::Region;
use serde::Serialize;
use tokio::time::Instant;

use crate::clickhouse::ClickHouse;
use crate::plan::Plan;
use crate::tally::Outcome;
use crate::{mint, mix};

/// How often the rows are counted while they still come in.
const COUNT_EVERY: Duration = Duration::from_millis(250);

/// How long the count must stand still before it is believed: a second copy would come with a later batch.
const STILL_FOR: Duration = Duration::from_secs(3);

/// Rows asked for in one query, at about 300 bytes each: 30 MB held at a time.
const ROWS_PER_QUERY: usize = 100_000;

/// The sum at the end of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Requests answered as they should be: each must be one row.
    pub answered: u64,
    /// Requests answered as they should be whose token was bad: none must be a row.
    pub refused: u64,
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
    /// Rows of no request, of one that never left, or of one with a bad token.
    pub unexpected: u64,
    /// Rows of a request that say something else than it did.
    pub wrong: u64,
    /// Those by the columns that are wrong; a row may count in several.
    pub wrong_by_column: BTreeMap<&'static str, u64>,
}

impl Ledger {
    /// Nothing lost, nothing twice, nothing out of nowhere, nothing wrong.
    pub fn clean(&self) -> bool {
        self.missing == 0 && self.doubled == 0 && self.unexpected == 0 && self.wrong == 0
    }
}

/// Rows that say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows<'a> {
    /// The message.
    pub message: u64,
    /// The recipient: with the message, the mark of one request.
    pub recipient: u64,
    /// What else that request has said.
    pub said: Said<'a>,
    /// How many there are.
    pub count: u64,
}

/// What a row says of its request, beside the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is the column of its name")]
pub struct Said<'a> {
    pub kind: &'a str,
    pub link: u32,
    pub target: &'a str,
    pub method: &'a str,
    pub region_claim: &'a str,
    pub user_agent: &'a str,
}

/// Builds the ledger up from groups of rows, in any order.
#[derive(Debug)]
pub struct Audit<'a> {
    plan: &'a Plan,
    outcomes: &'a [Outcome],
    /// One byte for each request: all that the check holds besides one query's answer.
    seen: Vec<bool>,
    ledger: Ledger,
}

impl<'a> Audit<'a> {
    /// Nothing seen yet.
    pub fn new(plan: &'a Plan, outcomes: &'a [Outcome]) -> Audit<'a> {
        let count = |what| outcomes.iter().filter(|outcome| **outcome == what).count() as u64;
        let ledger = Ledger {
            answered: count(Outcome::Answered),
            refused: count(Outcome::Refused),
            unknown: count(Outcome::Unknown),
            ..Ledger::default()
        };
        Audit { plan, outcomes, seen: vec![false; outcomes.len()], ledger }
    }

    /// Takes rows into account.
    pub fn rows(&mut self, rows: Rows<'_>) {
        self.ledger.rows += rows.count;
        let index = self.plan.index_of(rows.message, rows.recipient);
        let may_be = |index: &usize| {
            matches!(self.outcomes[*index], Outcome::Answered | Outcome::Unknown)
                && self.plan.hit(*index).spoiled.is_none()
        };
        let Some(index) = index.filter(may_be) else {
            self.ledger.unexpected += rows.count;
            return;
        };
        let wrong = self.wrong(index, &rows.said);
        if !wrong.is_empty() {
            self.ledger.wrong += rows.count;
        }
        for column in wrong {
            *self.ledger.wrong_by_column.entry(column).or_default() += rows.count;
        }
        let first = u64::from(!self.seen[index]);
        self.ledger.doubled += rows.count - first.min(rows.count);
        if first == 1 && self.outcomes[index] == Outcome::Unknown {
            self.ledger.unknown_stored += 1;
        }
        self.seen[index] = true;
    }

    /// The columns in which a row of request `index` is not what was sent.
    fn wrong(&self, index: usize, said: &Said<'_>) -> Vec<&'static str> {
        let hit = self.plan.hit(index);
        let region_claim = match hit.region {
            Region::Eu => "eu",
            Region::Other => "other",
            Region::Unspecified => "unknown",
        };
        let columns = [
            ("kind", said.kind == mix::name(hit.kind)),
            ("link", said.link == hit.link),
            ("target", said.target == mint::target(&hit)),
            ("method", said.method == if hit.head { "HEAD" } else { "GET" }),
            ("region_claim", said.region_claim == region_claim),
            ("user_agent", said.user_agent == self.plan.user_agent(index)),
        ];
        columns.into_iter().filter(|(_, right)| !right).map(|(column, _)| column).collect()
    }

    /// The sum, when all rows have been seen.
    pub fn ledger(mut self) -> Ledger {
        let unseen =
            self.outcomes.iter().zip(&self.seen).filter(|(o, seen)| **o == Outcome::Answered && !**seen);
        self.ledger.missing = unseen.count() as u64;
        self.ledger
    }
}

/// The rows of this run that can be seen now.
pub async fn count(clickhouse: &ClickHouse, plan: &Plan) -> anyhow::Result<u64> {
    let sql = format!(
        "SELECT count() FROM {} WHERE workspace = {} AND message BETWEEN {} AND {}",
        clickhouse.table(),
        plan.spec().workspace,
        plan.spec().message,
        plan.message_last()
    );
    let text = clickhouse.query(&sql).await?;
    text.trim().parse().with_context(|| format!("expected a count, got `{}`", text.trim()))
}

/// Returns when at least `answered` rows are there and their number stands still, or the time is over; the
/// audit says what that means. A database that is away is asked again until then.
pub async fn settle(
    clickhouse: &ClickHouse,
    plan: &Plan,
    answered: u64,
    settle_max: Duration,
) -> anyhow::Result<()> {
    let end = Instant::now() + settle_max;
    let mut standing: Option<(u64, Instant)> = None;
    loop {
        let answer = count(clickhouse, plan).await;
        let now = Instant::now();
        let count = match answer {
            Ok(count) => count,
            Err(error) if now >= end => return Err(error),
            Err(_) => {
                standing = None;
                tokio::time::sleep(COUNT_EVERY).await;
                continue;
            }
        };
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
    let recipients = plan.spec().recipients as usize;
    // Several messages in one query, or a message of many recipients in several.
    let messages_per_query = (ROWS_PER_QUERY / recipients).max(1) as u64;
    let parts = recipients.div_ceil(ROWS_PER_QUERY);
    let (mut first, last) = (plan.spec().message, plan.message_last());
    while first <= last {
        let to = last.min(first + messages_per_query - 1);
        for part in 0..parts {
            let sql = format!(
                "SELECT message, recipient, {COLUMNS}, count() FROM {table} \
                 WHERE workspace = {workspace} AND message BETWEEN {first} AND {to} \
                 AND recipient % {parts} = {part} GROUP BY ALL"
            );
            for line in clickhouse.query(&sql).await?.lines() {
                audit.rows(parse(line).context("expected a row of nine columns")?);
            }
        }
        first = to + 1;
    }
    Ok(audit.ledger())
}

/// The columns of [`Said`], as ClickHouse is asked for them.
pub const COLUMNS: &str =
    "toString(kind), link, target, toString(method), toString(region_claim), toString(user_agent)";

/// A line of a query's answer. Neither a target nor a user agent of ours has a character that would be escaped.
fn parse(line: &str) -> Option<Rows<'_>> {
    let mut columns = line.split('\t');
    let mut next = || columns.next();
    Some(Rows {
        message: next()?.parse().ok()?,
        recipient: next()?.parse().ok()?,
        said: Said {
            kind: next()?,
            link: next()?.parse().ok()?,
            target: next()?,
            method: next()?,
            region_claim: next()?,
            user_agent: next()?,
        },
        count: next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::crowd::Crowd;
    use crate::mix::Noise;
    use crate::plan::Spec;
    use crate::schedule::Arrivals;
    use crate::shape::Shape;

    fn plan() -> Plan {
        let spec = Spec {
            requests: 6,
            warm_up: 1,
            rate: 10.0,
            shape: Shape::Steady,
            arrivals: Arrivals::Even,
            seed: 1,
            mix: "click=1".parse().unwrap(),
            noise: Noise::default(),
            fresh_share: 0.0,
            recipients: 4,
            workspace: 1,
            message: 100,
        };
        Plan::new(spec, Arc::new(Crowd::load().unwrap()), |_| Ok("/".to_owned())).unwrap()
    }

    /// The line with which ClickHouse would show request `index`.
    fn line(plan: &Plan, index: usize, count: u64) -> String {
        let hit = plan.hit(index);
        let region = match hit.region {
            Region::Eu => "eu",
            Region::Other => "other",
            Region::Unspecified => "unknown",
        };
        format!(
            "{}\t{}\tclick\t{}\t{}\tGET\t{region}\t{}\t{count}",
            hit.message,
            hit.recipient,
            hit.link,
            mint::target(&hit),
            plan.user_agent(index)
        )
    }

    const ALL_SORTS: [Outcome; 6] = [
        Outcome::Answered,
        Outcome::Answered,
        Outcome::Unknown,
        Outcome::Unknown,
        Outcome::Refused,
        Outcome::Answered,
    ];

    #[test]
    fn a_clean_run() {
        let plan = plan();
        let mut audit = Audit::new(&plan, &ALL_SORTS);
        for index in [5, 0, 2, 1] {
            audit.rows(parse(&line(&plan, index, 1)).unwrap());
        }
        let ledger = audit.ledger();
        assert!(ledger.clean());
        let expected =
            Ledger { answered: 3, refused: 1, unknown: 2, unknown_stored: 1, rows: 4, ..Ledger::default() };
        assert_eq!(ledger, expected);
    }

    #[test]
    fn every_breach_is_counted() {
        let plan = plan();
        let mut outcomes = ALL_SORTS;
        outcomes[3] = Outcome::Unsent;
        let lines: Vec<String> = (0..6).map(|index| line(&plan, index, 1)).collect();
        let rows = |index: usize| parse(&lines[index]).unwrap();
        let mut audit = Audit::new(&plan, &outcomes);
        audit.rows(Rows { count: 3, ..rows(0) }); // twice too often
        audit.rows(rows(2)); // in two groups: once too often
        audit.rows(rows(2));
        audit.rows(rows(3)); // never left
        audit.rows(rows(4)); // had a bad token
        audit.rows(Rows { recipient: 9, count: 2, ..rows(5) }); // of nobody, so its own row is missing
        audit.rows(Rows { recipient: plan.hit(0).recipient, ..rows(1) }); // of another: one missing, one double
        let ledger = audit.ledger();
        assert!(!ledger.clean());
        let expected = Ledger {
            answered: 3,
            refused: 1,
            unknown: 1,
            unknown_stored: 1,
            rows: 10,
            missing: 2,
            doubled: 4,
            unexpected: 4,
            wrong: ledger.wrong,
            wrong_by_column: ledger.wrong_by_column.clone(),
        };
        assert_eq!(ledger, expected);
    }

    #[test]
    fn a_bad_token_is_never_a_row_answered_or_not() {
        let spec = Spec { noise: Noise { bad_share: 1.0, head_share: 0.0 }, ..plan().spec().clone() };
        let plan = Plan::new(spec, Arc::new(Crowd::load().unwrap()), |_| Ok("/".to_owned())).unwrap();
        let mut audit = Audit::new(&plan, &[Outcome::Unknown; 6]);
        audit.rows(parse(&line(&plan, 0, 1)).unwrap());
        let ledger = audit.ledger();
        assert_eq!((ledger.unexpected, ledger.unknown_stored), (1, 0));
    }

    #[test]
    fn a_row_that_says_something_else_is_wrong_and_not_missing() {
        let plan = plan();
        let right = line(&plan, 5, 1);
        let row = parse(&right).unwrap();
        let wrong = [
            ("kind", Said { kind: "download", ..row.said }),
            ("link", Said { link: row.said.link + 1, ..row.said }),
            ("target", Said { target: "https://evil.example/", ..row.said }),
            ("method", Said { method: "HEAD", ..row.said }),
            ("region_claim", Said { region_claim: "", ..row.said }),
            ("user_agent", Said { user_agent: "curl", ..row.said }),
        ];
        for (column, said) in wrong {
            let mut outcomes = [Outcome::Unsent; 6];
            outcomes[5] = Outcome::Answered;
            let mut audit = Audit::new(&plan, &outcomes);
            audit.rows(Rows { said, ..row });
            let ledger = audit.ledger();
            assert!(!ledger.clean());
            assert_eq!((ledger.missing, ledger.doubled, ledger.unexpected, ledger.wrong), (0, 0, 0, 1));
            assert_eq!(ledger.wrong_by_column, BTreeMap::from([(column, 1)]));
        }
    }

    #[test]
    fn what_is_sent_needs_no_escapes() {
        let plan = plan();
        for index in 0..plan.len() {
            let text = format!("{}{}", mint::target(&plan.hit(index)), plan.user_agent(index));
            assert!(!text.contains(['\t', '\n', '\\', '\'']), "{text}");
        }
        assert_eq!(parse("7\t8\topen\t1"), None);
    }
}
