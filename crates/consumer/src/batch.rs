//! A batch: rows of one part, encoded as they come, with the positions of all that it took and of what it set aside.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use enrich::Enricher;
use event::{Batch as Frames, Event, Kind};
use store::Block;

use crate::row::row;
use crate::source::{DeadLetter, Part, Payload};

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
    /// What cannot be read.
    pub dead: Vec<DeadLetter>,
    /// Events that may be stored already: they wait for a look into the store.
    pub held: Vec<Held>,
    /// Events of this batch that are stored already, or twice in it.
    pub duplicates: u64,
    /// How many were kept aside for good.
    pub dead_lettered: u64,
    ids: Vec<EventId>,
    bytes: usize,
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

/// An encoded event that may be stored already.
pub struct Held {
    /// Its id.
    pub id: EventId,
    /// When it was received, Unix milliseconds.
    pub received_at_ms: i64,
    /// The offset of its message.
    pub offset: u64,
    bytes: Vec<u8>,
}

/// The highest sequence seen of each edge id, in one part. An event that does not rise above it comes a second
/// time, or out of order: either way it is looked for in the store.
#[derive(Debug, Default)]
pub struct Seen(HashMap<u64, u64>);

/// Edge ids that are remembered. An edge that restarts keeps its id: a fleet has one for each core.
const EDGES_MAX: usize = 100_000;

impl Seen {
    fn is_new(&mut self, (edge_id, seq): EventId) -> bool {
        if self.0.len() >= EDGES_MAX && !self.0.contains_key(&edge_id) {
            self.0.clear();
        }
        let last = self.0.entry(edge_id).or_insert(0);
        let new = seq > *last;
        *last = seq.max(*last);
        new
    }
}

impl Batch {
    /// An empty batch that starts at an offset.
    pub fn new(part: Part, from: u64) -> Self {
        Batch {
            part,
            from,
            to: from,
            since: Instant::now(),
            blocks: BTreeMap::new(),
            dead: Vec::new(),
            held: Vec::new(),
            duplicates: 0,
            dead_lettered: 0,
            ids: Vec::new(),
            bytes: 0,
        }
    }

    /// Takes a message. What cannot be read of it is set aside; a message whose framing is broken as a whole,
    /// since taking its first events and keeping the rest would double them when it is replayed.
    pub fn take(&mut self, enricher: &mut Enricher, seen: &mut Seen, offset: u64, payload: Payload<'_>) {
        if self.is_empty() {
            // Offsets may have gaps: what is intended starts at a message that is there.
            self.from = offset;
            self.since = Instant::now();
        }
        self.to = offset + 1;
        match payload {
            Payload::Event(bytes) => self.take_event(enricher, None, offset, bytes),
            Payload::Batch(bytes) => match Frames::new(bytes).find_map(Result::err) {
                Some(broken) => self.set_aside(offset, format!("broken batch: {broken}"), bytes),
                None => {
                    for event in Frames::new(bytes).flatten() {
                        self.take_event(enricher, Some(seen), offset, event);
                    }
                }
            },
        }
    }

    /// `seen` is `None` where an offset is an event's own sequence: it cannot come twice.
    fn take_event(&mut self, enricher: &mut Enricher, seen: Option<&mut Seen>, offset: u64, bytes: &[u8]) {
        let event = match Event::decode(bytes) {
            Ok(event) if event.kind == Kind::Unspecified => {
                return self.set_aside(offset, "no kind".to_owned(), bytes);
            }
            Ok(event) if !(0..RECEIVED_AT_MS_MAX).contains(&event.received_at_ms) => {
                return self.set_aside(offset, "receive time out of range".to_owned(), bytes);
            }
            Ok(event) => event,
            Err(broken) => return self.set_aside(offset, broken.to_string(), bytes),
        };
        let id = (event.edge_id, event.seq);
        if let Some(seen) = seen {
            let new = seen.is_new(id);
            if event.replay || !new {
                self.bytes += bytes.len() + size_of::<Held>();
                let (received_at_ms, bytes) = (event.received_at_ms, bytes.to_vec());
                return self.held.push(Held { id, received_at_ms, offset, bytes });
            }
            self.ids.push(id);
        }
        self.push(enricher, offset, &event);
    }

    fn push(&mut self, enricher: &mut Enricher, offset: u64, event: &Event<'_>) {
        let enriched = enricher.enrich(event);
        let month = store::month(event.received_at_ms);
        let block = self.blocks.entry(month).or_insert_with(|| Block::new(month));
        block.push(&row(event, &enriched, &self.part, offset));
        self.bytes += event.user_agent.len() + event.target.len() + ROW_BYTES;
    }

    fn set_aside(&mut self, offset: u64, reason: String, bytes: &[u8]) {
        self.bytes += bytes.len();
        self.dead.push(DeadLetter { part: self.part.clone(), offset, reason, bytes: bytes.to_vec() });
    }

    /// Settles what was held: an event that is neither stored nor in this batch becomes a row, any other is a
    /// duplicate.
    pub fn settle(&mut self, enricher: &mut Enricher, stored: &HashSet<EventId>) {
        let mut known: HashSet<EventId> = self.ids.iter().copied().collect();
        for held in std::mem::take(&mut self.held) {
            if stored.contains(&held.id) || !known.insert(held.id) {
                self.duplicates += 1;
            } else if let Ok(event) = Event::decode(&held.bytes) {
                self.push(enricher, held.offset, &event);
            }
        }
    }

    /// Rows over all months; held events are not among them.
    pub fn rows(&self) -> usize {
        self.blocks.values().map(Block::rows).sum()
    }

    /// What will have become of its events once the rows are stored.
    pub fn counts(&self) -> Counts {
        Counts { stored: self.rows() as u64, duplicate: self.duplicates, dead: self.dead_lettered }
    }

    /// All that it has taken and not given away.
    pub fn events(&self) -> usize {
        self.rows() + self.held.len() + self.dead.len()
    }

    /// Bytes in memory, near enough to hold a bound: asking every column at every row costs more than it tells.
    pub fn bytes(&self) -> usize {
        self.bytes + self.ids.len() * size_of::<EventId>()
    }

    /// Whether it has taken nothing.
    pub fn is_empty(&self) -> bool {
        self.to == self.from
    }
}

/// What a row takes beside its longest texts: the fixed columns and usual lengths of the other texts.
const ROW_BYTES: usize = 400;

/// 2100-01-01: what the store's times can bear.
const RECEIVED_AT_MS_MAX: i64 = 4_102_444_800_000;
