//! The law: what was put in is stored, a duplicate or a dead letter; each event once; views agree with the table.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use event::{Batch, Event, Kind};
use store::{Row, Store};

use crate::running::{Counted, RUNTIME, query};

/// An event's name.
pub type Id = (u64, u64);
/// Where it stands: topic, partition, offset.
pub type Place = (String, u32, u64);

/// What was put in.
#[derive(Default)]
pub struct Ledger {
    /// Of each event that can be read: its first place.
    pub events: BTreeMap<Id, Place>,
    /// Events and unreadable things in all, duplicates too.
    pub total: u64,
    /// Things that cannot be read.
    pub unreadable: u64,
}

impl Ledger {
    pub fn enter(&mut self, id: Id, place: Place) {
        self.total += 1;
        self.events.entry(id).or_insert(place);
    }

    /// Rows against what was put in.
    pub fn check_rows(&self, store: &Store) {
        let text = query(store, "SELECT edge_id, seq, k_topic, k_part, k_off FROM events ORDER BY ALL");
        let mut stored = BTreeMap::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [edge_id, seq, topic, part, offset] = fields[..] else { panic!("{line}") };
            let id: Id = (edge_id.parse().unwrap(), seq.parse().unwrap());
            let place: Place = (topic.to_owned(), part.parse().unwrap(), offset.parse().unwrap());
            assert_eq!(stored.insert(id, place), None, "{id:?} is stored twice");
        }
        let lost: Vec<&Id> = self.events.keys().filter(|id| !stored.contains_key(id)).collect();
        assert!(lost.is_empty(), "{} lost, first {:?}", lost.len(), lost.first());
        assert_eq!(stored, self.events);
    }

    /// Rows, views and counts of the only consumer there was.
    pub fn check(&self, store: &Store, counted: Counted) {
        self.check_rows(store);
        check_views(store);
        assert_eq!(counted.unverified, 0);
        let Counted { stored, duplicate, dead, .. } = counted;
        assert_eq!(stored + duplicate + dead, self.total, "{counted:?}");
        assert_eq!((stored, dead), (self.events.len() as u64, self.unreadable), "{counted:?}");
    }
}

/// Every view against a recount.
pub fn check_views(store: &Store) {
    for drift in RUNTIME.block_on(store.view_drift()).unwrap() {
        assert_eq!(drift.differing, 0, "{drift:?}");
    }
}

/// The start of today, UTC: young enough that no time to live clears it.
pub fn today_ms() -> i64 {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    now_ms - now_ms % 86_400_000
}

/// An open of today, or of the month before last for every third if `months`.
pub fn open(edge_id: u64, seq: u64) -> Event<'static> {
    Event {
        edge_id,
        seq,
        kind: Kind::Open,
        received_at_ms: today_ms() + (seq % 86_000) as i64 * 1_000,
        workspace: 1,
        message: 10 + seq % 3,
        recipient: 1_000 + seq,
        user_agent: "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
        client_ip: &[81, 2, 69, 160],
        ..Event::default()
    }
}

/// The same, some 40 days ago: in another month.
pub fn old(edge_id: u64, seq: u64) -> Event<'static> {
    let event = open(edge_id, seq);
    Event { received_at_ms: event.received_at_ms - 40 * 86_400_000, ..event }
}

/// What an event becomes, as far as identity goes.
pub fn row<'a>(topic: &'a str, part: u32, offset: u64, event: &Event<'a>) -> Row<'a> {
    Row {
        workspace: event.workspace,
        message: event.message,
        recipient: event.recipient,
        received_at_ms: event.received_at_ms,
        kind: event.kind as u8,
        verdict: 1,
        k_topic: topic,
        k_part: part,
        k_off: offset,
        edge_id: event.edge_id,
        seq: event.seq,
        ..Row::default()
    }
}

pub fn encode(event: &Event<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    event.encode(&mut bytes);
    bytes
}

pub fn batch(events: &[Event<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    events.iter().for_each(|event| Batch::push(&mut out, &encode(event)));
    out
}
