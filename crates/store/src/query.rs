//! Reading.

use std::time::Duration;

use crate::{Cause, Server, Store, StoreError};

/// The longest answer that [`Store::query`] takes, in bytes.
pub const QUERY_BYTES_MAX: usize = 16 << 20;

/// The rows of one batch: offsets `from..to` of a partition of a source, of one month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range<'a> {
    /// Topic or journal, as in the column `k_topic`.
    pub source: &'a str,
    /// Partition of the source.
    pub part: u32,
    /// First offset.
    pub from: u64,
    /// The offset after the last one.
    pub to: u64,
    /// The rows' month, as [`crate::month`] gives it.
    pub month: u32,
}

impl Store {
    /// The version of the server that answers queries. The database need not exist yet.
    ///
    /// # Errors
    /// When it does not answer or refuses the user.
    pub async fn ping(&self) -> Result<String, StoreError> {
        let text = self.front.outside("SELECT version()", self.config.request_timeout_ms).await?;
        Ok(text.trim().to_owned())
    }

    /// Runs one statement and returns its answer as text: tab-separated, unless the statement names a format.
    ///
    /// # Errors
    /// When the server refuses or does not answer in time, or the answer is longer than [`QUERY_BYTES_MAX`].
    pub async fn query(&self, sql: &str) -> Result<String, StoreError> {
        self.front.text(sql, &[], self.config.request_timeout_ms).await
    }

    /// How many rows of a batch a shard holds. The insert of one block of one month is atomic: after an unknown
    /// outcome 0 means that it did not land. Reads the server that takes the shard's inserts.
    ///
    /// # Errors
    /// When the server refuses or does not answer in time.
    pub async fn stored(&self, shard: usize, range: &Range<'_>) -> Result<u64, StoreError> {
        let server = self.writer(shard)?;
        // The partition is named by its id: it prunes parts whatever the planner makes of the rest.
        let sql = format!(
            "SELECT count() FROM events{} WHERE _partition_id = '{}' AND k_topic = {{source:String}} \
             AND k_part = {} AND k_off >= {} AND k_off < {}",
            self.local(),
            range.month,
            range.part,
            range.from,
            range.to,
        );
        let text = server.text(&sql, &[("source", range.source)], self.config.request_timeout_ms).await?;
        text.trim().parse().map_err(|_| StoreError::Answer {
            server: server.name.clone(),
            query: "stored rows",
            expected: "a number",
        })
    }
}

impl Server {
    /// Sends one statement that must not depend on the configured database.
    pub(crate) async fn outside(&self, sql: &str, timeout_ms: u64) -> Result<String, StoreError> {
        let client = self.client.clone().with_database("system");
        let server =
            Server { name: self.name.clone(), client, knows: Default::default(), views: Default::default() };
        server.text(sql, &[], timeout_ms).await
    }

    /// Whether there is any row: `rows` is what stands behind FROM, `settings` what stands at the end.
    pub(crate) async fn any(
        &self,
        rows: &str,
        settings: &str,
        params: &[(&str, &str)],
        timeout_ms: u64,
    ) -> Result<bool, StoreError> {
        let sql = format!("SELECT count() FROM (SELECT 1 FROM {rows} LIMIT 1) {settings}");
        Ok(self.text(&sql, params, timeout_ms).await?.trim() != "0")
    }

    /// Sends one statement and collects its answer, both within `timeout_ms`.
    pub(crate) async fn text(
        &self,
        sql: &str,
        params: &[(&str, &str)],
        timeout_ms: u64,
    ) -> Result<String, StoreError> {
        let work = read(&self.client, sql, params);
        match tokio::time::timeout(Duration::from_millis(timeout_ms), work).await {
            Ok(Ok(text)) => text.ok_or(StoreError::TooLong { bytes_max: QUERY_BYTES_MAX }),
            Ok(Err(error)) => Err(StoreError::Server(Cause::new(&self.name, &error))),
            Err(_) => Err(StoreError::Server(Cause::timeout(&self.name, timeout_ms))),
        }
    }
}

/// None when the answer is too long.
async fn read(
    client: &clickhouse::Client,
    sql: &str,
    params: &[(&str, &str)],
) -> clickhouse::error::Result<Option<String>> {
    let mut query = client.query_raw(sql);
    for (name, value) in params {
        query = query.param(name, value);
    }
    let mut answer = query.fetch_bytes("TabSeparated")?;
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.next().await? {
        if bytes.len() + chunk.len() > QUERY_BYTES_MAX {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
