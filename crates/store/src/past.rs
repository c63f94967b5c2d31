//! The latest visits of a part, by which those that come next are judged.

use std::net::Ipv6Addr;

use crate::{Server, Store, StoreError};

/// A stored visit, as far as others depend on it. Each field is the column of its name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[allow(missing_docs, reason = "each field is the column of its name")]
pub struct PastVisit {
    pub workspace: u32,
    pub message: u64,
    pub recipient: u64,
    pub received_at_ms: i64,
    pub kind: u8,
    pub link: u32,
    pub trap: bool,
    pub verdict: u8,
    pub address: Ipv6Addr,
    pub user_agent: String,
    pub k_off: u64,
    pub edge_id: u64,
    pub seq: u64,
}

const COLUMNS: &str = "workspace, message, recipient, toUnixTimestamp64Milli(received_at), toInt8(kind), link, trap, \
     toInt8(verdict), address, user_agent, k_off, edge_id, seq";

impl Store {
    /// The clicks, downloads and people's opens of a source's partition before an offset, in order: of `limits` the
    /// first is how many at most, and how many offsets back; the second is the same for visits of traps, which reach
    /// further back.
    ///
    /// # Errors
    /// When the server refuses or does not answer in time.
    pub async fn past_visits(
        &self,
        shard: usize,
        source: &str,
        part: u32,
        before: u64,
        limits: [(usize, u64); 2],
    ) -> Result<Vec<PastVisit>, StoreError> {
        let server = self.writer(shard)?;
        let [(visits_max, offsets), (traps_max, trap_offsets)] = limits;
        let (from, trap_from) = (before.saturating_sub(offsets), before.saturating_sub(trap_offsets));
        let mut all = Vec::new();
        for (rows_max, from, before, filter) in [
            (traps_max, trap_from, from, "trap"),
            (
                visits_max,
                from,
                before,
                "(kind IN ('click', 'download') OR kind = 'open' AND verdict = 'human')",
            ),
        ] {
            let sql = format!(
                "SELECT {COLUMNS} FROM events{} WHERE k_topic = {{source:String}} AND k_part = {part} \
                 AND k_off >= {from} AND k_off < {before} AND {filter} \
                 ORDER BY k_off DESC, edge_id DESC, seq DESC LIMIT {rows_max} FORMAT JSONCompactEachRow \
                 SETTINGS output_format_json_quote_64bit_integers = 0",
                self.local(),
            );
            let text = server.text(&sql, &[("source", source)], self.config.request_timeout_ms).await?;
            let rows: Option<Vec<PastVisit>> =
                text.lines().map(|line| serde_json::from_str(line).ok()).collect();
            all.extend(rows.ok_or_else(|| unreadable(server))?.into_iter().rev());
        }
        Ok(all)
    }
}

fn unreadable(server: &Server) -> StoreError {
    StoreError::Answer { server: server.name.clone(), query: "past visits", expected: "a visit a line" }
}
