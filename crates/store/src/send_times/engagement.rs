//! What send times are estimated from: sends and acts, recipient by recipient, of those for whom it is allowed.

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
    /// As [`crate::Row::kind`]; 0 for an event that may not be used, where only the recipient is told.
    pub kind: u8,
    /// As [`crate::Row::verdict`], by what is known today.
    pub verdict: u8,
    /// Whether the verdict is a guess: confidence `weak`.
    pub weak: bool,
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

/// How long each part of the answer may take, in ms: the first one comes after all rows are sorted.
const PART_WAIT_MS: u64 = 600_000;
/// A sort that needs more memory goes to the server's disk, in bytes.
const SORT_BYTES_MAX: u64 = 1 << 30;
/// The longest row, in bytes: more is no answer to this query.
const ROW_BYTES_MAX: usize = 1 << 16;

const COLUMNS: &str = "recipient, message, toUnixTimestamp64Milli(received_at), \
     if(mode IN ('unspecified', 'full'), toInt8(kind), 0), toInt8(verdict), confidence = 'weak', local_hour, \
     local_weekday, time_zone, profile_time_zone, domain";

impl Store {
    /// Reads what the recipients of a workspace were sent and did before an instant, each recipient's newest first.
    /// Nobody is read who is in the EU, the EEA or the UK, or of whom nobody knows.
    ///
    /// # Errors
    /// When the server cannot be asked. What it answers comes by [`Engagements::next`].
    pub fn engagements(&self, workspace: u32, until_ms: i64) -> Result<Engagements, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM events_current WHERE workspace = {workspace} AND recipient != 0 \
             AND received_at < fromUnixTimestamp64Milli({until_ms}, 'UTC') AND recipient GLOBAL IN \
             (SELECT recipient FROM recipient_regions WHERE workspace = {workspace} AND region = 'other') \
             ORDER BY recipient, received_at DESC, edge_id DESC, seq DESC \
             SETTINGS max_bytes_before_external_sort = {SORT_BYTES_MAX}"
        );
        self.front.rows(&sql).map(Engagements)
    }

    /// Reads the recipients of a workspace for whom there is no send time, and why: `eu` or `unknown`.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub fn refused_recipients(&self, workspace: u32) -> Result<RefusedRecipients, StoreError> {
        let sql = format!(
            "SELECT recipient, region FROM recipient_regions WHERE workspace = {workspace} AND region != 'other' \
             ORDER BY recipient"
        );
        self.front.rows(&sql).map(RefusedRecipients)
    }

    /// The region of a recipient as a word of `recipient_regions`: `eu`, `other` or `unknown`; None when no event of
    /// theirs is known.
    ///
    /// # Errors
    /// When the server refuses or does not answer in time.
    pub async fn region(&self, workspace: u32, recipient: u64) -> Result<Option<String>, StoreError> {
        let sql = format!(
            "SELECT region FROM recipient_regions WHERE workspace = {workspace} AND recipient = {recipient}"
        );
        Ok(self.query(&sql).await?.lines().next().map(str::to_owned))
    }

    /// Whether any send of a workspace is known: without, acts are all there is to estimate from.
    ///
    /// # Errors
    /// When the server refuses or does not answer in time.
    pub async fn has_sends(&self, workspace: u32, until_ms: i64) -> Result<bool, StoreError> {
        let rows = format!(
            "events WHERE workspace = {workspace} AND kind = 'sent' AND mode IN ('unspecified', 'full') \
             AND received_at < fromUnixTimestamp64Milli({until_ms}, 'UTC')"
        );
        self.front.any(&rows, "", &[], self.config.request_timeout_ms).await
    }
}

/// Rows as they come.
pub struct Engagements(Rows);

impl Engagements {
    /// The next one; None at the end.
    ///
    /// # Errors
    /// When the server breaks off, does not go on in time, or answers with something else.
    pub async fn next(&mut self) -> Result<Option<Engagement>, StoreError> {
        let Some(row) = self.0.next().await? else { return Ok(None) };
        parse(row).map(Some).ok_or_else(|| self.0.unreadable("engagement", "a send or an act a line"))
    }
}

/// Recipients for whom there is no send time, as they come.
pub struct RefusedRecipients(Rows);

impl RefusedRecipients {
    /// The next one, and whether they are known to be in the EU, the EEA or the UK; None at the end.
    ///
    /// # Errors
    /// As [`Engagements::next`].
    pub async fn next(&mut self) -> Result<Option<(u64, bool)>, StoreError> {
        let Some(row) = self.0.next().await? else { return Ok(None) };
        let found = row.split_once('\t').and_then(|(key, region)| Some((key.parse().ok()?, region == "eu")));
        found.map(Some).ok_or_else(|| self.0.unreadable("refused recipients", "a recipient a line"))
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
        local_hour: next()?.parse().ok()?,
        local_weekday: next()?.parse().ok()?,
        time_zone: next()?.to_owned(),
        profile_time_zone: next()?.to_owned(),
        domain: next()?.parse().ok()?,
    })
}
