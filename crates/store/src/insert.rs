//! The writer: one finished block, one request, one outcome.

use std::time::Duration;

use bytes::Bytes;

use crate::{InsertError, Server, Store, StoreError};

/// How much of a block is compressed and handed to the connection at a time, in bytes.
const CHUNK_BYTES: usize = 1 << 20;

/// No block is cut or joined by the server: more than any batch, in rows and in bytes.
const UNBOUNDED: &str = "1000000000000";

/// What every insert says. Defaults have moved between releases (`async_insert` became 1), so nothing that the
/// promise of one copy rests on is left to them.
const SETTINGS: [(&str, &str); 15] = [
    ("async_insert", "0"),
    ("insert_deduplicate", "1"),
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    ("materialized_views_ignore_errors", "0"),
    ("parallel_view_processing", "0"),
    ("max_insert_threads", "1"),
    ("max_insert_block_size", UNBOUNDED),
    ("min_insert_block_size_rows", UNBOUNDED),
    ("min_insert_block_size_bytes", UNBOUNDED),
    ("min_insert_block_size_rows_for_materialized_views", UNBOUNDED),
    ("min_insert_block_size_bytes_for_materialized_views", UNBOUNDED),
    ("input_format_parallel_parsing", "0"),
    ("max_partitions_per_insert_block", "1"),
    ("throw_on_max_partitions_per_insert_block", "1"),
    // Views group their rows already, and merges do the rest: doing it at every insert as well is a sixth of its cost.
    ("optimize_on_insert", "0"),
];

impl Store {
    /// Inserts finished blocks of `events` into a shard, with all views behind it, once: the same token with the
    /// same bytes is stored once however often it is sent, within the table's window of tokens. The token must
    /// name exactly these rows: other rows under a known token are dropped by the server without a word. A token
    /// with `/rows/` in it stores rows without filling views: those of a batch whose views are full already.
    ///
    /// Blocks must be of one month, since a ClickHouse partition is what an insert is atomic over.
    ///
    /// # Errors
    /// Says what to do next. An answer that is not understood is [`InsertError::Retry`].
    pub async fn insert(&self, shard: usize, token: &str, block: &Bytes) -> Result<(), InsertError> {
        let server = self.writer(shard)?;
        self.send(server, &format!("events{} FORMAT Native", self.local()), token, block).await
    }

    /// Whether a row would be stored: it is inserted into a table that has all the rules of `events` and keeps
    /// nothing. Returns when the server has taken it.
    ///
    /// # Errors
    /// As [`Store::insert`]: [`InsertError::Reject`] when it would not.
    pub async fn try_row(&self, shard: usize, block: &Bytes) -> Result<(), InsertError> {
        let server = self.writer(shard)?;
        // Anew each time, so that its rules are those of today.
        let sql = format!("CREATE OR REPLACE TABLE events_trial AS events{} ENGINE = Null", self.local());
        server.text(&sql, &[], self.config.request_timeout_ms).await?;
        self.send(server, "events_trial FORMAT Native", "", block).await
    }

    /// `into` names the table, and the format of the rows.
    pub(crate) async fn send(
        &self,
        server: &Server,
        into: &str,
        token: &str,
        block: &Bytes,
    ) -> Result<(), InsertError> {
        let timeout_ms = self.config.request_timeout_ms;
        let wrong = |error| InsertError::new(&server.name, &error);

        let sql = format!("INSERT INTO {into}");
        // The comment tells in `system.query_log` what became of a batch.
        let mut insert = server
            .client
            .insert_formatted_with(sql)
            .with_setting("insert_deduplication_token", token)
            .with_setting("log_comment", token);
        for (name, value) in self.insert_settings(server).await? {
            insert = insert.with_setting(name, value);
        }

        // The client's own timeouts are none: a server that accepts and never answers would hold the partition.
        let timeout = Some(Duration::from_millis(timeout_ms));
        let mut insert = insert.with_timeouts(timeout, timeout);
        for start in (0..block.len()).step_by(CHUNK_BYTES) {
            let chunk = block.slice(start..block.len().min(start + CHUNK_BYTES));
            insert.send(chunk).await.map_err(wrong)?;
        }
        insert.end().await.map_err(wrong)
    }

    pub(crate) async fn insert_settings(
        &self,
        server: &Server,
    ) -> Result<Vec<(&'static str, String)>, InsertError> {
        let mut settings: Vec<_> = SETTINGS.iter().map(|&(name, value)| (name, value.to_owned())).collect();
        settings.push(("max_execution_time", self.execution_seconds()));
        if server.knows(self.config.request_timeout_ms).await?.deduplicate_insert {
            settings.push(("deduplicate_insert", "enable".to_owned()));
        }
        if self.config.cluster.as_ref().is_some_and(|cluster| cluster.replicated) {
            settings.push(("insert_quorum", "auto".to_owned()));
        }
        Ok(settings)
    }

    pub(crate) fn execution_seconds(&self) -> String {
        (self.config.request_timeout_ms / 1_000).max(1).to_string()
    }
}

/// Which settings a server has that not every release has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Knows {
    /// 26.2 and later.
    pub deduplicate_insert: bool,
    /// 26.2 and later.
    pub deduplicate_insert_select: bool,
}

impl Server {
    /// Asked once.
    pub(crate) async fn knows(&self, timeout_ms: u64) -> Result<Knows, StoreError> {
        let ask = async {
            let sql = "SELECT name FROM system.settings WHERE name LIKE 'deduplicate_insert%'";
            let answer = self.outside(sql, timeout_ms).await?;
            let has = |name| answer.lines().any(|line| line == name);
            Ok(Knows {
                deduplicate_insert: has("deduplicate_insert"),
                deduplicate_insert_select: has("deduplicate_insert_select"),
            })
        };
        self.knows.get_or_try_init(|| ask).await.copied()
    }
}
