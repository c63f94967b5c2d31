//! Stored events to be judged again, and the corrections that come of it.

use std::fmt::Write;
use std::net::Ipv6Addr;
use std::ops::Range;

use crate::{InsertError, Store, StoreError};

/// A source's partition and the offsets of its events, the last one included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPart {
    /// Topic or journal.
    pub source: String,
    /// Partition of the source.
    pub part: u32,
    /// Lowest offset.
    pub first: u64,
    /// Highest offset.
    pub last: u64,
}

/// A visit as the rules read it, with the verdict that stands. Each field is the column of its name in
/// `events_current`; enums are their codes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[allow(missing_docs, reason = "each field is the column of its name")]
pub struct JudgedVisit {
    pub edge_id: u64,
    pub seq: u64,
    pub k_off: u64,
    pub workspace: u32,
    pub message: u64,
    pub recipient: u64,
    pub received_at_ms: i64,
    pub kind: u8,
    pub link: u32,
    pub sent_at_ms: i64,
    pub mode: u8,
    pub trap: bool,
    pub method: u8,
    pub user_agent: String,
    pub address: Ipv6Addr,
    pub first_reasons: Vec<String>,
    pub verdict: u8,
    pub reasons: Vec<String>,
}

const COLUMNS: &str = "edge_id, seq, k_off, workspace, message, recipient, toUnixTimestamp64Milli(received_at), \
     toInt8(kind), link, toUnixTimestamp(sent_at) * 1000, toInt8(mode), trap, toInt8(method), user_agent, address, \
     first_reasons, toInt8(verdict), reasons";

/// What is now known of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVerdict {
    /// The event, with the verdict that stood.
    pub visit: JudgedVisit,
    /// As [`crate::Row::verdict`].
    pub verdict: u8,
    /// As [`crate::Row::confidence`].
    pub confidence: u8,
    /// Codes of the rules, the decisive one first.
    pub reasons: Vec<&'static str>,
    /// Version of the rules.
    pub ruleset: u16,
}

impl Store {
    /// The partitions that have events received in these milliseconds of Unix time.
    ///
    /// # Errors
    /// When the server refuses or does not answer in time.
    pub async fn stored_parts(&self, times_ms: &Range<i64>) -> Result<Vec<StoredPart>, StoreError> {
        let sql = format!(
            "SELECT k_topic, k_part, min(k_off), max(k_off) FROM events WHERE {} AND kind != 'sent' \
             GROUP BY k_topic, k_part ORDER BY k_topic, k_part FORMAT JSONCompactEachRow \
             SETTINGS output_format_json_quote_64bit_integers = 0",
            received(times_ms)
        );
        let part = |line: &str| {
            let (source, part, first, last) = serde_json::from_str(line).ok()?;
            Some(StoredPart { source, part, first, last })
        };
        let parts = self.query(&sql).await?.lines().map(part).collect::<Option<_>>();
        parts.ok_or_else(|| self.unreadable("stored partitions", "a partition a line"))
    }

    /// The visits of a partition with these offsets, received in these milliseconds of Unix time, in order.
    ///
    /// # Errors
    /// When the server refuses or does not answer in time; [`StoreError::TooLong`] when there are too many at once.
    pub async fn judged_visits(
        &self,
        part: &StoredPart,
        offsets: Range<u64>,
        times_ms: &Range<i64>,
    ) -> Result<Vec<JudgedVisit>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM events_current WHERE k_topic = {{source:String}} AND k_part = {} \
             AND k_off >= {} AND k_off < {} AND {} AND kind != 'sent' ORDER BY k_off, edge_id, seq \
             FORMAT JSONCompactEachRow SETTINGS output_format_json_quote_64bit_integers = 0",
            part.part,
            offsets.start,
            offsets.end,
            received(times_ms)
        );
        let timeout_ms = self.config.request_timeout_ms;
        let text = self.front.text(&sql, &[("source", &part.source)], timeout_ms).await?;
        let visits = text.lines().map(|line| serde_json::from_str(line).ok()).collect::<Option<_>>();
        visits.ok_or_else(|| self.unreadable("judged visits", "a visit a line"))
    }

    /// Stores corrections of a shard's events, of one month; the same token is stored once. The version decides which
    /// of an event's corrections stands: the highest.
    ///
    /// # Errors
    /// Says what to do next, as [`Store::insert`].
    pub async fn correct(
        &self,
        shard: usize,
        token: &str,
        version: u64,
        verdicts: &[NewVerdict],
    ) -> Result<(), InsertError> {
        let mut lines = String::new();
        for NewVerdict { visit, verdict, confidence, reasons, ruleset } in verdicts {
            // Codes and numbers only: nothing to be escaped.
            let reasons: Vec<String> = reasons.iter().map(|reason| format!("'{reason}'")).collect();
            let JudgedVisit {
                workspace, message, edge_id, seq, received_at_ms, recipient, kind, link, ..
            } = visit;
            let month = crate::month(*received_at_ms);
            let (seconds, ms) = (received_at_ms.div_euclid(1_000), received_at_ms.rem_euclid(1_000));
            _ = writeln!(
                lines,
                "{workspace}\t{message}\t{edge_id}\t{seq}\t{version}\t{seconds}.{ms:03}\t{recipient}\t{kind}\t{link}\t\
                 {verdict}\t{confidence}\t[{}]\t{ruleset}\t{month}",
                reasons.join(",")
            );
        }
        let server = self.writer(shard)?;
        let columns = "workspace, message, edge_id, seq, version, received_at, recipient, kind, link, verdict, \
             confidence, reasons, ruleset, month";
        let into = format!("corrections{} ({columns}) FORMAT TabSeparated", self.local());
        self.send(server, &into, token, &lines.into()).await
    }

    fn unreadable(&self, query: &'static str, expected: &'static str) -> StoreError {
        StoreError::Answer { server: self.front.name.clone(), query, expected }
    }
}

fn received(times_ms: &Range<i64>) -> String {
    format!(
        "received_at >= fromUnixTimestamp64Milli({}, 'UTC') AND received_at < fromUnixTimestamp64Milli({}, 'UTC')",
        times_ms.start, times_ms.end
    )
}
