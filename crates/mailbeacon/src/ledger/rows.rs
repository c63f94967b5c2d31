//! What ClickHouse has of each edge.

use anyhow::Context;
use store::Store;

/// Edges that are balanced at a time: each worker of each edge is one.
const EDGES_MAX: usize = 10_000;
/// Runs of numbers that are read of one edge: what is behind the last one waits for a narrower time.
const ISLANDS_MAX: usize = 10_000;
/// Duplicated numbers that are named of one edge.
const DUPLICATED_MAX: usize = 20;
/// Requests at the same moment get their numbers in another order than their times, and a clock may be set back: rows
/// of the numbers asked for are looked for around the time asked for, too.
const MARGIN_MS: i64 = 3_600_000;

/// The rows of an edge in a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    pub edge_id: u64,
    pub rows: u64,
    pub different: u64,
    pub first: u64,
    pub last: u64,
}

impl Span {
    /// Whether each number is there once.
    pub fn is_whole(&self) -> bool {
        self.rows == self.different && self.last - self.first + 1 == self.different
    }
}

/// What is there between two numbers of an edge.
#[derive(Debug, Default)]
pub struct Held {
    /// Numbers in a row, first and last, in order.
    pub islands: Vec<(u64, u64)>,
    /// Whether there are more.
    pub is_cut: bool,
    /// Rows too many.
    pub duplicates: u64,
    /// The first numbers of them.
    pub duplicated: Vec<u64>,
}

/// Every edge with rows in this time.
pub async fn spans(
    store: &Store,
    from_ms: i64,
    to_ms: Option<i64>,
    edge: Option<u64>,
) -> anyhow::Result<Vec<Span>> {
    let sql = format!(
        "SELECT edge_id, count(), uniqExact(seq), min(seq), max(seq) FROM events WHERE {}{}{} GROUP BY edge_id \
         ORDER BY edge_id LIMIT {}",
        since(from_ms),
        to_ms
            .map(|to_ms| format!(" AND received_at < fromUnixTimestamp64Milli({to_ms}, 'UTC')"))
            .unwrap_or_default(),
        edge.map(|edge_id| format!(" AND edge_id = {edge_id}")).unwrap_or_default(),
        EDGES_MAX + 1,
    );
    let rows = numbers(store, &sql).await?;
    anyhow::ensure!(
        rows.len() <= EDGES_MAX,
        "more than {EDGES_MAX} edges in this time: narrow it, or name one with --edge"
    );
    rows.into_iter()
        .map(|row| match row[..] {
            [edge_id, rows, different, first, last] => Ok(Span { edge_id, rows, different, first, last }),
            _ => Err(anyhow::anyhow!("clickhouse answered {} columns: expected 5", row.len())),
        })
        .collect()
}

/// What there is of an edge's numbers `first..=last`.
pub async fn held(store: &Store, edge_id: u64, first: u64, last: u64, from_ms: i64) -> anyhow::Result<Held> {
    let rows = format!(
        "FROM events WHERE edge_id = {edge_id} AND seq BETWEEN {first} AND {last} AND {}",
        since(from_ms.saturating_sub(MARGIN_MS).max(0))
    );
    let islands = format!(
        "SELECT min(seq) AS first, max(seq) FROM (SELECT seq, seq - row_number() OVER (ORDER BY seq) AS island FROM \
         (SELECT DISTINCT seq {rows})) GROUP BY island ORDER BY first LIMIT {}",
        ISLANDS_MAX + 1
    );
    let mut islands: Vec<(u64, u64)> = numbers(store, &islands)
        .await?
        .iter()
        .filter_map(|row| Some((*row.first()?, *row.get(1)?)))
        .collect();
    let is_cut = islands.len() > ISLANDS_MAX;
    islands.truncate(ISLANDS_MAX);
    let counts = numbers(store, &format!("SELECT count() - uniqExact(seq) {rows}")).await?;
    let duplicates = counts.first().and_then(|row| row.first()).copied().unwrap_or(0);
    let mut duplicated = Vec::new();
    if duplicates > 0 {
        let sql =
            format!("SELECT seq {rows} GROUP BY seq HAVING count() > 1 ORDER BY seq LIMIT {DUPLICATED_MAX}");
        duplicated = numbers(store, &sql).await?.into_iter().flatten().collect();
    }
    Ok(Held { islands, is_cut, duplicates, duplicated })
}

fn since(from_ms: i64) -> String {
    format!("received_at >= fromUnixTimestamp64Milli({from_ms}, 'UTC')")
}

async fn numbers(store: &Store, sql: &str) -> anyhow::Result<Vec<Vec<u64>>> {
    let text = store.query(sql).await?;
    let row = |line: &str| line.split('\t').map(|cell| cell.parse().ok()).collect::<Option<Vec<u64>>>();
    text.lines()
        .map(|line| row(line).with_context(|| format!("clickhouse answered {line:?}: expected numbers")))
        .collect()
}
