//! What send times are estimated from: sends and acts, recipient by recipient.

use std::time::Duration;

use crate::{Cause, Server, Store, StoreError};

/// A send or an act, with the verdict that stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Engagement {
    /// Recipient key.
    pub recipient: u64,
    /// Message.
    pub message: u64,
    /// When it happened, Unix time in milliseconds.
    pub at_ms: i64,
    /// As [`crate::Row::kind`].
    pub kind: u8,
    /// As [`crate::Row::verdict`], by what is known today.
    pub verdict: u8,
    /// Whether the verdict is a guess: confidence `weak`.
    pub weak: bool,
    /// What the event says of where the recipient is, as [`crate::Row::region_class`]: 1 for a sign of the EU, the EEA
    /// or the UK, of which nothing else is told; 2 for one of another place.
    pub region: u8,
    /// Local hour, 0 to 23; 255 when unknown.
    pub local_hour: u8,
    /// Local ISO weekday, 1 (Monday) to 7; 0 when unknown.
    pub local_weekday: u8,
    /// IANA time zone of both; empty when unknown.
    pub time_zone: String,
    /// IANA time zone that the sender has on file, of a send; empty when unknown.
    pub profile_time_zone: String,
    /// Key of the recipient's mail domain, of a send; 0 when unknown.
    pub domain: u64,
}

/// How long each part of the answer may take, in ms: where shards must be sorted together, the first one takes long.
const PART_WAIT_MS: u64 = 600_000;
/// A sort that needs more memory goes to the server's disk, in bytes.
const SORT_BYTES_MAX: u64 = 1 << 30;
/// The longest row, in bytes: more is no answer to this query.
const ROW_BYTES_MAX: usize = 1 << 16;
/// Of one recipient's events the latest ones are read, up to so many.
pub const HISTORY_MAX: usize = 50_000;

const COLUMNS: &str = "recipient, message, toUnixTimestamp64Milli(received_at), toInt8(kind), toInt8(verdict), \
     confidence = 'weak', toInt8(region), local_hour, local_weekday, time_zone, profile_time_zone, domain";

/// What [`Store::histories`] asks.
///
/// The table stands in the order that is asked for, so nothing has to be sorted, as long as the join with the corrections
/// keeps that order: it does only if it may not go to disk. Sorted, a billion events were 21 GB of temporary files, and
/// the first row came after ten minutes. Public for the test that asks for its plan.
pub fn histories_sql(workspace: u32) -> String {
    format!(
        "SELECT {COLUMNS} FROM recipient_events_current WHERE workspace = {workspace} \
         ORDER BY recipient, received_at, edge_id, seq \
         SETTINGS max_bytes_before_external_sort = {SORT_BYTES_MAX}, query_plan_read_in_order_through_join = 1, \
         max_bytes_ratio_before_external_join = 0"
    )
}

impl Store {
    /// Reads what each recipient of a workspace was sent and did, recipient by recipient, each one's oldest first.
    /// Those for whom no send time may be computed are among them: their signs have to be known.
    ///
    /// # Errors
    /// When the server cannot be asked. What it answers comes by [`Histories::next`].
    pub fn histories(&self, workspace: u32) -> Result<Histories, StoreError> {
        self.front.rows(&histories_sql(workspace)).map(Histories)
    }

    /// What a recipient was sent and did, the oldest first; of more than [`HISTORY_MAX`] events the latest. Empty for
    /// whom no event is known.
    ///
    /// # Errors
    /// When the server refuses or does not answer in time.
    pub async fn history(&self, workspace: u32, recipient: u64) -> Result<Vec<Engagement>, StoreError> {
        // By hand what recipient_events_current does, which would go through the corrections of all messages.
        let sql = format!(
            "WITH own AS (SELECT * FROM recipient_events WHERE workspace = {workspace} AND recipient = {recipient} \
             ORDER BY received_at DESC, edge_id DESC, seq DESC LIMIT {HISTORY_MAX}) \
             SELECT {COLUMNS} FROM (SELECT e.* EXCEPT (verdict, confidence), \
             if(c.version > 0, c.verdict, e.verdict) AS verdict, \
             if(c.version > 0, c.confidence, e.confidence) AS confidence FROM own AS e GLOBAL LEFT JOIN \
             (SELECT message, edge_id, seq, max(r.version) AS version, argMax(r.verdict, r.version) AS verdict, \
             argMax(r.confidence, r.version) AS confidence FROM corrections AS r \
             WHERE workspace = {workspace} AND message GLOBAL IN \
             (SELECT message FROM recipient_events WHERE workspace = {workspace} AND recipient = {recipient}) \
             GROUP BY message, edge_id, seq) AS c \
             ON c.message = e.message AND c.edge_id = e.edge_id AND c.seq = e.seq) \
             ORDER BY received_at, edge_id, seq"
        );
        let text = self.query(&sql).await?;
        let events = text.lines().map(parse).collect::<Option<_>>();
        events.ok_or_else(|| StoreError::Answer {
            server: self.front.name.clone(),
            query: "history of a recipient",
            expected: "a send or an act a line",
        })
    }
}

impl Store {
    /// How many events of a workspace are known by recipient.
    ///
    /// # Errors
    /// When the server refuses or does not answer in time.
    pub async fn known_events(&self, workspace: u32) -> Result<u64, StoreError> {
        let sql = format!("SELECT count() FROM recipient_events WHERE workspace = {workspace}");
        self.query(&sql).await?.trim().parse().map_err(|_| StoreError::Answer {
            server: self.front.name.clone(),
            query: "known events",
            expected: "a number",
        })
    }

    /// The workspaces of which events are known by recipient.
    ///
    /// # Errors
    /// When the server refuses or does not answer in time.
    pub async fn workspaces(&self) -> Result<Vec<u32>, StoreError> {
        let sql = "SELECT DISTINCT workspace FROM recipient_events ORDER BY workspace";
        let all = self.query(sql).await?.lines().map(|line| line.parse().ok()).collect::<Option<_>>();
        all.ok_or_else(|| StoreError::Answer {
            server: self.front.name.clone(),
            query: "workspaces",
            expected: "a number a line",
        })
    }

    /// Whether any send of a workspace is known: without, acts are all there is to estimate from.
    ///
    /// # Errors
    /// When the server refuses or does not answer in time.
    pub async fn has_sends(&self, workspace: u32, until_ms: i64) -> Result<bool, StoreError> {
        let rows = format!(
            "events WHERE workspace = {workspace} AND kind = 'sent' AND mode IN ('unspecified', 'full') AND received_at < fromUnixTimestamp64Milli({until_ms}, 'UTC')"
        );
        self.front.any(&rows, "", &[], self.config.request_timeout_ms).await
    }
}

/// Sends and acts as they come.
pub struct Histories(Rows);

impl Histories {
    /// The next one; None at the end.
    ///
    /// # Errors
    /// When the server breaks off, does not go on in time, or answers with something else.
    pub async fn next(&mut self) -> Result<Option<Engagement>, StoreError> {
        let Some(row) = self.0.next().await? else { return Ok(None) };
        parse(row).map(Some).ok_or_else(|| self.0.unreadable("histories", "a send or an act a line"))
    }
}

/// Lines of an answer of any length, of which only a part is held.
struct Rows {
    server: String,
    answer: clickhouse::query::BytesCursor,
    held: Vec<u8>,
    /// Of `held`, what was given out.
    given: usize,
}

impl Server {
    fn rows(&self, sql: &str) -> Result<Rows, StoreError> {
        let answer = self.client.query_raw(sql).fetch_bytes("TabSeparated");
        let answer = answer.map_err(|error| StoreError::Server(Cause::new(&self.name, &error)))?;
        Ok(Rows { server: self.name.clone(), answer, held: Vec::new(), given: 0 })
    }
}

impl Rows {
    async fn next(&mut self) -> Result<Option<&str>, StoreError> {
        let mut seen = 0;
        let end = loop {
            let rest = &self.held[self.given..];
            if let Some(at) = rest[seen..].iter().position(|byte| *byte == b'\n') {
                break seen + at;
            }
            seen = rest.len();
            if seen > ROW_BYTES_MAX {
                return Err(self.unreadable("rows", "shorter ones"));
            }
            let wait = Duration::from_millis(PART_WAIT_MS);
            let part = match tokio::time::timeout(wait, self.answer.next()).await {
                Ok(Ok(part)) => part,
                Ok(Err(error)) => return Err(StoreError::Server(Cause::new(&self.server, &error))),
                Err(_) => return Err(StoreError::Server(Cause::timeout(&self.server, PART_WAIT_MS))),
            };
            match part {
                Some(part) => {
                    self.held.drain(..self.given);
                    self.given = 0;
                    self.held.extend_from_slice(&part);
                }
                None if seen == 0 => return Ok(None),
                None => return Err(self.unreadable("rows", "a whole line at the end")),
            }
        };
        let from = self.given;
        self.given += end + 1;
        let line = std::str::from_utf8(&self.held[from..from + end]);
        line.map(Some).map_err(|_| StoreError::Answer {
            server: self.server.clone(),
            query: "rows",
            expected: "text",
        })
    }

    fn unreadable(&self, query: &'static str, expected: &'static str) -> StoreError {
        StoreError::Answer { server: self.server.clone(), query, expected }
    }
}

fn parse(row: &str) -> Option<Engagement> {
    let mut fields = row.split('\t');
    let mut next = || fields.next();
    Some(Engagement {
        recipient: next()?.parse().ok()?,
        message: next()?.parse().ok()?,
        at_ms: next()?.parse().ok()?,
        kind: next()?.parse().ok()?,
        verdict: next()?.parse().ok()?,
        weak: next()? == "1",
        region: next()?.parse().ok()?,
        local_hour: next()?.parse().ok()?,
        local_weekday: next()?.parse().ok()?,
        time_zone: next()?.to_owned(),
        profile_time_zone: next()?.to_owned(),
        domain: next()?.parse().ok()?,
    })
}
