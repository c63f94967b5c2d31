//! Writes one batch: each month's block under a token of its own. Every call is one attempt; the pipeline waits and
//! calls again until the batch is known to be stored, since passing what cannot be written would lose it.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use store::{InsertError, Range, Store, StoreError};

use crate::batch::EventId;
use crate::source::Part;

/// A batch that is about to be written.
#[derive(Debug)]
pub struct Sealed {
    /// Where it comes from.
    pub part: Part,
    /// First offset.
    pub from: u64,
    /// Past the last offset.
    pub to: u64,
    /// Month and the block's bytes, which every attempt sends unchanged. Those that are stored are gone from here.
    pub blocks: Vec<(u32, Bytes)>,
    /// When the server was started that the first attempt went to, Unix seconds.
    pub server_started: i64,
    /// An attempt may have been made, here or by an earlier owner: look before sending.
    pub uncertain: bool,
    /// How many tokens the server turned out to know without their rows.
    pub burnt: u32,
}

/// An attempt that did not end with everything stored.
#[derive(Debug)]
pub struct Unwritten {
    /// What is left of the batch.
    pub sealed: Sealed,
    /// Why.
    pub cause: WriteError,
}

/// Why a block is not known to be stored.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The server did not take it, or did not say.
    #[error(transparent)]
    Insert(#[from] InsertError),
    /// The server could not be asked what it has.
    #[error("cannot look for a batch: {0}")]
    Ask(#[from] StoreError),
    /// It noted the token and died before it had the rows. Another token will do.
    #[error("clickhouse knows the token of a batch without its rows")]
    Burnt,
}

impl WriteError {
    /// The label of a metric.
    pub fn class(&self) -> &'static str {
        match self {
            WriteError::Insert(InsertError::Reject(_)) => "reject",
            WriteError::Insert(InsertError::Fatal(_)) => "fatal",
            _ => "retry",
        }
    }
}

/// How far two readings of a server's start may lie apart: it is worked out from an uptime in whole seconds.
const START_TOLERANCE_S: i64 = 2;
/// Tokens that are tried in place of burnt ones. Rows that are still not seen then have expired already.
const BURNT_MAX: u32 = 3;

/// Stores every row of the batch exactly once, or says what is left. Returns how many blocks were found stored by a
/// server that was started since: views behind them may lack them.
///
/// # Errors
/// With what is left, to be written again.
pub async fn write(store: &Store, mut sealed: Sealed) -> Result<u64, Box<Unwritten>> {
    let mut unverified = 0;
    while let Some((month, block)) = sealed.blocks.last() {
        match write_block(store, &sealed, *month, block).await {
            Ok(Stored::Surely) => _ = sealed.blocks.pop(),
            Ok(Stored::Before) => {
                unverified += 1;
                sealed.blocks.pop();
            }
            Err(cause) => {
                sealed.burnt += u32::from(matches!(cause, WriteError::Burnt));
                sealed.uncertain = true;
                return Err(Box::new(Unwritten { sealed, cause }));
            }
        }
    }
    Ok(unverified)
}

enum Stored {
    /// With everything behind it.
    Surely,
    /// By a server that is gone, perhaps before it had filled the views.
    Before,
}

async fn write_block(store: &Store, batch: &Sealed, month: u32, block: &Bytes) -> Result<Stored, WriteError> {
    let Sealed { part, from, to, uncertain, .. } = batch;
    let shard = shard(store, part);
    let range = Range { source: &part.topic, part: part.number, from: *from, to: *to, month };
    // Rows that the same server stored are sent again all the same: it still has its deduplication log, so that is a
    // no-op for the rows that are there and completes the views that may not be.
    if *uncertain && store.stored(shard, &range).await? > 0 {
        let started = store.started(shard).await?;
        if (started - batch.server_started).abs() > START_TOLERANCE_S {
            return Ok(Stored::Before);
        }
    }
    store.insert(shard, &token(batch, month), block).await?;
    // A server that is killed may have noted the token but not the rows: then its yes means nothing.
    if *uncertain && batch.burnt < BURNT_MAX && store.stored(shard, &range).await? == 0 {
        return Err(WriteError::Burnt);
    }
    Ok(Stored::Surely)
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
) -> Result<Prepared, StoreError> {
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

fn shard(store: &Store, part: &Part) -> usize {
    part.number as usize % store.shards()
}

/// Names exactly what is sent: the same token with other rows would drop them in silence.
fn token(batch: &Sealed, month: u32) -> String {
    let Sealed { part, from, to, burnt, .. } = batch;
    let again = if *burnt > 0 { format!("/{burnt}") } else { String::new() };
    format!("{}/{}/{from}-{to}/{month}{again}", part.topic, part.number)
}

const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

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
