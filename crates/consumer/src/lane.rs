//! What the pipeline knows of one part: the batch that fills, the one that waits, the one under way.

use std::time::{Duration, Instant};

use enrich::Enricher;
use metrics::counter;
use tracing::warn;

use crate::batch::{Batch, Counts, Seen};
use crate::config::Config;
use crate::intent::Intent;
use crate::source::{CommitError, Part, Payload, Source};
use crate::writer::Backoff;

/// One part.
pub struct Lane {
    /// Which ownership of the part this is.
    pub epoch: u64,
    /// The offset of the last commit.
    pub committed: Option<u64>,
    /// An intent of an earlier owner: its range is written again before anything else.
    pub rerun: Option<Intent>,
    /// Fills.
    pub batch: Batch,
    /// Full or old enough, waits for the one under way.
    pub ready: Option<Batch>,
    /// Under way.
    pub flight: Option<Flight>,
    /// When the last batch was written.
    pub written_at: Instant,
    /// After a failure: not before.
    pub retry_at: Instant,
    /// Grows with each failure in a row.
    pub backoff: Backoff,
    /// Bytes that a batch may have.
    pub bytes_max: usize,
    /// Past the last offset that is known to be stored.
    written_to: Option<u64>,
    paused: bool,
    seen: Seen,
}

/// Where the batch under way stands.
pub enum Flight {
    /// Has to be prepared (again).
    Unread(Batch),
    /// The store is being asked.
    Preparing(Batch),
    /// Its intent has to be committed.
    Intending {
        /// The batch.
        batch: Batch,
        /// What to commit.
        intent: Intent,
        /// The start of the server that may have its rows already.
        tried_on: Option<i64>,
    },
    /// Is being written.
    Writing {
        /// Past its last offset.
        to: u64,
        /// What it will have come to.
        counts: Counts,
        /// When its first message was taken.
        since: Instant,
    },
}

impl Lane {
    /// A part that was just assigned.
    pub fn new(part: Part, epoch: u64, committed: Option<u64>, rerun: Option<Intent>) -> Self {
        let now = Instant::now();
        Lane {
            epoch,
            committed,
            rerun,
            batch: Batch::new(part, committed.unwrap_or(0)),
            ready: None,
            flight: None,
            written_at: now,
            retry_at: now,
            backoff: Backoff::new(),
            bytes_max: usize::MAX,
            written_to: None,
            paused: false,
            seen: Seen::default(),
        }
    }

    /// Takes a message. A range that was intended before is cut exactly where it was.
    pub fn take(&mut self, enricher: &mut Enricher, config: &Config, offset: u64, payload: Payload<'_>) {
        if self.rerun.is_some_and(|intent| offset >= intent.to && self.batch.from < intent.to) {
            self.seal();
        }
        self.batch.take(enricher, &mut self.seen, offset, payload);
        let full = self.batch.rows() >= config.batch_rows_max || self.batch.bytes() >= self.bytes_max;
        match self.rerun_ahead() {
            Some(intent) if self.batch.to >= intent.to => self.seal(),
            None if full => self.seal(),
            _ => (),
        }
    }

    /// Seals the batch when it is old enough, or at once in a hurry.
    pub fn seal_when_due(&mut self, now: Instant, linger: Duration, hurry: bool) {
        let due = hurry || now.duration_since(self.batch.since) >= linger;
        if due && !self.batch.is_empty() && self.rerun_ahead().is_none() {
            self.seal();
        }
    }

    /// No messages are taken while two batches wait; what is in the batch that fills stays there.
    pub fn pause_when_full(&mut self, source: &mut dyn Source, stop: bool) {
        let full = self.ready.is_some() && self.flight.is_some();
        let paused = stop || full;
        if paused != self.paused {
            self.paused = paused;
            source.pause(&self.batch.part, paused);
        }
    }

    /// The batch under way is stored.
    pub fn written(&mut self, to: u64) {
        self.written_to = Some(to);
        self.written_at = Instant::now();
        self.backoff = Backoff::new();
    }

    /// Past the last stored offset, when no commit says so yet.
    pub fn unacknowledged(&self) -> Option<u64> {
        self.written_to.filter(|&to| self.committed != Some(to))
    }

    /// Nothing is under way, and everything that is done is committed.
    pub fn is_settled(&self) -> bool {
        self.batch.is_empty() && self.ready.is_none() && self.flight.is_none() && self.unacknowledged().is_none()
    }

    /// Events taken and not yet known to be stored.
    pub fn events(&self) -> usize {
        let under_way = match &self.flight {
            Some(Flight::Unread(batch) | Flight::Preparing(batch) | Flight::Intending { batch, .. }) => batch.events(),
            Some(Flight::Writing { counts, .. }) => counts.stored as usize,
            None => 0,
        };
        self.batch.events() + self.ready.as_ref().map_or(0, Batch::events) + under_way
    }

    /// Notes that a commit did not happen.
    pub fn commit_failed(&mut self, part: &Part, cause: &CommitError, fenced: &mut Vec<Part>) {
        warn!(%cause, partition = part.number, "failed to commit");
        match cause {
            CommitError::Fenced => fenced.push(part.clone()),
            CommitError::Retry(_) | CommitError::Fatal(_) => {
                counter!("consumer_commit_retries_total").increment(1);
                self.retry_at = Instant::now() + self.backoff.next();
            }
        }
    }

    /// The intent that the filling batch has to match.
    fn rerun_ahead(&self) -> Option<Intent> {
        self.rerun.filter(|intent| self.batch.from < intent.to)
    }

    fn seal(&mut self) {
        if self.ready.is_some() {
            // The part is paused by now; a batch grows a little past its bound rather than being lost.
            return;
        }
        let (part, to) = (self.batch.part.clone(), self.rerun_ahead().map_or(self.batch.to, |intent| intent.to));
        let mut sealed = std::mem::replace(&mut self.batch, Batch::new(part, to));
        sealed.to = to;
        self.ready = Some(sealed);
    }
}
