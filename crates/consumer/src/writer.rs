//! Writes one batch: each month's block under a token of its own, again and again until it is known to be stored.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use metrics::counter;
use store::{InsertError, Range, Store};
use tracing::{error, warn};

use crate::batch::EventId;
use crate::source::Part;

/// A batch that is about to be written.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// Where it comes from.
    pub part: Part,
    /// First offset.
    pub from: u64,
    /// Past the last offset.
    pub to: u64,
    /// Month, rows, and the block's bytes, which every attempt sends unchanged.
    pub blocks: Vec<(u32, usize, Bytes)>,
    /// When the server of the first attempt was started, if an earlier attempt may have been made.
    pub tried_on: Option<i64>,
}

const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// How far two readings of a server's start may lie apart: it is worked out from an uptime in whole seconds.
const START_TOLERANCE_S: i64 = 2;

/// Returns when every row of the batch is stored exactly once. Errors are waited out: what cannot be written
/// stops its part, since passing it would lose it.
pub async fn write(store: &Store, batch: Sealed) {
    let shard = shard(store, &batch.part);
    for (month, rows, block) in &batch.blocks {
        let range = Range {
            source: &batch.part.topic,
            part: batch.part.number,
            from: batch.from,
            to: batch.to,
            month: *month,
        };
        let token = token(&batch, *month);
        let mut tried_on = batch.tried_on;
        let mut backoff = Backoff::new();
        loop {
            // The outcome of an earlier attempt is unknown: look before sending again.
            if let Some(tried_on) = tried_on {
                match already_stored(store, shard, &range, tried_on).await {
                    Ok(true) => {
                        counter!("consumer_unverified_batches_total").increment(1);
                        break;
                    }
                    Ok(false) => (),
                    Err(cause) => {
                        warn!(%cause, "failed to look for a batch");
                        tokio::time::sleep(backoff.next()).await;
                        continue;
                    }
                }
            }
            let started = store.started(shard).await.ok();
            let cause = match store.insert(shard, &token, block).await {
                Ok(()) => break,
                Err(cause) => cause,
            };
            tried_on = tried_on.or(started).or(Some(0));
            counter!("consumer_insert_retries_total", "class" => class(&cause)).increment(1);
            match &cause {
                InsertError::Retry(_) => warn!(%cause, "failed to insert, trying again"),
                _ => error!(%cause, rows, "insert refused: this partition stands still until it is taken"),
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }
}

/// What must be known before a batch is intended.
#[derive(Debug)]
pub struct Prepared {
    /// When the server that will be written to was started, Unix seconds.
    pub server_started: i64,
    /// Which of the held events are stored, apart from those of the batch's own range (an earlier attempt's).
    pub stored: HashSet<EventId>,
}

/// Asks the store about a batch: `[range.0, range.1)` of `part`, and its events that may be stored already.
///
/// # Errors
/// When the store cannot be asked.
pub async fn prepare(
    store: &Store,
    part: &Part,
    range: (u64, u64),
    held: &[(EventId, i64)],
) -> Result<Prepared, store::StoreError> {
    let shard = shard(store, part);
    let server_started = store.started(shard).await?;
    let mut stored = HashSet::new();
    for held in held.chunks(IDS_PER_QUERY) {
        // The month is the row's own and not of a range's question.
        let own = Range { source: &part.topic, part: part.number, from: range.0, to: range.1, month: 0 };
        stored.extend(store.stored_ids(shard, &own, held).await?);
    }
    Ok(Prepared { server_started, stored })
}

/// Asked for at once: the query stays well below `max_query_size` (256 KiB).
const IDS_PER_QUERY: usize = 4_000;

/// Whether the rows are there and the token can no longer be trusted to say so.
async fn already_stored(
    store: &Store,
    shard: usize,
    range: &Range<'_>,
    tried_on: i64,
) -> Result<bool, store::StoreError> {
    if store.stored(shard, range).await? == 0 {
        return Ok(false);
    }
    // The same server still has its deduplication log: sending again under the token is a no-op for the rows
    // that are there and completes the views that may not be.
    let started = store.started(shard).await?;
    Ok((started - tried_on).abs() > START_TOLERANCE_S)
}

fn shard(store: &Store, part: &Part) -> usize {
    part.number as usize % store.shards()
}

/// Names exactly what is sent: the same token with other rows would drop them in silence.
fn token(batch: &Sealed, month: u32) -> String {
    let Sealed { part, from, to, .. } = batch;
    format!("{}/{}/{from}-{to}/{month}", part.topic, part.number)
}

fn class(cause: &InsertError) -> &'static str {
    match cause {
        InsertError::Retry(_) => "retry",
        InsertError::Reject(_) => "reject",
        InsertError::Fatal(_) => "fatal",
    }
}

/// Waits that double, with jitter: a fleet that failed together does not come back together.
#[derive(Debug)]
pub struct Backoff(Duration);

impl Backoff {
    /// Starts small.
    pub fn new() -> Self {
        Backoff(BACKOFF_MIN)
    }

    /// How long to wait now.
    pub fn next(&mut self) -> Duration {
        let wait = self.0.mul_f64(rand::random_range(0.5..1.0));
        self.0 = (self.0 * 2).min(BACKOFF_MAX);
        wait
    }
}
