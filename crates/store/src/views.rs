//! What a batch left in the targets of the materialized views, and how a target that lacks it is filled.
//!
//! An insert stores the events first and then one part in each view's target. A server that dies in between leaves
//! some of them out; one that dies between noting a token and storing the part will also say yes to the same insert
//! sent again, and leave it out for good. Hence the look, and a filling that goes around the insert.

use std::time::Duration;

use crate::{Cause, InsertError, Range, Server, Store, StoreError};

/// How long a recount of everything may take, in milliseconds.
const RECOUNT_MS: u64 = 1_800_000;

/// What a server has of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    /// Rows of the batch in `events`.
    pub rows: u64,
    /// Views whose target should have something of these rows and has nothing.
    pub lacking: Vec<String>,
    /// A view's target has something of the batch, and `events` has nothing.
    pub ahead: bool,
    /// An insert or a filling of the batch is running at this moment.
    pub running: bool,
    /// When the server was started, as [`Store::started`] gives it.
    pub started: i64,
}

/// A materialized view against a recount of the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Name of the view.
    pub view: String,
    /// Keys in its target.
    pub keys: u64,
    /// Rows on either side without an equal on the other: 0 when the target is what the events add up to.
    pub differing: u64,
}

/// A materialized view on one server.
#[derive(Debug, Clone)]
pub(crate) struct View {
    name: String,
    target: String,
    select: String,
    /// How the target is partitioned, in SQL: by the events' months or years, or not at all.
    partitions: String,
}

impl Store {
    /// What the server that takes a shard's inserts has of a batch, in `events` and behind it. Says the truth about a
    /// batch as long as none after it of the same source and partition was written. `token` is what those of all its own
    /// inserts and fillings begin with, `group` that of an insert of it with others; empty when there was none.
    ///
    /// # Errors
    /// When the server refuses or does not answer in time.
    pub async fn traces(
        &self,
        shard: usize,
        range: &Range<'_>,
        token: &str,
        group: &str,
    ) -> Result<Traces, StoreError> {
        let server = self.writer(shard)?;
        let timeout_ms = self.config.request_timeout_ms;
        let views = server.views(timeout_ms).await?;
        // Each read sees another moment, and an insert that was sent long ago may begin in between. It stores the
        // events first: so a view that has them is ahead only if the events are still not there after it was read, and
        // a view lacks them only if the insert that stored them had ended before the view was read. One that has them
        // keeps them.
        let started = self.started(shard).await?;
        let mut without = Vec::new();
        for view in views {
            if !self.has(server, view, range).await? {
                without.push(view);
            }
        }
        let rows = self.stored(shard, range).await?;
        let ahead = rows == 0 && without.len() < views.len();
        let sql = "WITH Settings['insert_deduplication_token'] AS its SELECT count() FROM system.processes \
             WHERE its != '' AND (startsWith(its, {token:String}) OR its = {group:String})";
        let tokens = [("token", token), ("group", group)];
        let running = server.text(sql, &tokens, timeout_ms).await?.trim() != "0";
        let mut lacking = Vec::new();
        for view in without.into_iter().filter(|_| rows > 0) {
            if self.expects(server, view, range).await? && !self.has(server, view, range).await? {
                lacking.push(view.name.clone());
            }
        }
        // Its uptime is told in seconds.
        if (self.started(shard).await? - started).abs() > 1 {
            return Err(StoreError::Restarted { server: server.name.clone() });
        }
        Ok(Traces { rows, lacking, ahead, running, started })
    }

    /// Whether a view's target has anything of a batch. A later row of the same key hides the batch's own, and tells
    /// as much: it was written after it.
    async fn has(&self, server: &Server, view: &View, range: &Range<'_>) -> Result<bool, StoreError> {
        let Range { source, part, from, month, .. } = range;
        let in_month = match view.partitions.as_str() {
            // Its rows say the month.
            "" => format!("month = {month}"),
            "toYear(received_at)" => {
                format!("_partition_id = '{}' AND toYYYYMM(received_at) = {month}", month / 100)
            }
            _ => format!("_partition_id = '{month}'"),
        };
        let rows = format!(
            "{} WHERE {in_month} AND k_topic = {{source:String}} AND k_part = {part} AND k_off >= {from}",
            view.target,
        );
        server.any(&rows, "", &[("source", source)], self.config.request_timeout_ms).await
    }

    /// Whether the rows of a batch come to anything in a view.
    async fn expects(&self, server: &Server, view: &View, range: &Range<'_>) -> Result<bool, StoreError> {
        let select = format!("({})", view.select);
        server.any(&select, &self.only(range), &[], self.config.request_timeout_ms).await
    }

    /// Fills a view's target with what a batch's rows come to, once for each token. Only for a view that
    /// [`Store::traces`] says lacks the batch, when no insert of the batch is under way.
    ///
    /// # Errors
    /// Says what to do next, as [`Store::insert`].
    pub async fn fill(
        &self,
        shard: usize,
        range: &Range<'_>,
        view: &str,
        token: &str,
    ) -> Result<(), InsertError> {
        let server = self.writer(shard)?;
        let timeout_ms = self.config.request_timeout_ms;
        let views = server.views(timeout_ms).await?;
        // Gone since it was looked for: then there is nothing to fill.
        let Some(View { target, select, .. }) = views.iter().find(|known| known.name == view) else {
            return Ok(());
        };
        let sql = format!("INSERT INTO {target} {select} {}", self.only(range));
        let mut query = server.client.query_raw(&sql).with_setting("insert_deduplication_token", token);
        for (name, value) in self.insert_settings(server).await? {
            query = query.with_setting(name, value);
        }
        if server.knows(timeout_ms).await?.deduplicate_insert_select {
            query = query.with_setting("deduplicate_insert_select", "enable_even_for_bad_queries");
        }
        match tokio::time::timeout(Duration::from_millis(timeout_ms), query.execute()).await {
            Ok(done) => done.map_err(|error| InsertError::new(&server.name, &error)),
            Err(_) => Err(InsertError::Retry(Cause::timeout(&server.name, timeout_ms))),
        }
    }

    /// Compares each view with a recount of all events, on every server that takes inserts. Exact while nothing is
    /// written; reads everything. Rows without a source are left out: they came from no event, or are what is left of
    /// events that no longer say whose they were, and are told by the row of their source (`last_opens`).
    ///
    /// # Errors
    /// When a server refuses or does not answer in time.
    pub async fn view_drift(&self) -> Result<Vec<Drift>, StoreError> {
        let mut drifts: Vec<Drift> = Vec::new();
        for &writer in &self.writers {
            let server = &self.servers[writer];
            for view in server.views(self.config.request_timeout_ms).await? {
                let found = self.recount(server, view).await?;
                match drifts.iter_mut().find(|drift| drift.view == found.view) {
                    Some(drift) => {
                        drift.keys += found.keys;
                        drift.differing += found.differing;
                    }
                    None => drifts.push(found),
                }
            }
        }
        Ok(drifts)
    }

    async fn recount(&self, server: &Server, view: &View) -> Result<Drift, StoreError> {
        let View { name, target, select, .. } = view;
        let columns = server
            .text(
                "SELECT if(startsWith(type, 'AggregateFunction'), 'finalizeAggregation(' || name || ')', name) \
                 FROM system.columns WHERE database = currentDatabase() AND table = {target:String} ORDER BY position",
                &[("target", target)],
                self.config.request_timeout_ms,
            )
            .await?;
        let row = format!("sipHash64({})", columns.trim().split('\n').collect::<Vec<_>>().join(", "));
        let sql = format!(
            "WITH held AS (SELECT {row} AS row FROM {target} FINAL WHERE k_topic != '') \
             SELECT (SELECT count() FROM held), (SELECT count() FROM (SELECT row, sum(side) AS sides FROM \
             (SELECT {row} AS row, 1 AS side FROM ({select}) WHERE k_topic != '' UNION ALL SELECT row, -1 FROM held) \
             GROUP BY row HAVING sides != 0)) \
             SETTINGS max_bytes_before_external_group_by = 500000000, do_not_merge_across_partitions_select_final = 1"
        );
        let text = server.text(&sql, &[], RECOUNT_MS).await?;
        let numbers = text.trim().split_once('\t').and_then(|(keys, differing)| {
            Some(Drift { view: name.clone(), keys: keys.parse().ok()?, differing: differing.parse().ok()? })
        });
        numbers.ok_or_else(|| StoreError::Answer {
            server: server.name.clone(),
            query: "view recount",
            expected: "two numbers",
        })
    }

    /// Lets a query see no other events than those of a batch, whatever its text says.
    fn only(&self, range: &Range<'_>) -> String {
        let Range { source, part, from, to, month } = range;
        // Once for the text of the filter and once for the text that it stands in.
        let source = quoted(source);
        let filter = quoted(&format!(
            "_partition_id = '{month}' AND k_topic = {source} AND k_part = {part} AND k_off >= {from} AND k_off < {to}"
        ));
        let table = quoted(&format!("{}.events{}", self.config.database, self.local()));
        format!("SETTINGS additional_table_filters = {{{table}: {filter}}}")
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

impl Server {
    /// The materialized views of the database, asked once: a migration that adds one is followed by a restart.
    async fn views(&self, timeout_ms: u64) -> Result<&[View], StoreError> {
        let ask = async {
            let sql = "SELECT v.name, v.target_table, v.as_select, t.partition_key FROM system.tables AS v \
                 LEFT JOIN system.tables AS t ON t.database = v.database AND t.name = v.target_table \
                 WHERE v.database = currentDatabase() AND v.engine = 'MaterializedView' \
                 AND NOT startsWith(v.target_table, 'events_rare') ORDER BY v.name \
                 FORMAT JSONCompactEachRow";
            let text = self.text(sql, &[], timeout_ms).await?;
            let view = |line: &str| {
                let (name, target, select, partitions): (_, _, String, _) =
                    serde_json::from_str(line).ok()?;
                // What passes through `events_rare` is only there for a moment; it is the same in `events`.
                let select = select.replace("events_rare", "events");
                Some(View { name, target, select, partitions })
            };
            text.lines().map(view).collect::<Option<Vec<View>>>().ok_or_else(|| StoreError::Answer {
                server: self.name.clone(),
                query: "materialized views",
                expected: "four texts a line",
            })
        };
        self.views.get_or_try_init(|| ask).await.map(Vec::as_slice)
    }
}
