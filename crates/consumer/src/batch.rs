//! A batch: rows of one part, encoded as they come, with the positions of all that it took and of what it set aside.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use enrich::visits::{self, Visit, Visits};
use enrich::{Enricher, Tables};
use event::{Batch as Frames, Event, Kind};
use foldhash::fast::RandomState;
use store::{Block, KnownId, PastVisit};

use crate::row::{self, row};
use crate::source::{DeadLetter, Part, Payload};
use crate::writer::Sealed;

/// The rows of an unbroken range of offsets `[from, to)`, one block for each month (ClickHouse partition).
pub struct Batch {
    /// Where it comes from.
    pub part: Part,
    /// First offset.
    pub from: u64,
    /// Past the last offset that was taken.
    pub to: u64,
    /// When the first message was taken.
    pub since: Instant,
    /// Encoded rows by month.
    pub blocks: BTreeMap<u32, Block>,
    /// Rows that have to be tried before they may be among `blocks`.
    pub singles: Vec<Single>,
    /// Its rows are tried before they are written.
    pub tried: bool,
    /// What cannot be read.
    pub dead: Vec<DeadLetter>,
    /// Events that may be stored already: they wait for a look into the store.
    pub held: Vec<Held>,
    /// Events of this batch that are stored already, or twice in it.
    pub duplicates: u64,
    /// How many were kept aside for good.
    pub dead_lettered: u64,
    /// What its first message was enriched from, and so all of it.
    tables: Option<Arc<Tables>>,
    ids: Vec<EventId>,
    /// What is known of the held events so far.
    look: Look,
    /// Of what is not encoded yet or set aside.
    bytes: usize,
    /// Of the rows.
    encoded_bytes: usize,
}

/// What became of a batch's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Rows.
    pub stored: u64,
    /// Dropped because they are stored.
    pub duplicate: u64,
    /// Kept aside.
    pub dead: u64,
}

/// (edge id, sequence).
pub type EventId = (u64, u64);

/// How far the held events have been looked for.
#[derive(Debug, Default)]
struct Look {
    /// Those that are stored.
    stored: HashSet<EventId>,
    /// Some of each edge's rising events were looked for, and of these edges there were stored ones among them: so all
    /// of theirs have to be.
    doubted: Option<HashSet<u64>>,
}

/// An encoded event that may be stored already.
pub struct Held {
    /// Its id.
    pub id: EventId,
    /// Its sequence is above all before it, and it did not leave the journal before: it is held because its edge is
    /// not known yet.
    pub is_rising: bool,
    /// When it was received, Unix milliseconds.
    pub received_at_ms: i64,
    /// The offset of its message.
    pub offset: u64,
    bytes: Vec<u8>,
}

/// A row by itself.
pub struct Single {
    /// The offset of its message.
    pub offset: u64,
    /// The row's month.
    pub month: u32,
    /// The event as it came.
    pub bytes: Vec<u8>,
}

/// The highest sequence seen of each edge id, in one part. An event that does not rise above it comes a second
/// time, or out of order: either way it is looked for in the store.
///
/// What came before this owner took the part over is not known. So the events of an edge id are looked for, too, until
/// one of them turns out not to be stored: from there on they are new. In the first batch that is found out from some of
/// them, since after a standstill it holds many and looking for one costs as much as storing it twice.
///
/// And the part's latest visits, by which others are judged.
#[derive(Debug, Default)]
pub struct Seen {
    edges: HashMap<u64, Edge, RandomState>,
    visits: Visits,
}

#[derive(Debug, Default)]
struct Edge {
    last: u64,
    /// One of its events was not stored.
    is_known: bool,
}

/// Edge ids that are remembered. An edge that restarts keeps its id: a fleet has one for each core.
const EDGES_MAX: usize = 100_000;

impl Seen {
    /// Observes the visits again that are stored before the next message.
    pub fn recall(&mut self, past: &[PastVisit]) {
        self.visits = Visits::default();
        let mut corrections = Vec::new();
        for past in past {
            corrections.clear();
            self.visits.observe(&row::past(past), &mut corrections);
        }
    }

    /// Whether it rises above all of its edge before it, and whether it is new for that.
    fn rises(&mut self, (edge_id, seq): EventId) -> (bool, bool) {
        if self.edges.len() >= EDGES_MAX && !self.edges.contains_key(&edge_id) {
            self.edges.clear();
        }
        let edge = self.edges.entry(edge_id).or_default();
        let rises = seq > edge.last;
        edge.last = seq.max(edge.last);
        (rises, rises && edge.is_known)
    }

    fn was_not_stored(&mut self, edge_id: u64) {
        if let Some(edge) = self.edges.get_mut(&edge_id) {
            edge.is_known = true;
        }
    }
}

impl Batch {
    /// An empty batch that starts at an offset.
    ///
    /// With `tried` rows are kept as they come until it is known which of them ClickHouse rejects.
    pub fn new(part: Part, from: u64, tried: bool) -> Self {
        Batch {
            part,
            from,
            to: from,
            since: Instant::now(),
            blocks: BTreeMap::new(),
            singles: Vec::new(),
            dead: Vec::new(),
            held: Vec::new(),
            duplicates: 0,
            dead_lettered: 0,
            tables: None,
            tried,
            ids: Vec::new(),
            look: Look::default(),
            bytes: 0,
            encoded_bytes: 0,
        }
    }

    /// Takes a message. What cannot be read of it is set aside; a message whose framing is broken as a whole,
    /// since taking its first events and keeping the rest would double them when it is replayed.
    pub fn take(&mut self, enricher: &mut Enricher, seen: &mut Seen, offset: u64, payload: Payload<'_>) {
        if self.is_empty() {
            // Offsets may have gaps: what is intended starts at a message that is there.
            self.from = offset;
            self.since = Instant::now();
            self.tables = Some(enricher.newest());
        }
        self.to = offset + 1;
        match payload {
            Payload::Event(bytes) => self.take_event(enricher, seen, false, offset, bytes),
            Payload::Batch(bytes) => match Frames::new(bytes).find_map(Result::err) {
                Some(broken) => self.set_aside(offset, format!("{BROKEN_BATCH}: {broken}"), bytes),
                None => {
                    for event in Frames::new(bytes).flatten() {
                        self.take_event(enricher, seen, true, offset, event);
                    }
                }
            },
        }
    }

    /// Where an offset is an event's own sequence it cannot come again.
    fn take_event(
        &mut self,
        enricher: &mut Enricher,
        seen: &mut Seen,
        comes_again: bool,
        offset: u64,
        bytes: &[u8],
    ) {
        let event = match readable(bytes) {
            Ok(event) => event,
            Err(why) => return self.set_aside(offset, why, bytes),
        };
        let id = (event.edge_id, event.seq);
        if comes_again {
            let (rises, new) = seen.rises(id);
            if event.replay || !new {
                self.bytes += bytes.len() + size_of::<Held>();
                let (received_at_ms, bytes) = (event.received_at_ms, bytes.to_vec());
                let is_rising = rises && !event.replay;
                return self.held.push(Held { id, is_rising, received_at_ms, offset, bytes });
            }
            self.ids.push(id);
        }
        self.add(enricher, seen, offset, &event, bytes);
    }

    /// A row, or one that has to be tried first.
    fn add(
        &mut self,
        enricher: &mut Enricher,
        seen: &mut Seen,
        offset: u64,
        event: &Event<'_>,
        bytes: &[u8],
    ) {
        if !self.tried {
            return self.push(enricher, seen, offset, event);
        }
        let month = store::month(event.received_at_ms);
        self.bytes += bytes.len() + size_of::<Single>();
        self.singles.push(Single { offset, month, bytes: bytes.to_vec() });
    }

    /// Some of the rows that have to be tried, as a block; they are of one month.
    pub fn trial(&self, enricher: &mut Enricher, rows: &[usize]) -> Bytes {
        self.pin(enricher);
        let mut singles = rows.iter().map(|&row| &self.singles[row]).peekable();
        let mut block = Block::new(singles.peek().map_or(0, |single| single.month));
        for Single { offset, bytes, .. } in singles {
            if let Ok(event) = Event::decode(bytes) {
                block.push(&row(&event, &enricher.enrich(&event), &self.part, *offset));
            }
        }
        block.finish()
    }

    /// Takes up what became of the rows that were tried: those at `rejected` are set aside, with the reason.
    pub fn join(&mut self, enricher: &mut Enricher, seen: &mut Seen, mut rejected: BTreeMap<usize, String>) {
        for (number, single) in std::mem::take(&mut self.singles).into_iter().enumerate() {
            let Single { offset, bytes, .. } = single;
            if let Some(reason) = rejected.remove(&number) {
                self.set_aside(offset, reason, &bytes);
            } else if let Ok(event) = Event::decode(&bytes) {
                self.push(enricher, seen, offset, &event);
            }
        }
    }

    fn push(&mut self, enricher: &mut Enricher, seen: &mut Seen, offset: u64, event: &Event<'_>) {
        self.pin(enricher);
        let enriched = enricher.enrich(event);
        let mut row = row(event, &enriched, &self.part, offset);
        let mut corrections = Vec::new();
        let finding = match visits::concerns(event.kind, enriched.verdict) {
            true => {
                let visit = Visit::of(event, enriched.verdict, row.address, offset);
                seen.visits.observe(&visit, &mut corrections)
            }
            false => None,
        };
        if let Some(finding) = &finding {
            row.verdict = finding.verdict as u8;
            row.confidence = finding.confidence as u8;
            row.reasons = std::slice::from_ref(&finding.reason);
        }
        let corrects: Vec<store::Correction> = corrections.iter().map(row::correction).collect();
        row.corrects = &corrects;
        let month = store::month(event.received_at_ms);
        let block = self.blocks.entry(month).or_insert_with(|| Block::new(month));
        block.push(&row);
        if block.rows().is_multiple_of(ROWS_PER_LOOK) {
            self.encoded_bytes = self.blocks.values().map(Block::bytes).sum();
        } else {
            self.encoded_bytes += ROW_BYTES
                + corrects.len() * size_of::<store::Correction>()
                + event.target.len()
                + event.referer.len();
        }
    }

    /// Newer tables may have come since it began, and other batches may read them.
    fn pin(&self, enricher: &mut Enricher) {
        if let Some(tables) = &self.tables {
            enricher.read(tables);
        }
    }

    fn set_aside(&mut self, offset: u64, reason: String, bytes: &[u8]) {
        self.bytes += bytes.len();
        self.dead.push(DeadLetter { part: self.part.clone(), offset, reason, bytes: bytes.to_vec() });
    }

    /// Which of the held events to look for now. Of the rising ones of each edge some first: what another owner stored
    /// of them is what came first, or else an unbroken run.
    pub fn questions(&self) -> Vec<KnownId> {
        let mut rising: HashMap<u64, usize> = HashMap::new();
        let mut is_asked = |held: &&Held| match &self.look.doubted {
            Some(doubted) => held.is_rising && doubted.contains(&held.id.0),
            None if !held.is_rising => true,
            None => {
                let before = rising.entry(held.id.0).or_default();
                *before += 1;
                *before <= FIRST_RISING || before.is_multiple_of(RISING_PER_LOOK)
            }
        };
        let asked = self.held.iter().filter(|held| is_asked(held));
        asked.map(|held| (held.id, held.received_at_ms)).collect()
    }

    /// Takes up which of these are stored. Returns whether there are more questions.
    pub fn answered(&mut self, stored: HashSet<EventId>) -> bool {
        self.look.stored.extend(stored);
        if self.look.doubted.is_some() {
            return false;
        }
        let doubted = |held: &&Held| held.is_rising && self.look.stored.contains(&held.id);
        let doubted: HashSet<u64> = self.held.iter().filter(doubted).map(|held| held.id.0).collect();
        let more = !doubted.is_empty();
        self.look.doubted = Some(doubted);
        more
    }

    /// Settles what was held: an event that is neither stored nor in this batch becomes a row, any other is a
    /// duplicate.
    pub fn settle(&mut self, enricher: &mut Enricher, seen: &mut Seen) {
        let stored = std::mem::take(&mut self.look).stored;
        if self.held.is_empty() {
            return;
        }
        let mut known: HashSet<EventId, RandomState> = self.ids.iter().copied().collect();
        for held in std::mem::take(&mut self.held) {
            if stored.contains(&held.id) || !known.insert(held.id) {
                self.duplicates += 1;
                continue;
            }
            seen.was_not_stored(held.id.0);
            if let Ok(event) = Event::decode(&held.bytes) {
                self.add(enricher, seen, held.offset, &event, &held.bytes);
            }
        }
    }

    /// Its blocks, finished, without those of months that are stored.
    pub fn seal(&mut self, stored: &[u32]) -> Vec<Sealed> {
        let blocks = std::mem::take(&mut self.blocks).into_iter();
        blocks
            .filter(|(month, _)| !stored.contains(month))
            .map(|(month, block)| Sealed { month, block: Arc::new(block) })
            .collect()
    }

    /// Rows over all months; held events are not among them.
    pub fn rows(&self) -> usize {
        self.blocks.values().map(Block::rows).sum::<usize>() + self.singles.len()
    }

    /// What will have become of its events once the rows are stored.
    pub fn counts(&self) -> Counts {
        Counts { stored: self.rows() as u64, duplicate: self.duplicates, dead: self.dead_lettered }
    }

    /// All that it has taken and not given away.
    pub fn events(&self) -> usize {
        self.rows() + self.held.len() + self.dead.len()
    }

    /// Bytes in memory, near enough to hold a bound: asking every column at every row costs more than it tells, so
    /// that is done now and then.
    pub fn bytes(&self) -> usize {
        self.bytes + self.encoded_bytes + self.ids.len() * size_of::<EventId>()
    }

    /// Whether it has taken nothing.
    pub fn is_empty(&self) -> bool {
        self.to == self.from
    }
}

/// What a row takes beside its longest texts: the fixed columns, numbers of names, and now and then a new name.
const ROW_BYTES: usize = 300;
/// After so many rows of a month the columns are asked again what they really hold. A guess alone is twice that, and so
/// are the inserts.
const ROWS_PER_LOOK: usize = 64;

/// 1970 to 2100: the store's times end in 2106, and the time to live of a row has to fit before that.
const RECEIVED_AT_MS: Range<i64> = 0..4_102_444_800_000;

/// So many of an edge's rising events are looked for in any case...
const FIRST_RISING: usize = 100;
/// ...and then every one of so many.
const RISING_PER_LOOK: usize = 300;

/// What the reason of a dead letter begins with when it is a whole message and not one event.
pub const BROKEN_BATCH: &str = "broken batch";

/// The event in these bytes, if it can be stored.
///
/// # Errors
/// Why it cannot be, which becomes the reason of a dead letter.
pub fn readable(bytes: &[u8]) -> Result<Event<'_>, String> {
    match Event::decode(bytes) {
        Ok(event) if event.kind == Kind::Unspecified => Err("no kind".to_owned()),
        Ok(event) if !RECEIVED_AT_MS.contains(&event.received_at_ms) => {
            Err("receive time out of range".to_owned())
        }
        Ok(event) => Ok(event),
        Err(broken) => Err(broken.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use enrich::Tables;

    use super::*;

    const AT_MS: i64 = 1_764_000_000_000;

    fn enricher() -> Enricher {
        Enricher::new(Arc::new(Tables::load(&[]).unwrap()))
    }

    fn message(events: &[Event<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        for event in events {
            let mut bytes = Vec::new();
            event.encode(&mut bytes);
            Frames::push(&mut out, &bytes);
        }
        out
    }

    fn event(edge_id: u64, seq: u64) -> Event<'static> {
        Event { edge_id, seq, kind: Kind::Open, received_at_ms: AT_MS, ..Event::default() }
    }

    fn batch() -> Batch {
        Batch::new(Part { topic: Arc::from("t"), number: 3 }, 10, false)
    }

    /// As the lane does, with a store that has these.
    fn settle(batch: &mut Batch, enricher: &mut Enricher, seen: &mut Seen, stored: &[EventId]) -> usize {
        let mut asked = 0;
        loop {
            let ids: HashSet<EventId> = batch.questions().iter().map(|(id, _)| *id).collect();
            asked += ids.len();
            if !batch.answered(stored.iter().filter(|id| ids.contains(id)).copied().collect()) {
                batch.settle(enricher, seen);
                return asked;
            }
        }
    }

    #[test]
    fn a_long_first_batch_is_looked_for_in_part_unless_some_of_it_is_stored() {
        let events: Vec<Event<'_>> = (1..=3_000).map(|seq| event(1, seq)).collect();
        let taken = |again: &[Event<'_>], stored: &[EventId]| {
            let (mut enricher, mut seen, mut batch) = (enricher(), Seen::default(), batch());
            batch.take(&mut enricher, &mut seen, 10, Payload::Batch(&message(&events)));
            batch.take(&mut enricher, &mut seen, 11, Payload::Batch(&message(again)));
            let asked = settle(&mut batch, &mut enricher, &mut seen, stored);
            (asked, batch.counts().stored, batch.counts().duplicate)
        };
        assert_eq!(taken(&[], &[]), (110, 3_000, 0));
        let replayed = Event { replay: true, ..event(1, 4_000) };
        assert_eq!(
            taken(&[replayed], &[(1, 4_000)]),
            (111, 3_000, 1),
            "what comes again is always looked for"
        );
        assert_eq!(taken(&[event(1, 2_999)], &[(1, 2_999)]).2, 2, "and what does not rise");
        let first: Vec<EventId> = (1..=50).map(|seq| (1, seq)).collect();
        assert_eq!(taken(&[], &first), (3_110, 2_950, 50));
        let run: Vec<EventId> = (1_001..=1_400).map(|seq| (1, seq)).collect();
        assert_eq!(taken(&[], &run), (3_110, 2_600, 400));
    }

    #[test]
    fn an_edge_is_new_only_after_one_of_its_events_was_not_stored() {
        let (mut enricher, mut seen) = (enricher(), Seen::default());
        let mut first = batch();
        first.take(&mut enricher, &mut seen, 10, Payload::Batch(&message(&[event(1, 5), event(1, 6)])));
        assert_eq!((first.rows(), first.held.len()), (0, 2), "they may be stored by the owner before");
        settle(&mut first, &mut enricher, &mut seen, &[(1, 5), (1, 6)]);
        assert_eq!(first.counts(), Counts { stored: 0, duplicate: 2, dead: 0 });
        let mut second = Batch::new(first.part.clone(), 11, false);
        second.take(&mut enricher, &mut seen, 11, Payload::Batch(&message(&[event(1, 7), event(1, 8)])));
        assert_eq!((second.rows(), second.held.len()), (0, 2), "and so may these");
        settle(&mut second, &mut enricher, &mut seen, &[(1, 7)]);
        assert_eq!(second.counts(), Counts { stored: 1, duplicate: 1, dead: 0 });
        let mut third = Batch::new(first.part.clone(), 12, false);
        let events = [event(1, 9), event(1, 6), event(2, 1), event(1, 10), event(2, 1)];
        third.take(&mut enricher, &mut seen, 12, Payload::Batch(&message(&events)));
        let held: Vec<EventId> = third.held.iter().map(|held| held.id).collect();
        assert_eq!(third.rows(), 2);
        assert_eq!(held, [(1, 6), (2, 1), (2, 1)]);
        settle(&mut third, &mut enricher, &mut seen, &[(1, 6)]);
        assert_eq!(
            third.counts(),
            Counts { stored: 3, duplicate: 2, dead: 0 },
            "one of them is twice in the batch"
        );
    }

    #[test]
    fn more_edges_than_are_remembered_are_looked_for_again() {
        let mut seen = Seen::default();
        for edge in 0..EDGES_MAX as u64 {
            assert!(!seen.rises((edge, 5)).1);
        }
        seen.was_not_stored(7);
        assert!(seen.rises((7, 6)).1);
        assert!(!seen.rises((EDGES_MAX as u64, 1)).1, "the one too many");
        assert!(!seen.rises((7, 7)).1, "all are forgotten, and so looked for");
    }

    #[test]
    fn positions_follow_messages_and_not_what_is_in_them() {
        let (mut enricher, mut seen, mut batch) = (enricher(), Seen::default(), batch());
        assert!(batch.is_empty());
        batch.take(&mut enricher, &mut seen, 14, Payload::Batch(&[]));
        assert_eq!((batch.from, batch.to, batch.events()), (14, 15, 0), "an empty message is passed, too");
        let last = event::mark_replay;
        let mut replayed = Vec::new();
        event(1, 1).encode(&mut replayed);
        last(&mut replayed);
        let mut payload = Vec::new();
        Frames::push(&mut payload, &replayed);
        Frames::push(&mut payload, b"\xff");
        batch.take(&mut enricher, &mut seen, 20, Payload::Batch(&payload));
        assert_eq!((batch.from, batch.to), (14, 21), "gaps belong to the range");
        assert_eq!((batch.rows(), batch.held.len(), batch.dead.len()), (0, 1, 1));
        assert_eq!(batch.dead[0].offset, 20);
        let mut cut = message(&[event(1, 2)]);
        cut.push(9);
        batch.take(&mut enricher, &mut seen, 21, Payload::Batch(&cut));
        assert_eq!((batch.dead.len(), batch.held.len()), (2, 1), "all of the message is set aside");
        assert_eq!(batch.dead[1].bytes, cut);
    }

    #[test]
    fn bytes_are_near_what_a_block_really_takes() {
        let (mut enricher, mut batch) = (enricher(), batch());
        let long = "x".repeat(250);
        for seq in 1..=100 {
            let event = Event {
                user_agent: &long,
                referer: &long,
                host: &long,
                accept_language: &long,
                ..event(1, seq)
            };
            let mut bytes = Vec::new();
            event.encode(&mut bytes);
            batch.take(&mut enricher, &mut Seen::default(), seq, Payload::Event(&bytes));
        }
        let real: usize = batch.blocks.values().map(Block::bytes).sum();
        assert!(batch.bytes() >= real && batch.bytes() < 2 * real, "{} for {real}", batch.bytes());
    }
}
