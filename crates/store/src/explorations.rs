//! Which mails went out at a drawn hour.

use crate::{Exploration, Store, StoreError};

/// Rows of one answer: below [`crate::QUERY_BYTES_MAX`].
const AT_ONCE: usize = 100_000;

impl Store {
    /// The mails of a workspace that were to be sent at a drawn hour in a span of time, by message and recipient; not
    /// more than `most` of them.
    ///
    /// # Errors
    /// When the server refuses or does not answer in time.
    pub async fn explorations(
        &self,
        workspace: u32,
        from_ms: i64,
        until_ms: i64,
        most: usize,
    ) -> Result<Vec<Exploration>, StoreError> {
        let mut all: Vec<Exploration> = Vec::new();
        loop {
            let after = all.last().map_or(String::new(), |Exploration { message, recipient, .. }| {
                format!("AND (message, recipient) > ({message}, {recipient})")
            });
            let at_once = AT_ONCE.min(most - all.len());
            let sql = format!(
                "SELECT message, recipient, toUnixTimestamp64Milli(anyLast(e.send_at)) AS at_ms, anyLast(e.hour), \
                 anyLast(e.propensity) FROM explorations AS e WHERE workspace = {workspace} {after} \
                 GROUP BY message, recipient HAVING at_ms >= {from_ms} AND at_ms < {until_ms} \
                 ORDER BY message, recipient LIMIT {at_once}"
            );
            let text = self.query(&sql).await?;
            let before = all.len();
            for line in text.lines() {
                all.push(parse(line).ok_or_else(|| StoreError::Answer {
                    server: self.front.name.clone(),
                    query: "explorations",
                    expected: "a mail a line",
                })?);
            }
            if all.len() - before < AT_ONCE || all.len() >= most {
                return Ok(all);
            }
        }
    }
}

fn parse(line: &str) -> Option<Exploration> {
    let mut fields = line.split('\t');
    let message = fields.next()?.parse().ok()?;
    let recipient = fields.next()?.parse().ok()?;
    let send_at_ms = fields.next()?.parse().ok()?;
    let hour = fields.next()?.parse().ok()?;
    let propensity = fields.next()?.parse().ok()?;
    Some(Exploration { recipient, message, send_at_ms, hour, propensity })
}
