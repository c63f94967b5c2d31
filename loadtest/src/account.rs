//! What the edge and the consumer themselves say became of events, from their metrics.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use crate::metrics;

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

/// Reads the pages again and again, and sums up what came since the first time.
#[derive(Debug)]
pub struct Meter {
    pages: Vec<Page>,
    /// What each page said last.
    last: Vec<Account>,
    /// What came since the first reading.
    pub account: Account,
    /// How often a program was found to count from 0 again. What it counted between the last reading and its end is
    /// not in the account.
    pub restarts: u64,
}

impl Meter {
    /// Reads every page for the first time.
    pub async fn start(pages: Vec<Page>) -> anyhow::Result<Meter> {
        let mut last = Vec::new();
        for page in &pages {
            last.push(page.read().await?);
        }
        Ok(Meter { pages, last, account: Account::default(), restarts: 0 })
    }

    /// There is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// The account by now. Where a page cannot be read, what the others say stays for the next time.
    pub async fn read(&mut self) -> anyhow::Result<Account> {
        for (page, last) in self.pages.iter().zip(&mut self.last) {
            let now = page.read().await?;
            self.restarts += u64::from(add_growth(&mut self.account, *last, now));
            *last = now;
        }
        Ok(self.account)
    }
}

/// Adds what came between two readings of a page; true when its program was started again in between.
fn add_growth(account: &mut Account, before: Account, now: Account) -> bool {
    let restarted = now.fields().into_iter().zip(before.fields()).any(|(now, before)| now < before);
    let before = if restarted { Account::default() } else { before };
    account.accepted += now.accepted - before.accepted;
    account.stored += now.stored - before.stored;
    account.duplicate += now.duplicate - before.duplicate;
    account.dead += now.dead - before.dead;
    account.dropped += now.dropped - before.dropped;
    restarted
}

impl Account {
    /// What is accepted and not yet stored, duplicate, dead or dropped. Below 0 when events of before are stored.
    pub fn under_way(&self) -> i64 {
        self.accepted as i64 - (self.stored + self.duplicate + self.dead + self.dropped) as i64
    }

    fn fields(&self) -> [u64; 5] {
        [self.accepted, self.stored, self.duplicate, self.dead, self.dropped]
    }

    fn add(&mut self, page: &metrics::Page) {
        self.accepted += page.sum("edge_accepted_events_total");
        self.stored += page.sum("consumer_stored_events_total");
        self.duplicate += page.sum("consumer_duplicate_events_total");
        self.dead += page.sum("consumer_dead_lettered_events_total");
        self.dropped += page.sum("edge_dropped_events_total");
    }
}

impl Page {
    async fn read(&self) -> anyhow::Result<Account> {
        let mut account = Account::default();
        account.add(&metrics::Page::read(self.address, &self.host, METRICS_TIMEOUT).await?);
        Ok(account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_labels_and_pages() {
        let mut account = Account::default();
        account.add(&metrics::Page(
            "# HELP edge_accepted_events_total x\nedge_accepted_events_total{kind=\"open\"} 7\n\
             edge_accepted_events_total{kind=\"click\"} 3\nedge_dropped_events_total{kind=\"open\",reason=\"full\"} 1\n\
             edge_accepted_events_total_other 99\n\n"
.to_owned(),
));
        account.add(&metrics::Page(
            "consumer_stored_events_total 6\nconsumer_dead_lettered_events_total 2\nnonsense".to_owned(),
        ));
        assert_eq!(account, Account { accepted: 10, stored: 6, duplicate: 0, dead: 2, dropped: 1 });
        assert_eq!(account.under_way(), 1);
    }

    #[test]
    fn a_program_that_was_started_again_counts_from_nothing() {
        let count = |accepted, stored| Account { accepted, stored, ..Account::default() };
        let mut account = Account::default();
        assert!(!add_growth(&mut account, count(10, 10), count(15, 12)));
        assert!(add_growth(&mut account, count(15, 12), count(40, 3)));
        assert!(!add_growth(&mut account, count(40, 3), count(41, 41)));
        assert_eq!(account, count(46, 43));
    }
}
