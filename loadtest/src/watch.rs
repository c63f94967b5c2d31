//! The pipeline behind the edge over time: how far the rows are behind the answers, and in how many parts they are.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::sleep_until;

use crate::account::{Account, Meter};
use crate::clickhouse::ClickHouse;
use crate::ledger;
use crate::live::Live;
use crate::parts::{self, Tables};
use crate::plan::Plan;

/// Samples that are kept; then every second one is dropped and the distance doubles.
const SAMPLES_MAX: usize = 1_000;

/// What to look at.
#[derive(Debug)]
pub struct Watch<'a> {
    /// How often, until the samples become too many.
    pub every: Duration,
    /// Where the rows are.
    pub clickhouse: Option<&'a ClickHouse>,
    /// Reads the metrics.
    pub meter: Option<&'a Mutex<Meter>>,
}

/// One look.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// Since the start.
    pub at_seconds: f64,
    /// Answers that must be rows, by then.
    pub answered: u64,
    /// This run's rows that a query begun then has shown; absent when ClickHouse was not asked or did not answer.
    pub visible: Option<u64>,
    /// What the metrics say has become of events since the start; absent likewise.
    pub account: Option<Account>,
    /// The parts of each table that was inserted into; absent as `visible` is.
    pub parts: Option<Tables>,
}

impl Watch<'_> {
    /// There is something to look at.
    pub fn sees(&self) -> bool {
        !self.every.is_zero() && (self.clickhouse.is_some() || self.meter.is_some())
    }

    /// Adds to `samples` until dropped. Never more than one look is under way; one that takes longer than the
    /// distance delays the next.
    pub async fn look(&self, live: &Live, start: Instant, plan: &Plan, samples: &RefCell<Vec<Sample>>) {
        let (mut every, mut next) = (self.every, start);
        loop {
            sleep_until(next.into()).await;
            let at = Instant::now();
            // Before the question: what was answered by then and is not in it was not visible then.
            let answered = live.recorded();
            let (visible, parts) = match self.clickhouse {
                Some(clickhouse) => {
                    let (visible, parts) =
                        tokio::join!(ledger::count(clickhouse, plan), parts::look(clickhouse));
                    (visible.ok(), parts.ok())
                }
                None => (None, None),
            };
            let account = match self.meter {
                Some(meter) => meter.lock().await.read().await.ok(),
                None => None,
            };
            let mut samples = samples.borrow_mut();
            let at_seconds = at.saturating_duration_since(start).as_secs_f64();
            samples.push(Sample { at_seconds, answered, visible, account, parts });
            if samples.len() >= SAMPLES_MAX {
                thin(&mut samples);
                every *= 2;
            }
            next = (next + every).max(Instant::now());
        }
    }
}

/// Keeps every second one, from the first on.
fn thin(samples: &mut Vec<Sample>) {
    let mut keep = false;
    samples.retain(|_| {
        keep = !keep;
        keep
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_thinned_evenly() {
        let sample =
            |at| Sample { at_seconds: f64::from(at), answered: 0, visible: None, account: None, parts: None };
        let mut samples: Vec<Sample> = (0..5).map(sample).collect();
        thin(&mut samples);
        assert_eq!(samples, [sample(0), sample(2), sample(4)]);
    }
}
