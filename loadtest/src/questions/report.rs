//! What was measured.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::simulate::pipeline::instance::Instance;

/// For one question.
const QUESTION_WAIT: Duration = Duration::from_secs(600);

/// What the questions cost.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Events asked about.
    pub events: u64,
    /// Each question, and its cost.
    pub questions: Vec<(String, Cost)>,
    /// What learning and keeping the send times of all recipients said; None when it failed, and the run with it.
    pub refreshed: Option<String>,
    /// What the API took for one recipient's send time, in milliseconds, the shortest first.
    pub one_recipient_ms: Vec<f64>,
    /// What the tables take.
    pub sizes: Sizes,
}

/// What the server says a query took.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cost {
    /// Rows read.
    pub rows: u64,
    /// Uncompressed bytes read.
    pub bytes: u64,
    /// Milliseconds.
    pub ms: f64,
    /// The most memory, in bytes.
    pub memory_bytes: u64,
}

/// The summary in the answer's head; numbers are texts there.
#[derive(Deserialize)]
struct Summary {
    read_rows: String,
    read_bytes: String,
    elapsed_ns: String,
    memory_usage: String,
}

impl Cost {
    /// Asks.
    ///
    /// # Errors
    /// When the server refuses, or does not answer in time.
    pub fn of(instance: &Instance, sql: &str) -> anyhow::Result<Cost> {
        let summary = instance.summary_within(sql, QUESTION_WAIT)?;
        let summary: Summary = serde_json::from_str(&summary).context("the summary of a query")?;
        Ok(Cost {
            rows: summary.read_rows.parse()?,
            bytes: summary.read_bytes.parse()?,
            ms: summary.elapsed_ns.parse::<f64>()? / 1e6,
            memory_bytes: summary.memory_usage.parse()?,
        })
    }

    /// The one that took the median time.
    pub fn median(mut rounds: Vec<Cost>) -> Cost {
        rounds.sort_by(|a, b| a.ms.total_cmp(&b.ms));
        rounds[rounds.len() / 2]
    }
}

/// The tables, and the columns of `events`, by their bytes on disk.
#[derive(Debug, Serialize)]
pub struct Sizes {
    /// Name, rows, bytes and parts.
    pub tables: Vec<(String, u64, u64, u64)>,
    /// Name and bytes.
    pub columns: Vec<(String, u64)>,
}

impl Sizes {
    /// Asks.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn of(instance: &Instance) -> anyhow::Result<Sizes> {
        let rows = |sql: &str| -> anyhow::Result<Vec<Vec<String>>> {
            let text = instance.query(sql)?;
            Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
        };
        let tables = rows(
            "SELECT table, sum(rows), sum(bytes_on_disk), count() FROM system.parts WHERE active \
             AND database = 'mailbeacon' GROUP BY table ORDER BY 3 DESC",
        )?;
        let columns = rows(
            "SELECT name, data_compressed_bytes FROM system.columns WHERE database = 'mailbeacon' AND table = 'events' \
             ORDER BY 2 DESC",
        )?;
        let table = |row: &Vec<String>| -> anyhow::Result<_> {
            Ok((row[0].clone(), row[1].parse()?, row[2].parse()?, row[3].parse()?))
        };
        let column = |row: &Vec<String>| -> anyhow::Result<_> { Ok((row[0].clone(), row[1].parse()?)) };
        Ok(Sizes {
            tables: tables.iter().map(table).collect::<anyhow::Result<_>>()?,
            columns: columns.iter().map(column).collect::<anyhow::Result<_>>()?,
        })
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let events = self.events as f64;
        writeln!(f, "{:.1} million events\n", events / 1e6)?;
        writeln!(f, "{:<22} {:>9} {:>9} {:>9} {:>7}", "question", "rows (M)", "read (MB)", "ms", "MB")?;
        for (title, cost) in &self.questions {
            let Cost { rows, bytes, ms, memory_bytes } = cost;
            let [rows, bytes, memory] = [rows, bytes, memory_bytes].map(|one| *one as f64 / 1e6);
            // The first words tell it.
            let title = title.split(',').next().unwrap_or_default();
            writeln!(f, "{title:<22} {rows:>9.2} {bytes:>9.1} {ms:>9.1} {memory:>7.0}")?;
        }
        let ms = &self.one_recipient_ms;
        let at = |share: f64| ms[((ms.len() - 1) as f64 * share).round() as usize];
        writeln!(
            f,
            "\none recipient's send time by the API: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms of {}",
            at(0.5),
            at(0.99),
            at(1.0),
            ms.len()
        )?;
        writeln!(f, "all recipients: {}", self.refreshed.as_deref().unwrap_or("send times failed"))?;
        writeln!(f, "\n{:<28} {:>14} {:>10} {:>12} {:>6}", "table", "rows", "MB", "B an event", "parts")?;
        for (name, rows, bytes, parts) in &self.sizes.tables {
            let (bytes, each) = (*bytes as f64, *bytes as f64 / events);
            writeln!(f, "{name:<28} {rows:>14} {:>10.1} {each:>12.2} {parts:>6}", bytes / 1e6)?;
        }
        writeln!(f, "\n{:<28} {:>14}", "column of events", "B an event")?;
        // A part that is small has its columns in one file.
        for (name, bytes) in self.sizes.columns.iter().filter(|(_, bytes)| *bytes > 0) {
            writeln!(f, "{name:<28} {:>14.3}", *bytes as f64 / events)?;
        }
        Ok(())
    }
}
