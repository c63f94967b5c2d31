//! What the edge and the consumer themselves say became of events, from their metrics.

use std::net::SocketAddr;
use std::ops::Sub;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;

use crate::http;

/// For one page of metrics.
const METRICS_TIMEOUT: Duration = Duration::from_secs(5);

/// A program's page of metrics.
#[derive(Debug, Clone)]
pub struct Page {
    /// Its admin listener.
    pub address: SocketAddr,
    /// The `Host` header.
    pub host: String,
}

/// Events by what became of them, summed over all programs asked. Other traffic of theirs counts as well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Requests that are an event.
    pub accepted: u64,
    /// Known to be stored.
    pub stored: u64,
    /// Dropped because they were stored already.
    pub duplicate: u64,
    /// Kept aside as unreadable.
    pub dead: u64,
    /// Never in the journal.
    pub dropped: u64,
}

impl Account {
    /// Asks every page.
    pub async fn ask(pages: &[Page]) -> anyhow::Result<Account> {
        let mut account = Account::default();
        for page in pages {
            let text = tokio::time::timeout(METRICS_TIMEOUT, page.get()).await;
            let text = text.context("metrics did not come in 5 s").and_then(|text| text);
            account.add(&text.with_context(|| format!("failed to read metrics of {}", page.host))?);
        }
        Ok(account)
    }

    /// What is accepted and not yet stored, duplicate, dead or dropped. Below 0 when events of before are stored.
    pub fn under_way(&self) -> i64 {
        self.accepted as i64 - (self.stored + self.duplicate + self.dead + self.dropped) as i64
    }

    fn add(&mut self, metrics: &str) {
        for line in metrics.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let sum = match series.split('{').next() {
                Some("edge_accepted_events_total") => &mut self.accepted,
                Some("consumer_stored_events_total") => &mut self.stored,
                Some("consumer_duplicate_events_total") => &mut self.duplicate,
                Some("consumer_dead_lettered_events_total") => &mut self.dead,
                Some("edge_dropped_events_total") => &mut self.dropped,
                _ => continue,
            };
            *sum += value.parse::<f64>().map_or(0, |value| value as u64);
        }
    }
}

/// What came between two readings. A program that was started again counts from 0.
impl Sub for Account {
    type Output = Account;

    fn sub(self, before: Account) -> Account {
        Account {
            accepted: self.accepted.saturating_sub(before.accepted),
            stored: self.stored.saturating_sub(before.stored),
            duplicate: self.duplicate.saturating_sub(before.duplicate),
            dead: self.dead.saturating_sub(before.dead),
            dropped: self.dropped.saturating_sub(before.dropped),
        }
    }
}

impl Page {
    async fn get(&self) -> anyhow::Result<String> {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.host);
        let (status, text) = http::ask(self.address, request.as_bytes()).await?;
        ensure!(status == 200, "status {status}, expected 200");
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_labels_and_pages() {
        let mut account = Account::default();
        account.add(
            "# HELP edge_accepted_events_total x\nedge_accepted_events_total{kind=\"open\"} 7\n\
             edge_accepted_events_total{kind=\"click\"} 3\nedge_dropped_events_total{kind=\"open\",reason=\"full\"} 1\n\
             edge_accepted_events_total_other 99\n\n",
        );
        account.add("consumer_stored_events_total 6\nconsumer_dead_lettered_events_total 2\nnonsense");
        assert_eq!(account, Account { accepted: 10, stored: 6, duplicate: 0, dead: 2, dropped: 1 });
        assert_eq!(account.under_way(), 1);
        let later = Account { accepted: 12, stored: 1, ..account };
        assert_eq!(later - account, Account { accepted: 2, ..Account::default() });
    }
}
