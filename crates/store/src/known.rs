//! What must be known before rows are written again: whether they are there, and whether the server still remembers.

use crate::{Range, Store, StoreError};

/// (edge id, sequence) of an event, and when it was received, Unix milliseconds.
pub type KnownId = ((u64, u64), i64);

/// Asked for at once. With parameters a query is sent as a form, of which the server takes 128 KiB a field
/// (`http_max_field_value_size`); an id takes 43 bytes at its longest.
const IDS_PER_QUERY: usize = 2_000;

impl Store {
    /// When the server that takes a shard's inserts was started, Unix seconds, give or take one. The deduplication
    /// log of a plain MergeTree is never fsynced: after a start its end may be missing.
    ///
    /// # Errors
    /// When the server refuses or does not answer in time.
    pub async fn started(&self, shard: usize) -> Result<i64, StoreError> {
        let server = self.writer(shard)?;
        let sql = "SELECT toUnixTimestamp(now()) - uptime()";
        let text = server.text(sql, &[], self.config.request_timeout_ms).await?;
        text.trim().parse().map_err(|_| StoreError::Answer {
            server: server.name.clone(),
            query: "server start",
            expected: "a number",
        })
    }

    /// Whether a shard holds any row of a source's partition from an offset on, of any month.
    ///
    /// # Errors
    /// When the server refuses or does not answer in time.
    pub async fn holds_from(&self, shard: usize, range: &Range<'_>) -> Result<bool, StoreError> {
        let server = self.writer(shard)?;
        let Range { source, part, from, .. } = range;
        let rows = format!(
            "events{} WHERE k_topic = {{source:String}} AND k_part = {part} AND k_off >= {from}",
            self.local()
        );
        server.any(&rows, "", &[("source", source)], self.config.request_timeout_ms).await
    }

    /// Which of these events a shard holds, not counting rows of the range `own` (its month is not looked at).
    /// Reads the server that takes the shard's inserts.
    ///
    /// # Errors
    /// When the server refuses or does not answer in time.
    pub async fn stored_ids(
        &self,
        shard: usize,
        own: &Range<'_>,
        events: &[KnownId],
    ) -> Result<Vec<(u64, u64)>, StoreError> {
        let mut stored = Vec::new();
        for events in events.chunks(IDS_PER_QUERY) {
            stored.extend(self.some_stored_ids(shard, own, events).await?);
        }
        Ok(stored)
    }

    async fn some_stored_ids(
        &self,
        shard: usize,
        own: &Range<'_>,
        events: &[KnownId],
    ) -> Result<Vec<(u64, u64)>, StoreError> {
        let (Some(first), Some(last)) =
            (events.iter().map(|(_, at)| at).min(), events.iter().map(|(_, at)| at).max())
        else {
            return Ok(Vec::new());
        };
        let server = self.writer(shard)?;
        let ids: Vec<String> =
            events.iter().map(|((edge_id, seq), _)| format!("({edge_id},{seq})")).collect();
        let Range { source, part, from, to, .. } = own;
        let sql = format!(
            "SELECT DISTINCT edge_id, seq FROM events{} \
             WHERE received_at BETWEEN fromUnixTimestamp64Milli({first}, 'UTC') \
             AND fromUnixTimestamp64Milli({last}, 'UTC') AND (edge_id, seq) IN ({}) \
             AND NOT (k_topic = {{source:String}} AND k_part = {part} AND k_off >= {from} AND k_off < {to})",
            self.local(),
            ids.join(","),
        );
        let text = server.text(&sql, &[("source", source)], self.config.request_timeout_ms).await?;
        let id = |line: &str| {
            let (edge_id, seq) = line.split_once('\t')?;
            Some((edge_id.parse().ok()?, seq.parse().ok()?))
        };
        text.lines().map(id).collect::<Option<_>>().ok_or_else(|| StoreError::Answer {
            server: server.name.clone(),
            query: "stored ids",
            expected: "pairs of numbers",
        })
    }
}
