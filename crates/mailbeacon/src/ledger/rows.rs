//! What ClickHouse has of each edge.

use anyhow::{Context, bail};
use store::Store;

/// Edges that are balanced at a time: each worker of each edge is one.
const EDGES_MAX: usize = 10_000;
/// Runs of numbers that are read of one edge: what is behind the last one waits for a narrower time.
const ISLANDS_MAX: usize = 10_000;
/// Numbers that are summed up at a time, and such blocks of one edge.
const BLOCK: u64 = 1_000_000;
const BLOCKS_MAX: usize = 100_000;
/// Duplicated numbers that are named of one edge.
const DUPLICATED_MAX: usize = 20;
/// Requests at the same moment get their numbers in another order than their times, and a clock may be set back: rows
/// of the numbers asked for are looked for around the time asked for, too.
const MARGIN_MS: i64 = 3_600_000;

/// The rows of an edge in a time, or of a block of its numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    pub edge_id: u64,
    pub rows: u64,
    pub first: u64,
    pub last: u64,
    /// Sums of the numbers, their squares and their cubes, modulo 2^64.
    sums: [u64; 3],
}

/// What makes a [`Span`]. Telling numbers apart takes memory for each; sums take none, and rows that are missing and
/// twice would have to agree in four of them to be overlooked.
const SPAN: &str = "count(), min(seq), max(seq), sum(seq), sum(seq * seq), sum(seq * seq * seq)";

impl Span {
    fn read(row: &[u64]) -> anyhow::Result<Span> {
        match *row {
            [edge_id, rows, first, last, a, b, c] => Ok(Span { edge_id, rows, first, last, sums: [a, b, c] }),
            _ => anyhow::bail!("clickhouse answered {} columns: expected 7", row.len()),
        }
    }

    /// Whether each number is there once.
    pub fn is_whole(&self) -> bool {
        let below = sums_to(self.first.saturating_sub(1));
        let expected: [u64; 3] = std::array::from_fn(|n| sums_to(self.last)[n].wrapping_sub(below[n]));
        self.rows == self.last - self.first + 1 && self.sums == expected
    }
}

/// Sums of 1 to `n`, of the squares and of the cubes, modulo 2^64.
fn sums_to(n: u64) -> [u64; 3] {
    let n = u128::from(n);
    let sum = n * (n + 1) / 2;
    // A third of it is whole before it is cut: of sum and 2n+1 one is divisible by 3.
    let (left, right) = if sum.is_multiple_of(3) { (sum / 3, 2 * n + 1) } else { (sum, (2 * n + 1) / 3) };
    let low = |number: u128| number as u64;
    [low(sum), low(left).wrapping_mul(low(right)), low(sum).wrapping_mul(low(sum))]
}

/// What is there between two numbers of an edge.
#[derive(Debug, Default, PartialEq, Eq)]
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

impl Held {
    fn add(&mut self, first: u64, last: u64) {
        match self.islands.last_mut() {
            Some(island) if island.1 + 1 == first => island.1 = last,
            _ => self.islands.push((first, last)),
        }
    }
}

/// Every edge with rows in this time.
pub async fn spans(
    store: &Store,
    from_ms: i64,
    to_ms: Option<i64>,
    edge: Option<u64>,
) -> anyhow::Result<Vec<Span>> {
    let until = to_ms.map(|to_ms| format!(" AND received_at < fromUnixTimestamp64Milli({to_ms}, 'UTC')"));
    let of = edge.map(|edge_id| format!(" AND edge_id = {edge_id}"));
    // Imported events have names and no numbers: nothing of theirs can be missing.
    let sql = format!(
        "SELECT edge_id, {SPAN} FROM events WHERE edge_id < {} AND {}{}{} GROUP BY edge_id ORDER BY edge_id LIMIT {}",
        event::IMPORTED_FROM,
        since(from_ms),
        until.unwrap_or_default(),
        of.unwrap_or_default(),
        EDGES_MAX + 1,
    );
    let rows = numbers(store, &sql).await?;
    if rows.len() > EDGES_MAX {
        bail!("more than {EDGES_MAX} edges in this time: narrow it, or name one with --edge");
    }
    rows.iter().map(|row| Span::read(row)).collect()
}

/// What there is of an edge's numbers `first..=last`. Blocks of them that are whole are not looked into.
pub async fn held(store: &Store, edge_id: u64, first: u64, last: u64, from_ms: i64) -> anyhow::Result<Held> {
    let rows = |first: u64, last: u64| {
        let since = since(from_ms.saturating_sub(MARGIN_MS).max(0));
        format!("FROM events WHERE edge_id = {edge_id} AND seq BETWEEN {first} AND {last} AND {since}")
    };
    let sql = format!(
        "SELECT any(edge_id), {SPAN} {} GROUP BY intDiv(seq, {BLOCK}) AS block ORDER BY block LIMIT {}",
        rows(first, last),
        BLOCKS_MAX + 1
    );
    let blocks = numbers(store, &sql).await?;
    let mut held = Held { is_cut: blocks.len() > BLOCKS_MAX, ..Held::default() };
    for block in blocks.iter().take(BLOCKS_MAX) {
        let block = Span::read(block)?;
        if block.is_whole() {
            held.add(block.first, block.last);
            continue;
        }
        let islands = format!(
            "SELECT min(seq) AS first, max(seq) FROM (SELECT seq, seq - row_number() OVER (ORDER BY seq) AS island \
             FROM (SELECT DISTINCT seq {})) GROUP BY island ORDER BY first LIMIT {}",
            rows(block.first, block.last),
            ISLANDS_MAX + 1
        );
        for island in numbers(store, &islands).await? {
            if let [first, last] = island[..] {
                held.add(first, last);
            }
        }
        let different: u64 = held
            .islands
            .iter()
            .filter(|(_, last)| *last >= block.first)
            .map(|(first, last)| last + 1 - first.max(&block.first))
            .sum();
        if held.islands.len() > ISLANDS_MAX {
            held.islands.truncate(ISLANDS_MAX);
            held.is_cut = true;
            break;
        }
        if block.rows > different {
            held.duplicates += block.rows - different;
            let sql = format!(
                "SELECT seq {} GROUP BY seq HAVING count() > 1 ORDER BY seq LIMIT {DUPLICATED_MAX}",
                rows(block.first, block.last)
            );
            held.duplicated.extend(numbers(store, &sql).await?.into_iter().flatten());
            held.duplicated.truncate(DUPLICATED_MAX);
        }
    }
    Ok(held)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn span(numbers: &[u64]) -> Span {
        let sum = |power: u32| numbers.iter().fold(0u64, |sum, n| sum.wrapping_add(n.wrapping_pow(power)));
        Span {
            edge_id: 7,
            rows: numbers.len() as u64,
            first: *numbers.iter().min().unwrap(),
            last: *numbers.iter().max().unwrap(),
            sums: [sum(1), sum(2), sum(3)],
        }
    }

    #[test]
    fn a_span_is_whole_when_each_number_is_there_once() {
        for first in [1, 2, 3, 4, 1_000_003, 1 << 40] {
            for count in [1, 2, 3, 7, 1_000] {
                let numbers: Vec<u64> = (first..first + count).collect();
                assert!(span(&numbers).is_whole(), "{count} from {first}");
            }
        }
        // As many, and with the same sum, and with the same squares, too.
        for (missing, twice) in
            [(&[3][..], &[4][..]), (&[3, 6], &[4, 5]), (&[1 + 1, 5 + 1, 6 + 1], &[2 + 1, 3 + 1, 7 + 1])]
        {
            let numbers = (1..=10).filter(|n| !missing.contains(n)).chain(twice.iter().copied());
            assert!(!span(&numbers.collect::<Vec<_>>()).is_whole(), "{missing:?}");
        }
    }
}
