//! When a part's batch is cut, and when it is its turn to be written.

use std::time::{Duration, Instant};

use super::{Flight, Lane};
use crate::intent::Group;

impl Lane {
    /// Seals the batch when it is full, or old enough and may be written now, or at once in a hurry. One that would
    /// have to wait takes more instead: an insert costs ClickHouse as much as some thousands of rows.
    pub fn seal_when_due(&mut self, now: Instant, linger: Duration, hurry: bool) {
        let old = self.joins || now.duration_since(self.batch.since) >= linger;
        let old = old && !self.waits && self.flight.is_none();
        if (hurry || old || self.batch_is_full()) && !self.batch.is_empty() && self.rerun_ahead().is_none() {
            self.seal();
        }
    }

    /// Since when it has something that could be written if it were its turn, and cannot wait for more.
    pub fn due_since(&self, now: Instant, linger: Duration, hurry: bool) -> Option<Instant> {
        if !self.is_free(now) {
            return None;
        }
        let since = match &self.ready {
            Some(ready) if self.rerun.is_some() => return Some(ready.since),
            Some(ready) => ready.since,
            None if self.batch.is_empty() || self.rerun_ahead().is_some() => return None,
            None => self.batch.since,
        };
        (hurry || self.is_full() || now.duration_since(since) >= linger).then_some(since)
    }

    /// Whether a batch of it is on its way and nothing holds it up.
    pub fn is_at_work(&self, now: Instant) -> bool {
        self.flight.is_some() && self.goes_on(now)
    }

    /// Whether what it has may go with what others have, though it is not yet due.
    pub fn joinable(&self, now: Instant) -> bool {
        self.is_free(now) && self.rerun.is_none() && (self.ready.is_some() || !self.batch.is_empty())
    }

    /// Of the batch that its turn is for.
    pub fn next_bytes(&self) -> usize {
        self.ready.as_ref().unwrap_or(&self.batch).bytes()
    }

    /// Takes the turn from it, unless it has begun.
    pub fn end_turn(&mut self) {
        self.waits = true;
        self.joins &= self.flight.is_some();
    }

    /// Gives it the turn, with others or alone.
    pub fn begin_turn(&mut self, turn: u64, with_others: bool) {
        (self.waits, self.turn, self.joins) = (false, turn, with_others);
    }

    /// The insert with others that its batch under way is, or was, meant for.
    pub fn group(&self) -> Option<Group> {
        match &self.flight {
            Some(Flight::Intending { intent, .. }) => intent.group,
            Some(Flight::Writing(writing, _)) => writing.group,
            _ => None,
        }
    }

    /// Whether it may still come to the insert of its turn.
    pub fn heads_for(&self, turn: u64, now: Instant) -> bool {
        let before = match &self.flight {
            None | Some(Flight::Unread(_) | Flight::Trying { .. }) => self.joins,
            Some(Flight::Intending { intent, .. }) => intent.group.is_some(),
            Some(Flight::Writing(..) | Flight::Back(_)) => false,
        };
        before && self.turn == turn && self.goes_on(now)
    }

    /// Nothing is under way, and nothing keeps it from beginning.
    fn is_free(&self, now: Instant) -> bool {
        self.flight.is_none() && !self.halted && self.retry_at <= now
    }

    /// What it does, or is about to do, is not held up.
    fn goes_on(&self, now: Instant) -> bool {
        !self.halted && (self.busy || self.retry_at <= now)
    }
}
