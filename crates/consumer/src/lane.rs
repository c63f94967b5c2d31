//! What the pipeline knows of one part: the batch that fills, the one that waits, the one under way.

use std::time::{Duration, Instant};

use enrich::Enricher;
use metrics::counter;
use tracing::warn;

use crate::batch::{Batch, Counts, Seen};
use crate::intent::Intent;
use crate::source::{Part, Payload, Source};
use crate::writer::{Backoff, Sealed};

/// Messages in a row of which nothing can be read before a part stands still: that is no broken message any more
/// but another topic, or a contract that this program does not know, and putting all of it aside helps nobody.
const UNREADABLE_MAX: usize = 1_000;

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
    /// Why it stands still, if it does.
    pub trouble: Option<String>,
    /// What a batch may have.
    pub bound: Bound,
    /// Grows with each failure in a row.
    backoff: Backoff,
    /// Past the last offset that is known to be stored.
    written_to: Option<u64>,
    /// Takes nothing: only an operator can tell where to go on.
    halted: bool,
    paused: bool,
    /// Dead letters since the last event that could be read.
    unreadable: usize,
    seen: Seen,
}

/// What a batch may have. One message more than that, since a message is never split.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// Events.
    pub rows_max: usize,
    /// Bytes in memory.
    pub bytes_max: usize,
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
        /// An earlier owner intended the same: its rows may be there.
        again: bool,
    },
    /// Is being written.
    Writing(Bill),
    /// Was not written, or it is not known.
    Unwritten(Box<Sealed>, Bill),
}

/// What a batch will have come to once it is written.
#[derive(Debug, Clone, Copy)]
pub struct Bill {
    /// Past its last offset.
    pub to: u64,
    /// What became of its events.
    pub counts: Counts,
    /// When its first message was taken.
    pub since: Instant,
}

impl Lane {
    /// A part that was just assigned.
    pub fn new(part: Part, epoch: u64, committed: Option<u64>, rerun: Option<Intent>, bound: Bound) -> Self {
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
            trouble: None,
            bound,
            backoff: Backoff::new(),
            written_to: None,
            halted: false,
            paused: false,
            unreadable: 0,
            seen: Seen::default(),
        }
    }

    /// Stops for good.
    pub fn halt(&mut self, why: String) {
        (self.halted, self.trouble) = (true, Some(why));
    }

    /// Takes a message. A range that was intended before is cut exactly where it was.
    pub fn take(&mut self, enricher: &mut Enricher, offset: u64, payload: Payload<'_>) {
        if self.halted {
            return;
        }
        if offset < self.batch.to {
            // It is in a batch, or stored. Fetching a partition anew has handed out old messages before.
            counter!("consumer_repeated_messages_total").increment(1);
            return;
        }
        if self.rerun_ahead().is_some_and(|intent| offset >= intent.to) {
            self.seal();
        }
        self.batch.take(enricher, &mut self.seen, offset, payload);
        match self.rerun_ahead() {
            Some(intent) if self.batch.to >= intent.to => self.seal(),
            None if self.batch_is_full() => self.seal(),
            _ => (),
        }
    }

    /// No more messages will come of this part: what was intended of it is no longer than this.
    pub fn end(&mut self) {
        if self.rerun_ahead().is_some() {
            self.seal();
        }
    }

    /// Seals the batch when it is full or old enough, or at once in a hurry.
    pub fn seal_when_due(&mut self, now: Instant, linger: Duration, hurry: bool) {
        let due = hurry || self.batch_is_full() || now.duration_since(self.batch.since) >= linger;
        if due && !self.batch.is_empty() && self.rerun_ahead().is_none() {
            self.seal();
        }
    }

    /// Whether it must not take more: a full batch waits behind one that waits. What is under way is the third.
    pub fn is_full(&self) -> bool {
        self.ready.is_some() && self.batch_is_full()
    }

    /// Stops the part at its source while it is full, and lets it go on when it is not.
    pub fn pause_when_full(&mut self, source: &mut dyn Source, stop: bool) {
        let paused = stop || self.halted || self.is_full();
        if paused != self.paused {
            self.paused = paused;
            source.pause(&self.batch.part, paused);
        }
    }

    /// The batch under way is stored.
    pub fn written(&mut self, to: u64) {
        self.written_to = Some(to);
        self.written_at = Instant::now();
        self.went_well();
    }

    /// Something that had failed works again.
    pub fn went_well(&mut self) {
        if !self.halted {
            self.trouble = None;
            self.backoff = Backoff::new();
        }
    }

    /// Notes a failure: the next attempt waits.
    pub fn failed(&mut self, why: String) {
        warn!(partition = self.batch.part.number, cause = why, "stands still, trying again");
        self.trouble = Some(why);
        self.retry_at = Instant::now() + self.backoff.next();
    }

    /// Whether so much of the part cannot be read that putting it aside is no answer. A batch of which anything can
    /// be read starts the count again.
    pub fn is_unreadable(&mut self, batch: &Batch) -> bool {
        if batch.rows() + batch.held.len() > 0 {
            self.unreadable = 0;
            return false;
        }
        self.unreadable + batch.dead.len() > UNREADABLE_MAX
    }

    /// Dead letters of a batch without anything else were kept.
    pub fn put_aside(&mut self, batch: &Batch, letters: usize) {
        if batch.rows() + batch.held.len() == 0 {
            self.unreadable += letters;
        }
    }

    /// Past the last stored offset, when no commit says so yet.
    pub fn unacknowledged(&self) -> Option<u64> {
        self.written_to.filter(|&to| self.committed != Some(to))
    }

    /// Nothing is under way, and everything that is done is committed. A range that was intended before and is not
    /// there in full stays intended.
    pub fn is_settled(&self) -> bool {
        let open = !self.batch.is_empty() && self.rerun_ahead().is_none();
        !open && self.ready.is_none() && self.flight.is_none() && self.unacknowledged().is_none()
    }

    /// Events taken and not yet known to be stored.
    pub fn events(&self) -> usize {
        let under_way = match &self.flight {
            Some(Flight::Unread(batch) | Flight::Preparing(batch) | Flight::Intending { batch, .. }) => {
                batch.events()
            }
            Some(Flight::Writing(bill) | Flight::Unwritten(_, bill)) => bill.counts.stored as usize,
            None => 0,
        };
        self.batch.events() + self.ready.as_ref().map_or(0, Batch::events) + under_way
    }

    /// The intent that the filling batch has to match.
    fn rerun_ahead(&self) -> Option<Intent> {
        self.rerun.filter(|intent| self.batch.from < intent.to)
    }

    fn batch_is_full(&self) -> bool {
        self.batch.events() >= self.bound.rows_max || self.batch.bytes() >= self.bound.bytes_max
    }

    /// While another batch waits the batch just grows, up to [`Lane::is_full`].
    fn seal(&mut self) {
        if self.ready.is_some() {
            return;
        }
        let rerun = self.rerun_ahead();
        let (part, to) = (self.batch.part.clone(), rerun.map_or(self.batch.to, |intent| intent.to));
        let mut sealed = std::mem::replace(&mut self.batch, Batch::new(part, to));
        if let Some(intent) = rerun {
            // Whatever of it is still there: the token names the range as it was intended.
            (sealed.from, sealed.to) = (intent.from, intent.to);
        }
        self.ready = Some(sealed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use enrich::Tables;
    use event::{Event, Kind};

    use super::*;

    struct World(Lane, Enricher);

    impl World {
        fn new(committed: Option<u64>, rerun: Option<(u64, u64)>, rows_max: usize) -> World {
            let rerun = rerun.map(|(from, to)| Intent { from, to, server_started: 1 });
            let part = Part { topic: Arc::from("t"), number: 0 };
            let bound = Bound { rows_max, bytes_max: 1 << 20 };
            let tables = Arc::new(Tables::load(&[]).unwrap());
            World(Lane::new(part, 1, committed, rerun, bound), Enricher::new(tables))
        }

        fn take(&mut self, offset: u64) -> &mut Self {
            let event = Event {
                edge_id: 1,
                seq: offset + 1,
                kind: Kind::Open,
                received_at_ms: 1,
                ..Event::default()
            };
            let mut bytes = Vec::new();
            event.encode(&mut bytes);
            self.0.take(&mut self.1, offset, Payload::Event(&bytes));
            self
        }

        fn hurry(&mut self) -> &mut Self {
            self.0.seal_when_due(Instant::now(), Duration::ZERO, true);
            self
        }

        fn ready(&self) -> Option<(u64, u64, usize)> {
            self.0.ready.as_ref().map(|batch| (batch.from, batch.to, batch.rows()))
        }

        fn filling(&self) -> (u64, u64, usize) {
            (self.0.batch.from, self.0.batch.to, self.0.batch.rows())
        }
    }

    #[test]
    fn an_intended_range_is_cut_exactly_at_its_end() {
        // Larger than a batch may be, and never sealed before its time.
        let mut world = World::new(Some(5), Some((5, 9)), 2);
        world.take(5).take(6).take(7).hurry();
        assert_eq!((world.ready(), world.filling()), (None, (5, 8, 3)));
        world.take(8);
        assert_eq!((world.ready(), world.filling()), (Some((5, 9, 4)), (9, 9, 0)));
        world.take(9).take(10).take(11);
        assert_eq!(world.filling(), (9, 12, 3), "the next one grows until there is room");
    }

    #[test]
    fn an_intended_range_with_gaps_keeps_its_name() {
        // At its end.
        let mut world = World::new(Some(5), Some((5, 9)), 9);
        world.take(5).take(12);
        assert_eq!((world.ready(), world.filling()), (Some((5, 9, 1)), (12, 13, 1)));
        // At its start, and nothing at all.
        let mut world = World::new(Some(5), Some((5, 9)), 9);
        world.take(7).take(8);
        assert_eq!(world.ready(), Some((5, 9, 2)));
        let mut world = World::new(Some(5), Some((5, 9)), 9);
        world.take(20);
        assert_eq!((world.ready(), world.filling()), (Some((5, 9, 0)), (20, 21, 1)));
        // And when nothing more will come.
        let mut world = World::new(Some(5), Some((5, 9)), 9);
        world.take(6).0.end();
        assert_eq!(world.ready(), Some((5, 9, 1)));
    }

    #[test]
    fn a_full_batch_waits_behind_one_that_waits_and_then_the_part_is_full() {
        let mut world = World::new(None, None, 2);
        world.take(0).take(1);
        assert_eq!((world.ready(), world.0.is_full()), (Some((0, 2, 2)), false));
        world.take(2).hurry();
        assert_eq!((world.ready(), world.filling(), world.0.is_full()), (Some((0, 2, 2)), (2, 3, 1), false));
        world.take(3);
        assert_eq!((world.ready(), world.filling(), world.0.is_full()), (Some((0, 2, 2)), (2, 4, 2), true));
        assert_eq!(world.0.events(), 4);
        // Room again: the full one goes on without waiting for its linger.
        world.0.ready = None;
        world.0.seal_when_due(Instant::now(), Duration::from_secs(3_600), false);
        assert_eq!((world.ready(), world.0.is_full()), (Some((2, 4, 2)), false));
    }

    #[test]
    fn a_lane_is_settled_when_all_is_written_and_acknowledged() {
        let mut world = World::new(Some(3), None, 9);
        assert!(world.0.is_settled());
        assert!(!world.take(3).0.is_settled());
        assert!(!world.hurry().0.is_settled());
        let batch = world.0.ready.take().unwrap();
        world.0.flight = Some(Flight::Unread(batch));
        assert!(!world.0.is_settled());
        world.0.flight = None;
        world.0.written(4);
        assert_eq!((world.0.is_settled(), world.0.unacknowledged()), (false, Some(4)));
        world.0.committed = Some(4);
        assert!(world.0.is_settled());
        // What is not there in full stays intended: a shutdown does not wait for it.
        let mut world = World::new(Some(3), Some((3, 9)), 9);
        assert!(world.take(3).hurry().0.is_settled());
    }

    #[test]
    fn an_old_offset_is_not_taken_again() {
        let mut world = World::new(Some(5), None, 9);
        world.take(4).take(5).take(5).take(7).take(6);
        assert_eq!(world.filling(), (5, 8, 2));
        world.hurry().take(7).take(8);
        assert_eq!((world.ready(), world.filling()), (Some((5, 8, 2)), (8, 9, 1)));
    }

    #[test]
    fn a_halted_lane_takes_nothing_and_is_not_waited_for() {
        let mut world = World::new(Some(5), None, 9);
        world.0.halt("?".to_owned());
        world.take(5).hurry();
        world.0.went_well();
        assert_eq!(
            (world.0.events(), world.0.is_settled(), world.0.trouble.as_deref()),
            (0, true, Some("?"))
        );
    }
}
